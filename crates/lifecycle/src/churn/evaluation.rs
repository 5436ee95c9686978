//! What risks were worth, once it is known who left.

use super::error::{ChurnError, check_length};
use super::ranking::Ranking;

/// Risks are compared with outcomes in this many bins of equal width.
const BINS: usize = 10;
/// The shares whose lifts are told.
const SHARES: [f64; 4] = [0.05, 0.1, 0.2, 0.3];
/// Risks nearer to 0 and 1 count as if they were this near, as one wrong certainty would otherwise be all.
const LEAST_RISK: f64 = 1e-15;

/// The figures of a set of risks.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// How many rows they are of.
    pub rows: usize,
    /// How many of these left.
    pub churned: usize,
    /// Area under the ROC curve, 0 to 1: [`Ranking::area_under_curve`].
    pub area_under_curve: f64,
    /// [`Ranking::kolmogorov_smirnov`], 0 to 1.
    pub kolmogorov_smirnov: f64,
    /// [`Ranking::average_precision`], 0 to 1.
    pub average_precision: f64,
    /// The mean of (risk - outcome)² (Brier 1950), 0 to 1: the lower the better.
    pub brier: f64,
    /// The mean of -ln of the risk of what happened, risks being at least 1e-15 from 0 and 1: the lower the better.
    pub log_loss: f64,
    /// The mean, by rows, of |mean risk - share who left| over ten bins of equal width, 0 to 1.
    pub calibration_error: f64,
    /// Lifts at the top 5, 10, 20 and 30 hundredths.
    pub lifts: Vec<Lift>,
    /// The bins that have rows, by rising risk.
    pub reliability: Vec<ReliabilityBin>,
}

/// By how much more those leave who are most at risk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lift {
    /// The share that ranks highest, 0 to 1.
    pub share: f64,
    /// [`Ranking::lift`].
    pub lift: f64,
}

/// Risks and outcomes of rows with about the same risk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// The least risk of the bin.
    pub from: f64,
    /// The risk below which its risks are; in the last bin 1 is one, too.
    pub to: f64,
    /// The rows in it.
    pub rows: usize,
    /// Their mean risk.
    pub mean_risk: f64,
    /// The share of them who left.
    pub churned_share: f64,
}

impl Evaluation {
    /// Of risks from 0 to 1. At least one row has to be of either outcome.
    pub fn new(risks: &[f64], labels: &[bool]) -> Result<Self, ChurnError> {
        Self::ranked(risks, risks, labels)
    }

    /// Of risks whose order is that of scores, which risks may have made ties of.
    pub fn ranked(scores: &[f64], risks: &[f64], labels: &[bool]) -> Result<Self, ChurnError> {
        check_length(risks.len(), labels.len())?;
        if let Some(row) = risks.iter().position(|risk| !(0.0..=1.0).contains(risk)) {
            return Err(ChurnError::Prediction(row));
        }
        let ranking = Ranking::new(scores, labels)?;
        let rows = risks.len() as f64;
        let mean = |each: fn((&f64, &bool)) -> f64| risks.iter().zip(labels).map(each).sum::<f64>() / rows;
        let reliability = reliability(risks, labels);
        let error = |bin: &ReliabilityBin| bin.rows as f64 / rows * (bin.mean_risk - bin.churned_share).abs();
        Ok(Self {
            rows: risks.len(),
            churned: labels.iter().filter(|label| **label).count(),
            area_under_curve: ranking.area_under_curve(),
            kolmogorov_smirnov: ranking.kolmogorov_smirnov(),
            average_precision: ranking.average_precision(),
            brier: mean(squared_error),
            log_loss: mean(log_loss),
            calibration_error: reliability.iter().map(error).sum(),
            lifts: SHARES.iter().map(|share| Lift { share: *share, lift: ranking.lift(*share) }).collect(),
            reliability,
        })
    }
}

pub(super) fn squared_error((risk, label): (&f64, &bool)) -> f64 {
    let error = risk - f64::from(*label);
    error * error
}

fn log_loss((risk, label): (&f64, &bool)) -> f64 {
    let risk = risk.clamp(LEAST_RISK, 1.0 - LEAST_RISK);
    -(if *label { risk } else { 1.0 - risk }).ln()
}

fn reliability(risks: &[f64], labels: &[bool]) -> Vec<ReliabilityBin> {
    let mut sums = [(0_usize, 0.0, 0_usize); BINS];
    for (risk, label) in risks.iter().zip(labels) {
        let bin = ((risk * BINS as f64) as usize).min(BINS - 1);
        if let Some((rows, risks, churned)) = sums.get_mut(bin) {
            *rows += 1;
            *risks += risk;
            *churned += usize::from(*label);
        }
    }
    let filled = sums.iter().enumerate().filter(|(_, (rows, ..))| *rows > 0);
    let bins = filled.map(|(place, (rows, risks, churned))| ReliabilityBin {
        from: place as f64 / BINS as f64,
        to: (place + 1) as f64 / BINS as f64,
        rows: *rows,
        mean_risk: risks / *rows as f64,
        churned_share: *churned as f64 / *rows as f64,
    });
    bins.collect()
}
