//! The built-in fields that segments may use.
//!
//! To add one: a variant of [`FieldId`] at the end (ids are stored in definitions and never change), its row in
//! `DEFINITIONS`, and its value in [`Customer::value`](crate::engine::Customer::value). The engine makes the column.

use quintile_domain::masking::Sensitivity;
use quintile_expr::{Field, Schema, SchemaError, Type};

/// A built-in field. Its number is the field's id in rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
#[expect(missing_docs, reason = "the table below describes each")]
pub enum FieldId {
    Recency = 1,
    Frequency = 2,
    Monetary = 3,
    Label = 4,
    Stage = 5,
    Kind = 6,
    Owner = 7,
    Region = 8,
    Department = 9,
    Language = 10,
    AcquisitionChannel = 11,
    Channel = 12,
    FirstOrderAt = 13,
    LastOrderAt = 14,
    Orders = 15,
    PurchaseDays = 16,
    NetRevenue = 17,
    AverageOrderValue = 18,
    Orders30 = 19,
    Orders90 = 20,
    Orders365 = 21,
    PreviousOrders90 = 22,
    Revenue30 = 23,
    Revenue90 = 24,
    Revenue365 = 25,
    ConsentMarketing = 26,
    ConsentProfiling = 27,
    ConsentAnalytics = 28,
    ConsentSupport = 29,
    ConsentThirdParty = 30,
    TopCategory = 31,
    Interactions = 32,
    LastInteractionAt = 33,
    Interactions90 = 34,
    PreviousInteractions90 = 35,
    LastNps = 36,
    OpenComplaints = 37,
    OpenTickets = 38,
    Revenue = 39,
    AcquisitionCampaign = 40,
    AcquiredAt = 41,
    Country = 42,
    Currency = 43,
    Gender = 44,
    IncomeBand = 45,
    Household = 46,
    GradeValue = 47,
    GradeBand = 48,
    GradeTier = 49,
    GradeVip = 50,
    WarningSilence = 51,
    WarningPurchases = 52,
    WarningInteractions = 53,
    WarningComplaint = 54,
    AlivePercent = 55,
    ChurnRiskPercent = 56,
    WarningChurnRisk = 57,
    LifetimeValue = 58,
    LastLowScoreAt = 59,
    WarningLowScore = 60,
    Referrals = 61,
}

/// What rules, access control and authors know of a field.
struct Definition {
    field: FieldId,
    name: &'static str,
    ty: Type,
    sensitivity: Sensitivity,
    description: &'static str,
}

const fn define(field: FieldId, name: &'static str, ty: Type, description: &'static str) -> Definition {
    let sensitivity = match (ty, field) {
        (Type::Money, _) => Sensitivity::Financial,
        (_, FieldId::Region | FieldId::Country) => Sensitivity::Location,
        (_, FieldId::Gender | FieldId::IncomeBand | FieldId::Household) => Sensitivity::Demographic,
        _ => Sensitivity::None,
    };
    Definition { field, name, ty, sensitivity, description }
}

const CONSENT: &str = "\"given\" or \"objected\"; missing: the customer has said neither";

/// In the order of their ids, which start at 1 and leave no gap.
const DEFINITIONS: [Definition; 61] = [
    define(FieldId::Recency, "rfm.r", Type::Int, "recency score, 1-5, 5 best; missing without orders"),
    define(FieldId::Frequency, "rfm.f", Type::Int, "frequency score, 1-5, 5 best; missing without orders"),
    define(FieldId::Monetary, "rfm.m", Type::Int, "monetary score, 1-5, 5 best; missing without orders"),
    define(
        FieldId::Label,
        "label",
        Type::Text,
        "label of the RFM cell, such as \"champions\"; \"unscored\" without orders",
    ),
    define(
        FieldId::Stage,
        "stage",
        Type::Text,
        "lead, new, active, loyal, at_risk, dormant, churned or reactivated; missing until lifecycle has decided",
    ),
    define(FieldId::Kind, "kind", Type::Text, "customer, contact or lead"),
    define(FieldId::Owner, "owner", Type::Text, "the colleague who looks after the customer; missing: nobody"),
    define(FieldId::Region, "region", Type::Text, "region in the tenant's own words"),
    define(FieldId::Department, "department", Type::Text, "the department that looks after the customer"),
    define(FieldId::Language, "language", Type::Text, "language as a BCP 47 tag"),
    define(
        FieldId::AcquisitionChannel,
        "acquisition_channel",
        Type::Text,
        "the channel through which the customer came",
    ),
    define(FieldId::Channel, "channel", Type::Text, "primary channel: most contacts in 365 days"),
    define(FieldId::FirstOrderAt, "first_order_at", Type::Instant, "instant of the first order"),
    define(FieldId::LastOrderAt, "last_order_at", Type::Instant, "instant of the last order"),
    define(FieldId::Orders, "orders", Type::Int, "orders so far"),
    define(FieldId::PurchaseDays, "purchase_days", Type::Int, "distinct local calendar days with an order"),
    define(FieldId::NetRevenue, "net_revenue", Type::Money, "revenue so far, net of refunds"),
    define(FieldId::AverageOrderValue, "average_order_value", Type::Money, "revenue per order; missing without orders"),
    define(FieldId::Orders30, "orders_30", Type::Int, "orders of the last 30 days"),
    define(FieldId::Orders90, "orders_90", Type::Int, "orders of the last 90 days"),
    define(FieldId::Orders365, "orders_365", Type::Int, "orders of the last 365 days"),
    define(FieldId::PreviousOrders90, "previous_orders_90", Type::Int, "orders of the 90 days before the last 90"),
    define(FieldId::Revenue30, "revenue_30", Type::Money, "revenue of the last 30 days"),
    define(FieldId::Revenue90, "revenue_90", Type::Money, "revenue of the last 90 days"),
    define(FieldId::Revenue365, "revenue_365", Type::Money, "revenue of the last 365 days"),
    define(FieldId::ConsentMarketing, "consent.marketing", Type::Text, CONSENT),
    define(FieldId::ConsentProfiling, "consent.profiling", Type::Text, CONSENT),
    define(FieldId::ConsentAnalytics, "consent.analytics", Type::Text, CONSENT),
    define(FieldId::ConsentSupport, "consent.support", Type::Text, CONSENT),
    define(FieldId::ConsentThirdParty, "consent.third_party", Type::Text, CONSENT),
    define(FieldId::TopCategory, "top_category", Type::Text, "the category with the most revenue"),
    define(FieldId::Interactions, "interactions", Type::Int, "interactions so far"),
    define(FieldId::LastInteractionAt, "last_interaction_at", Type::Instant, "instant of the last interaction"),
    define(FieldId::Interactions90, "interactions_90", Type::Int, "interactions of the last 90 days"),
    define(
        FieldId::PreviousInteractions90,
        "previous_interactions_90",
        Type::Int,
        "interactions of the 90 days before the last 90",
    ),
    define(
        FieldId::LastNps,
        "last_nps",
        Type::Int,
        "latest willingness to recommend (NPS), 0 to 10; missing: never said",
    ),
    define(FieldId::OpenComplaints, "open_complaints", Type::Int, "complaints that are not resolved"),
    define(FieldId::OpenTickets, "open_tickets", Type::Int, "support tickets that are not resolved"),
    define(FieldId::Revenue, "revenue", Type::Money, "revenue so far, refunds counted by the tenant's policy"),
    define(FieldId::AcquisitionCampaign, "acquisition_campaign", Type::Text, "the campaign by which the customer came"),
    define(
        FieldId::AcquiredAt,
        "acquired_at",
        Type::Instant,
        "the beginning of the local day on which the customer came",
    ),
    define(FieldId::Country, "country", Type::Text, "country, as its two letters of ISO 3166-1"),
    define(FieldId::Currency, "currency", Type::Text, "the currency that the customer pays in, such as \"EUR\""),
    define(FieldId::Gender, "gender", Type::Text, "gender in the tenant's own words"),
    define(FieldId::IncomeBand, "income_band", Type::Text, "band of the income in the tenant's own words"),
    define(FieldId::Household, "household", Type::Text, "whom the customer lives with, in the tenant's own words"),
    define(FieldId::GradeValue, "grade.value", Type::Int, "composite of the model \"grade\", 0-100; missing: no grade"),
    define(FieldId::GradeBand, "grade.band", Type::Text, "band of the grade, such as \"A\""),
    define(FieldId::GradeTier, "grade.tier", Type::Text, "\"low\", \"middle\" or \"high\" value by the grade"),
    define(FieldId::GradeVip, "grade.vip", Type::Text, "\"yes\" or \"no\": a VIP by the grade"),
    define(FieldId::WarningSilence, "warning.silence", Type::Text, "\"yes\" or \"no\": silent beyond its rhythm"),
    define(
        FieldId::WarningPurchases,
        "warning.purchases",
        Type::Text,
        "\"yes\" or \"no\": buys half as often as before",
    ),
    define(
        FieldId::WarningInteractions,
        "warning.interactions",
        Type::Text,
        "\"yes\" or \"no\": gets in touch half as often as before",
    ),
    define(
        FieldId::WarningComplaint,
        "warning.complaint",
        Type::Text,
        "\"yes\" or \"no\": a complaint is not resolved",
    ),
    define(
        FieldId::AlivePercent,
        "alive_percent",
        Type::Int,
        "how likely the customer still buys, in hundredths, in steps of 5; missing without a value model in force or without orders",
    ),
    define(
        FieldId::ChurnRiskPercent,
        "churn_risk_percent",
        Type::Int,
        "how likely the customer is to leave, in hundredths, in steps of 5; missing without a churn model in force or orders of 365 days",
    ),
    define(
        FieldId::WarningChurnRisk,
        "warning.churn_risk",
        Type::Text,
        "\"yes\" or \"no\": likely to leave by the churn model",
    ),
    define(
        FieldId::LifetimeValue,
        "lifetime_value",
        Type::Money,
        "what the customer will be worth, rounded down to a step; missing without a value model in force that knows spending, or without orders",
    ),
    define(
        FieldId::LastLowScoreAt,
        "last_low_score_at",
        Type::Instant,
        "instant of the last low score: CSAT or stars of 1 or 2, NPS of 0 to 6; missing: never gave one",
    ),
    define(
        FieldId::WarningLowScore,
        "warning.low_score",
        Type::Text,
        "\"yes\" or \"no\": gave a low score within 14 days",
    ),
    define(FieldId::Referrals, "referrals", Type::Int, "other customers whom this one has sent and who have bought"),
];

impl FieldId {
    /// Every field, in the order of their ids.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        DEFINITIONS.iter().map(|definition| definition.field)
    }

    /// The field of an id; none for an id that is no built-in field's.
    pub fn from_id(id: u16) -> Option<Self> {
        definition(id).map(|definition| definition.field)
    }

    /// What rules and access control know the field by.
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// What rules call the field, such as `rfm.r`.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    /// Whether it is an attribute of the customer: no purchase and no passing of time changes it.
    pub const fn is_attribute(self) -> bool {
        matches!(
            self,
            Self::Kind
                | Self::Owner
                | Self::Region
                | Self::Department
                | Self::Language
                | Self::AcquisitionChannel
                | Self::AcquisitionCampaign
                | Self::AcquiredAt
                | Self::Country
                | Self::Currency
                | Self::Gender
                | Self::IncomeBand
                | Self::Household
                | Self::ConsentMarketing
                | Self::ConsentProfiling
                | Self::ConsentAnalytics
                | Self::ConsentSupport
                | Self::ConsentThirdParty
        )
    }

    /// Whether it is of all facts there were: no passing of time alone changes it.
    pub const fn is_lifetime(self) -> bool {
        matches!(
            self,
            Self::FirstOrderAt
                | Self::LastOrderAt
                | Self::Orders
                | Self::PurchaseDays
                | Self::NetRevenue
                | Self::Revenue
                | Self::AverageOrderValue
                | Self::TopCategory
                | Self::Interactions
                | Self::LastInteractionAt
                | Self::LastNps
                | Self::OpenComplaints
                | Self::OpenTickets
                | Self::LastLowScoreAt
                | Self::Referrals
        )
    }

    /// The type of the field's values.
    pub const fn ty(self) -> Type {
        self.definition().ty
    }

    const fn definition(self) -> &'static Definition {
        &DEFINITIONS[self as usize - 1]
    }
}

fn definition(id: u16) -> Option<&'static Definition> {
    DEFINITIONS.get(usize::from(id).checked_sub(1)?)
}

/// The schema of the built-in fields, for a currency with `minor_digits` decimals (ISO 4217: 2 for EUR, 0 for JPY).
///
/// # Errors
/// [`SchemaError::TooManyDecimals`] above 4, which no currency has.
pub fn schema(minor_digits: u8) -> Result<Schema, SchemaError> {
    schema_with(minor_digits, Vec::new())
}

/// The same with fields of a tenant's own.
///
/// # Errors
/// [`SchemaError`]; where a field of its own has the name or the id of another.
pub fn schema_with(minor_digits: u8, own: Vec<Field>) -> Result<Schema, SchemaError> {
    let fields = DEFINITIONS.iter().map(|definition| Field {
        id: definition.field.id(),
        name: definition.name.into(),
        ty: definition.ty,
        description: definition.description.into(),
    });
    Schema::new(fields.chain(own).collect(), minor_digits)
}

/// What is said of customers who have more of a field than others, and of those who have less; of an instant: for whom it is longer ago.
pub fn words(name: &str, is_instant: bool) -> (String, String) {
    let known = match name {
        "orders" => ("many orders", "few orders"),
        "purchase_days" => ("many days with orders", "few days with orders"),
        "net_revenue" => ("high net revenue", "low net revenue"),
        "revenue" => ("high revenue", "low revenue"),
        "average_order_value" => ("large orders", "small orders"),
        "first_order_at" => ("first bought long ago", "first bought recently"),
        "last_order_at" => ("last bought long ago", "bought recently"),
        "last_interaction_at" => ("silent for long", "in touch recently"),
        "last_low_score_at" => ("last displeased long ago", "displeased recently"),
        "acquired_at" => ("came long ago", "came recently"),
        "interactions" => ("many interactions", "few interactions"),
        "last_nps" => ("would recommend", "would not recommend"),
        "open_complaints" => ("open complaints", "no open complaints"),
        "open_tickets" => ("open tickets", "no open tickets"),
        "referrals" => ("many referrals", "few referrals"),
        "alive_percent" => ("likely to still buy", "likely to buy no more"),
        "lifetime_value" => ("high lifetime value", "low lifetime value"),
        "churn_risk_percent" => ("likely to leave", "likely to stay"),
        _ if is_instant => return (format!("{name} long ago"), format!("{name} recently")),
        _ => return (format!("high {name}"), format!("low {name}")),
    };
    (known.0.to_owned(), known.1.to_owned())
}

/// Classes of fields: those that a rule reads. Kept with every change that the rule makes, since the rule may be gone when it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(i32);

impl Classes {
    /// Some classes.
    pub fn of(classes: impl IntoIterator<Item = Sensitivity>) -> Self {
        Self(classes.into_iter().fold(0, |all, class| all | 1 << class as i32))
    }

    /// These and others.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The classes as a database keeps them.
    pub const fn as_i32(self) -> i32 {
        self.0
    }

    /// The classes that a database has kept.
    pub const fn from_i32(bits: i32) -> Self {
        Self(bits)
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = Sensitivity> {
        Sensitivity::ALL.into_iter().filter(move |class| self.0 & (1 << *class as i32) != 0)
    }
}

/// The class that a caller must read in clear to use the field with this id in a rule. An id that is no field's asks for
/// the class that is granted last, so that a mistake hides and never shows.
pub fn sensitivity(field: u16) -> Sensitivity {
    definition(field).map_or(Sensitivity::IdNumber, |definition| definition.sensitivity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_where_its_id_says() {
        for (index, field) in FieldId::all().enumerate() {
            assert_eq!(usize::from(field.id()), index + 1, "{field:?}");
            assert_eq!(FieldId::from_id(field.id()), Some(field));
        }
        assert_eq!(FieldId::from_id(0), None);
        assert_eq!(FieldId::from_id(DEFINITIONS.len() as u16 + 1), None);
    }

    #[test]
    fn every_currency_has_a_schema_and_no_other() {
        for minor_digits in 0..=4 {
            assert_eq!(schema(minor_digits).unwrap().fields().len(), DEFINITIONS.len());
        }
        assert_eq!(schema(5).unwrap_err(), SchemaError::TooManyDecimals(5));
    }

    #[test]
    fn row_scopes_know_attributes_by_the_same_ids_and_names() {
        for (id, name) in quintile_rpc::scope::FIELDS {
            assert_eq!(FieldId::from_id(id).map(|field| (field.name(), field.ty())), Some((name, Type::Text)));
        }
    }

    #[test]
    fn money_places_and_circumstances_have_their_classes_and_the_rest_tells_nothing() {
        for field in FieldId::all() {
            let expected = match field {
                FieldId::Region | FieldId::Country => Sensitivity::Location,
                FieldId::Gender | FieldId::IncomeBand | FieldId::Household => Sensitivity::Demographic,
                _ if field.ty() == Type::Money => Sensitivity::Financial,
                _ => Sensitivity::None,
            };
            assert_eq!(sensitivity(field.id()), expected, "{field:?}");
        }
        assert_ne!(sensitivity(999), Sensitivity::None);
    }
}
