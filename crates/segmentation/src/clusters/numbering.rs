//! Numbers that clusters keep: by size at first, and from then on those of the clusters before that they come closest
//! to, so that "cluster 3" of last month's report is cluster 3 of this month's.

use super::CLUSTERS;
use super::points::squared_distance;
use super::preparation::Preparation;
use std::cmp::Ordering;

/// Customers who resemble each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its number, from 1.
    pub number: u32,
    /// How many rows of the fit belong to it.
    pub size: u64,
    /// The mean of its rows, of a mixture that of its ellipsoid: for each feature, in deviations from the mean of all.
    /// Of a single row it is that customer's own, and for nobody else to see.
    pub centre: Vec<f64>,
    /// How far the centre is from where the cluster of that number was before, in deviations. `None`: there was none.
    pub moved: Option<f64>,
}

/// Clusters, the space that they lie in, and what later ones are measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// How rows become points.
    pub preparation: Preparation,
    /// By number. After a refit with fewer clusters there are gaps.
    pub clusters: Vec<Cluster>,
    /// The mean distance of the rows of the fit to the centres of their clusters, in deviations.
    pub mean_distance: f64,
    /// The highest number ever given. A number whose cluster is gone is not given again.
    pub last_number: u32,
}

/// A cluster that has no number yet.
pub(super) struct Unnumbered {
    pub(super) size: u64,
    pub(super) centre: Vec<f64>,
}

impl Partition {
    /// Clusters with numbers, and for each of them its place among those that were given.
    pub(super) fn number(
        preparation: Preparation,
        found: &[Unnumbered],
        mean_distance: f64,
        previous: Option<&Self>,
    ) -> (Self, Vec<usize>) {
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|one, other| by_size(&found[*one], &found[*other]));
        let mut kept: Vec<Option<(u32, f64)>> = vec![None; found.len()];
        // Points of spaces that have nothing in common can't be compared.
        if let Some(previous) = previous.filter(|previous| preparation.shares_features(&previous.preparation)) {
            let theirs: Vec<_> = previous
                .clusters
                .iter()
                .take(*CLUSTERS.end())
                .map(|cluster| (cluster.number, preparation.point_of(&previous.preparation, &cluster.centre)))
                .collect();
            let distance = |new: usize, old: usize| squared_distance(&found[new].centre, &theirs[old].1).sqrt();
            for (new, old) in matched(found.len(), theirs.len(), distance) {
                kept[new] = Some((theirs[old].0, distance(new, old)));
            }
        }
        let mut last_number = previous.map_or(0, |previous| previous.last_number);
        let mut numbered: Vec<(u32, Option<f64>, usize)> = Vec::with_capacity(found.len());
        for place in order {
            if let Some((number, moved)) = kept[place] {
                numbered.push((number, Some(moved), place));
            } else {
                last_number += 1;
                numbered.push((last_number, None, place));
            }
        }
        numbered.sort_by_key(|(number, ..)| *number);
        let clusters = numbered.iter().map(|(number, moved, place)| {
            let Unnumbered { size, centre } = &found[*place];
            Cluster { number: *number, size: *size, centre: centre.clone(), moved: *moved }
        });
        let places = numbered.iter().map(|(.., place)| *place).collect();
        (Self { clusters: clusters.collect(), preparation, mean_distance, last_number }, places)
    }

    /// Whether one of its features is another's too.
    pub fn shares_features(&self, other: &Self) -> bool {
        self.preparation.shares_features(&other.preparation)
    }

    /// The centres in the order of their numbers.
    pub(super) fn centres(&self) -> impl Iterator<Item = &[f64]> {
        self.clusters.iter().map(|cluster| cluster.centre.as_slice())
    }
}

/// The largest first; of equal ones the one with more of the first feature in which they differ.
fn by_size(one: &Unnumbered, other: &Unnumbered) -> Ordering {
    let by_centre = one.centre.iter().zip(&other.centre).map(|(one, other)| other.total_cmp(one));
    other.size.cmp(&one.size).then_with(|| by_centre.fold(Ordering::Equal, Ordering::then))
}

/// The pairs of new and old with the least sum of distances: as many as there are of whichever are fewer.
fn matched(new: usize, old: usize, distance: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if new <= old {
        assigned(new, old, distance)
    } else {
        let turned = assigned(old, new, |old, new| distance(new, old));
        turned.into_iter().map(|(old, new)| (new, old)).collect()
    }
}

/// For each row another column, such that their costs add up to the least. Exact, by the cheapest way to every subset
/// of columns (Bellman 1962; Held and Karp 1962), which for twenty of them is a million subsets. There are at least as
/// many columns as rows.
fn assigned(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    let subsets = 1_usize << columns;
    // For a subset of n columns: the least cost at which the first n rows have them, and which of them the last of
    // these rows has.
    let mut cheapest = vec![(f64::INFINITY, 0_u8); subsets];
    cheapest[0].0 = 0.0;
    for subset in 0..subsets {
        let row = subset.count_ones() as usize;
        if row >= rows {
            continue;
        }
        let so_far = cheapest[subset].0;
        for column in (0..columns).filter(|column| subset & (1 << column) == 0) {
            let (sum, with) = (so_far + cost(row, column), &mut cheapest[subset | 1 << column]);
            if sum < with.0 {
                *with = (sum, column as u8);
            }
        }
    }
    let complete = (0..subsets).filter(|subset| subset.count_ones() as usize == rows);
    let mut subset = complete.min_by(|one, other| cheapest[*one].0.total_cmp(&cheapest[*other].0)).unwrap_or(0);
    let mut pairs = Vec::with_capacity(rows);
    for row in (0..rows).rev() {
        let column = usize::from(cheapest[subset].1);
        pairs.push((row, column));
        subset &= !(1 << column);
    }
    pairs
}

#[cfg(test)]
mod tests {
    //! Against all permutations, and numbers worked out by hand.

    use super::super::preparation::Column;
    use super::super::table::Feature;
    use super::*;
    use proptest::prelude::*;

    /// The least sum by trying every choice of a column for each row.
    fn least(costs: &[Vec<f64>], taken: &mut Vec<usize>) -> f64 {
        let Some(row) = costs.get(taken.len()) else { return 0.0 };
        let mut best = f64::INFINITY;
        for (column, cost) in row.iter().enumerate() {
            if !taken.contains(&column) {
                taken.push(column);
                best = best.min(cost + least(costs, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_other_pairs_are_closer(
            costs in (1..6_usize, 0..3_usize).prop_flat_map(|(rows, more)| {
                prop::collection::vec(prop::collection::vec(0.0..10.0_f64, rows + more), rows)
            }),
        ) {
            let (rows, columns) = (costs.len(), costs[0].len());
            let pairs = matched(rows, columns, |row, column| costs[row][column]);
            let turned = matched(columns, rows, |column, row| costs[row][column]);
            for (mut rows_taken, mut columns_taken, sum) in [
                (pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(),
                 pairs.iter().map(|pair| pair.1).collect::<Vec<_>>(),
                 pairs.iter().map(|(row, column)| costs[*row][*column]).sum::<f64>()),
                (turned.iter().map(|pair| pair.1).collect(), turned.iter().map(|pair| pair.0).collect(),
                 turned.iter().map(|(column, row)| costs[*row][*column]).sum()),
            ] {
                rows_taken.sort_unstable();
                columns_taken.sort_unstable();
                columns_taken.dedup();
                prop_assert_eq!(rows_taken, (0..rows).collect::<Vec<_>>());
                prop_assert_eq!(columns_taken.len(), rows);
                prop_assert!((sum - least(&costs, &mut vec![])).abs() < 1e-9);
            }
        }
    }

    fn preparation(mean: f64, deviation: f64) -> Preparation {
        let [name, high, low] = ["orders", "frequent orders", "rare orders"].map(str::to_owned);
        let feature = Feature { name, logarithmic: false, high, low };
        Preparation { columns: vec![Column { feature, mean, deviation }] }
    }

    fn number(preparation: Preparation, found: &[(u64, f64)], previous: Option<&Partition>) -> Partition {
        let found: Vec<_> =
            found.iter().map(|(size, centre)| Unnumbered { size: *size, centre: vec![*centre] }).collect();
        Partition::number(preparation, &found, 1.0, previous).0
    }

    fn numbers(partition: &Partition) -> Vec<(u32, u64)> {
        partition.clusters.iter().map(|cluster| (cluster.number, cluster.size)).collect()
    }

    #[test]
    fn the_largest_is_first_and_of_equal_ones_that_with_more_of_a_feature() {
        let partition = number(preparation(0.0, 1.0), &[(5, 0.0), (7, 1.0), (5, 2.0)], None);
        assert_eq!(numbers(&partition), [(1, 7), (2, 5), (3, 5)]);
        assert_eq!(partition.clusters[1].centre, [2.0]);
        assert_eq!(partition.last_number, 3);
    }

    #[test]
    fn a_cluster_keeps_its_number_when_its_size_and_the_scale_have_changed() {
        let before = number(preparation(10.0, 2.0), &[(9, 0.0), (5, 3.0), (2, -2.0)], None);
        assert_eq!(numbers(&before), [(1, 9), (2, 5), (3, 2)]);
        // The centres of before stand at 10, 16 and 6 orders: with the new scale at 2, 5 and 0.
        let now = number(preparation(6.0, 2.0), &[(1, 2.5), (3, 5.0), (8, 0.0)], Some(&before));
        assert_eq!(numbers(&now), [(1, 1), (2, 3), (3, 8)]);
        assert_eq!(now.clusters[0].moved, Some(0.5));
        assert_eq!(now.clusters[1].moved, Some(0.0));
    }

    #[test]
    fn numbers_that_are_gone_do_not_come_back() {
        let before = number(preparation(0.0, 1.0), &[(9, 0.0), (5, 3.0), (2, -2.0)], None);
        let fewer = number(preparation(0.0, 1.0), &[(4, 3.1), (3, -2.1)], Some(&before));
        assert_eq!(numbers(&fewer), [(2, 4), (3, 3)]);
        let more = number(preparation(0.0, 1.0), &[(4, 3.1), (3, -2.1), (7, 0.0), (6, 0.5)], Some(&fewer));
        assert_eq!(numbers(&more), [(2, 4), (3, 3), (4, 7), (5, 6)]);
        assert_eq!(more.clusters[2].moved, None);
    }

    #[test]
    fn twenty_against_twenty_are_matched() {
        let pairs = matched(20, 20, |new, old| if old == (new * 7 + 3) % 20 { 0.0 } else { 1.0 });
        assert_eq!(pairs.len(), 20);
        assert!(pairs.iter().all(|(new, old)| *old == (new * 7 + 3) % 20));
    }
}
