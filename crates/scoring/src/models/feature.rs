//! What a dimension scores: one value of a customer's record.
//!
//! To add a built-in feature: a row of `BUILT_IN`, and its value in [`built_in`]. The proto comment of `Dimension.feature` lists them.

use super::At;
use crate::value::lifetime::minor_on;
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_domain::names::{nearest, resource_id};
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::types::{CustomerKind, CustomerRecord, Features, TraitValue, WindowActivity};
use quintile_rpc::convert;
use std::ops::RangeInclusive;

/// The feature that a model of lifetime value says: it falls from day to day.
pub const LIFETIME_VALUE: &str = "lifetime_value";
/// What traits are named by.
const TRAIT: &str = "traits/";

/// A feature that dimensions may score.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// By its place in the table of built-in features.
    BuiltIn(usize),
    /// A trait of the tenant, by its id.
    Trait(String),
}

/// What a whole number of a feature counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Local calendar days since an instant: grows by itself.
    Days,
    /// Things, named in the plural.
    Count(&'static str),
    /// Minor units of the base currency.
    Minor,
    /// Thousandths of what is no whole number, rounded half away from zero.
    Thousandths,
    /// A text: no number.
    Text,
    /// What the tenant's trait has.
    Trait,
}

/// The value of a feature, for one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// None.
    Missing,
    /// A number, in the feature's unit.
    Number(i64),
    /// The local day (days since 1970-01-01) that days are counted from.
    Day(i64),
    /// A text that is not empty.
    Text(&'a str),
}

/// What days and money are counted in.
#[derive(Clone, Copy, Debug)]
pub struct Conventions<'a> {
    /// The tenant's base currency.
    pub currency: Currency,
    /// The tenant's time zone.
    pub zone: &'a TimeZone,
}

struct Definition {
    name: &'static str,
    unit: Unit,
}

const fn feature(name: &'static str, unit: Unit) -> Definition {
    Definition { name, unit }
}

const BUILT_IN: [Definition; 39] = [
    feature("days_since(last_order_at)", Unit::Days),
    feature("days_since(first_order_at)", Unit::Days),
    feature("days_since(last_interaction_at)", Unit::Days),
    feature("days_since(last_low_score_at)", Unit::Days),
    feature("orders", Unit::Count("orders")),
    feature("purchase_days", Unit::Count("purchase days")),
    feature("refunds", Unit::Count("refunds")),
    feature("category_count", Unit::Count("categories")),
    feature("orders_30", Unit::Count("orders")),
    feature("orders_90", Unit::Count("orders")),
    feature("orders_365", Unit::Count("orders")),
    feature("previous_orders_90", Unit::Count("orders")),
    feature("interactions", Unit::Count("interactions")),
    feature("interactions_90", Unit::Count("interactions")),
    feature("feedback_count", Unit::Count("answers")),
    feature("last_nps", Unit::Count("points")),
    feature("complaints", Unit::Count("complaints")),
    feature("open_complaints", Unit::Count("complaints")),
    feature("open_tickets", Unit::Count("tickets")),
    feature("referrals", Unit::Count("referrals")),
    feature("revenue", Unit::Minor),
    feature("net_revenue", Unit::Minor),
    feature("gross_revenue", Unit::Minor),
    feature("refunded", Unit::Minor),
    feature("profit", Unit::Minor),
    feature("average_order_value", Unit::Minor),
    feature("revenue_30", Unit::Minor),
    feature("revenue_90", Unit::Minor),
    feature("revenue_365", Unit::Minor),
    feature(LIFETIME_VALUE, Unit::Minor),
    feature("csat_mean", Unit::Thousandths),
    feature("gap_mean_days", Unit::Thousandths),
    feature("channel", Unit::Text),
    feature("top_category", Unit::Text),
    feature("kind", Unit::Text),
    feature("language", Unit::Text),
    feature("acquisition_channel", Unit::Text),
    feature("acquisition_campaign", Unit::Text),
    feature("department", Unit::Text),
];

impl Feature {
    /// The feature of this name. The error is the nearest known name, if there is one like it.
    pub fn from_name(name: &str) -> Result<Self, Option<&'static str>> {
        if let Some(id) = name.strip_prefix(TRAIT).filter(|id| resource_id(id).is_ok()) {
            return Ok(Self::Trait(id.to_owned()));
        }
        let place = BUILT_IN.iter().position(|built_in| built_in.name == name).map(Self::BuiltIn);
        place.ok_or_else(|| nearest(name, BUILT_IN.iter().map(|built_in| built_in.name)))
    }

    /// What dimensions know it by.
    pub fn name(&self) -> String {
        match self {
            Self::BuiltIn(place) => BUILT_IN[*place].name.to_owned(),
            Self::Trait(id) => format!("{TRAIT}{id}"),
        }
    }

    /// What it is counted in.
    pub fn unit(&self) -> Unit {
        match self {
            Self::BuiltIn(place) => BUILT_IN[*place].unit,
            Self::Trait(_) => Unit::Trait,
        }
    }

    /// The numbers that it can have, in its unit: of what is counted, none below 0.
    pub fn range(&self) -> RangeInclusive<i64> {
        let definition = match self {
            Self::BuiltIn(place) => &BUILT_IN[*place],
            Self::Trait(_) => return i64::MIN..=i64::MAX,
        };
        match (definition.name, definition.unit) {
            ("last_nps", _) => 0..=10,
            ("csat_mean", _) => 1_000..=5_000,
            (_, Unit::Days | Unit::Count(_) | Unit::Thousandths) => 0..=i64::MAX,
            // Who has been given back more than it spent has negative sums.
            (_, Unit::Minor | Unit::Text | Unit::Trait) => i64::MIN..=i64::MAX,
        }
    }

    /// What its value is counted in for one customer, in words: of a trait the value says it.
    pub fn unit_in_words(&self, record: &CustomerRecord, currency: Currency) -> String {
        let Self::Trait(id) = self else { return self.unit().in_words(currency) };
        let traits = record.features.as_ref().map(|features| features.traits.as_slice()).unwrap_or_default();
        let unit = match traits.iter().find(|value| value.key == *id) {
            Some(value) if value.money.is_some() => Unit::Minor,
            Some(value) if value.number.is_some() => Unit::Thousandths,
            Some(value) if value.time.is_some() => Unit::Days,
            _ => Unit::Trait,
        };
        unit.in_words(currency)
    }

    /// Whether it changes with the day although no day is counted.
    pub fn falls_by_day(&self) -> bool {
        matches!(self, Self::BuiltIn(place) if BUILT_IN[*place].name == LIFETIME_VALUE)
    }

    /// Whether its scores may change with the day alone. Of a trait only its values say it.
    pub fn may_change_by_day(&self) -> bool {
        self.falls_by_day() || matches!(self.unit(), Unit::Days | Unit::Trait)
    }

    /// The class that a caller must read in clear to make models of it. What a trait reads is ingestion's to say; until it was asked, it is the
    /// stricter.
    pub fn sensitivity(&self) -> Sensitivity {
        match self.unit() {
            Unit::Minor | Unit::Trait => Sensitivity::Financial,
            _ => Sensitivity::None,
        }
    }

    /// The value of a customer as of an instant, of which only [`LIFETIME_VALUE`] takes notice. Whoever has no order has no value of what is about
    /// orders.
    pub fn value<'a>(&self, record: &'a CustomerRecord, at: &At<'_>) -> Value<'a> {
        let conventions = at.conventions;
        match self {
            Self::BuiltIn(place) if BUILT_IN[*place].name == LIFETIME_VALUE => lifetime_value(record, at),
            Self::BuiltIn(place) => built_in(BUILT_IN[*place].name, record, conventions),
            Self::Trait(id) => {
                let traits = record.features.as_ref().map(|features| features.traits.as_slice()).unwrap_or_default();
                let value = traits.iter().find(|value| value.key == *id);
                value.map_or(Value::Missing, |value| of_trait(value, conventions))
            }
        }
    }
}

impl Unit {
    /// As callers read it: `days`, `orders`, `USD minor`; empty for a text, and for a trait whose value says it.
    pub fn in_words(self, currency: Currency) -> String {
        match self {
            Self::Days => "days".to_owned(),
            Self::Count(what) => what.to_owned(),
            Self::Minor => format!("{} minor", currency.code()),
            Self::Thousandths => "thousandths".to_owned(),
            Self::Text | Self::Trait => String::new(),
        }
    }
}

fn built_in<'a>(name: &str, record: &'a CustomerRecord, conventions: Conventions<'_>) -> Value<'a> {
    if let Some(attributes) = &record.attributes {
        match name {
            "kind" => return text(kind(attributes.kind())),
            "language" => return text(&attributes.language),
            "acquisition_channel" => return text(&attributes.acquisition_channel),
            "acquisition_campaign" => return text(&attributes.acquisition_campaign),
            "department" => return text(&attributes.department),
            _ => {}
        }
    }
    let Some(features) = &record.features else { return Value::Missing };
    let day = |instant| day(convert::sent_instant(instant), conventions);
    match name {
        "days_since(last_interaction_at)" => day(features.last_interaction_time.as_ref()),
        "days_since(last_low_score_at)" => day(features.last_low_score_time.as_ref()),
        "interactions" => Value::Number(features.interactions),
        "interactions_90" => Value::Number(window(features, 90).interactions),
        "feedback_count" => Value::Number(features.feedback_count),
        "last_nps" => features.last_nps.map_or(Value::Missing, |nps| Value::Number(nps.into())),
        "complaints" => Value::Number(features.complaints),
        "open_complaints" => Value::Number(features.open_complaints),
        "open_tickets" => Value::Number(features.open_tickets),
        // How loyal somebody is who has not bought, nobody knows by it: with one referral it would be worth less than with none, which tells nothing.
        "referrals" if features.orders > 0 => Value::Number(features.referrals),
        "csat_mean" => thousandths(features.csat_mean),
        "channel" => text(&features.primary_channel),
        _ if features.orders > 0 => of_orders(name, features, conventions),
        _ => Value::Missing,
    }
}

/// What only those have who have an order.
fn of_orders<'a>(name: &str, features: &'a Features, conventions: Conventions<'_>) -> Value<'a> {
    let money = |money| {
        let minor = convert::sent_minor(money, conventions.currency);
        minor.map_or(Value::Missing, Value::Number)
    };
    let revenue = |days| Value::Number(minor_or_zero(window(features, days).revenue.as_ref(), conventions));
    match name {
        "days_since(last_order_at)" => day(convert::sent_instant(features.last_order_time.as_ref()), conventions),
        "days_since(first_order_at)" => day(convert::sent_instant(features.first_order_time.as_ref()), conventions),
        "orders" => Value::Number(features.orders),
        "purchase_days" => Value::Number(features.purchase_days),
        "refunds" => Value::Number(features.refunds),
        "category_count" => Value::Number(features.category_count),
        "orders_30" => Value::Number(window(features, 30).orders),
        "orders_90" => Value::Number(window(features, 90).orders),
        "orders_365" => Value::Number(window(features, 365).orders),
        "previous_orders_90" => Value::Number(window(features, 90).previous_orders),
        "revenue" => Value::Number(minor_or_zero(features.revenue.as_ref(), conventions)),
        "net_revenue" => Value::Number(minor_or_zero(features.net_revenue.as_ref(), conventions)),
        "gross_revenue" => Value::Number(minor_or_zero(features.gross_revenue.as_ref(), conventions)),
        "refunded" => Value::Number(minor_or_zero(features.refunded.as_ref(), conventions)),
        "profit" => money(features.profit.as_ref()),
        "average_order_value" => money(features.average_order_value.as_ref()),
        "revenue_30" => revenue(30),
        "revenue_90" => revenue(90),
        "revenue_365" => revenue(365),
        "gap_mean_days" => thousandths(features.gap_mean_days),
        "top_category" => text(&features.top_category),
        _ => Value::Missing,
    }
}

/// What is expected of a customer, in minor units, by the model of lifetime value in force.
fn lifetime_value(record: &CustomerRecord, at: &At<'_>) -> Value<'static> {
    let (Some(model), Some(features)) = (at.valuing, &record.features) else { return Value::Missing };
    minor_on(model, features, at.day, at.conventions).map_or(Value::Missing, Value::Number)
}

fn of_trait<'a>(value: &'a TraitValue, conventions: Conventions<'_>) -> Value<'a> {
    if let Some(integer) = value.integer {
        return Value::Number(integer);
    }
    if let Some(minor) = convert::sent_minor(value.money.as_ref(), conventions.currency) {
        return Value::Number(minor);
    }
    match (value.number, &value.text) {
        (Some(number), _) => thousandths(Some(number)),
        (None, Some(held)) => text(held),
        (None, None) => day(convert::sent_instant(value.time.as_ref()), conventions),
    }
}

fn window(features: &Features, days: i32) -> WindowActivity {
    features.windows.iter().find(|window| window.days == days).cloned().unwrap_or_default()
}

fn minor_or_zero(money: Option<&quintile_proto::google_type::Money>, conventions: Conventions<'_>) -> i64 {
    convert::sent_minor(money, conventions.currency).unwrap_or(0)
}

fn day(instant: Option<Instant>, conventions: Conventions<'_>) -> Value<'static> {
    instant.map_or(Value::Missing, |instant| Value::Day(i64::from(conventions.zone.local_day(instant))))
}

fn thousandths(number: Option<f64>) -> Value<'static> {
    // What exceeds 64 bits stays at their ends, and what is no number is none.
    let number = number.filter(|number| !number.is_nan());
    number.map_or(Value::Missing, |number| Value::Number((number * 1_000.0).round() as i64))
}

fn text(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Missing } else { Value::Text(text) }
}

const fn kind(kind: CustomerKind) -> &'static str {
    match kind {
        CustomerKind::Unspecified | CustomerKind::Customer => "customer",
        CustomerKind::Contact => "contact",
        CustomerKind::Lead => "lead",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::google_type::Money;
    use quintile_proto::types::CustomerAttributes;

    fn at() -> At<'static> {
        let currency = Currency::from_code("USD").unwrap();
        At::new(Instant::parse("1998-07-01T00:00:00Z").unwrap(), Conventions { currency, zone: &TimeZone::UTC })
    }

    /// A customer of whom everything that is built in is known.
    fn known() -> CustomerRecord {
        let money = || Some(Money { currency_code: "USD".to_owned(), units: 7, nanos: 0 });
        let time = || Some(convert::timestamp(Instant::parse("1998-06-01T12:00:00Z").unwrap()));
        let windows = [30, 90, 365].map(|days| WindowActivity { days, revenue: money(), ..WindowActivity::default() });
        let features = Features {
            first_order_time: time(),
            last_order_time: time(),
            last_interaction_time: time(),
            last_low_score_time: time(),
            orders: 1,
            windows: windows.to_vec(),
            profit: money(),
            average_order_value: money(),
            last_nps: Some(0),
            csat_mean: Some(4.333_333),
            gap_mean_days: Some(0.0005),
            primary_channel: "store".to_owned(),
            top_category: "tea".to_owned(),
            ..Features::default()
        };
        let attributes = CustomerAttributes {
            language: "de".to_owned(),
            department: "d".to_owned(),
            acquisition_channel: "ads".to_owned(),
            acquisition_campaign: "may".to_owned(),
            ..CustomerAttributes::default()
        };
        CustomerRecord { attributes: Some(attributes), features: Some(features), ..CustomerRecord::default() }
    }

    fn value_of<'a>(name: &str, record: &'a CustomerRecord) -> Value<'a> {
        Feature::from_name(name).unwrap().value(record, &at())
    }

    #[test]
    fn every_built_in_feature_has_a_value_of_its_unit() {
        let record = known();
        for definition in BUILT_IN.iter().filter(|definition| definition.name != LIFETIME_VALUE) {
            let value = value_of(definition.name, &record);
            let fits = match definition.unit {
                Unit::Days => matches!(value, Value::Day(10_378)),
                Unit::Text => matches!(value, Value::Text(_)),
                Unit::Trait => false,
                Unit::Count(_) | Unit::Minor | Unit::Thousandths => matches!(value, Value::Number(_)),
            };
            assert!(fits, "{}: {value:?}", definition.name);
        }
        assert_eq!(value_of("csat_mean", &record), Value::Number(4_333));
        assert_eq!(value_of("gap_mean_days", &record), Value::Number(1));
        assert_eq!(value_of("revenue_90", &record), Value::Number(700));
        assert_eq!(value_of("kind", &record), Value::Text("customer"));
        // Nobody says what anybody is worth.
        assert_eq!(value_of(LIFETIME_VALUE, &record), Value::Missing);
    }

    #[test]
    fn who_has_no_order_has_no_value_of_what_is_about_orders() {
        let features = Features { interactions: 3, ..Features::default() };
        let record = CustomerRecord { features: Some(features), ..CustomerRecord::default() };
        for name in ["days_since(last_order_at)", "orders", "revenue", "orders_90", "refunds", "top_category"] {
            assert_eq!(value_of(name, &record), Value::Missing, "{name}");
        }
        assert_eq!(value_of("interactions", &record), Value::Number(3));
        for (orders, value) in [(0, Value::Missing), (1, Value::Number(2))] {
            let features = Features { referrals: 2, orders, ..Features::default() };
            let record = CustomerRecord { features: Some(features), ..CustomerRecord::default() };
            assert_eq!(value_of("referrals", &record), value);
        }
        assert_eq!(value_of("orders", &CustomerRecord::default()), Value::Missing);
    }

    #[test]
    fn a_trait_has_the_value_that_it_holds() {
        let traits = vec![
            TraitValue { key: "i".to_owned(), integer: Some(5), ..TraitValue::default() },
            TraitValue { key: "n".to_owned(), number: Some(-1.25), ..TraitValue::default() },
            TraitValue { key: "t".to_owned(), text: Some("tea".to_owned()), ..TraitValue::default() },
            TraitValue {
                key: "at".to_owned(),
                time: known().features.unwrap().last_order_time,
                ..TraitValue::default()
            },
            TraitValue { key: "none".to_owned(), ..TraitValue::default() },
        ];
        let features = Features { traits, ..Features::default() };
        let record = CustomerRecord { features: Some(features), ..CustomerRecord::default() };
        assert_eq!(value_of("traits/i", &record), Value::Number(5));
        assert_eq!(value_of("traits/n", &record), Value::Number(-1_250));
        assert_eq!(value_of("traits/t", &record), Value::Text("tea"));
        assert_eq!(value_of("traits/at", &record), Value::Day(10_378));
        assert_eq!(value_of("traits/none", &record), Value::Missing);
        assert_eq!(value_of("traits/absent", &record), Value::Missing);
    }

    #[test]
    fn what_is_counted_is_never_below_nothing() {
        let range = |name: &str| Feature::from_name(name).unwrap().range();
        for name in ["days_since(last_order_at)", "orders", "open_tickets", "gap_mean_days"] {
            assert_eq!(range(name), 0..=i64::MAX, "{name}");
        }
        assert_eq!((range("last_nps"), range("csat_mean")), (0..=10, 1_000..=5_000));
        for name in ["net_revenue", "profit", "traits/any"] {
            assert_eq!(range(name), i64::MIN..=i64::MAX, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest() {
        assert_eq!(Feature::from_name("order"), Err(Some("orders")));
        assert_eq!(Feature::from_name("traits/UPPER"), Err(None));
        for definition in &BUILT_IN {
            assert_eq!(Feature::from_name(definition.name).unwrap().name(), definition.name);
        }
    }
}
