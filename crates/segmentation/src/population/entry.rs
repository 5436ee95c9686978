//! A record as the engine takes it in.

use crate::engine::Customer;
use crate::fields::FieldId;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone, days_since_1970};
use quintile_proto::google_type::Date;
use quintile_proto::types::{CustomerRecord, Features, ScoreValues, Stage, WarningKind};
use quintile_rpc::convert;
use quintile_rpc::scope;

/// What the versions of the model begin with whose composite is the tenant's grading.
const GRADE_MODEL: &str = "scoreModels/grade/";

/// A record as the engine takes it in.
pub struct Entry {
    pub(super) record: CustomerRecord,
    pub(super) label: String,
}

impl Entry {
    /// The record.
    pub fn record(&self) -> &CustomerRecord {
        &self.record
    }

    /// The latest instant that a part of the record was computed for.
    pub fn computed_at(&self) -> Instant {
        let record = &self.record;
        let parts = [
            record.features.as_ref().and_then(|part| part.as_of.as_ref()),
            record.scores.as_ref().and_then(|part| part.as_of.as_ref()),
            record.stage.as_ref().and_then(|part| part.as_of.as_ref()),
            record.churn.as_ref().and_then(|part| part.as_of.as_ref()),
        ];
        parts.into_iter().filter_map(convert::sent_instant).max().unwrap_or_default()
    }

    pub(super) fn customer(&self, currency: Currency, zone: &TimeZone) -> Customer<'_> {
        let minor = |money| convert::sent_minor(money, currency);
        let score = |score: i32| u8::try_from(score).ok().filter(|score| (1..=5).contains(score));
        let mut customer = Customer { label: &self.label, ..Customer::default() };
        if let Some(scores) = &self.record.scores {
            customer.recency = score(scores.recency);
            customer.frequency = score(scores.frequency);
            customer.monetary = score(scores.monetary);
            customer.alive_percent = scores.alive_percent.and_then(|percent| u8::try_from(percent).ok());
            customer.lifetime_value_minor = minor(scores.lifetime_value.as_ref());
            set_grade(&mut customer, scores);
        }
        if let Some(churn) = &self.record.churn {
            customer.churn_risk_percent = u8::try_from(churn.risk_percent).ok();
        }
        if let Some(stage) = &self.record.stage {
            customer.stage = stage_text(stage.stage());
            customer.warnings =
                WARNING_KINDS.map(|kind| if stage.warnings().any(|shown| shown == kind) { "yes" } else { "no" });
        }
        if let Some(attributes) = &self.record.attributes {
            let text = |field: FieldId| scope::attribute(attributes, field.id()).unwrap_or_default();
            customer.kind = text(FieldId::Kind);
            customer.owner = text(FieldId::Owner);
            customer.region = text(FieldId::Region);
            customer.department = text(FieldId::Department);
            customer.language = text(FieldId::Language);
            customer.acquisition_channel = text(FieldId::AcquisitionChannel);
            customer.acquisition_campaign = &attributes.acquisition_campaign;
            customer.acquired_at =
                attributes.acquisition_date.and_then(|date| begin_of(date, zone)).map(Instant::micros);
            customer.country = attributes.country.as_deref().unwrap_or_default();
            customer.currency = &attributes.currency;
            customer.gender = attributes.gender.as_deref().unwrap_or_default();
            customer.income_band = attributes.income_band.as_deref().unwrap_or_default();
            customer.household = attributes.household.as_deref().unwrap_or_default();
            customer.consents = [
                text(FieldId::ConsentMarketing),
                text(FieldId::ConsentProfiling),
                text(FieldId::ConsentAnalytics),
                text(FieldId::ConsentSupport),
                text(FieldId::ConsentThirdParty),
            ];
        }
        if let Some(features) = &self.record.features {
            let instant = |at| convert::sent_instant(at).map(Instant::micros);
            customer.channel = &features.primary_channel;
            customer.first_order_at = instant(features.first_order_time.as_ref());
            customer.last_order_at = instant(features.last_order_time.as_ref());
            customer.orders = features.orders;
            customer.purchase_days = features.purchase_days;
            customer.net_revenue_minor = minor(features.net_revenue.as_ref()).unwrap_or(0);
            customer.revenue_minor = minor(features.revenue.as_ref()).unwrap_or(0);
            customer.average_order_value_minor = minor(features.average_order_value.as_ref());
            customer.top_category = &features.top_category;
            customer.interactions = features.interactions;
            customer.last_interaction_at = instant(features.last_interaction_time.as_ref());
            customer.last_nps = features.last_nps.map(i64::from);
            customer.last_low_score_time = instant(features.last_low_score_time.as_ref());
            customer.open_complaints = features.open_complaints;
            customer.open_tickets = features.open_tickets;
            customer.referrals = features.referrals;
            set_windows(&mut customer, features, currency);
        }
        customer
    }
}

/// What it did in the windows that rules know.
fn set_windows(customer: &mut Customer<'_>, features: &Features, currency: Currency) {
    for window in &features.windows {
        let revenue = convert::sent_minor(window.revenue.as_ref(), currency).unwrap_or(0);
        match window.days {
            30 => (customer.orders_30, customer.revenue_30_minor) = (window.orders, revenue),
            90 => {
                (customer.orders_90, customer.revenue_90_minor) = (window.orders, revenue);
                customer.previous_orders_90 = window.previous_orders;
                customer.interactions_90 = window.interactions;
                customer.previous_interactions_90 = window.previous_interactions;
            }
            365 => (customer.orders_365, customer.revenue_365_minor) = (window.orders, revenue),
            _ => {}
        }
    }
}

/// The tenant's grading: the grade of the model of that name.
fn set_grade<'a>(customer: &mut Customer<'a>, scores: &'a ScoreValues) {
    let graded = scores.models.iter().find(|score| score.model_version.starts_with(GRADE_MODEL));
    let Some(grade) = graded.and_then(|score| score.grade.as_ref()) else { return };
    customer.grade_value = u8::try_from(grade.composite).ok();
    customer.grade_band = &grade.band;
    customer.grade_tier = &grade.tier;
    customer.grade_vip = if grade.vip { "yes" } else { "no" };
}

/// The beginning of a local day.
fn begin_of(date: Date, zone: &TimeZone) -> Option<Instant> {
    let year = i16::try_from(date.year).ok()?;
    let day = days_since_1970(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?)?;
    Some(zone.start_of_day(day))
}

/// The kinds of warnings, in the order of their fields.
const WARNING_KINDS: [WarningKind; 6] = [
    WarningKind::Silence,
    WarningKind::FewerPurchases,
    WarningKind::FewerInteractions,
    WarningKind::Complaint,
    WarningKind::ChurnRisk,
    WarningKind::LowScore,
];

fn stage_text(stage: Stage) -> &'static str {
    match stage {
        Stage::Unspecified => "",
        Stage::Lead => "lead",
        Stage::New => "new",
        Stage::Active => "active",
        Stage::Loyal => "loyal",
        Stage::AtRisk => "at_risk",
        Stage::Dormant => "dormant",
        Stage::Churned => "churned",
        Stage::Reactivated => "reactivated",
    }
}
