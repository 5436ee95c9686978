//! What makes up a customer's risk.

use super::encoding::Encoding;

/// The log-odds of a customer, taken apart: base and contributions add up to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The mean log-odds of the rows of the fit, of whom nothing is known.
    pub base: f64,
    /// What each feature adds, in the order of the features.
    pub factors: Vec<Factor>,
}

/// What a feature adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// The feature's name.
    pub feature: String,
    /// What it adds to the log-odds: above 0 it makes leaving more likely, below 0 less.
    pub contribution: f64,
}

impl Explanation {
    pub(super) fn new(base: f64, encoding: &Encoding, contributions: Vec<f64>) -> Self {
        let factor =
            |(encoded, contribution): (&super::Encoded, f64)| Factor { feature: encoded.name.clone(), contribution };
        Self { base, factors: encoding.features.iter().zip(contributions).map(factor).collect() }
    }

    /// The log-odds that it explains, those before calibration.
    pub fn log_odds(&self) -> f64 {
        self.base + self.factors.iter().map(|factor| factor.contribution).sum::<f64>()
    }

    /// Up to so many factors that add or take most, the strongest first; of equal ones the feature that comes first.
    /// What adds nothing is none.
    pub fn top(&self, count: usize) -> Vec<&Factor> {
        let mut factors: Vec<&Factor> = self.factors.iter().filter(|factor| factor.contribution.abs() > 0.0).collect();
        factors.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
        factors.truncate(count);
        factors
    }
}
