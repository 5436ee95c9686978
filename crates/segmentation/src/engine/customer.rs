//! One customer as it arrives, before it is columns.

use super::{Bitmap, Segments};
use crate::fields::FieldId;
use crate::own_fields;
use quintile_expr::{Row, ValueRef};

/// The values of one customer. An empty text is a missing one. Instants are microseconds since 1970 in UTC, money is
/// minor units of the tenant's base currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name, which fields.rs describes")]
pub struct Customer<'a> {
    pub recency: Option<u8>,
    pub frequency: Option<u8>,
    pub monetary: Option<u8>,
    pub label: &'a str,
    pub stage: &'a str,
    pub kind: &'a str,
    pub owner: &'a str,
    pub region: &'a str,
    pub department: &'a str,
    pub language: &'a str,
    pub acquisition_channel: &'a str,
    pub acquisition_campaign: &'a str,
    pub acquired_at: Option<i64>,
    pub country: &'a str,
    pub currency: &'a str,
    pub gender: &'a str,
    pub income_band: &'a str,
    pub household: &'a str,
    pub channel: &'a str,
    pub first_order_at: Option<i64>,
    pub last_order_at: Option<i64>,
    pub orders: i64,
    pub purchase_days: i64,
    pub net_revenue_minor: i64,
    pub revenue_minor: i64,
    pub average_order_value_minor: Option<i64>,
    pub orders_30: i64,
    pub orders_90: i64,
    pub orders_365: i64,
    pub previous_orders_90: i64,
    pub revenue_30_minor: i64,
    pub revenue_90_minor: i64,
    pub revenue_365_minor: i64,
    /// Of each purpose, in the order of the fields.
    pub consents: [&'a str; 5],
    pub top_category: &'a str,
    pub interactions: i64,
    pub last_interaction_at: Option<i64>,
    pub interactions_90: i64,
    pub previous_interactions_90: i64,
    pub last_nps: Option<i64>,
    pub last_low_score_time: Option<i64>,
    pub open_complaints: i64,
    pub open_tickets: i64,
    pub grade_value: Option<u8>,
    pub grade_band: &'a str,
    pub grade_tier: &'a str,
    pub grade_vip: &'a str,
    /// Of each kind of warning, in the order of the fields.
    pub warnings: [&'a str; 6],
    pub alive_percent: Option<u8>,
    pub churn_risk_percent: Option<u8>,
    pub lifetime_value_minor: Option<i64>,
    pub referrals: i64,
    /// Of the tenant's own fields, in the order in which they became known; those beyond the last are missing.
    pub own: &'a [Option<ValueRef<'a>>],
}

impl Customer<'_> {
    /// The value of a field, of the field's type; none when it is missing.
    pub fn value(&self, field: FieldId) -> Option<ValueRef<'_>> {
        let score = |score: Option<u8>| score.map(|score| ValueRef::Int(score.into()));
        let text = |text| Some(ValueRef::Text(text)).filter(|_| !str::is_empty(text));
        let int = |number| Some(ValueRef::Int(number));
        match field {
            FieldId::Recency => score(self.recency),
            FieldId::Frequency => score(self.frequency),
            FieldId::Monetary => score(self.monetary),
            FieldId::Label => text(self.label),
            FieldId::Stage => text(self.stage),
            FieldId::Kind => text(self.kind),
            FieldId::Owner => text(self.owner),
            FieldId::Region => text(self.region),
            FieldId::Department => text(self.department),
            FieldId::Language => text(self.language),
            FieldId::AcquisitionChannel => text(self.acquisition_channel),
            FieldId::Channel => text(self.channel),
            FieldId::FirstOrderAt => self.first_order_at.map(ValueRef::Instant),
            FieldId::LastOrderAt => self.last_order_at.map(ValueRef::Instant),
            FieldId::Orders => int(self.orders),
            FieldId::PurchaseDays => int(self.purchase_days),
            FieldId::NetRevenue => int(self.net_revenue_minor),
            FieldId::AverageOrderValue => self.average_order_value_minor.map(ValueRef::Int),
            FieldId::Orders30 => int(self.orders_30),
            FieldId::Orders90 => int(self.orders_90),
            FieldId::Orders365 => int(self.orders_365),
            FieldId::PreviousOrders90 => int(self.previous_orders_90),
            FieldId::Revenue30 => int(self.revenue_30_minor),
            FieldId::Revenue90 => int(self.revenue_90_minor),
            FieldId::Revenue365 => int(self.revenue_365_minor),
            FieldId::ConsentMarketing => text(self.consents[0]),
            FieldId::ConsentProfiling => text(self.consents[1]),
            FieldId::ConsentAnalytics => text(self.consents[2]),
            FieldId::ConsentSupport => text(self.consents[3]),
            FieldId::ConsentThirdParty => text(self.consents[4]),
            FieldId::TopCategory => text(self.top_category),
            FieldId::Interactions => int(self.interactions),
            FieldId::LastInteractionAt => self.last_interaction_at.map(ValueRef::Instant),
            FieldId::Interactions90 => int(self.interactions_90),
            FieldId::PreviousInteractions90 => int(self.previous_interactions_90),
            FieldId::LastNps => self.last_nps.map(ValueRef::Int),
            FieldId::OpenComplaints => int(self.open_complaints),
            FieldId::OpenTickets => int(self.open_tickets),
            FieldId::Revenue => int(self.revenue_minor),
            FieldId::AcquisitionCampaign => text(self.acquisition_campaign),
            FieldId::AcquiredAt => self.acquired_at.map(ValueRef::Instant),
            FieldId::Country => text(self.country),
            FieldId::Currency => text(self.currency),
            FieldId::Gender => text(self.gender),
            FieldId::IncomeBand => text(self.income_band),
            FieldId::Household => text(self.household),
            FieldId::GradeValue => score(self.grade_value),
            FieldId::GradeBand => text(self.grade_band),
            FieldId::GradeTier => text(self.grade_tier),
            FieldId::GradeVip => text(self.grade_vip),
            FieldId::WarningSilence => text(self.warnings[0]),
            FieldId::WarningPurchases => text(self.warnings[1]),
            FieldId::WarningInteractions => text(self.warnings[2]),
            FieldId::WarningComplaint => text(self.warnings[3]),
            FieldId::AlivePercent => score(self.alive_percent),
            FieldId::ChurnRiskPercent => score(self.churn_risk_percent),
            FieldId::WarningChurnRisk => text(self.warnings[4]),
            FieldId::LifetimeValue => self.lifetime_value_minor.map(ValueRef::Int),
            FieldId::LastLowScoreAt => self.last_low_score_time.map(ValueRef::Instant),
            FieldId::WarningLowScore => text(self.warnings[5]),
            FieldId::Referrals => int(self.referrals),
        }
    }

    /// The value of a field by id, of the field's type; none when it is missing.
    pub fn value_of(&self, field: u16) -> Option<ValueRef<'_>> {
        match FieldId::from_id(field) {
            Some(field) => self.value(field),
            None => self.own.get(usize::from(field.checked_sub(own_fields::FIRST_ID)?)).copied().flatten(),
        }
    }

    /// This customer as rules see it, before the engine knows it: the "after" of a live change.
    pub fn row<'r>(&'r self, customer_id: u32, segments: &'r Segments<'_>) -> impl Row {
        CustomerRow { customer: self, customer_id, segments: Lookup(segments) }
    }
}

/// Borrows a lookup whose bitmaps may live longer than the borrow.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a, 's>(pub(super) &'a Segments<'s>);

impl Lookup<'_, '_> {
    pub(super) fn contains(self, name: &str, customer_id: u32) -> bool {
        self.0(name).is_some_and(|segment: &Bitmap| segment.contains(customer_id))
    }
}

struct CustomerRow<'a, 's> {
    customer: &'a Customer<'a>,
    customer_id: u32,
    segments: Lookup<'a, 's>,
}

impl Row for CustomerRow<'_, '_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        self.customer.value_of(field)
    }

    fn in_segment(&self, name: &str) -> bool {
        self.segments.contains(name, self.customer_id)
    }
}
