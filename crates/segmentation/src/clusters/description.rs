//! What sets a cluster apart, in words for those who write to its customers.

use super::numbering::{Cluster, Partition};

/// How far from everybody's mean a cluster's must be to be worth a word, in deviations, where nobody says otherwise.
pub const DISTINCT: f64 = 0.5;
/// The least that may be asked for: nearer than this every cluster would differ in everything.
const LEAST_DISTINCT: f64 = 0.1;
/// The most features that are named.
const MAX_TRAITS: usize = 3;
/// The fewest customers that are described: what is said of less is said of somebody.
pub const MIN_CUSTOMERS: u64 = 5;

/// A feature that sets a cluster apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Trait {
    /// The feature's name.
    pub feature: String,
    /// How far the cluster's mean is from everybody's, in deviations; negative: below it.
    pub deviations: f64,
    /// The feature's words for that.
    pub words: String,
}

/// A cluster in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The cluster's number.
    pub cluster: u32,
    /// What sets it apart, the most distinguishing first. Empty: nothing does, or it has fewer than five customers.
    pub traits: Vec<Trait>,
    /// A line such as "high revenue, frequent orders, bought recently". No two clusters have the same, unless nothing
    /// is said of them.
    pub text: String,
}

/// Says of each cluster which features its mean differs in from everybody's by at least `threshold` deviations
/// ([`DISTINCT`]; at least 0.1), the three largest differences first. Of customers it says nothing.
pub fn describe(partition: &Partition, threshold: f64) -> Vec<Description> {
    let threshold = threshold.max(LEAST_DISTINCT);
    let mut described: Vec<_> =
        partition.clusters.iter().map(|cluster| describe_one(partition, cluster, threshold)).collect();
    tell_apart(&mut described);
    described
}

fn describe_one(partition: &Partition, cluster: &Cluster, threshold: f64) -> Description {
    if cluster.size < MIN_CUSTOMERS {
        let text = "too few customers to describe".to_owned();
        return Description { cluster: cluster.number, traits: Vec::new(), text };
    }
    let columns = partition.preparation.columns.iter().zip(&cluster.centre);
    let mut traits: Vec<Trait> = columns
        .filter(|(_, deviations)| deviations.abs() >= threshold)
        .map(|(column, deviations)| {
            let words = if *deviations > 0.0 { &column.feature.high } else { &column.feature.low };
            Trait { feature: column.feature.name.clone(), deviations: *deviations, words: words.clone() }
        })
        .collect();
    // Stable: of equal differences the feature that was given first.
    traits.sort_by(|one, other| other.deviations.abs().total_cmp(&one.deviations.abs()));
    traits.truncate(MAX_TRAITS);
    let words: Vec<&str> = traits.iter().map(|one| one.words.as_str()).collect();
    let text = if words.is_empty() { "close to the average customer".to_owned() } else { words.join(", ") };
    Description { cluster: cluster.number, traits, text }
}

/// Of clusters that are told of in the same words, each but the most pronounced says which one is so more than it is.
fn tell_apart(described: &mut [Description]) {
    let strength = |one: &Description| one.traits.iter().map(|one| one.deviations.abs()).sum::<f64>();
    let seen: Vec<_> = described.iter().map(|one| (one.cluster, words_of(one), strength(one))).collect();
    for one in described.iter_mut().filter(|one| !one.traits.is_empty()) {
        let (own_words, own) = (words_of(one), strength(one));
        let stronger = |other: &&(u32, Vec<String>, f64)| {
            other.1 == own_words && (other.2 > own || (other.2 >= own && other.0 < one.cluster))
        };
        // The least pronounced of those that are more so: its neighbour.
        if let Some((number, ..)) = seen.iter().filter(stronger).min_by(|a, b| a.2.total_cmp(&b.2).then(b.0.cmp(&a.0)))
        {
            one.text = format!("{} (less so than cluster {number})", one.text);
        }
    }
}

/// The words regardless of their order.
fn words_of(description: &Description) -> Vec<String> {
    let mut words: Vec<String> = description.traits.iter().map(|one| one.words.clone()).collect();
    words.sort_unstable();
    words
}
