//! Whatever assigns customers to clusters, in whichever way it was found.

use super::error::ClusterError;
use super::kmeans::{Assignment, KMeans};
use super::mixture::Mixture;
use super::numbering::Partition;

/// Clusters that customers are assigned to.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// By the nearest centre.
    KMeans(KMeans),
    /// By the most probable ellipsoid.
    Mixture(Mixture),
}

impl Model {
    /// The clusters, and the space that they lie in.
    pub fn partition(&self) -> &Partition {
        match self {
            Self::KMeans(model) => &model.partition,
            Self::Mixture(model) => &model.partition,
        }
    }

    /// The cluster of a customer: a value for each feature, or `None` where it is not known. Allocates nothing.
    pub fn assign(&self, row: &[Option<f64>]) -> Result<Assignment, ClusterError> {
        match self {
            Self::KMeans(model) => model.assign(row),
            Self::Mixture(model) => {
                model.assign(row).map(|found| Assignment { cluster: found.cluster, distance: found.distance })
            }
        }
    }
}
