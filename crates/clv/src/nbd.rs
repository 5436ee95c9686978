//! NBD (Ehrenberg 1959): customers buy at their own rates, and never leave. What a model with dropout has to be better than.

use super::fit::{self, FitError};
use super::histories::{Histories, History, digamma_rising, ln_rising};

/// Purchase rates are gamma distributed with this shape and, per unit of time, this rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nbd {
    /// The shape.
    pub r: f64,
    /// The rate, in units of time.
    pub alpha: f64,
}

impl Nbd {
    /// The most likely parameters.
    pub fn fit(histories: &Histories) -> Result<Self, FitError> {
        let start = [1.0, histories.mean_age().max(f64::MIN_POSITIVE)];
        let [r, alpha] = fit::maximise(start, histories.customers(), |[r, alpha]| Self { r, alpha }.slope(histories))?;
        Ok(Self { r, alpha })
    }

    /// The logarithm of the likelihood of a population.
    pub fn log_likelihood(&self, histories: &Histories) -> f64 {
        self.slope(histories).0
    }

    /// How often a customer is expected to buy within `time` after the end of what is known.
    pub fn expected_purchases(&self, history: &History, time: f64) -> f64 {
        (self.r + f64::from(history.repeats)) / (self.alpha + history.age) * time
    }

    /// The logarithm of the likelihood, and its derivatives by the parameters.
    pub(super) fn slope(&self, histories: &Histories) -> (f64, [f64; 2]) {
        let Self { r, alpha } = *self;
        let most = histories.repeats.len().saturating_sub(1);
        let rising = ln_rising(r, most);
        let digammas = digamma_rising(r, most);
        let (mut value, mut by_r, mut by_alpha) = (0.0, 0.0, 0.0);
        for (customers, (rising, digamma)) in histories.repeats.iter().zip(rising.iter().zip(&digammas)) {
            value += customers * rising;
            by_r += customers * digamma;
        }
        for (time, of_age) in histories.times.iter().zip(&histories.ages) {
            let whole = r * of_age.customers + of_age.repeats;
            // ln α - ln(α + T), of whose two sides neither may be far larger than what is between them.
            let shrunk = -(time / alpha).ln_1p();
            value += of_age.customers * r * shrunk + of_age.repeats * (shrunk - alpha.ln());
            by_r += of_age.customers * shrunk;
            by_alpha += r * of_age.customers / alpha - whole / (alpha + time);
        }
        (value, [by_r, by_alpha])
    }
}
