//! Customer lifetime value, by models of the "buy till you die" family: how often customers will buy who may leave unseen, and what they
//! will spend when they do.
//!
//! Pure: histories give parameters, and parameters give expectations; nothing here knows a clock, a customer or a stored form. Formulas are
//! those of the papers that each model names, in forms that neither overflow nor cancel. To add a model, give it a module with the slope of its
//! likelihood, have `fit` find its parameters, and hold it to what its paper published in `tests`.

mod bg_nbd;
mod fit;
mod gamma_gamma;
mod histories;
mod holdout;
mod nbd;
mod quadrature;
#[cfg(test)]
mod tests;

pub use bg_nbd::{BgNbd, Dropout, Fitted};
pub use fit::FitError;
pub use gamma_gamma::{FittedSpend, GammaGamma, Spend, Spends};
pub use histories::{Histories, History};
pub use holdout::{Accuracy, Decile, Held, Holdout};
pub use nbd::Nbd;

/// Over which future value is summed, and what of a purchase is value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What remains of revenue: 0 to 1.
    pub gross_margin: f64,
    /// By how much a month's delay lessens money: 0.01 is one percent a month.
    pub monthly_discount: f64,
    /// The months that are looked at.
    pub months: u32,
    /// How many of the models' units of time a month has.
    pub units_per_month: f64,
}

impl Terms {
    /// The discounted value of the purchases that a customer is still expected to make, each worth `spend`, paid at the end of their months
    /// (formula sheet, 4). `expected` says how many within so much time from now: of a fit, [`Fitted::expected_purchases`]. Neither what was
    /// bought before nor what it cost to win the customer is in it.
    pub fn lifetime_value(&self, spend: f64, expected: impl Fn(f64) -> f64) -> f64 {
        let (mut before, mut discount, mut sum) = (0.0, 1.0, 0.0);
        for month in 1..=self.months {
            let until = expected(f64::from(month) * self.units_per_month);
            discount /= 1.0 + self.monthly_discount;
            sum += (until - before) * discount;
            before = until;
        }
        self.gross_margin * spend * sum
    }
}
