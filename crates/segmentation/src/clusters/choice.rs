//! How many clusters: a table of what each number comes to, and which one to take.

use super::error::ClusterError;
use super::lloyd::{Search, nearest, solve};
use super::points::Points;
use super::preparation::Prepared;
use super::silhouette::silhouette;
use std::ops::RangeInclusive;

/// The rows that numbers are tried on.
const ROWS: usize = 20_000;
/// The rows that silhouettes are of, as these take the square of that: their mean is then known to about half a
/// hundredth.
const SILHOUETTE_ROWS: usize = 5_000;
/// By how much the silhouette at the knee may fall short of the best.
const NEARLY_AS_GOOD: f64 = 0.05;

/// What a number of clusters comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The number.
    pub clusters: usize,
    /// The sum of the squared distances to the centres, of the rows that were tried.
    pub inertia: f64,
    /// The mean silhouette, -1 to 1: the higher, the further clusters are apart.
    pub silhouette: f64,
}

/// A table to choose from.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// By number of clusters. It ends early where there are not that many distinct rows.
    pub candidates: Vec<Candidate>,
    /// The rows that were tried: at most 20,000.
    pub rows: usize,
    /// The rows that silhouettes are of: at most 5,000, the same for all numbers.
    pub silhouette_rows: usize,
    /// The number with the highest silhouette; of equal ones the lowest.
    pub highest_silhouette: usize,
    /// The number behind which more clusters bring little: the knee of the inertia's curve, which begins at one
    /// cluster. `None`: the curve has none.
    pub elbow: Option<usize>,
    /// The elbow where its silhouette is at most 0.05 below the highest; otherwise the number with that.
    pub recommended: usize,
}

/// Tries each number of clusters of a range (within 2 to 20).
pub fn choose(prepared: &Prepared, range: RangeInclusive<usize>, search: &Search<'_>) -> Result<Choice, ClusterError> {
    let sampled = prepared.points.sample(ROWS, search.seed);
    let points = sampled.as_ref().unwrap_or(&prepared.points);
    let looked_at = points.sample(SILHOUETTE_ROWS, !search.seed);
    let looked_at = looked_at.as_ref().unwrap_or(points);
    let first = *range.start();
    let mut candidates = Vec::new();
    for clusters in range {
        search.go_on()?;
        let solution = match solve(points, clusters, search) {
            Ok(solution) => solution,
            Err(ClusterError::TooFewRows { .. } | ClusterError::TooFewDistinct { .. }) if clusters > first => break,
            Err(error) => return Err(error),
        };
        let labels: Vec<u32> = looked_at.iter().map(|point| nearest(point, solution.centres.iter()).0 as u32).collect();
        let silhouette = silhouette(looked_at, &labels, clusters);
        candidates.push(Candidate { clusters, inertia: solution.inertia, silhouette });
    }
    let best = candidates.iter().copied().reduce(|best, one| if one.silhouette > best.silhouette { one } else { best });
    let best = best.ok_or(ClusterError::ClustersOutOfRange(first))?;
    let elbow = elbow(spread(points), &candidates);
    let nearly = |one: &&Candidate| Some(one.clusters) == elbow && one.silhouette >= best.silhouette - NEARLY_AS_GOOD;
    Ok(Choice {
        rows: points.rows(),
        silhouette_rows: looked_at.rows(),
        highest_silhouette: best.clusters,
        elbow,
        recommended: candidates.iter().find(nearly).map_or(best.clusters, |one| one.clusters),
        candidates,
    })
}

/// The inertia of a single cluster: the sum of squared distances to the mean.
fn spread(points: &Points) -> f64 {
    let mut sums = vec![(0.0, 0.0); points.dimensions()];
    for point in points.iter() {
        for ((sum, squares), value) in sums.iter_mut().zip(point) {
            *sum += value;
            *squares += value * value;
        }
    }
    let rows = points.rows().max(1) as f64;
    sums.iter().map(|(sum, squares): &(f64, f64)| squares - sum * sum / rows).sum()
}

/// The knee: where the curve is furthest below the straight line between its ends, both axes scaled to 1 (Satopää et
/// al. 2011, "Finding a kneedle in a haystack"; the heuristic is Thorndike's, 1953). `of_one` is the inertia of a
/// single cluster. `None`: nowhere below the line, or too short for a knee.
fn elbow(of_one: f64, candidates: &[Candidate]) -> Option<usize> {
    let last = candidates.last()?;
    let (width, height) = ((last.clusters - 1) as f64, of_one - last.inertia);
    if height <= 0.0 {
        return None;
    }
    let below = |one: &Candidate| 1.0 - (one.clusters - 1) as f64 / width - (one.inertia - last.inertia) / height;
    let mut knee = (1e-9, None);
    for one in candidates {
        if below(one) > knee.0 {
            knee = (below(one), Some(one.clusters));
        }
    }
    knee.1
}

#[cfg(test)]
mod tests {
    //! Curves whose knee is seen by eye.

    use super::*;

    fn curve(first: usize, inertias: &[f64]) -> Vec<Candidate> {
        let one =
            |(place, inertia): (usize, &f64)| Candidate { clusters: first + place, inertia: *inertia, silhouette: 0.0 };
        inertias.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_knee_is_where_the_curve_bends() {
        assert_eq!(elbow(100.0, &curve(2, &[60.0, 20.0, 18.0, 16.0, 14.0])), Some(3));
        assert_eq!(elbow(100.0, &curve(2, &[10.0, 9.0, 8.0, 7.0])), Some(2));
        // The table need not begin at two.
        assert_eq!(elbow(100.0, &curve(4, &[50.0, 20.0, 19.0, 18.0])), Some(5));
    }

    #[test]
    fn a_straight_line_has_no_knee() {
        assert_eq!(elbow(50.0, &curve(2, &[40.0, 30.0, 20.0, 10.0])), None);
        assert_eq!(elbow(50.0, &curve(2, &[40.0])), None);
        assert_eq!(elbow(0.0, &curve(2, &[0.0, 0.0])), None);
        assert_eq!(elbow(50.0, &[]), None);
    }

    #[test]
    fn the_spread_is_the_sum_of_squares_about_the_mean() {
        // Means 2 and 10.
        let points = Points::new(2, vec![1.0, 10.0, 3.0, 14.0, 2.0, 6.0]);
        assert!((spread(&points) - (1.0 + 1.0 + 16.0 + 16.0)).abs() < 1e-12);
    }
}
