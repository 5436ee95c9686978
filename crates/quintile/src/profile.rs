//! The 360 view of a customer, for people.

use crate::config::{Config, Role};
use crate::output::{self, Format};
use crate::remote::{Session, connect};
use prost_types::Timestamp;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::Customer;
use quintile_proto::segmentation::profile_service_client::ProfileServiceClient;
use quintile_proto::segmentation::{GetProfileRequest, Profile};
use quintile_proto::types::{Grade, ScoreValues, TraitValue};

/// Gets a customer's profile.
pub async fn get(config: &Config, session: &Session, customer: &str) -> anyhow::Result<Profile> {
    let number = customer.trim_start_matches("customers/");
    let request = session.request(GetProfileRequest { name: format!("customers/{number}/profile") });
    let mut client = ProfileServiceClient::new(connect(config, Role::Segmentation)?);
    Ok(client.get_profile(request).await?.into_inner())
}

/// Prints a customer's profile.
pub async fn show(config: &Config, session: &Session, customer: &str, format: Format) -> anyhow::Result<()> {
    let profile = get(config, session, customer).await?;
    match format {
        Format::Json => say!("{}", output::json(&profile, "quintile.segmentation.v1.Profile")?),
        Format::Table => {
            let rows = lines(&profile).into_iter().map(|(field, value)| vec![field.to_owned(), value]);
            say!("{}", output::table(&["field", "value"], false, rows.collect()));
        }
    }
    Ok(())
}

/// The tenant's grading among scores: the grade of the model of that name.
pub fn grade(scores: &ScoreValues) -> Option<&Grade> {
    let graded = scores.models.iter().find(|score| score.model_version.starts_with("scoreModels/grade/"))?;
    graded.grade.as_ref()
}

/// A trait with its value, `-` where it is not for the reader.
fn trait_value(value: &TraitValue) -> String {
    let instant = |time: &Timestamp| Instant::from_parts(time.seconds, time.nanos).ok();
    let shown = [
        value.integer.map(|integer| integer.to_string()),
        value.number.map(|number| number.to_string()),
        value.money.as_ref().map(|money| output::money(Some(money))),
        value.text.clone(),
        value.time.as_ref().and_then(instant).map(|instant| instant.to_string()),
    ];
    format!("{} {}", value.key, shown.into_iter().flatten().next().unwrap_or("-".to_owned()))
}

/// The lines of the attributes that say something.
fn attribute_lines(customer: &Customer) -> impl Iterator<Item = (&'static str, String)> {
    let own = customer.attributes.clone().unwrap_or_default();
    let kind = own.kind().as_str_name().trim_start_matches("CUSTOMER_KIND_").to_lowercase();
    let came = [own.acquisition_channel, own.acquisition_campaign];
    let came = came.into_iter().chain(own.acquisition_date.as_ref().map(|date| output::date(Some(date))));
    let came: Vec<_> = came.filter(|text| !text.is_empty()).collect();
    let lines = [
        ("kind", kind),
        ("owner", own.owner),
        ("department", own.department),
        ("region", own.region.unwrap_or_default()),
        ("country", own.country.unwrap_or_default()),
        ("language", own.language),
        ("pays in", own.currency),
        ("gender", own.gender.unwrap_or_default()),
        ("income", own.income_band.unwrap_or_default()),
        ("household", own.household.unwrap_or_default()),
        ("interests", own.interests.join(", ")),
        ("values", own.values.join(", ")),
        ("came by", came.join(", ")),
        ("sent by", customer.referrer.clone().unwrap_or_default()),
    ];
    lines.into_iter().filter(|(_, text)| !text.is_empty())
}

/// The lines of the loyalty tier, and of what can be redeemed: with its code, if it is for the reader.
fn reward_lines(profile: &Profile) -> impl Iterator<Item = (&'static str, String)> {
    let tier = profile.loyalty_tier.as_ref().map(|tier| {
        let until = tier.until_time.as_ref().map(|_| format!(" until {}", output::instant(tier.until_time.as_ref())));
        ("loyalty tier", format!("{}{}", tier.tier, until.unwrap_or_default()))
    });
    let grants = profile.grants.iter().map(|grant| {
        let until = output::instant(grant.expire_time.as_ref());
        ("granted", format!("{} {} until {until}", grant.offer, grant.code.as_deref().unwrap_or("-")))
    });
    tier.into_iter().chain(grants)
}

/// The lines of a profile: what it is, and the value as the reader may see it.
pub fn lines(profile: &Profile) -> Vec<(&'static str, String)> {
    let text = |text: Option<&String>| text.map_or("-".to_owned(), Clone::clone);
    let mut lines = vec![("customer", profile.name.trim_end_matches("/profile").to_owned())];
    if let Some(customer) = &profile.customer {
        let identities = customer.identities.iter();
        let identities: Vec<_> =
            identities.map(|identity| format!("{} {}", identity.source, text(identity.id.as_ref()))).collect();
        lines.extend([
            ("known as", identities.join(", ")),
            ("name", text(customer.display_name.as_ref())),
            ("phone", text(customer.phone.as_ref())),
            ("e-mail", text(customer.email.as_ref())),
            ("address", text(customer.address.as_ref())),
            ("born", output::date(customer.birth_date.as_ref())),
        ]);
        lines.extend(attribute_lines(customer));
    }
    if let Some(features) = &profile.features {
        let last = features.last_order_time.as_ref();
        let last = last.and_then(|last| Instant::from_parts(last.seconds, last.nanos).ok());
        lines.extend([
            ("orders", features.orders.to_string()),
            ("revenue", output::money(features.revenue.as_ref())),
            ("last order", last.map_or("-".to_owned(), |last| last.to_string())),
        ]);
        if !features.traits.is_empty() {
            lines.push(("traits", features.traits.iter().map(trait_value).collect::<Vec<_>>().join(", ")));
        }
    }
    if let Some(scores) = &profile.scores {
        lines.push(("RFM", format!("{}-{}-{}", scores.recency, scores.frequency, scores.monetary)));
        if let Some(percent) = scores.alive_percent {
            lines.push(("still buys", format!("{percent} % ({})", scores.value_model)));
        }
        if scores.lifetime_value.is_some() {
            let value = output::money(scores.lifetime_value.as_ref());
            lines.push(("lifetime value", format!("from {value} ({})", scores.value_model)));
        }
    }
    if let Some(grade) = profile.scores.as_ref().and_then(grade) {
        let vip = if grade.vip { ", VIP" } else { "" };
        lines.push(("grade", format!("{} ({}, {} value{vip})", grade.composite, grade.band, grade.tier)));
    }
    if let Some(stage) = &profile.stage {
        let name = stage.stage().as_str_name().trim_start_matches("STAGE_").to_owned();
        lines.push(("stage", format!("{name} ({})", stage.reason)));
    }
    if let Some(churn) = &profile.churn {
        lines.push(("risk of leaving", format!("{} % ({})", churn.risk_percent, churn.model)));
    }
    lines.extend(reward_lines(profile));
    lines.push(("labels", profile.labels.join(", ")));
    lines.push(("segments", profile.segments.join(", ")));
    if !profile.missing_parts.is_empty() {
        lines.push(("missing", profile.missing_parts.join(", ")));
    }
    lines
}
