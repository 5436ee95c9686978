//! Rows that become points as worked out by hand, and rows that are refused.

use super::super::{ClusterError, Column, KMeans, MAX_FEATURES, Preparation, Search};
use super::*;

#[test]
fn a_value_stands_at_its_deviations_from_the_mean() {
    // Mean 5, population deviation 2: the usual example.
    let rows = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].map(|value| vec![value]);
    let prepared = prepared(1, &rows);
    let column = &prepared.preparation().columns[0];
    assert_eq!((column.mean, column.deviation), (5.0, 2.0));
    let points: Vec<f64> = prepared.points.iter().flatten().copied().collect();
    assert_eq!(points, [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]);
}

#[test]
fn logarithms_keep_the_sign() {
    let mut table = Table::new(vec![feature("net revenue", true)]).unwrap();
    let e = std::f64::consts::E;
    // Their logarithms are 2, 0 and -2.
    for value in [e * e - 1.0, 0.0, 1.0 - e * e] {
        table.push(&[Some(value)]).unwrap();
    }
    let prepared = table.prepare().unwrap();
    let column = &prepared.preparation().columns[0];
    assert_close(column.mean, 0.0, 1e-12, "mean");
    assert_close(column.deviation, (8.0_f64 / 3.0).sqrt(), 1e-12, "deviation");
    let points: Vec<f64> = prepared.points.iter().flatten().copied().collect();
    assert_close(points[0], 1.5_f64.sqrt(), 1e-12, "first");
    assert_eq!(points[0], -points[2]);
}

#[test]
fn what_is_not_known_stands_at_the_mean_of_what_is() {
    let rows = [[Some(1.0), None], [Some(3.0), Some(4.0)], [None, Some(8.0)], [Some(2.0), Some(6.0)]];
    let prepared = table(2, rows.map(|row| row.to_vec())).prepare().unwrap();
    let columns = &prepared.preparation().columns;
    assert_eq!((columns[0].mean, columns[1].mean), (2.0, 6.0));
    assert_close(columns[0].deviation, (2.0_f64 / 3.0).sqrt(), 1e-12, "deviation");
    assert_eq!(prepared.points.row(0)[1], 0.0);
    assert_eq!(prepared.points.row(2)[0], 0.0);
}

#[test]
fn a_constant_sets_nobody_apart_whatever_rounding_makes_of_it() {
    // 0.1 has no exact mean of three, and of the last column nothing is known.
    let rows = [1.0, 2.0, 3.0].map(|value| vec![Some(value), Some(0.1), Some(1e15 / 3.0), None]);
    let prepared = table(4, rows).prepare().unwrap();
    assert_eq!(prepared.preparation().varying(), [0]);
    assert!(prepared.points.iter().all(|point| point[1..] == [0.0; 3]));
    // Somebody who differs in it later does not stand out by it.
    let model = KMeans::fit(&prepared, 2, &Search::new(1), None).unwrap();
    let row = [Some(1.0), Some(0.1), Some(1e15 / 3.0), None];
    let other = [Some(1.0), Some(77.0), None, Some(-5.0)];
    assert_eq!(model.assign(&row), model.assign(&other));
}

#[test]
fn a_point_stands_where_its_values_stand_in_another_model() {
    let of = |name: &str, logarithmic: bool, mean: f64, deviation: f64| Column {
        feature: feature(name, logarithmic),
        mean,
        deviation,
    };
    let before =
        Preparation { columns: vec![of("a", false, 6.0, 2.0), of("b", true, 1.0, 2.0), of("c", true, 0.0, 1.0)] };
    let now = Preparation {
        columns: vec![
            of("b", false, 1.0, 3.0),
            of("new", false, 5.0, 1.0),
            of("a", true, 1.0, 0.5),
            of("c", true, 1.0, 2.0),
        ],
    };
    // The values are 7, the negative of e^3 - 1, and one whose logarithm is 3.
    let point = now.point_of(&before, &[0.5, -2.0, 3.0]);
    let expected = [-3.0_f64.exp_m1() / 3.0 - 1.0 / 3.0, 0.0, (8.0_f64.ln() - 1.0) / 0.5, 1.0];
    for (ours, theirs) in point.iter().zip(expected) {
        assert!((ours - theirs).abs() < 1e-12, "{ours} {theirs}");
    }
}

#[test]
fn no_newcomer_is_too_far_off_to_be_assigned() {
    let prepared = prepared(1, &[vec![1.0], vec![1.001], vec![1.002], vec![1.003]]);
    let model = KMeans::fit(&prepared, 2, &Search::new(1), None).unwrap();
    let [low, high] = [-9e99, 9e99].map(|value| model.assign(&[Some(value)]).unwrap());
    assert_ne!(low.cluster, high.cluster);
    assert!(low.distance.is_finite() && high.distance.is_finite());
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let names = |count: usize| (0..count).map(|place| feature(&format!("feature {place}"), false)).collect::<Vec<_>>();
    assert_eq!(Table::new(names(0)).unwrap_err(), ClusterError::FeaturesOutOfRange(0));
    assert_eq!(Table::new(names(MAX_FEATURES + 1)).unwrap_err(), ClusterError::FeaturesOutOfRange(MAX_FEATURES + 1));
    let twice = vec![feature("orders", true), feature("revenue", true), feature("orders", false)];
    assert_eq!(Table::new(twice).unwrap_err(), ClusterError::DuplicateFeature("orders".to_owned()));
    let mut table = Table::new(names(2)).unwrap();
    assert_eq!(table.push(&[Some(1.0)]), Err(ClusterError::Width { found: 1, expected: 2 }));
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e100] {
        assert_eq!(table.push(&[Some(1.0), Some(value)]), Err(ClusterError::NotFinite(1)));
    }
    // Nothing of it has stayed.
    assert_eq!(table.rows(), 0);
    assert_eq!(table.clone().prepare().unwrap_err(), ClusterError::NothingVaries);
    for _ in 0..3 {
        table.push(&[Some(1.0), None]).unwrap();
    }
    assert_eq!(table.prepare().unwrap_err(), ClusterError::NothingVaries);
}
