//! Fisher's irises (1936), 150 flowers by four lengths, against what other programs say of them. Where a value is not
//! published it is scikit-learn's, on the lengths as they are or standardised (`Z = (X - X.mean(0)) / X.std(0)`).

use super::super::lloyd::solve;
use super::super::points::Points;
use super::super::silhouette::silhouette;
use super::super::{Factors, KMeans, Mixture, Pca, Search, choose};
use super::*;

const IRISES: &str = include_str!("iris.csv");

fn irises() -> Vec<Vec<f64>> {
    let rows = IRISES.lines().map(|line| line.split(',').map(|length| length.parse().unwrap()).collect());
    let rows: Vec<Vec<f64>> = rows.collect();
    assert_eq!(rows.len(), 150);
    rows
}

fn standardised() -> Prepared {
    prepared(4, &irises())
}

#[test]
fn inertia_and_silhouette_are_the_published_ones() {
    // KMeans(k, n_init=200, tol=0).fit(X).inertia_ and silhouette_score(X, labels_); 78.851441 is in many a textbook.
    let points = Points::new(4, irises().concat());
    let expected = [
        (2, 152.347_951_760, 0.681_046_169),
        (3, 78.851_441_426, 0.552_819_012),
        (4, 57.228_473_214, 0.498_050_505),
        (5, 46.446_182_051, 0.488_748_887),
    ];
    for (clusters, inertia, width) in expected {
        let found = solve(&points, clusters, &Search { restarts: 50, ..Search::new(1) }).unwrap();
        assert_close(found.inertia, inertia, 1e-9, "inertia");
        assert_close(silhouette(&points, &found.labels, clusters), width, 1e-8, "silhouette");
    }
}

#[test]
fn a_hundred_restarts_find_what_other_programs_find() {
    // KMeans(k, n_init=200, tol=0).fit(Z).inertia_ and silhouette_score(Z, labels_).
    let expected = [
        (2, 222.361_704_965, 0.581_750_049),
        (3, 139.820_496_360, 0.459_948_239),
        (4, 114.092_238_436, 0.383_850_922),
        (5, 90.807_283_151, 0.341_946_971),
        (6, 79.998_558_046, 0.322_921_196),
        (7, 70.658_639_858, 0.325_446_073),
        (8, 62.213_746_858, 0.329_741_151),
    ];
    let prepared = standardised();
    let search = Search { restarts: 100, ..Search::new(1) };
    let choice = choose(&prepared, 2..=8, &search).unwrap();
    assert_eq!(choice.highest_silhouette, 2);
    for (clusters, inertia, width) in expected {
        let found = choice.candidates.iter().find(|one| one.clusters == clusters).unwrap();
        assert!(found.inertia <= inertia * 1.01 && found.inertia >= inertia * (1.0 - 1e-9), "{found:?}");
        if found.inertia < inertia * (1.0 + 1e-9) {
            assert_close(found.silhouette, width, 1e-8, "silhouette");
        }
        let model = KMeans::fit(&prepared, clusters, &search, None).unwrap();
        assert_eq!(model.inertia, found.inertia);
    }
}

#[test]
fn components_are_the_published_ones() {
    // The correlations' eigenvalues, their shares and the first two vectors, as in the manuals of R and scikit-learn.
    let pca = Pca::fit(&standardised()).unwrap();
    let variances = [2.918_497_82, 0.914_030_47, 0.146_756_88, 0.020_714_84];
    let shares = [0.729_624_454, 0.228_507_618, 0.036_689_219, 0.005_178_709];
    for (component, (variance, share)) in pca.components.iter().zip(variances.iter().zip(shares)) {
        assert_close(component.variance, *variance, 1e-6, "variance");
        assert_close(component.explained, share, 1e-6, "share");
    }
    let directions = [
        [0.521_065_91, -0.269_347_44, 0.580_413_10, 0.564_856_54],
        [0.377_417_62, 0.923_295_66, 0.024_491_61, 0.066_941_99],
    ];
    for (component, direction) in pca.components.iter().zip(directions) {
        for ((ours, loading), theirs) in component.direction.iter().zip(&component.loadings).zip(direction) {
            assert!((ours - theirs).abs() < 1e-7, "{ours} {theirs}");
            assert!((loading - theirs * component.variance.sqrt()).abs() < 1e-6);
        }
    }
    assert_eq!(pca.above_one(), 1);
    assert_eq!(pca.features, ["a", "b", "c", "d"]);
    // A point that lies on the first direction has nothing of the others.
    let scores = pca.scores(&pca.components[0].direction);
    assert!((scores[0] - 1.0).abs() < 1e-12 && scores[1..].iter().all(|score| score.abs() < 1e-12), "{scores:?}");
}

#[test]
fn components_of_rows_along_a_line_are_one() {
    let rows: Vec<Vec<f64>> = (0..30).map(|row| vec![f64::from(row), 5.0, 3.0 - 2.0 * f64::from(row)]).collect();
    let pca = Pca::fit(&prepared(3, &rows)).unwrap();
    assert_eq!((pca.places.as_slice(), pca.components.len()), ([0, 2].as_slice(), 2));
    assert_close(pca.components[0].explained, 1.0, 1e-12, "share");
    assert!(pca.components[1].explained < 1e-12);
    // Of two that are equally large the first is positive.
    let half = 0.5_f64.sqrt();
    assert!((pca.components[0].direction[0] - half).abs() < 1e-12);
    assert!((pca.components[0].direction[1] + half).abs() < 1e-12);
}

#[test]
fn mixtures_are_those_of_another_program() {
    // GaussianMixture(k, reg_covar=1e-3, tol=1e-10, weights_init=w, means_init=m, precisions_init=p).fit(Z), where w, m
    // and p are those of the clusters of k-means: score(Z) * 150, bic(Z) and weights_.
    let expected = [
        (2, -324.969_036_580, 795.246_496_689, vec![0.666_671_588, 0.333_328_412]),
        (3, -290.901_636_278, 802.271_225_496, vec![0.366_498_792, 0.333_333_333, 0.300_167_874]),
    ];
    for (clusters, log_likelihood, bic, weights) in expected {
        let mixture = Mixture::fit(&standardised(), clusters, &Search::new(1), None).unwrap();
        assert!(mixture.settled);
        // Their search ends later.
        assert!((mixture.log_likelihood - log_likelihood).abs() < 1e-3, "{}", mixture.log_likelihood);
        assert!((mixture.bic - bic).abs() < 2e-3, "{}", mixture.bic);
        for (shape, weight) in mixture.shapes.iter().zip(weights) {
            assert!((shape.weight - weight).abs() < 1e-3, "{}", shape.weight);
        }
    }
}

#[test]
fn one_factor_is_that_of_another_program_but_for_the_floor() {
    // FactorAnalysis(1, tol=1e-14, svd_method="lapack").fit(Z).components_, which leaves 3e-7 of the third length to
    // itself.
    let expected = [0.871_753_78, -0.428_439_72, 0.999_999_85, 0.962_865_54];
    let found = Factors::fit(&standardised(), 1).unwrap();
    for (ours, theirs) in found.factors[0].loadings.iter().zip(expected) {
        assert!((ours - theirs).abs() < 1e-2, "{ours} {theirs}");
    }
    assert_eq!(found.uniquenesses[2], 0.005);
    assert_eq!(found.features, ["a", "b", "c", "d"]);
}
