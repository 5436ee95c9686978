//! Clusters: customers who resemble each other, found and not defined; how many there are, what tells them apart, and
//! whether they still fit.
//!
//! Pure: a table of features gives a model, a model and a customer's features give its cluster. Nothing here knows a
//! clock, a customer, a database or a stored form, and what is random follows from a seed. Formulas are those of the
//! sheet's section 7, in units of standard deviations.
//!
//! k-means and mixture are our own and not linfa's 0.8, which comes to the same inertia (200,000 rows of 6 features, 8
//! clusters, 10 restarts: 412,688.24). It takes 7.7 s for that and this 0.2, looking at 20,000 rows in each restart and
//! sparing most distances. It adds 35 crates to the lock file and 45 s to a cold build with one job, this 4 s.
//!
//! It is no pipeline: whoever calls gathers a sample of rows into a [`Table`], fits [`KMeans`] or a
//! [`Mixture`], and lets the model assign everybody in one pass. To add another model, end with a [`Partition`]:
//! numbering, words and drift go by that alone.

mod choice;
mod description;
mod drift;
mod eigen;
mod error;
mod factors;
mod kmeans;
mod lloyd;
mod mixture;
mod model;
mod numbering;
mod pca;
mod points;
mod preparation;
mod silhouette;
mod table;
#[cfg(test)]
mod tests;

pub use choice::{Candidate, Choice, choose};
pub use description::{DISTINCT, Description, MIN_CUSTOMERS, Trait, describe};
pub use drift::{Drift, Tally};
pub use error::ClusterError;
pub use factors::{Factor, Factors, most_factors};
pub use kmeans::{Assignment, KMeans};
pub use lloyd::Search;
pub use mixture::{Membership, Mixture, Shape};
pub use model::Model;
pub use numbering::{Cluster, Partition};
pub use pca::{Component, Pca};
pub use preparation::{Column, Preparation, Prepared};
pub use table::{Feature, Table};

use std::ops::RangeInclusive;

/// How many clusters there may be. Whoever has more than twenty groups to think of thinks of none.
pub const CLUSTERS: RangeInclusive<usize> = 2..=20;
/// The most features that customers are compared by. Between points of more dimensions all distances are nearly the
/// same.
pub const MAX_FEATURES: usize = 32;
/// The most rows that a fit takes: a sample of so many tells all that there is to tell of twenty clusters.
pub const MAX_ROWS: usize = 1_000_000;
