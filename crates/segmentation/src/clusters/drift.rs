//! Whether clusters still fit those who are assigned to them: how their shares have moved, and whether customers have
//! moved away from the centres.

use super::numbering::Partition;
use quintile_domain::stability::{self, Verdict};
use std::collections::BTreeMap;

/// The same of the mean distance, as a multiple of that at the fit: ours, as there is no convention. A cluster can keep
/// its share while its customers move on.
const DISTANCE: [f64; 2] = [1.25, 1.5];

/// Who has been assigned: filled in one pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    counts: BTreeMap<u32, u64>,
    distance: f64,
}

impl Tally {
    /// Counts somebody in, by the number of the cluster and the distance to its centre.
    pub fn add(&mut self, cluster: u32, distance: f64) {
        *self.counts.entry(cluster).or_default() += 1;
        self.distance += distance;
    }

    /// How many belong to a cluster.
    pub fn count(&self, cluster: u32) -> u64 {
        self.counts.get(&cluster).copied().unwrap_or_default()
    }

    /// How many belong to any.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// How those who are assigned now differ from those of the fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Population stability index of the clusters' shares: sum of (now - then) ln(now / then), shares of at least 1e-4.
    pub stability_index: f64,
    /// What that index would be on average if nothing had changed and chance alone had chosen both: (k - 1)(1/n + 1/m)
    /// (Yurdakul 2018). Of few customers an index of this size says nothing.
    pub index_by_chance: f64,
    /// The mean distance to the centre now, as a multiple of that at the fit. `None`: at the fit everybody stood on a
    /// centre.
    pub distance_ratio: Option<f64>,
    /// The worse of what index (0.1, 0.25) and distance (1.25, 1.5) say.
    pub verdict: Verdict,
}

impl Drift {
    /// Compares those of a tally with those of the fit. `None`: one of them has nobody.
    pub fn since_fit(partition: &Partition, now: &Tally) -> Option<Self> {
        let (before, total) = (partition.clusters.iter().map(|cluster| cluster.size).sum::<u64>(), now.total());
        if before == 0 || total == 0 {
            return None;
        }
        let sizes = partition.clusters.iter();
        let (then, counts): (Vec<u64>, Vec<u64>) =
            sizes.map(|cluster| (cluster.size, now.count(cluster.number))).unzip();
        let stability_index = stability::index(&then, &counts);
        let at_fit = partition.mean_distance;
        let distance_ratio = (at_fit > 0.0).then(|| now.distance / total as f64 / at_fit);
        let by_distance = distance_ratio.map_or(Verdict::Stable, |ratio| Verdict::of(ratio, DISTANCE));
        Some(Self {
            stability_index,
            index_by_chance: stability::index_by_chance(partition.clusters.len(), before, total),
            distance_ratio,
            verdict: Verdict::of_index(stability_index).max(by_distance),
        })
    }
}
