//! The fields that conditions of stage policies may name.
//!
//! Where segments have a field of the name, it is the same. None is of money, of a place or of a person's circumstances: a stage is told to roles that
//! may not read these, and would tell them. To add one: a variant of [`StageField`], its row in `DEFINITIONS`, and its value in [`StageInput::value`].
//! Names never go: conditions are kept as text.

use super::StageInput;
use quintile_domain::time::Instant;
use quintile_expr::{Field, Schema, Type, ValueRef};
use std::sync::LazyLock;

/// A field. Its number is the field's id in rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum StageField {
    SilentDays = 1,
    RhythmsSilent,
    AlivePercent,
    ChurnRiskPercent,
    Recency,
    Frequency,
    Monetary,
    Orders,
    PurchaseDays,
    Orders30,
    Orders90,
    Orders365,
    PreviousOrders90,
    Interactions,
    Interactions90,
    PreviousInteractions90,
    LastNps,
    OpenComplaints,
    OpenTickets,
    FirstOrderAt,
    LastOrderAt,
    LastInteractionAt,
    AcquiredAt,
    Kind,
    Language,
    AcquisitionChannel,
    Channel,
    LastLowScoreAt,
}

/// What authors of conditions know of a field.
struct Definition(StageField, &'static str, Type, &'static str);

/// In the order of their ids, which start at 1 and leave no gap.
const DEFINITIONS: [Definition; 28] = [
    Definition(StageField::SilentDays, "silent_days", Type::Int, "local calendar days since the last order"),
    Definition(
        StageField::RhythmsSilent,
        "rhythms_silent",
        Type::Int,
        "how many times what its rhythm explains it is silent for longer than; 0: its rhythm explains it",
    ),
    Definition(
        StageField::AlivePercent,
        "alive_percent",
        Type::Int,
        "how likely the customer still buys, in hundredths, in steps of 5; missing without a value model in force",
    ),
    Definition(
        StageField::ChurnRiskPercent,
        "churn_risk_percent",
        Type::Int,
        "how likely the customer is to leave, in hundredths, in steps of 5; missing without a churn model in force",
    ),
    Definition(StageField::Recency, "rfm.r", Type::Int, "recency score, 1-5, 5 best; missing without a score"),
    Definition(StageField::Frequency, "rfm.f", Type::Int, "frequency score, 1-5, 5 best; missing without a score"),
    Definition(StageField::Monetary, "rfm.m", Type::Int, "monetary score, 1-5, 5 best; missing without a score"),
    Definition(StageField::Orders, "orders", Type::Int, "orders so far"),
    Definition(StageField::PurchaseDays, "purchase_days", Type::Int, "distinct local calendar days with an order"),
    Definition(StageField::Orders30, "orders_30", Type::Int, "orders of the last 30 days"),
    Definition(StageField::Orders90, "orders_90", Type::Int, "orders of the last 90 days"),
    Definition(StageField::Orders365, "orders_365", Type::Int, "orders of the last 365 days"),
    Definition(
        StageField::PreviousOrders90,
        "previous_orders_90",
        Type::Int,
        "orders of the 90 days before the last 90",
    ),
    Definition(StageField::Interactions, "interactions", Type::Int, "interactions so far"),
    Definition(StageField::Interactions90, "interactions_90", Type::Int, "interactions of the last 90 days"),
    Definition(
        StageField::PreviousInteractions90,
        "previous_interactions_90",
        Type::Int,
        "interactions of the 90 days before the last 90",
    ),
    Definition(
        StageField::LastNps,
        "last_nps",
        Type::Int,
        "latest willingness to recommend (NPS), 0 to 10; missing: never said",
    ),
    Definition(StageField::OpenComplaints, "open_complaints", Type::Int, "complaints that are not resolved"),
    Definition(StageField::OpenTickets, "open_tickets", Type::Int, "support tickets that are not resolved"),
    Definition(StageField::FirstOrderAt, "first_order_at", Type::Instant, "instant of the first order"),
    Definition(StageField::LastOrderAt, "last_order_at", Type::Instant, "instant of the last order"),
    Definition(StageField::LastInteractionAt, "last_interaction_at", Type::Instant, "instant of the last interaction"),
    Definition(
        StageField::AcquiredAt,
        "acquired_at",
        Type::Instant,
        "the beginning of the local day on which the customer came",
    ),
    Definition(StageField::Kind, "kind", Type::Text, "customer, contact or lead"),
    Definition(StageField::Language, "language", Type::Text, "language as a BCP 47 tag"),
    Definition(
        StageField::AcquisitionChannel,
        "acquisition_channel",
        Type::Text,
        "the channel through which the customer came",
    ),
    Definition(StageField::Channel, "channel", Type::Text, "primary channel: most contacts in 365 days"),
    Definition(
        StageField::LastLowScoreAt,
        "last_low_score_at",
        Type::Instant,
        "instant of the last low score: CSAT or stars of 1 or 2, NPS of 0 to 6; missing: never gave one",
    ),
];

/// Fields of segments that stages must not tell.
const WITHHELD: [&str; 11] = [
    "revenue",
    "net_revenue",
    "average_order_value",
    "revenue_30",
    "revenue_90",
    "revenue_365",
    "region",
    "country",
    "gender",
    "income_band",
    "household",
];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let fields = DEFINITIONS.iter().map(|Definition(field, name, ty, description)| Field {
        id: *field as u16,
        name: (*name).into(),
        ty: *ty,
        description: (*description).into(),
    });
    // No field is of money, so its decimals do not matter.
    Schema::new(fields.collect(), 2).expect("the names and ids above are spellable and each once")
});

/// The fields that conditions may name.
pub fn schema() -> &'static Schema {
    &SCHEMA
}

/// Whether a name is that of a field of segments that is of money, of a place or of a person's circumstances.
pub(super) fn is_withheld(name: &str) -> bool {
    WITHHELD.contains(&name)
}

impl StageField {
    /// The field of an id.
    pub(super) fn from_id(id: u16) -> Option<Self> {
        DEFINITIONS.get(usize::from(id).checked_sub(1)?).map(|definition| definition.0)
    }
}

impl StageInput<'_> {
    /// The value of a field; none when it is missing, or depends on the day that is asked about. `acquired_at` is when the day began on which the
    /// customer came.
    pub(super) fn value(&self, field: StageField, acquired_at: Option<Instant>) -> Option<ValueRef<'_>> {
        let int = |number: i64| Some(ValueRef::Int(number));
        let percent = |percent: Option<i32>| percent.map(|percent| ValueRef::Int(percent.into()));
        let score = |score: i32| Some(ValueRef::Int(score.into())).filter(|_| (1..=5).contains(&score));
        let at = |instant: Option<Instant>| instant.map(|instant| ValueRef::Instant(instant.micros()));
        let text = |text| Some(ValueRef::Text(text)).filter(|_| !str::is_empty(text));
        let [recency, frequency, monetary] = self.rfm;
        match field {
            StageField::SilentDays | StageField::RhythmsSilent => None,
            StageField::AlivePercent => percent(self.alive_percent),
            StageField::ChurnRiskPercent => percent(self.risk_percent),
            StageField::Recency => score(recency),
            StageField::Frequency => score(frequency),
            StageField::Monetary => score(monetary),
            StageField::Orders => int(self.orders),
            StageField::PurchaseDays => int(self.purchase_days),
            StageField::Orders30 => int(self.orders_30),
            StageField::Orders90 => int(self.orders_90),
            StageField::Orders365 => int(self.orders_365),
            StageField::PreviousOrders90 => int(self.previous_orders_90),
            StageField::Interactions => int(self.interactions),
            StageField::Interactions90 => int(self.interactions_90),
            StageField::PreviousInteractions90 => int(self.previous_interactions_90),
            StageField::LastNps => percent(self.last_nps),
            StageField::OpenComplaints => int(self.open_complaints),
            StageField::OpenTickets => int(self.open_tickets),
            StageField::FirstOrderAt => at(self.first_order),
            StageField::LastOrderAt => at(self.last_order),
            StageField::LastInteractionAt => at(self.last_interaction),
            StageField::AcquiredAt => at(acquired_at),
            StageField::Kind => text(self.kind),
            StageField::Language => text(self.language),
            StageField::AcquisitionChannel => text(self.acquisition_channel),
            StageField::Channel => text(self.channel),
            StageField::LastLowScoreAt => at(self.last_low_score),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_where_its_id_says() {
        for (index, Definition(field, name, ..)) in DEFINITIONS.iter().enumerate() {
            assert_eq!(*field as usize, index + 1, "{name}");
            assert_eq!(StageField::from_id(*field as u16), Some(*field));
        }
        assert_eq!(StageField::from_id(0), None);
        assert_eq!(StageField::from_id(DEFINITIONS.len() as u16 + 1), None);
    }

    #[test]
    fn no_field_is_of_money() {
        assert_eq!(schema().fields().len(), DEFINITIONS.len());
        assert!(schema().fields().iter().all(|field| field.ty != Type::Money));
        assert!(schema().fields().iter().all(|field| !is_withheld(&field.name)));
    }
}
