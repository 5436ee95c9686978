//! From what records tell of purchases to models of lifetime value, and back to what a customer is worth.
//!
//! Pure: [`quintile_clv`] has the models; this says what of a customer they see, what a fit to a population reports, and what follows from a fit.

pub mod alive;
pub mod encoding;
pub mod lifetime;
#[cfg(test)]
mod tests;
mod turning;

use crate::models::feature::Conventions;
use quintile_clv::{
    BgNbd, Dropout, FitError, Fitted, FittedSpend, GammaGamma, Held, Histories, History, Holdout, Spend, Spends, Terms,
};
use quintile_proto::types::Features;
use quintile_rpc::convert;

/// Days of the models' unit of time, a week.
pub const UNIT_DAYS: f64 = 7.0;
/// Days of a month.
pub const MONTH_DAYS: f64 = 365.25 / 12.0;

/// Of who has bought for the first time today.
const NEWCOMER: History = History { repeats: 0, recency: 0.0, age: 0.0 };

/// What the models see of a customer who has bought by the end of a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buyer {
    /// The purchases up to that day.
    pub history: History,
    /// Purchase days after it.
    pub bought_after: u32,
    /// The mean spent on each purchase day but the first, of all that are known, those after that day too: one by one they are not known. In minor
    /// units. `None`: there is none.
    pub mean_spend_minor: Option<f64>,
    /// How many days that is the mean of.
    pub spend_days: u32,
}

impl Buyer {
    /// What it spends, in major units. `None`: nothing is known of it.
    pub fn spend(&self, minor_per_major: f64) -> Option<Spend> {
        Some(Spend { repeats: self.spend_days, mean: self.mean_spend_minor? / minor_per_major })
    }
}

/// What the models see of a customer by the end of the local day `end` (days since 1970-01-01). `None`: the customer had not bought by then, or what
/// it has bought since is more than is kept of its gaps.
pub fn buyer(features: &Features, end: i64, conventions: Conventions<'_>) -> Option<Buyer> {
    let day = |instant| convert::sent_instant(instant).map(|instant| i64::from(conventions.zone.local_day(instant)));
    let (first, last) = (day(features.first_order_time.as_ref())?, day(features.last_order_time.as_ref())?);
    let (mut at, mut after) = (last, 0_u32);
    let mut gaps = features.gap_days.iter().rev();
    while at > end {
        after += 1;
        at -= i64::from(*gaps.next()?);
    }
    let repeats = u32::try_from(features.purchase_days).ok()?.checked_sub(after)?.checked_sub(1)?;
    // A customer whose older days are kept as a balance alone has no gap that reaches them.
    let at = if repeats == 0 { first } else { at };
    let weeks = |days: i64| days as f64 / UNIT_DAYS;
    let later_days = features.purchase_days - 1;
    let spent = convert::sent_minor(features.repeat_revenue.as_ref(), conventions.currency);
    let mean = spent.filter(|_| later_days > 0).map(|spent| spent as f64 / later_days as f64);
    Some(Buyer {
        history: History { repeats, recency: weeks(at - first), age: weeks(end - first) },
        bought_after: after,
        mean_spend_minor: mean,
        spend_days: u32::try_from(later_days).ok()?,
    })
}

/// What a fit to a population has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// How customers buy.
    pub purchases: Fitted,
    /// Whom that was learnt from.
    pub customers: u64,
    /// What they spend, in major units, or why that is not known.
    pub spend: Result<FittedSpend, FitError>,
    /// Whom that was learnt from.
    pub spenders: u64,
    /// How well the same foretells days that it has not seen. `None`: none were held out; or why that is not known.
    pub holdout: Option<Result<Foretold, FitError>>,
}

/// A holdout report.
#[derive(Clone, Debug)]
pub struct Foretold {
    /// The fit to what came before.
    pub fit: Fitted,
    /// Whom it was learnt from.
    pub customers: u64,
    /// How well it did.
    pub holdout: Holdout,
    /// How well the model in force did on the same customers. `None`: there was none.
    pub in_force: Option<Holdout>,
    /// Customers who are left out, for want of their days.
    pub left_out: u64,
}

/// A population to fit models to.
#[derive(Clone, Debug, Default)]
pub struct Buyers {
    /// Everybody by the last whole day.
    pub all: Vec<Buyer>,
    /// Everybody by the day before those that are held out, with what they bought in these.
    pub before: Vec<Buyer>,
    /// Who had bought before them, and has bought on so many days since that not all are known.
    pub left_out: u64,
}

impl Buyers {
    /// Takes in a customer, with `held_days` held out before `end`.
    pub fn add(&mut self, features: &Features, end: i64, held_days: i64, conventions: Conventions<'_>) {
        let Some(all) = buyer(features, end, conventions) else { return };
        self.all.push(all);
        if held_days == 0 {
            return;
        }
        match buyer(features, end - held_days, conventions) {
            Some(before) => {
                // What was bought today is not of the days that are held out.
                let bought_after = before.bought_after - all.bought_after;
                self.before.push(Buyer { bought_after, ..before });
            }
            None if all.history.age * UNIT_DAYS >= held_days as f64 => self.left_out += 1,
            None => {}
        }
    }

    /// Fits a model to what came before the days that are held out, and compares it with what came then.
    fn foretell(&self, dropout: Dropout, held_days: i64, in_force: Option<&Fitted>) -> Result<Foretold, FitError> {
        let fit = BgNbd::fit(dropout, &histories(&self.before))?;
        let time = held_days as f64 / UNIT_DAYS;
        let held = || self.before.iter().map(|buyer| Held { history: buyer.history, bought: buyer.bought_after });
        let judged = |fit: &Fitted| Holdout::new(|history, time| fit.expected_purchases(history, time), time, held());
        Ok(Foretold {
            fit,
            customers: self.before.len() as u64,
            holdout: judged(&fit),
            in_force: in_force.map(judged),
            left_out: self.left_out,
        })
    }

    /// Fits models to them. `minor_per_major` is how many minor units the currency's major unit has.
    pub fn fit(
        &self,
        dropout: Dropout,
        held_days: i64,
        in_force: Option<&Fitted>,
        minor_per_major: f64,
    ) -> Result<Found, FitError> {
        let spends = self.all.iter().filter_map(|buyer| buyer.spend(minor_per_major));
        let spends = Spends::new(spends);
        let holdout = (held_days > 0).then(|| self.foretell(dropout, held_days, in_force));
        Ok(Found {
            purchases: BgNbd::fit(dropout, &histories(&self.all))?,
            customers: self.all.len() as u64,
            spend: GammaGamma::fit(&spends),
            spenders: spends.customers() as u64,
            holdout,
        })
    }
}

/// The histories of buyers.
fn histories(buyers: &[Buyer]) -> Histories {
    Histories::new(buyers.iter().map(|buyer| buyer.history))
}

/// A model in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueModel {
    /// How customers buy.
    pub purchases: Fitted,
    /// What they spend, in major units. `None`: it knows no spending.
    pub spend: Option<GammaGamma>,
    /// What remains of revenue: 0 to 1.
    pub gross_margin: f64,
    /// By how much a month's delay lessens money: 0.01 is one percent.
    pub monthly_discount: f64,
    /// The months that are looked at.
    pub months: u32,
}

/// What a customer is expected to do and to be worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// The probability that it has not left. `None`: the data do not tell that anybody leaves.
    pub alive: Option<f64>,
    /// Purchase days within the months.
    pub purchases: f64,
    /// What is spent on each, in major units. `None`: the model knows no spending.
    pub spend: Option<f64>,
    /// The discounted margin of them all, in major units.
    pub value: Option<f64>,
}

impl ValueModel {
    /// The probability that a customer has not left. `None`: the data do not tell that anybody leaves.
    pub fn alive(&self, history: &History) -> Option<f64> {
        self.purchases.dropout_is_identified().then(|| self.purchases.model.p_alive(history))
    }

    /// What a customer is worth. What it spends is in major units, of its purchase days but the first.
    pub fn worth(&self, history: &History, spend: Option<&Spend>) -> Worth {
        let terms = Terms {
            gross_margin: self.gross_margin,
            monthly_discount: self.monthly_discount,
            months: self.months,
            units_per_month: MONTH_DAYS / UNIT_DAYS,
        };
        let expected = |time| self.purchases.expected_purchases(history, time);
        let known = spend.filter(|spend| spend.mean > 0.0 && spend.repeats > 0);
        let spend = self.spend.map(|spend| spend.expected_spend(known));
        Worth {
            alive: self.alive(history),
            purchases: expected(f64::from(self.months) * terms.units_per_month),
            spend,
            value: spend.map(|spend| terms.lifetime_value(spend, expected)),
        }
    }
}

/// What is expected of a customer by what it had bought by the end of yesterday, and its history; who has bought for the first time today is a
/// newcomer.
pub fn expected(model: &ValueModel, features: &Features, today: i64, conventions: Conventions<'_>) -> (Worth, History) {
    let known = buyer(features, today - 1, conventions);
    let history = known.map_or(NEWCOMER, |buyer| buyer.history);
    let minor_per_major = 10_f64.powi(conventions.currency.minor_digits() as i32);
    let spend = known.and_then(|buyer| buyer.spend(minor_per_major));
    (model.worth(&history, spend.as_ref()), history)
}
