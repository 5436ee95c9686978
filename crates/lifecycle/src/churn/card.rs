//! What is published with a model.

use super::calibration::Method;
use super::comparison::Comparison;
use super::drift::RiskProfile;
use super::evaluation::Evaluation;
use super::model::Settings;

/// All figures of a model. When it was made, and of which periods, knows whoever made it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCard {
    /// The candidate's name.
    pub name: String,
    /// Its kind and how it was fitted; with the same rows these make the same model again.
    pub settings: Settings,
    /// Its features, in the order of a row's values.
    pub features: Vec<String>,
    /// The rows that it was fitted to.
    pub fitted: Rows,
    /// The rows that its risks were calibrated on.
    pub calibrated: Rows,
    /// How they were.
    pub calibration: Method,
    /// Whether the fit came to rest. Trees always do.
    pub converged: bool,
    /// How many trees it has; of a regression 0.
    pub trees: usize,
    /// What its risks are worth on the holdout, which neither fit nor calibration saw, or across folds.
    pub evaluation: Evaluation,
    /// Against each baseline on the same rows, in their order.
    pub against: Vec<Against>,
    /// Whether it is better than each baseline, and may be published.
    pub better: bool,
    /// How its risks are spread on the holdout, or across folds those of who stayed, which is what later risks are to be
    /// compared with: of rows that it was fitted to it is too sure.
    pub profile: RiskProfile,
}

/// A candidate against a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Against {
    /// The baseline's name.
    pub baseline: String,
    /// What the candidate has over it.
    pub comparison: Comparison,
}

/// How many rows there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// All of them.
    pub rows: usize,
    /// Those who left.
    pub churned: usize,
}

impl Rows {
    pub(super) fn of(labels: &[bool]) -> Self {
        Self { rows: labels.len(), churned: labels.iter().filter(|label| **label).count() }
    }
}
