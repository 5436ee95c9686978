//! Clusters of rows that are few enough to try everything, or so far apart that everybody sees them.

use super::super::lloyd::solve;
use super::super::points::{Points, squared_distance};
use super::super::{ClusterError, KMeans, Search};
use super::*;
use proptest::prelude::*;

/// The least inertia of all ways to part rows into so many groups.
fn least_inertia(points: &[Vec<f64>], clusters: usize) -> f64 {
    fn inertia(points: &[Vec<f64>], labels: &[usize], clusters: usize) -> f64 {
        let of_one = |label: usize| {
            let own: Vec<&Vec<f64>> =
                points.iter().zip(labels).filter(|(_, own)| **own == label).map(|(point, _)| point).collect();
            let mean: Vec<f64> = (0..points[0].len())
                .map(|place| own.iter().map(|point| point[place]).sum::<f64>() / own.len().max(1) as f64)
                .collect();
            own.iter().map(|point| squared_distance(point, &mean)).sum::<f64>()
        };
        (0..clusters).map(of_one).sum()
    }
    let ways = clusters.pow(points.len() as u32);
    let labels =
        |way: usize| (0..points.len()).map(move |row| way / clusters.pow(row as u32) % clusters).collect::<Vec<_>>();
    (0..ways).map(|way| inertia(points, &labels(way), clusters)).fold(f64::INFINITY, f64::min)
}

#[test]
fn no_way_to_part_few_rows_is_better() {
    for seed in 0..10 {
        let mut random = Seeded::new(seed);
        let rows: Vec<Vec<f64>> = (0..7).map(|_| vec![random.unit(), random.unit()]).collect();
        for clusters in [2, 3] {
            let points = Points::new(2, rows.concat());
            let found = solve(&points, clusters, &Search { restarts: 100, ..Search::new(seed) }).unwrap();
            assert_close(found.inertia, least_inertia(&rows, clusters), 1e-9, "inertia");
        }
    }
}

/// Four clouds that nobody would part otherwise.
const FAR: [(f64, f64, usize); 4] = [(0.0, 0.0, 40), (60.0, 0.0, 30), (0.0, 60.0, 20), (60.0, 60.0, 10)];

#[test]
fn clouds_are_found_and_numbered_by_size_whatever_the_seed() {
    let prepared = prepared(2, &clouds(&FAR, 5));
    let first = KMeans::fit(&prepared, 4, &Search::new(1), None).unwrap();
    let numbered =
        |model: &KMeans| model.partition.clusters.iter().map(|one| (one.number, one.size)).collect::<Vec<_>>();
    assert_eq!(numbered(&first), [(1, 40), (2, 30), (3, 20), (4, 10)]);
    for (number, (x, y, _)) in (1..).zip(FAR) {
        let found = first.assign(&[Some(x), Some(y)]).unwrap();
        assert_eq!(found.cluster, number);
        assert!(found.distance < 0.1, "{found:?}");
    }
    for seed in 2..20 {
        let other = KMeans::fit(&prepared, 4, &Search::new(seed), None).unwrap();
        assert_eq!(numbered(&other), numbered(&first));
        for (one, other) in first.partition.clusters.iter().zip(&other.partition.clusters) {
            assert!(squared_distance(&one.centre, &other.centre) < 1e-20);
        }
    }
}

#[test]
fn a_refit_keeps_the_numbers_though_sizes_and_scales_have_changed() {
    let before = KMeans::fit(&prepared(2, &clouds(&FAR, 5)), 4, &Search::new(1), None).unwrap();
    let [a, b, c, d] = FAR;
    let grown = [(a.0 + 3.0, a.1, 5), (b.0, b.1 + 3.0, 50), (c.0, c.1, 70), (d.0 + 2.0, d.1, 90), (300.0, 0.0, 8)];
    let rows = prepared(2, &clouds(&grown, 6));
    let after = KMeans::fit(&rows, 5, &Search::new(9), Some(&before.partition)).unwrap();
    let sizes: Vec<_> = after.partition.clusters.iter().map(|one| (one.number, one.size)).collect();
    assert_eq!(sizes, [(1, 5), (2, 50), (3, 70), (4, 90), (5, 8)]);
    assert_eq!(after.partition.clusters[4].moved, None);
    assert!(after.partition.clusters[..4].iter().all(|one| one.moved.is_some_and(|moved| moved < 1.0)));
    let fresh = KMeans::fit(&rows, 5, &Search::new(9), None).unwrap();
    let sizes: Vec<_> = fresh.partition.clusters.iter().map(|one| one.size).collect();
    assert_eq!(sizes, [90, 70, 50, 8, 5]);
}

#[test]
fn a_refit_knows_features_again_by_their_names() {
    let rows = clouds(&FAR, 5);
    let before = KMeans::fit(&prepared(2, &rows), 4, &Search::new(1), None).unwrap();
    // The other way round, one of them now by logarithms, and a third that is new and says nothing.
    let mut table = Table::new(vec![feature("c", false), feature("b", true), feature("a", false)]).unwrap();
    let mut random = Seeded::new(3);
    for row in &rows {
        table.push(&[Some(random.unit()), Some(row[1]), Some(row[0])]).unwrap();
    }
    // So far apart as they are, the noise would part them otherwise only if it were counted as much.
    let after = KMeans::fit(&table.prepare().unwrap(), 4, &Search::new(1), Some(&before.partition)).unwrap();
    for (number, (x, y, _)) in (1..).zip(FAR) {
        assert_eq!(after.assign(&[None, Some(y), Some(x)]).unwrap().cluster, number);
    }
}

#[test]
fn more_rows_than_a_search_looks_at_come_to_the_same() {
    // Three clouds, and so few of a fourth that a search may not see them.
    let rows = clouds(&[(0.0, 0.0, 12_000), (30.0, 0.0, 9_000), (0.0, 30.0, 6_000)], 8);
    let prepared = prepared(2, &rows);
    let model = KMeans::fit(&prepared, 3, &Search { restarts: 2, ..Search::new(4) }, None).unwrap();
    let sizes: Vec<_> = model.partition.clusters.iter().map(|one| one.size).collect();
    assert_eq!(sizes, [12_000, 9_000, 6_000]);
}

#[test]
fn rows_that_differ_are_found_though_a_sample_misses_them() {
    // Of 30,000 rows all but two are the same: the sample of 20,000 is likely to have fewer than the three that are
    // asked for.
    let mut rows = vec![vec![0.0]; 30_000];
    rows[17] = vec![1.0];
    rows[29_000] = vec![5.0];
    let prepared = prepared(1, &rows);
    for seed in 0..4 {
        let model = KMeans::fit(&prepared, 3, &Search { restarts: 2, ..Search::new(seed) }, None).unwrap();
        let sizes: Vec<_> = model.partition.clusters.iter().map(|one| one.size).collect();
        assert_eq!(sizes, [29_998, 1, 1]);
    }
}

#[test]
fn what_cannot_be_clustered_is_refused() {
    let rows: Vec<Vec<f64>> = [1.0, 2.0, 3.0, 3.0, 3.0].map(|value| vec![value]).to_vec();
    let prepared = prepared(1, &rows);
    let search = Search::new(1);
    let refused = |clusters: usize, search: &Search<'_>| KMeans::fit(&prepared, clusters, search, None).unwrap_err();
    for clusters in [0, 1, 21] {
        assert_eq!(refused(clusters, &search), ClusterError::ClustersOutOfRange(clusters));
    }
    assert_eq!(refused(6, &search), ClusterError::TooFewRows { rows: 5, clusters: 6 });
    assert_eq!(refused(4, &search), ClusterError::TooFewDistinct { distinct: 3, clusters: 4 });
    for restarts in [0, 101] {
        assert_eq!(refused(2, &Search { restarts, ..Search::new(1) }), ClusterError::RestartsOutOfRange(restarts));
    }
    let model = KMeans::fit(&prepared, 3, &search, None).unwrap();
    assert_eq!(model.inertia, 0.0);
    assert_eq!(model.assign(&[]), Err(ClusterError::Width { found: 0, expected: 1 }));
    assert_eq!(model.assign(&[Some(f64::NAN)]), Err(ClusterError::NotFinite(0)));
}

fn rows() -> impl Strategy<Value = Vec<Vec<Option<f64>>>> {
    let value = prop::option::weighted(0.9, (-40..40_i32).prop_map(|value| f64::from(value) / 8.0));
    prop::collection::vec(prop::collection::vec(value, 3), 12..60)
}

proptest! {
    #[test]
    fn the_model_says_of_the_rows_of_the_fit_what_the_fit_said(rows in rows(), clusters in 2..6_usize, seed: u64) {
        let Ok(prepared) = table(3, rows.clone()).prepare() else { return Ok(()) };
        let Ok(model) = KMeans::fit(&prepared, clusters, &Search { restarts: 2, ..Search::new(seed) }, None) else { return Ok(()) };
        let (mut inertia, mut distance, mut sizes) = (0.0, 0.0, vec![0_u64; clusters + 1]);
        for row in &rows {
            let found = model.assign(row).unwrap();
            inertia += found.distance * found.distance;
            distance += found.distance;
            sizes[found.cluster as usize] += 1;
        }
        prop_assert!((inertia - model.inertia).abs() < 1e-9 * inertia.max(1.0));
        prop_assert!((distance / rows.len() as f64 - model.partition.mean_distance).abs() < 1e-9);
        let expected: Vec<u64> = model.partition.clusters.iter().map(|cluster| cluster.size).collect();
        prop_assert_eq!(&sizes[1..], expected);
        prop_assert_eq!(model.clone(), KMeans::fit(&prepared, clusters, &Search { restarts: 2, ..Search::new(seed) }, None).unwrap());
    }

    #[test]
    fn units_do_not_matter(rows in rows(), clusters in 2..5_usize, seed: u64) {
        // By powers of two and whole numbers, so that rounding does not decide ties another way.
        let by = |value: Option<f64>, factor: f64| value.map(|value| value * factor);
        let scaled = |row: &Vec<Option<f64>>| vec![by(row[0], 64.0), by(row[1], 0.25), row[2]];
        let other = rows.iter().map(scaled);
        let (Ok(one), Ok(other)) = (table(3, rows.clone()).prepare(), table(3, other).prepare()) else { return Ok(()) };
        let fit = |prepared: &Prepared| KMeans::fit(prepared, clusters, &Search { restarts: 2, ..Search::new(seed) }, None);
        match (fit(&one), fit(&other)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.inertia, other.inertia);
                prop_assert_eq!(one.partition.clusters, other.partition.clusters);
            }
            (one, other) => prop_assert_eq!(one.map(|_| ()), other.map(|_| ())),
        }
    }
}
