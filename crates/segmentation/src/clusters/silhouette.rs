//! How much nearer customers are to their own cluster than to the next one.

use super::points::{Points, squared_distance};

/// The mean silhouette (Rousseeuw 1987): of each row (b - a) / max(a, b), where `a` is its mean distance to the others
/// of its cluster and `b` that to the rows of the nearest other one; 0 of a row that is alone. -1 to 1. Takes as long
/// as there are pairs of rows. 0 where there is but one cluster.
pub(super) fn silhouette(points: &Points, labels: &[u32], clusters: usize) -> f64 {
    let mut counts = vec![0_usize; clusters];
    for label in labels {
        counts[*label as usize] += 1;
    }
    // For each row the sum of its distances to each cluster.
    let mut sums = vec![0.0; labels.len() * clusters];
    for (row, (point, label)) in points.iter().zip(labels).enumerate() {
        let (before, from_here) = sums.split_at_mut(row * clusters);
        let (own, _) = from_here.split_at_mut(clusters);
        for ((other, other_label), theirs) in points.iter().zip(labels).zip(before.chunks_exact_mut(clusters)) {
            let distance = squared_distance(point, other).sqrt();
            own[*other_label as usize] += distance;
            theirs[*label as usize] += distance;
        }
    }
    let each = sums.chunks_exact(clusters).zip(labels).map(|(sums, label)| of_one(sums, &counts, *label as usize));
    each.sum::<f64>() / labels.len().max(1) as f64
}

fn of_one(sums: &[f64], counts: &[usize], own: usize) -> f64 {
    if counts[own] <= 1 {
        return 0.0;
    }
    let within = sums[own] / (counts[own] - 1) as f64;
    let others = sums.iter().zip(counts).enumerate().filter(|(label, (_, count))| *label != own && **count > 0);
    let next = others.map(|(_, (sum, count))| sum / *count as f64).fold(f64::INFINITY, f64::min);
    let larger = within.max(next);
    // Rows that all stand on one spot are in no cluster rather than in another; without another there is nothing to
    // compare.
    if next.is_finite() && larger > 0.0 { (next - within) / larger } else { 0.0 }
}
