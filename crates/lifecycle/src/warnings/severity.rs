//! How much a warning is about.

use crate::YEAR_DAYS;
use quintile_domain::money::Currency;
use quintile_proto::lifecycle::WarningSeverity;
use quintile_proto::types::{CustomerRecord, Stage};
use quintile_rpc::convert;

/// What a customer is taken to be worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    /// In minor units.
    pub minor: i64,
    /// The value model that says so. Empty: revenue does.
    pub value_model: String,
}

impl Worth {
    /// By a customer's record: what a value model expects of it where one is in force that knows spending, and otherwise the revenue of the better one of
    /// the last two years: whoever is silent has already brought in less.
    pub fn of(record: &CustomerRecord, currency: Currency) -> Self {
        let scores = record.scores.as_ref();
        let expected = scores.and_then(|scores| convert::sent_minor(scores.lifetime_value.as_ref(), currency));
        if let Some((scores, minor)) = scores.zip(expected) {
            return Self { minor, value_model: scores.value_model.clone() };
        }
        let windows = record.features.as_ref().map(|features| features.windows.as_slice()).unwrap_or_default();
        let year = windows.iter().find(|window| window.days == YEAR_DAYS);
        let revenues = year.map(|year| [&year.revenue, &year.previous_revenue]).into_iter().flatten();
        let revenue = revenues.filter_map(|revenue| convert::sent_minor(revenue.as_ref(), currency)).max();
        Self { minor: revenue.unwrap_or(0).max(0), value_model: String::new() }
    }
}

/// What may be lost with a customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stake {
    /// What the customer is taken to be worth, in minor units.
    pub customer_value: i64,
    /// How likely it is taken to be lost, in percent.
    pub risk_percent: i64,
}

impl Stake {
    /// Of a customer in a stage. How likely it is lost says a churn model where one is in force, and otherwise its stage.
    pub fn of(customer_value: i64, stage: Stage, foretold: Option<i32>) -> Self {
        // The bounds on the probability of being alive that the stages stand for.
        let by_stage = if stage == Stage::Dormant { 80 } else { 50 };
        Self { customer_value, risk_percent: foretold.map_or(by_stage, i64::from) }
    }

    /// One times the other, in minor units, rounded half to even.
    pub fn value(self) -> i64 {
        let hundredfold = i128::from(self.customer_value) * i128::from(self.risk_percent);
        let (whole, rest) = (hundredfold / 100, hundredfold % 100);
        let rounded = whole + i128::from(rest > 50 || (rest == 50 && whole % 2 == 1));
        i64::try_from(rounded).unwrap_or(i64::MAX)
    }
}

/// From how much on a warning is severe, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// For medium severity.
    pub medium_from: i64,
    /// For high severity.
    pub high_from: i64,
}

impl Thresholds {
    /// Where nobody has said anything: 100 and 1,000 of a currency.
    pub fn unsaid(currency: Currency) -> Self {
        let unit = 10_i64.pow(currency.minor_digits());
        Self { medium_from: 100 * unit, high_from: 1_000 * unit }
    }

    /// How severe it is if so much is at stake.
    pub fn severity(self, value: i64) -> WarningSeverity {
        if value >= self.high_from {
            WarningSeverity::High
        } else if value >= self.medium_from {
            WarningSeverity::Medium
        } else {
            WarningSeverity::Low
        }
    }
}
