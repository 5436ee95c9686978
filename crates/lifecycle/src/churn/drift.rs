//! Whether customers' risks are still spread as they were when the model was made.

use super::error::ChurnError;
use quintile_domain::stability::{self, Verdict};
use serde::{Deserialize, Serialize};

/// Risks are told apart in this many bands, of as many customers each where these differ.
const BANDS: usize = 10;

/// How risks were spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskProfile {
    /// By rising risk; one at least.
    pub bands: Vec<Band>,
    /// The mean risk.
    pub mean_risk: f64,
}

/// Customers with about the same risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// The highest risk in it; the last band is up to 1.
    pub up_to: f64,
    /// How many customers there were.
    pub customers: u64,
}

/// How risks now differ from those of a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Population stability index: sum of (now - then) ln(now / then) over the shares of bands, which count as at least
    /// 1e-4.
    pub stability_index: f64,
    /// What that index would be on average if nothing had changed and chance alone had chosen both: (k - 1)(1/n + 1/m)
    /// (Yurdakul 2018). Of few customers an index of this size says nothing.
    pub index_by_chance: f64,
    /// The mean risk now less that of then.
    pub mean_risk_change: f64,
    /// By the index: shifting from 0.1, shifted from 0.25.
    pub verdict: Verdict,
}

impl RiskProfile {
    /// Of risks from 0 to 1, of which there has to be one.
    pub fn new(risks: &[f64]) -> Result<Self, ChurnError> {
        check(risks)?;
        let mut sorted = risks.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let ends = (1..BANDS).filter_map(|band| sorted.get((band * sorted.len()).div_ceil(BANDS) - 1)).copied();
        let mut edges: Vec<f64> = ends.chain([1.0]).collect();
        // Equal risks are in one band.
        edges.dedup_by(|one, other| *one <= *other);
        let mut bands: Vec<Band> = edges.into_iter().map(|up_to| Band { up_to, customers: 0 }).collect();
        let counts = counts(&bands, risks);
        bands.iter_mut().zip(counts).for_each(|(band, count)| band.customers = count);
        Ok(Self { bands, mean_risk: mean(risks) })
    }

    /// Compares risks now with those of the profile. There has to be one.
    pub fn drift(&self, now: &[f64]) -> Result<Drift, ChurnError> {
        check(now)?;
        let then: Vec<u64> = self.bands.iter().map(|band| band.customers).collect();
        let stability_index = stability::index(&then, &counts(&self.bands, now));
        let before = then.iter().sum::<u64>();
        Ok(Drift {
            stability_index,
            index_by_chance: stability::index_by_chance(self.bands.len(), before, now.len() as u64),
            mean_risk_change: mean(now) - self.mean_risk,
            verdict: Verdict::of_index(stability_index),
        })
    }
}

fn check(risks: &[f64]) -> Result<(), ChurnError> {
    if risks.is_empty() {
        return Err(ChurnError::Length { found: 0, expected: 1 });
    }
    let wrong = risks.iter().position(|risk| !(0.0..=1.0).contains(risk));
    wrong.map_or(Ok(()), |row| Err(ChurnError::Prediction(row)))
}

fn mean(risks: &[f64]) -> f64 {
    risks.iter().sum::<f64>() / risks.len() as f64
}

fn counts(bands: &[Band], risks: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; bands.len()];
    for risk in risks {
        let band = bands.partition_point(|band| band.up_to < *risk).min(bands.len().saturating_sub(1));
        if let Some(count) = counts.get_mut(band) {
            *count += 1;
        }
    }
    counts
}
