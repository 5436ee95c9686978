//! Why there are no clusters.

use super::{CLUSTERS, MAX_FEATURES, MAX_ROWS};
use thiserror::Error;

/// What stands in the way of a model or of an assignment. It names places, never a value of a customer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClusterError {
    /// So many clusters are not offered.
    #[error("{0} clusters: there may be {low} to {high}", low = CLUSTERS.start(), high = CLUSTERS.end())]
    ClustersOutOfRange(usize),
    /// A search has 1 to 100 restarts.
    #[error("{0} restarts: there may be 1 to 100")]
    RestartsOutOfRange(usize),
    /// Each cluster needs a customer.
    #[error("{rows} rows are too few for {clusters} clusters")]
    TooFewRows {
        /// Rows that are there.
        rows: usize,
        /// Clusters asked for.
        clusters: usize,
    },
    /// Each cluster needs a customer that differs from those of the others.
    #[error("{distinct} distinct rows are too few for {clusters} clusters")]
    TooFewDistinct {
        /// Rows that differ from each other.
        distinct: usize,
        /// Clusters asked for.
        clusters: usize,
    },
    /// A table takes no more.
    #[error("a fit takes at most {MAX_ROWS} rows: give it a sample")]
    TooManyRows,
    /// There is nothing to compare by, or too much.
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
    /// A value is infinite, not a number, or not below 1e100 in size. What is not known is `None`.
    #[error("the value of feature {0} is no finite number")]
    NotFinite(usize),
    /// Nobody waits for it any longer.
    #[error("the search was given up")]
    Cancelled,
    /// All rows are the same in every feature.
    #[error("no feature varies")]
    NothingVaries,
    /// So many factors are not determined by the correlations of the features that vary.
    #[error("{factors} factors: the features that vary allow {most}")]
    FactorsOutOfRange {
        /// Factors asked for.
        factors: usize,
        /// The most that may be asked for; 0 with fewer than three features.
        most: usize,
    },
}
