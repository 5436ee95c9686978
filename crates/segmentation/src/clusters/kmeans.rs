//! k-means: each customer belongs to the nearest centre, and each centre is the mean of its customers.

use super::MAX_FEATURES;
use super::error::ClusterError;
use super::lloyd::{Search, Solution, nearest, solve};
use super::numbering::{Partition, Unnumbered};
use super::preparation::{Prepared, Space};

/// Centres that customers are assigned to.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// The clusters.
    pub partition: Partition,
    /// The sum of the squared distances of the rows of the fit to their centres, in squared deviations.
    pub inertia: f64,
}

/// Where a customer belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assignment {
    /// The number of its cluster.
    pub cluster: u32,
    /// How far it is from the centre, in deviations.
    pub distance: f64,
}

impl KMeans {
    /// Finds so many clusters (2 to 20). With a `previous` partition, each that has a counterpart there keeps its
    /// number.
    pub fn fit(
        prepared: &Prepared,
        clusters: usize,
        search: &Search<'_>,
        previous: Option<&Partition>,
    ) -> Result<Self, ClusterError> {
        let solution = solve(&prepared.points, clusters, search)?;
        let mean_distance = solution.distance / prepared.points.rows() as f64;
        let inertia = solution.inertia;
        let found = unnumbered(&solution);
        let (partition, _) = Partition::number(prepared.preparation.clone(), &found, mean_distance, previous);
        Ok(Self { partition, inertia })
    }

    /// The cluster of a customer: a value for each feature, or `None` where it is not known. One pass of this over
    /// everybody is what a fit on a sample is followed by; it allocates nothing.
    pub fn assign(&self, row: &[Option<f64>]) -> Result<Assignment, ClusterError> {
        let mut space: Space = [0.0; MAX_FEATURES];
        let point = self.partition.preparation.point(row, &mut space)?;
        let (place, squared) = nearest(point, self.partition.centres());
        let cluster = self.partition.clusters.get(place).map_or(0, |cluster| cluster.number);
        Ok(Assignment { cluster, distance: squared.sqrt() })
    }
}

/// Clusters of a solution.
fn unnumbered(solution: &Solution) -> Vec<Unnumbered> {
    let mut sizes = vec![0_u64; solution.centres.rows()];
    for label in &solution.labels {
        sizes[*label as usize] += 1;
    }
    let found = sizes.into_iter().zip(solution.centres.iter());
    found.map(|(size, centre)| Unnumbered { size, centre: centre.to_vec() }).collect()
}
