//! Between models of leads and their messages.

use super::{BANDS, Band, Foretold, Group, LeadModel};
use quintile_domain::money::Currency;
use quintile_proto::scoring as sent;
use quintile_rpc::convert;

/// A model as callers read it.
pub fn message(model: &LeadModel, holdout: Option<&Foretold>, currency: Currency) -> sent::LeadFit {
    let channels = model.channels.iter().map(|(channel, group)| group_message(channel, "", group, currency));
    let campaigns =
        model.campaigns.iter().map(|((channel, campaign), group)| group_message(channel, campaign, group, currency));
    sent::LeadFit {
        bands: model.bands.iter().enumerate().map(|(place, band)| band_message(place, band)).collect(),
        all: Some(group_message("", "", &model.all, currency)),
        channels: channels.collect(),
        campaigns: campaigns.collect(),
        holdout: holdout.map(|foretold| sent::LeadHoldout {
            leads: foretold.leads,
            expected_conversions: foretold.expected,
            conversions: foretold.conversions,
            brier: foretold.brier,
            brier_all_alike: foretold.brier_all_alike,
        }),
    }
}

fn band_message(place: usize, band: &Band) -> sent::LeadAgeBand {
    sent::LeadAgeBand {
        first_day: BANDS[place],
        last_day: BANDS.get(place + 1).map_or(0, |next| next - 1),
        lead_days: band.days,
        conversions: band.conversions,
    }
}

fn group_message(channel: &str, campaign: &str, group: &Group, currency: Currency) -> sent::LeadGroup {
    sent::LeadGroup {
        channel: channel.to_owned(),
        campaign: campaign.to_owned(),
        leads: group.leads,
        conversions: group.conversions,
        conversion_ratio: group.ratio,
        value_if_converted: group.value_minor.map(|value| convert::money(currency, value.round() as i64)),
    }
}

/// The model that a message tells. `None`: it has other bands than are known here.
pub fn model_of(message: &sent::LeadFit, currency: Currency) -> Option<LeadModel> {
    let band = |band: &sent::LeadAgeBand| Band { days: band.lead_days, conversions: band.conversions };
    let bands: Vec<Band> = message.bands.iter().map(band).collect();
    let group = |group: &sent::LeadGroup| Group {
        leads: group.leads,
        conversions: group.conversions,
        ratio: group.conversion_ratio,
        value_minor: convert::sent_minor(group.value_if_converted.as_ref(), currency).map(|minor| minor as f64),
    };
    let channels = message.channels.iter().map(|of| (of.channel.clone(), group(of)));
    let campaigns = message.campaigns.iter().map(|of| ((of.channel.clone(), of.campaign.clone()), group(of)));
    Some(LeadModel {
        bands: bands.try_into().ok()?,
        all: group(message.all.as_ref()?),
        channels: channels.collect(),
        campaigns: campaigns.collect(),
    })
}
