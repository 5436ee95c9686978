//! Ellipsoids of clouds whose means and covariances are known, and densities by the formula of the books.

use super::super::{ClusterError, KMeans, Mixture, Search};
use super::*;
use proptest::prelude::*;

/// Two clouds so far apart that no row has a part in both: long ones, the second at right angles to the first.
fn two_clouds() -> Vec<Vec<f64>> {
    let mut random = Seeded::new(21);
    let mut rows = Vec::new();
    for _ in 0..300 {
        let (along, across) = (normal(&mut random), 0.2 * normal(&mut random));
        rows.push(vec![along + across, along - across]);
    }
    for _ in 0..100 {
        let (along, across) = (normal(&mut random), 0.2 * normal(&mut random));
        rows.push(vec![40.0 + along + across, -along + across]);
    }
    rows
}

#[test]
fn clouds_without_overlap_have_the_moments_of_their_rows() {
    let rows = two_clouds();
    let prepared = prepared(2, &rows);
    let mixture = Mixture::fit(&prepared, 2, &Search::new(1), None).unwrap();
    assert!(mixture.settled);
    let points: Vec<&[f64]> = prepared.points.iter().collect();
    for (shape, (own, weight)) in mixture.shapes.iter().zip([(&points[..300], 0.75), (&points[300..], 0.25)]) {
        assert_close(shape.weight, weight, 1e-12, "weight");
        let mean = |place: usize| own.iter().map(|point| point[place]).sum::<f64>() / own.len() as f64;
        let means = [mean(0), mean(1)];
        let covariance = |one: usize, other: usize| {
            let gaps = own.iter().map(|point| (point[one] - means[one]) * (point[other] - means[other]));
            gaps.sum::<f64>() / own.len() as f64 + if one == other { 1e-3 } else { 0.0 }
        };
        assert_close(shape.mean[0], means[0], 1e-9, "mean");
        assert_close(shape.mean[1], means[1], 1e-9, "mean");
        // Whitening W makes the covariance S the unit matrix: W S W' = I.
        let [a, b, c] = shape.whitening[..] else { panic!("not a triangle of two") };
        let (xx, xy, yy) = (covariance(0, 0), covariance(0, 1), covariance(1, 1));
        assert_close(a * a * xx, 1.0, 1e-9, "first variance");
        assert!((a * (b * xx + c * xy)).abs() < 1e-9);
        assert_close(b * b * xx + 2.0 * b * c * xy + c * c * yy, 1.0, 1e-9, "second variance");
        // The peak of the bivariate density: weight / (2 pi sqrt(det)).
        let peak = weight / (std::f64::consts::TAU * (xx * yy - xy * xy).sqrt());
        assert_close(shape.log_peak, peak.ln(), 1e-9, "peak");
    }
    let sizes: Vec<_> = mixture.partition.clusters.iter().map(|one| (one.number, one.size)).collect();
    assert_eq!(sizes, [(1, 300), (2, 100)]);
    let found = mixture.assign(&[Some(40.0), Some(0.0)]).unwrap();
    assert_eq!((found.cluster, found.probability), (2, 1.0));
    assert!(found.distance < 0.3, "{found:?}");
}

#[test]
fn probabilities_are_those_of_the_densities() {
    // Overlapping, so that they are neither 0 nor 1.
    let rows = clouds(&[(0.0, 0.0, 200), (3.0, 0.0, 100)], 4);
    let prepared = prepared(2, &rows);
    let mixture = Mixture::fit(&prepared, 2, &Search::new(1), None).unwrap();
    let mut undecided = 0;
    let mut log_likelihood = 0.0;
    for (row, point) in rows.iter().zip(prepared.points.iter()) {
        let densities: Vec<f64> = mixture
            .shapes
            .iter()
            .map(|shape| {
                let [first, mixed, second] = shape.whitening[..] else { panic!("not a triangle of two") };
                let gaps = [point[0] - shape.mean[0], point[1] - shape.mean[1]];
                let squared = (first * gaps[0]).powi(2) + (mixed * gaps[0] + second * gaps[1]).powi(2);
                shape.weight * first * second / std::f64::consts::TAU * (-squared / 2.0).exp()
            })
            .collect();
        let total: f64 = densities.iter().sum();
        log_likelihood += total.ln();
        let best = usize::from(densities[1] > densities[0]);
        let found = mixture.assign(&known(row)).unwrap();
        assert_eq!(found.cluster as usize, best + 1);
        assert_close(found.probability, densities[best] / total, 1e-9, "probability");
        undecided += i32::from(found.probability < 0.9);
    }
    assert!(undecided > 10, "{undecided}");
    assert_close(mixture.log_likelihood, log_likelihood, 1e-9, "log-likelihood");
    // A weight, two means of two and two covariances of three.
    assert_close(mixture.bic, 11.0 * 300.0_f64.ln() - 2.0 * log_likelihood, 1e-9, "BIC");
}

#[test]
fn a_feature_that_is_constant_changes_nothing() {
    let rows = clouds(&[(0.0, 0.0, 60), (4.0, 1.0, 50)], 4);
    let wider: Vec<Vec<f64>> = rows.iter().map(|row| vec![row[0], 7.0, row[1]]).collect();
    let [one, other] = [prepared(2, &rows), prepared(3, &wider)]
        .map(|prepared| Mixture::fit(&prepared, 2, &Search::new(1), None).unwrap());
    assert_eq!((one.log_likelihood, one.bic, &one.shapes), (other.log_likelihood, other.bic, &other.shapes));
    assert_eq!(other.places, [0, 2]);
    assert_eq!(other.partition.clusters[0].centre[1], 0.0);
    let found = [one.assign(&[Some(4.0), Some(1.0)]), other.assign(&[Some(4.0), Some(9.0), Some(1.0)])];
    assert_eq!(found[0], found[1]);
}

#[test]
fn features_that_follow_from_each_other_or_have_one_value_for_many_do_no_harm() {
    let mut random = Seeded::new(2);
    let rows: Vec<Vec<f64>> = (0..200)
        .map(|row| {
            let orders = if row < 120 { 0.0 } else { random.unit() * 3.0 };
            vec![orders, 2.0 * orders - 1.0, normal(&mut random)]
        })
        .collect();
    let mixture = Mixture::fit(&prepared(3, &rows), 3, &Search::new(1), None).unwrap();
    assert!(mixture.log_likelihood.is_finite() && mixture.bic.is_finite());
    for row in &rows {
        let found = mixture.assign(&known(row)).unwrap();
        assert!((1.0 / 3.0..=1.0).contains(&found.probability) && found.distance.is_finite());
    }
    let found = mixture.assign(&[Some(-9e99), None, Some(9e99)]).unwrap();
    assert!(found.probability > 0.3 && found.distance.is_finite());
}

#[test]
fn a_mixture_keeps_the_numbers_of_other_clusters() {
    let rows = clouds(&[(0.0, 0.0, 60), (40.0, 0.0, 50), (0.0, 40.0, 20)], 4);
    let before = KMeans::fit(&prepared(2, &rows), 3, &Search::new(1), None).unwrap();
    let now = prepared(2, &clouds(&[(1.0, 0.0, 30), (40.0, 1.0, 50), (0.0, 40.0, 70)], 7));
    let mixture = Mixture::fit(&now, 3, &Search::new(1), Some(&before.partition)).unwrap();
    let sizes: Vec<_> = mixture.partition.clusters.iter().map(|one| (one.number, one.size)).collect();
    assert_eq!(sizes, [(1, 30), (2, 50), (3, 70)]);
    for (number, (x, y)) in [(1, (1.0, 0.0)), (2, (40.0, 1.0)), (3, (0.0, 40.0))] {
        assert_eq!(mixture.assign(&[Some(x), Some(y)]).unwrap().cluster, number);
    }
    assert_eq!(Mixture::fit(&now, 1, &Search::new(1), None).unwrap_err(), ClusterError::ClustersOutOfRange(1));
}

proptest! {
    #[test]
    fn sizes_weights_and_probabilities_add_up(
        rows in prop::collection::vec(prop::collection::vec(-5.0..5.0_f64, 2), 15..50),
        clusters in 2..5_usize,
        seed: u64,
    ) {
        let prepared = prepared(2, &rows);
        let mixture = Mixture::fit(&prepared, clusters, &Search { restarts: 2, ..Search::new(seed) }, None).unwrap();
        prop_assert_eq!(mixture.partition.clusters.iter().map(|one| one.size).sum::<u64>(), rows.len() as u64);
        prop_assert!((mixture.shapes.iter().map(|shape| shape.weight).sum::<f64>() - 1.0).abs() < 1e-9);
        let mut sizes = vec![0_u64; clusters + 1];
        for row in &rows {
            let found = mixture.assign(&known(row)).unwrap();
            sizes[found.cluster as usize] += 1;
            prop_assert!(found.probability >= 1.0 / clusters as f64 - 1e-9 && found.probability <= 1.0);
        }
        prop_assert_eq!(&sizes[1..], mixture.partition.clusters.iter().map(|one| one.size).collect::<Vec<_>>());
        prop_assert_eq!(&mixture, &Mixture::fit(&prepared, clusters, &Search { restarts: 2, ..Search::new(seed) }, None).unwrap());
    }
}
