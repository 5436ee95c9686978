//! What models learn of a customer: how it has bought and been in touch, never what is said of a person: of that nobody knows since when it is so, and a
//! model that learnt from it would learn from what it could not have known.
//!
//! To add a feature, add it to [`NUMBERS`] or [`CATEGORIES`]: models that are there know theirs by name and go on without it.

use crate::churn::{Feature, Kind, Value};
use prost_types::Timestamp;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::types::{CustomerRecord, Features, WindowActivity};
use quintile_rpc::convert;

/// Whoever has not bought for so many days has left already.
pub const ACTIVE_DAYS: i32 = 365;

/// A customer at an instant.
pub struct Seen<'r> {
    features: &'r Features,
    /// The local day of the instant.
    today: i32,
    zone: &'r TimeZone,
    currency: Currency,
}

/// A number that models learn from.
struct Number {
    name: &'static str,
    /// Whether it follows from money, which not everybody may read.
    is_financial: bool,
    of: fn(&Seen<'_>) -> Option<f64>,
}

const fn number(name: &'static str, of: fn(&Seen<'_>) -> Option<f64>) -> Number {
    Number { name, is_financial: false, of }
}

const fn financial(name: &'static str, of: fn(&Seen<'_>) -> Option<f64>) -> Number {
    Number { name, is_financial: true, of }
}

/// The numbers. Days are local calendar days, money is in major units of the base currency.
const NUMBERS: [Number; 25] = [
    number("days_since_last_order", |seen| seen.days_since(seen.features.last_order_time.as_ref())),
    number("days_since_first_order", |seen| seen.days_since(seen.features.first_order_time.as_ref())),
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
    number("days_since_last_interaction", |seen| seen.days_since(seen.features.last_interaction_time.as_ref())),
    number("gap_mean_days", |seen| seen.features.gap_mean_days),
    number("gap_p50_days", |seen| seen.features.gap_p50_days),
    number("gap_p80_days", |seen| seen.features.gap_p80_days),
    number("silence_ratio", |seen| Some(seen.silence()? / seen.features.gap_mean_days.filter(|gap| *gap > 0.0)?)),
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
type Category = (&'static str, for<'s> fn(&'s Seen<'_>) -> &'s str);

/// The categories.
const CATEGORIES: [Category; 2] =
    [("primary_channel", |seen| &seen.features.primary_channel), ("top_category", |seen| &seen.features.top_category)];

/// All features, in the order of a row's values.
pub fn all() -> Vec<Feature> {
    let numbers = NUMBERS.iter().map(|number| Feature { name: number.name.to_owned(), kind: Kind::Number });
    let categories = CATEGORIES.iter().map(|(name, _)| Feature { name: (*name).to_owned(), kind: Kind::Category });
    numbers.chain(categories).collect()
}

/// Whether a feature follows from money, which not everybody may read.
pub fn is_financial(name: &str) -> bool {
    NUMBERS.iter().any(|number| number.is_financial && number.name == name)
}

impl<'r> Seen<'r> {
    /// A customer at an instant, if it had bought in the 365 local days before. `record` tells of the instant.
    pub fn active(record: &'r CustomerRecord, as_of: Instant, zone: &'r TimeZone, currency: Currency) -> Option<Self> {
        let features = record.features.as_ref()?;
        let seen = Self { features, today: zone.local_day(as_of), zone, currency };
        (seen.silence()? <= f64::from(ACTIVE_DAYS)).then_some(seen)
    }

    /// The local days since the last order. `None`: there was none.
    pub fn silence(&self) -> Option<f64> {
        self.days_since(self.features.last_order_time.as_ref())
    }

    /// A value for each feature.
    pub fn row(&self) -> Vec<Value<'_>> {
        let numbers = NUMBERS.iter().map(|number| (number.of)(self).map_or(Value::Missing, Value::Number));
        let categories = CATEGORIES.iter().map(|(_, of)| match of(self) {
            "" => Value::Missing,
            level => Value::Category(level),
        });
        numbers.chain(categories).collect()
    }

    fn days_since(&self, instant: Option<&Timestamp>) -> Option<f64> {
        let instant = convert::sent_instant(instant)?;
        Some(f64::from(self.today - self.zone.local_day(instant)))
    }

    fn window(&self, days: i32) -> Option<&WindowActivity> {
        self.features.windows.iter().find(|window| window.days == days)
    }

    fn major(&self, money: Option<&Money>) -> Option<f64> {
        let minor = convert::sent_minor(money, self.currency)?;
        Some(minor as f64 / 10_f64.powi(self.currency.minor_digits() as i32))
    }
}
