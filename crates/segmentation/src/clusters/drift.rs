//! Whether clusters still fit those who are assigned to them: how their shares have moved, and whether customers have
//! moved away from the centres.

use super::numbering::Partition;
use std::collections::BTreeMap;

/// Population stability index from which shares are shifting, and from which they have shifted: a convention (Siddiqi
/// 2006, "Credit risk scorecards").
const INDEX: [f64; 2] = [0.1, 0.25];
/// The same of the mean distance, as a multiple of that at the fit: ours, as there is no convention. A cluster can keep
/// its share while its customers move on.
const DISTANCE: [f64; 2] = [1.25, 1.5];
/// The share of a cluster that has nobody, as its logarithm has to be a number.
const LEAST_SHARE: f64 = 1e-4;

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

/// Whether clusters should be fitted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// They fit.
    Stable,
    /// They are beginning not to.
    Shifting,
    /// They do not: fit again.
    Shifted,
}

impl Verdict {
    /// "stable", "shifting" or "shifted".
    pub fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Shifting => "shifting",
            Self::Shifted => "shifted",
        }
    }

    fn of(value: f64, [shifting, shifted]: [f64; 2]) -> Self {
        if value >= shifted {
            Self::Shifted
        } else if value >= shifting {
            Self::Shifting
        } else {
            Self::Stable
        }
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
        let share = |count: u64, of: u64| (count as f64 / of as f64).max(LEAST_SHARE);
        let parts = partition.clusters.iter().map(|cluster| {
            let (then, now) = (share(cluster.size, before), share(now.count(cluster.number), total));
            (now - then) * (now / then).ln()
        });
        let stability_index = parts.sum();
        let at_fit = partition.mean_distance;
        let distance_ratio = (at_fit > 0.0).then(|| now.distance / total as f64 / at_fit);
        let by_distance = distance_ratio.map_or(Verdict::Stable, |ratio| Verdict::of(ratio, DISTANCE));
        let others = partition.clusters.len().saturating_sub(1) as f64;
        Some(Self {
            stability_index,
            index_by_chance: others * (1.0 / before as f64 + 1.0 / total as f64),
            distance_ratio,
            verdict: Verdict::of(stability_index, INDEX).max(by_distance),
        })
    }
}
