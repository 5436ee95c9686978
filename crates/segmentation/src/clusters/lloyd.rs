//! The search for centres: seeds by D² (k-means++, Arthur and Vassilvitskii 2007), then Lloyd's iterations (1982) with
//! Hamerly's bounds (2010, "Making k-means even faster"), which spare most distances and change no result.

use super::CLUSTERS;
use super::error::ClusterError;
use super::points::{Points, squared_distance};
use crate::cancellation::Cancellation;
use quintile_domain::seeded::Seeded;

/// Restarts where nobody says otherwise: twice the sheet's least, as each looks at few rows.
const RESTARTS: usize = 20;
const MAX_RESTARTS: usize = 100;
/// Restarts look at this many rows; what they find best is then brought to rest among all. More rows do not tell better
/// which valley is deepest.
const SEARCH_ROWS: usize = 20_000;
/// The longest descent. What has not come to rest by then moves by next to nothing.
const MAX_ITERATIONS: usize = 300;
/// Centres that together move less than this, in deviations, are at rest: it is a ten-thousandth.
const AT_REST: f64 = 1e-4;

/// How the best clusters are looked for. The same search on the same rows finds the same.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// How often it is begun anew: 1 to 100. The best is kept.
    pub restarts: usize,
    /// What its randomness follows from.
    pub seed: u64,
    /// Ends it early, with [`ClusterError::Cancelled`].
    pub cancellation: Option<&'a Cancellation>,
}

impl Search<'_> {
    /// With twenty restarts.
    pub fn new(seed: u64) -> Self {
        Self { restarts: RESTARTS, seed, cancellation: None }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancellation.is_some_and(Cancellation::is_cancelled)
    }

    /// Refuses to go on with what nobody waits for.
    pub(super) fn go_on(&self) -> Result<(), ClusterError> {
        if self.is_cancelled() { Err(ClusterError::Cancelled) } else { Ok(()) }
    }
}

/// Centres at rest.
pub(super) struct Solution {
    pub(super) centres: Points,
    /// For each row the centre that is nearest.
    pub(super) labels: Vec<u32>,
    /// The sum of squared distances of rows to their centres.
    pub(super) inertia: f64,
    /// The sum of these distances themselves.
    pub(super) distance: f64,
}

/// The best of all restarts.
pub(super) fn solve(points: &Points, clusters: usize, search: &Search<'_>) -> Result<Solution, ClusterError> {
    if !CLUSTERS.contains(&clusters) {
        return Err(ClusterError::ClustersOutOfRange(clusters));
    }
    if !(1..=MAX_RESTARTS).contains(&search.restarts) {
        return Err(ClusterError::RestartsOutOfRange(search.restarts));
    }
    if points.rows() < clusters {
        return Err(ClusterError::TooFewRows { rows: points.rows(), clusters });
    }
    let mut random = Seeded::new(search.seed);
    let sampled = points.sample(SEARCH_ROWS, random.bits());
    // The few rows that differ may all have been left out of the sample.
    let found = sampled.and_then(|sampled| best(&sampled, clusters, search, &mut random).ok());
    let found = match found {
        Some(found) => descend(points, found.centres, search),
        None => best(points, clusters, search, &mut random)?,
    };
    search.go_on()?;
    Ok(found)
}

fn best(points: &Points, clusters: usize, search: &Search<'_>, random: &mut Seeded) -> Result<Solution, ClusterError> {
    let mut best = descend(points, seeds(points, clusters, random)?, search);
    for _ in 1..search.restarts {
        search.go_on()?;
        let found = descend(points, seeds(points, clusters, random)?, search);
        if found.inertia < best.inertia {
            best = found;
        }
    }
    Ok(best)
}

/// Rows as centres, each drawn with a chance that grows with the square of its distance to those before.
fn seeds(points: &Points, clusters: usize, random: &mut Seeded) -> Result<Points, ClusterError> {
    let first = points.row(random.below(points.rows()));
    let mut centres = Points::new(points.dimensions(), first.to_vec());
    let mut nearest = vec![f64::INFINITY; points.rows()];
    while centres.rows() < clusters {
        let last = centres.row(centres.rows() - 1);
        let mut total = 0.0;
        for (point, nearest) in points.iter().zip(&mut nearest) {
            *nearest = nearest.min(squared_distance(point, last));
            total += *nearest;
        }
        let Some(row) = drawn(&nearest, random.unit() * total) else {
            // All rows are where a centre is already.
            return Err(ClusterError::TooFewDistinct { distinct: centres.rows(), clusters });
        };
        centres.push(points.row(row));
    }
    Ok(centres)
}

/// The first place up to which weights add up to more than a target. `None`: all weights are 0.
fn drawn(weights: &[f64], target: f64) -> Option<usize> {
    let mut sum = 0.0;
    let found = weights.iter().position(|weight| {
        sum += weight;
        sum > target
    });
    // Rounding can bring the target up to the sum of all.
    found.or_else(|| weights.iter().rposition(|weight| *weight > 0.0))
}

/// What is known of a row: its cluster, and bounds of its distances to that centre and to all others.
#[derive(Clone, Copy)]
struct Row {
    label: usize,
    at_most: f64,
    others_at_least: f64,
}

/// The nearest centre and the distances to it and to the second.
fn nearest_two(point: &[f64], centres: &Points) -> Row {
    let mut found = Row { label: 0, at_most: f64::INFINITY, others_at_least: f64::INFINITY };
    for (label, centre) in centres.iter().enumerate() {
        let distance = squared_distance(point, centre);
        if distance < found.at_most {
            found = Row { label, at_most: distance, others_at_least: found.at_most };
        } else if distance < found.others_at_least {
            found.others_at_least = distance;
        }
    }
    Row { at_most: found.at_most.sqrt(), others_at_least: found.others_at_least.sqrt(), ..found }
}

/// The nearest centre and the square of the distance to it. Of several the one with more of the first feature in which
/// they differ, so that it does not depend on how centres are numbered.
pub(super) fn nearest<'c>(point: &[f64], centres: impl Iterator<Item = &'c [f64]>) -> (usize, f64) {
    let (mut found, mut of_found): (_, &[f64]) = ((0, f64::INFINITY), &[]);
    for (label, centre) in centres.enumerate() {
        let distance = squared_distance(point, centre);
        if distance < found.1 || (distance <= found.1 && centre > of_found) {
            (found, of_found) = ((label, distance), centre);
        }
    }
    found
}

/// The rows of each cluster, and their sum.
struct Groups {
    counts: Vec<usize>,
    sums: Points,
}

impl Groups {
    fn of(points: &Points, rows: &[Row], clusters: usize) -> Self {
        let dimensions = points.dimensions();
        let sums = Points::new(dimensions, vec![0.0; clusters * dimensions]);
        let mut groups = Self { counts: vec![0; clusters], sums };
        for (point, row) in points.iter().zip(rows) {
            groups.counts[row.label] += 1;
            groups.sums.row_mut(row.label).iter_mut().zip(point).for_each(|(sum, value)| *sum += value);
        }
        groups
    }

    fn transfer(&mut self, point: &[f64], from: usize, to: usize) {
        self.counts[from] -= 1;
        self.counts[to] += 1;
        self.sums.row_mut(from).iter_mut().zip(point).for_each(|(sum, value)| *sum -= value);
        self.sums.row_mut(to).iter_mut().zip(point).for_each(|(sum, value)| *sum += value);
    }

    /// Gives each cluster that has no rows the row that is furthest from its centre. Whether there was one.
    fn fill_empty(&mut self, points: &Points, rows: &mut [Row], centres: &Points) -> bool {
        let mut filled = false;
        while let Some(empty) = self.counts.iter().position(|count| *count == 0) {
            let mut furthest = (0.0, None);
            for (place, (point, row)) in points.iter().zip(rows.iter()).enumerate() {
                let distance = squared_distance(point, centres.row(row.label));
                if distance > furthest.0 && self.counts[row.label] > 1 {
                    furthest = (distance, Some(place));
                }
            }
            let Some(place) = furthest.1 else { break };
            self.transfer(points.row(place), rows[place].label, empty);
            rows[place].label = empty;
            filled = true;
        }
        filled
    }

    /// Puts centres into the midst of their rows, and tells by how much each moved. One without rows stays.
    fn pull(&self, centres: &mut Points) -> Vec<f64> {
        let groups = self.counts.iter().zip(self.sums.iter());
        let moves = centres.iter_mut().zip(groups).map(|(centre, (count, sum))| {
            if *count == 0 {
                return 0.0;
            }
            let mut squares = 0.0;
            for (coordinate, sum) in centre.iter_mut().zip(sum) {
                let mean = sum / *count as f64;
                squares += (mean - *coordinate) * (mean - *coordinate);
                *coordinate = mean;
            }
            squares.sqrt()
        });
        moves.collect()
    }
}

/// Lloyd's iterations from given centres until they are at rest, or nobody waits for it.
pub(super) fn descend(points: &Points, mut centres: Points, search: &Search<'_>) -> Solution {
    let mut rows: Vec<Row> = points.iter().map(|point| nearest_two(point, &centres)).collect();
    let mut groups = Groups::of(points, &rows, centres.rows());
    for _ in 0..MAX_ITERATIONS {
        if search.is_cancelled() {
            break;
        }
        let filled = groups.fill_empty(points, &mut rows, &centres);
        let moves = groups.pull(&mut centres);
        if !filled && moves.iter().map(|moved| moved * moved).sum::<f64>().sqrt() < AT_REST {
            break;
        }
        if filled {
            for row in &mut rows {
                *row = Row { at_most: f64::INFINITY, others_at_least: 0.0, ..*row };
            }
        }
        reassign(points, &centres, &moves, &mut rows, &mut groups);
    }
    // Sums that rows came to and left are a little off; and after the last iteration rows have moved once more.
    Groups::of(points, &rows, centres.rows()).pull(&mut centres);
    settled(points, centres)
}

/// Gives each row to its nearest centre, after centres have moved. Where the bounds say that it cannot have changed,
/// nothing is computed.
fn reassign(points: &Points, centres: &Points, moves: &[f64], rows: &mut [Row], groups: &mut Groups) {
    let most = moves.iter().copied().enumerate().fold((0, 0.0), |most, one| if one.1 > most.1 { one } else { most });
    let second = moves.iter().enumerate().filter(|(label, _)| *label != most.0).fold(0.0, |most, one| one.1.max(most));
    // Whoever is nearer to its centre than half the way to the next one is nearer to it than to any.
    let halves: Vec<f64> = centres.iter().map(|centre| nearest_two(centre, centres).others_at_least / 2.0).collect();
    for (point, row) in points.iter().zip(rows) {
        row.at_most += moves[row.label];
        row.others_at_least -= if row.label == most.0 { second } else { most.1 };
        let safe = row.others_at_least.max(halves[row.label]);
        if row.at_most <= safe {
            continue;
        }
        row.at_most = squared_distance(point, centres.row(row.label)).sqrt();
        if row.at_most <= safe {
            continue;
        }
        let found = nearest_two(point, centres);
        if found.label != row.label {
            groups.transfer(point, row.label, found.label);
        }
        *row = found;
    }
}

/// What centres at rest come to.
fn settled(points: &Points, centres: Points) -> Solution {
    let mut solution = Solution { centres, labels: Vec::with_capacity(points.rows()), inertia: 0.0, distance: 0.0 };
    for point in points.iter() {
        let (label, squared) = nearest(point, solution.centres.iter());
        solution.labels.push(label as u32);
        solution.inertia += squared;
        solution.distance += squared.sqrt();
    }
    solution
}

#[cfg(test)]
mod tests {
    //! Against Lloyd's iterations as they stand in the books, and from starts that leave clusters empty.

    use super::*;
    use proptest::prelude::*;

    fn clouds() -> impl Strategy<Value = (Points, usize)> {
        // A coarse grid, so that ties and equal rows are frequent.
        let cell = (-8..8_i32).prop_map(|cell| f64::from(cell) / 4.0);
        (1..5_usize, 2..7_usize).prop_flat_map(move |(dimensions, clusters)| {
            let values = prop::collection::vec(cell.clone(), dimensions * 40);
            (values.prop_map(move |values| Points::new(dimensions, values)), Just(clusters))
        })
    }

    /// Without bounds: until nobody moves. `None`: a cluster has become empty, for which the books have no rule.
    fn by_the_book(points: &Points, mut centres: Points) -> Option<f64> {
        let mut labels: Vec<usize> = vec![];
        loop {
            let found: Vec<usize> = points.iter().map(|point| nearest(point, centres.iter()).0).collect();
            if found == labels {
                let parts =
                    points.iter().zip(&labels).map(|(point, label)| squared_distance(point, centres.row(*label)));
                return Some(parts.sum());
            }
            labels = found;
            for label in 0..centres.rows() {
                let own: Vec<_> = points.iter().zip(&labels).filter(|(_, own)| **own == label).collect();
                if own.is_empty() {
                    return None;
                }
                for (dimension, coordinate) in centres.row_mut(label).iter_mut().enumerate() {
                    *coordinate = own.iter().map(|(point, _)| point[dimension]).sum::<f64>() / own.len() as f64;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn bounds_change_no_result((points, clusters) in clouds(), seed: u64) {
            // Off the grid by different amounts in each dimension, so that no two distances are equal and the book
            // decides as we do.
            let points = Points::new(points.dimensions(), points.values_off_grid(seed));
            let Ok(start) = seeds(&points, clusters, &mut Seeded::new(seed)) else { return Ok(()) };
            let Some(expected) = by_the_book(&points, start.clone()) else { return Ok(()) };
            let found = descend(&points, start, &Search::new(0));
            prop_assert!((found.inertia - expected).abs() <= 1e-9 * expected.max(1.0));
        }

        #[test]
        fn centres_at_rest_are_the_means_of_their_rows_and_none_is_without((points, clusters) in clouds(), seed: u64) {
            // Off the grid, as a row half way between two centres would count as of one and be summed with the other.
            let points = Points::new(points.dimensions(), points.values_off_grid(seed));
            let Ok(start) = seeds(&points, clusters, &mut Seeded::new(seed)) else { return Ok(()) };
            // All but one so far off that nobody is nearest to them.
            let off = start.iter().enumerate().flat_map(|(label, centre)| {
                centre.iter().map(move |coordinate| if label == 0 { *coordinate } else { 1e3 + label as f64 })
            });
            let off = Points::new(points.dimensions(), off.collect());
            for start in [start.clone(), off] {
                let found = descend(&points, start, &Search::new(0));
                for label in 0..clusters {
                    let own = points.iter().zip(&found.labels).filter(|(_, own)| **own as usize == label);
                    let own: Vec<_> = own.map(|(point, _)| point).collect();
                    prop_assert!(!own.is_empty());
                    for (dimension, coordinate) in found.centres.row(label).iter().enumerate() {
                        let mean = own.iter().map(|point| point[dimension]).sum::<f64>() / own.len() as f64;
                        prop_assert!((mean - coordinate).abs() < 1e-9);
                    }
                }
            }
        }

        #[test]
        fn seeds_are_distinct_rows_and_as_many_as_there_are_when_these_are_too_few(
            values in prop::collection::vec(0..6_u8, 1..30), clusters in 2..8_usize, seed: u64,
        ) {
            let distinct = values.iter().collect::<std::collections::BTreeSet<_>>().len();
            let points = Points::new(1, values.iter().map(|value| f64::from(*value)).collect());
            match seeds(&points, clusters, &mut Seeded::new(seed)) {
                Ok(seeds) => {
                    let mut seeds: Vec<u8> = seeds.iter().map(|seed| seed[0] as u8).collect();
                    prop_assert!(seeds.iter().all(|seed| values.contains(seed)));
                    seeds.sort_unstable();
                    seeds.dedup();
                    prop_assert_eq!(seeds.len(), clusters);
                }
                Err(error) => prop_assert_eq!(error, ClusterError::TooFewDistinct { distinct, clusters }),
            }
        }
    }

    impl Points {
        fn values_off_grid(&self, seed: u64) -> Vec<f64> {
            let mut random = Seeded::new(seed ^ 1);
            self.iter().flatten().map(|value| value + 0.01 * random.unit()).collect()
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let weights = [0.0, 1.0, 0.0, 3.0, 0.0];
        assert_eq!(drawn(&weights, 0.0), Some(1));
        assert_eq!(drawn(&weights, 0.999), Some(1));
        assert_eq!(drawn(&weights, 1.0), Some(3));
        // As after rounding.
        assert_eq!(drawn(&weights, 4.0), Some(3));
        assert_eq!(drawn(&[0.0, 0.0], 0.0), None);
    }
}
