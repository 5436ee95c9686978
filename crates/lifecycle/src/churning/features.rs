//! What models learn of a customer: how it has bought and been in touch, never what is said of a person: of that nobody knows since when it is so, and a
//! model that learnt from it would learn from what it could not have known.
//!
//! To add a feature, add it to [`NUMBERS`] or [`CATEGORIES`]: models that are there know theirs by name and go on without it.

use super::labels::Label;
use crate::churn::{Feature, Kind, Value};
use prost_types::Timestamp;
use quintile_clv::History;
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::types::{CustomerRecord, Features, WindowActivity};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Caller, convert};

/// Whoever has not bought for so many days has left already.
pub const ACTIVE_DAYS: i32 = 365;

/// Days of the unit of time of purchase histories, a week.
const UNIT_DAYS: f64 = 7.0;

/// The purchases of a customer by the end of the day before `today`, a local day, in weeks. `None`: there are none.
pub fn history(features: &Features, today: i32, zone: &TimeZone) -> Option<History> {
    let day = |instant: Option<&Timestamp>| convert::sent_instant(instant).map(|instant| zone.local_day(instant));
    let (first, last) = (day(features.first_order_time.as_ref())?, day(features.last_order_time.as_ref())?);
    let repeats = u32::try_from(features.purchase_days.checked_sub(1)?).ok()?;
    let weeks = |days: i32| f64::from(days) / UNIT_DAYS;
    Some(History { repeats, recency: weeks(last - first), age: weeks(today - 1 - first) })
}

/// A customer on a day.
#[derive(Clone, Copy)]
pub struct Seen<'r> {
    features: &'r Features,
    currency: Currency,
    /// The local day that is looked from, and those of what is looked back upon.
    today: i32,
    first_order: Option<i32>,
    last_order: Option<i32>,
    last_interaction: Option<i32>,
}

/// A number that models learn from.
struct Number {
    name: &'static str,
    /// Whether it follows from money, which not everybody may read.
    is_financial: bool,
    /// Whether it is another one every day, though nothing happens. What is of a window moves upstream, and comes as another record.
    is_of_days: bool,
    of: fn(&Seen<'_>) -> Option<f64>,
}

const fn number(name: &'static str, of: fn(&Seen<'_>) -> Option<f64>) -> Number {
    Number { name, is_financial: false, is_of_days: false, of }
}

const fn of_days(name: &'static str, of: fn(&Seen<'_>) -> Option<f64>) -> Number {
    Number { name, is_financial: false, is_of_days: true, of }
}

const fn financial(name: &'static str, of: fn(&Seen<'_>) -> Option<f64>) -> Number {
    Number { name, is_financial: true, is_of_days: false, of }
}

/// The numbers. Days are local calendar days, money is in major units of the base currency.
const NUMBERS: [Number; 25] = [
    of_days("days_since_last_order", |seen| seen.days_since(seen.last_order)),
    of_days("days_since_first_order", |seen| seen.days_since(seen.first_order)),
    number("orders", |seen| Some(seen.features.orders as f64)),
    number("purchase_days", |seen| Some(seen.features.purchase_days as f64)),
    financial("revenue", |seen| seen.major(seen.features.revenue.as_ref())),
    financial("average_order_value", |seen| seen.major(seen.features.average_order_value.as_ref())),
    number("orders_30", |seen| Some(seen.window(30)?.orders as f64)),
    number("orders_90", |seen| Some(seen.window(90)?.orders as f64)),
    number("previous_orders_90", |seen| Some(seen.window(90)?.previous_orders as f64)),
    number("orders_365", |seen| Some(seen.window(365)?.orders as f64)),
    financial("revenue_365", |seen| seen.major(seen.window(365)?.revenue.as_ref())),
    number("interactions_90", |seen| Some(seen.window(90)?.interactions as f64)),
    number("previous_interactions_90", |seen| Some(seen.window(90)?.previous_interactions as f64)),
    of_days("days_since_last_interaction", |seen| seen.days_since(seen.last_interaction)),
    number("gap_mean_days", |seen| seen.features.gap_mean_days),
    number("gap_p50_days", |seen| seen.features.gap_p50_days),
    number("gap_p80_days", |seen| seen.features.gap_p80_days),
    of_days("silence_ratio", |seen| Some(seen.silence()? / seen.features.gap_mean_days.filter(|gap| *gap > 0.0)?)),
    number("refunds", |seen| Some(seen.features.refunds as f64)),
    financial("refunded_share", |seen| {
        let gross = seen.major(seen.features.gross_revenue.as_ref()).filter(|gross| *gross > 0.0)?;
        Some(seen.major(seen.features.refunded.as_ref()).unwrap_or(0.0) / gross)
    }),
    number("category_count", |seen| Some(seen.features.category_count as f64)),
    number("complaints", |seen| Some(seen.features.complaints as f64)),
    number("open_complaints", |seen| Some(seen.features.open_complaints as f64)),
    number("csat_mean", |seen| seen.features.csat_mean),
    number("last_nps", |seen| seen.features.last_nps.map(f64::from)),
];

/// A category that models learn from.
type Category = (&'static str, for<'r> fn(&Seen<'r>) -> &'r str);

/// The categories.
const CATEGORIES: [Category; 2] =
    [("primary_channel", |seen| &seen.features.primary_channel), ("top_category", |seen| &seen.features.top_category)];

/// All features, in the order of a row's values.
pub fn all() -> Vec<Feature> {
    let numbers = NUMBERS.iter().map(|number| Feature { name: number.name.to_owned(), kind: Kind::Number });
    let categories = CATEGORIES.iter().map(|(name, _)| Feature { name: (*name).to_owned(), kind: Kind::Category });
    numbers.chain(categories).collect()
}

/// A number that is another one every day, by the name of its feature.
pub type OfDays = (&'static str, fn(&Seen<'_>) -> Option<f64>);

/// The numbers that are others every day.
pub fn of_every_day() -> impl Iterator<Item = OfDays> {
    NUMBERS.iter().filter(|number| number.is_of_days).map(|number| (number.name, number.of))
}

/// Whether a feature follows from money, which not everybody may read.
pub fn is_financial(name: &str) -> bool {
    NUMBERS.iter().any(|number| number.is_financial && number.name == name)
}

/// Whether a caller hears of a feature of a model: it reads what it follows from in clear.
pub fn is_told(caller: &Caller, label: Option<&Label>, name: &str) -> bool {
    match label {
        Some(label) => label.class_of(name).is_some_and(|class| caller.reads_in_clear(class)),
        None => caller.reads_in_clear(Sensitivity::Financial) || !is_financial(name),
    }
}

/// Whether a customer has a risk at an instant that its record tells of: whether it had bought in the 365 local days before.
pub fn is_active(record: &CustomerRecord, as_of: Instant, tenant: &Tenant) -> bool {
    Seen::active(record, as_of, &tenant.zone, tenant.currency).is_some()
}

impl<'r> Seen<'r> {
    /// A customer at an instant, if it had bought in the 365 local days before. `record` tells of the instant.
    pub fn active(record: &'r CustomerRecord, as_of: Instant, zone: &'r TimeZone, currency: Currency) -> Option<Self> {
        let features = record.features.as_ref()?;
        let day = |instant: Option<&Timestamp>| Some(zone.local_day(convert::sent_instant(instant)?));
        let seen = Self {
            features,
            currency,
            today: zone.local_day(as_of),
            first_order: day(features.first_order_time.as_ref()),
            last_order: day(features.last_order_time.as_ref()),
            last_interaction: day(features.last_interaction_time.as_ref()),
        };
        seen.is_active().then_some(seen)
    }

    /// Whether it had bought in the 365 local days before.
    pub fn is_active(&self) -> bool {
        self.silence().is_some_and(|days| days <= f64::from(ACTIVE_DAYS))
    }

    /// The same so many days later, if nothing happens until then.
    pub fn later(&self, days: i32) -> Self {
        Self { today: self.today.saturating_add(days), ..*self }
    }

    /// The local day that is looked from.
    pub fn today(&self) -> i32 {
        self.today
    }

    /// The local days since the last order. `None`: there was none.
    pub fn silence(&self) -> Option<f64> {
        self.days_since(self.last_order)
    }

    /// A value for each feature.
    pub fn row(&self) -> Vec<Value<'r>> {
        let numbers = NUMBERS.iter().map(|number| (number.of)(self).map_or(Value::Missing, Value::Number));
        let categories = CATEGORIES.iter().map(|(_, of)| match of(self) {
            "" => Value::Missing,
            level => Value::Category(level),
        });
        numbers.chain(categories).collect()
    }

    fn days_since(&self, day: Option<i32>) -> Option<f64> {
        Some(f64::from(self.today.saturating_sub(day?)))
    }

    fn window(&self, days: i32) -> Option<&WindowActivity> {
        self.features.windows.iter().find(|window| window.days == days)
    }

    fn major(&self, money: Option<&Money>) -> Option<f64> {
        let minor = convert::sent_minor(money, self.currency)?;
        Some(minor as f64 / 10_f64.powi(self.currency.minor_digits() as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purchases_are_those_by_the_end_of_the_day_before_in_weeks() {
        let noon = |day: i64| Some(convert::timestamp(Instant::from_micros((2 * day + 1) * 43_200_000_000)));
        let bought = |first, last, purchase_days| Features {
            first_order_time: noon(first),
            last_order_time: noon(last),
            purchase_days,
            ..Features::default()
        };
        let told = |features: &Features| history(features, 143, &TimeZone::UTC);
        assert_eq!(told(&bought(100, 142, 4)), Some(History { repeats: 3, recency: 6.0, age: 6.0 }));
        assert_eq!(told(&bought(100, 107, 2)), Some(History { repeats: 1, recency: 1.0, age: 6.0 }));
        assert_eq!(told(&bought(142, 142, 1)), Some(History { repeats: 0, recency: 0.0, age: 0.0 }));
        assert_eq!(told(&Features::default()), None);
    }
}
