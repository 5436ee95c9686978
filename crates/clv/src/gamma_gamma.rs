//! Gamma-Gamma (Colombo and Jiang 1999; Fader and Hardie 2013): what customers spend per purchase, each around a mean of its own.

use super::fit::{self, FitError};
use statrs::function::gamma::{digamma, ln_gamma};

/// What a customer spent: of those who have bought again alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    /// Repeat purchases: 1 or more.
    pub repeats: u32,
    /// Their mean value: above 0.
    pub mean: f64,
}

/// A fitted model. Purchases are gamma distributed with shape `p` around the customer's mean, whose rate is gamma distributed with `q` and `v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaGamma {
    /// The shape of purchases.
    pub p: f64,
    /// The shape of customers: above 1, or there is no mean.
    pub q: f64,
    /// The scale, in units of money.
    pub v: f64,
}

/// A fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FittedSpend {
    /// The model.
    pub model: GammaGamma,
    /// The logarithm of its likelihood.
    pub log_likelihood: f64,
    /// The correlation between how often and how much customers buy, which the model takes for 0. `None`: one of the two never varies.
    pub correlation: Option<f64>,
}

/// The spending of a population, by number of repeats.
#[derive(Clone, Debug, Default)]
pub struct Spends {
    groups: Vec<(u32, Vec<f64>)>,
    customers: f64,
}

impl Spends {
    /// Those of these who have bought again, for a finite amount above 0: others say nothing of what a purchase is worth.
    pub fn new(spends: impl IntoIterator<Item = Spend>) -> Self {
        let counts = |spend: &Spend| spend.repeats > 0 && spend.mean > 0.0 && spend.mean.is_finite();
        let mut spends: Vec<Spend> = spends.into_iter().filter(counts).collect();
        // Sums then do not depend on the order in which customers came.
        spends.sort_unstable_by(|one, other| one.repeats.cmp(&other.repeats).then(one.mean.total_cmp(&other.mean)));
        let customers = spends.len() as f64;
        let groups = spends
            .chunk_by(|one, other| one.repeats == other.repeats)
            .map(|group| (group[0].repeats, group.iter().map(|spend| spend.mean).collect()))
            .collect();
        Self { groups, customers }
    }

    /// How many customers there are.
    pub fn customers(&self) -> f64 {
        self.customers
    }

    fn mean(&self) -> f64 {
        self.groups.iter().flat_map(|(_, means)| means).sum::<f64>() / self.customers
    }

    fn correlation(&self) -> Option<f64> {
        let mean_repeats = self.groups.iter().map(|(x, means)| f64::from(*x) * means.len() as f64).sum::<f64>();
        let (mean_repeats, mean) = (mean_repeats / self.customers, self.mean());
        let (mut both, mut of_repeats, mut of_means) = (0.0, 0.0, 0.0);
        for (x, means) in &self.groups {
            let dx = f64::from(*x) - mean_repeats;
            for dm in means.iter().map(|value| value - mean) {
                both += dx * dm;
                of_repeats += dx * dx;
                of_means += dm * dm;
            }
        }
        // Of values that are all the same the spread is not always 0: their mean is rounded.
        let mut means = self.groups.iter().flat_map(|(_, means)| means);
        let first = means.next();
        let varies = self.groups.len() > 1 && means.any(|value| Some(value) != first);
        varies.then(|| both / (of_repeats * of_means).sqrt())
    }
}

impl GammaGamma {
    /// The most likely parameters.
    pub fn fit(spends: &Spends) -> Result<FittedSpend, FitError> {
        if spends.customers == 0.0 {
            return Err(FitError::NoRepeats);
        }
        let model = |[p, q, v]: [f64; 3]| Self { p, q, v };
        let start = [2.0, 3.0, spends.mean()];
        let model = model(fit::maximise(start, spends.customers, |at| model(at).slope(spends))?);
        if model.q <= 1.0 {
            return Err(FitError::NoMeanSpend);
        }
        Ok(FittedSpend { model, log_likelihood: model.log_likelihood(spends), correlation: spends.correlation() })
    }

    /// The logarithm of the likelihood of a population.
    pub fn log_likelihood(&self, spends: &Spends) -> f64 {
        self.slope(spends).0
    }

    /// What a customer's purchases are expected to be worth. Without a repeat purchase, which `None` says: the mean of the population.
    pub fn expected_spend(&self, spend: Option<&Spend>) -> f64 {
        let Self { p, q, v } = *self;
        let Some(spend) = spend else { return p * v / (q - 1.0) };
        let x = f64::from(spend.repeats);
        p * (v + x * spend.mean) / (p * x + q - 1.0)
    }

    pub(super) fn slope(&self, spends: &Spends) -> (f64, [f64; 3]) {
        let Self { p, q, v } = *self;
        let (ln_v, of_q, digamma_q) = (v.ln(), ln_gamma(q), digamma(q));
        let (mut value, mut by_p, mut by_q, mut by_v) = (0.0, 0.0, 0.0, 0.0);
        for (x, means) in &spends.groups {
            let (x, customers) = (f64::from(*x), means.len() as f64);
            let (shape, ln_x) = (p * x, x.ln());
            let constant = ln_gamma(shape + q) - ln_gamma(shape) - of_q + q * ln_v + shape * ln_x;
            let (digamma_all, digamma_shape) = (digamma(shape + q), digamma(shape));
            let (mut logarithms, mut all_logarithms, mut inverses) = (0.0, 0.0, 0.0);
            for mean in means {
                let all = v + x * mean;
                logarithms += mean.ln();
                all_logarithms += all.ln();
                inverses += all.recip();
            }
            value += customers * constant + (shape - 1.0) * logarithms - (shape + q) * all_logarithms;
            by_p += x * (customers * (digamma_all - digamma_shape + ln_x) + logarithms - all_logarithms);
            by_q += customers * (digamma_all - digamma_q + ln_v) - all_logarithms;
            by_v += customers * q / v - (shape + q) * inverses;
        }
        (value, [by_p, by_q, by_v])
    }
}
