//! Why there is no model, no risk or no figure.

use super::{MAX_FEATURES, MAX_ROWS, MAX_TABLE_LEVELS};
use thiserror::Error;

/// What stands in the way. It names places, never a value of a customer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChurnError {
    /// A table takes no more.
    #[error("a table takes at most {MAX_ROWS} rows: give it a sample")]
    TooManyRows,
    /// There is nothing to learn from, or too much.
    #[error("{0} features: there may be 1 to {MAX_FEATURES}")]
    FeaturesOutOfRange(usize),
    /// Features are told apart by their names.
    #[error("the feature \"{0}\" is there twice")]
    DuplicateFeature(String),
    /// A row has one value for each feature.
    #[error("a row has {found} values for {expected} features")]
    Width {
        /// Values of the row.
        found: usize,
        /// Features of the table or model.
        expected: usize,
    },
    /// A value is infinite, not a number, or not below 1e100 in size. What is not known is missing.
    #[error("the value of feature {0} is no finite number")]
    NotFinite(usize),
    /// A number was given for a category, or the reverse.
    #[error("the value of feature {0} is of the other kind")]
    OtherKind(usize),
    /// A category has too many levels for one.
    #[error("the feature {0} has more than {MAX_TABLE_LEVELS} levels")]
    TooManyLevels(usize),
    /// The table has other features than the model, or in another order.
    #[error("the table's feature {0} is not that of the model")]
    OtherFeature(usize),
    /// What belongs together row by row differs in length.
    #[error("{found} values for {expected} rows")]
    Length {
        /// Values that are there.
        found: usize,
        /// Rows that they are for.
        expected: usize,
    },
    /// Nothing tells who leaves where nobody left, or everybody.
    #[error("of {rows} rows {churned} churned: there have to be at least {least} of each outcome")]
    TooFewOutcomes {
        /// Rows that are there.
        rows: usize,
        /// Those of them who left.
        churned: usize,
        /// The fewest that are needed of either.
        least: usize,
    },
    /// A setting is out of its range, which its documentation says.
    #[error("the setting {0} is out of its range")]
    Setting(&'static str),
    /// A risk is not between 0 and 1, or a score is no finite number.
    #[error("the prediction for row {0} is out of its range")]
    Prediction(usize),
    /// A model that was stored does not hold together.
    #[error("the model does not hold together: {0}")]
    Malformed(&'static str),
}

/// Refuses what is not as long as there are rows.
pub(super) fn check_length(found: usize, expected: usize) -> Result<(), ChurnError> {
    if found == expected { Ok(()) } else { Err(ChurnError::Length { found, expected }) }
}

/// Refuses labels of which fewer than `least` are of one outcome. Gives how many churned.
pub(super) fn check_outcomes(labels: &[bool], least: usize) -> Result<usize, ChurnError> {
    let churned = labels.iter().filter(|label| **label).count();
    if churned >= least && labels.len() - churned >= least {
        Ok(churned)
    } else {
        Err(ChurnError::TooFewOutcomes { rows: labels.len(), churned, least })
    }
}
