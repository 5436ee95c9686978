//! Calibration: what it may not do, and what it has to find.

use super::super::{Calibration, ChurnError, Knot, Method};
use super::*;
use proptest::prelude::*;

/// Scores and outcomes of the log-odds -1 + score / 2.
fn halved(rows: usize) -> (Vec<f64>, Vec<bool>) {
    let mut random = Seeded::new(3);
    let scores: Vec<f64> = (0..rows).map(|_| random.unit() * 12.0 - 6.0).collect();
    let labels = scores.iter().map(|score| random.unit() < 1.0 / (1.0 + (1.0 - score / 2.0).exp())).collect();
    (scores, labels)
}

#[test]
fn a_line_in_log_odds_is_found() {
    let (scores, labels) = halved(200_000);
    let Calibration::Platt { slope, intercept } = Calibration::learn(Method::Platt, &scores, &labels).unwrap() else {
        panic!("another method");
    };
    // Three standard errors, which are about 0.002 and 0.007.
    assert_close(slope, 0.5, 0.006, "slope");
    assert_close(intercept, -1.0, 0.02, "intercept");
}

#[test]
fn a_rising_curve_is_found() {
    let (scores, labels) = halved(200_000);
    let found = Calibration::learn(Method::Isotonic, &scores, &labels).unwrap();
    for score in [-4.0, -2.0, 0.0, 2.0, 4.0] {
        let expected = 1.0 / (1.0 + f64::exp(1.0 - score / 2.0));
        assert_close(found.risk(score), expected, 0.04, "risk");
    }
}

#[test]
fn a_line_is_where_its_slopes_are_nought() {
    // Platt's targets of two who left and two who stayed are 3/4 and 1/4; at the best line risks, and risks by scores,
    // add up to what these do.
    let scores = [0.0, 1.0, 2.0, 4.0];
    let found = Calibration::learn(Method::Platt, &scores, &[false, true, false, true]).unwrap();
    let targets = [0.25, 0.75, 0.25, 0.75];
    let errors = scores.iter().zip(targets).map(|(score, target)| found.risk(*score) - target);
    assert_close(errors.clone().sum(), 0.0, 1e-10, "errors");
    assert_close(errors.zip(scores).map(|(error, score)| error * score).sum(), 0.0, 1e-10, "errors by score");
}

#[test]
fn scores_the_wrong_way_round_make_everybody_alike() {
    let (scores, labels) = ([1.0, 2.0, 3.0, 4.0], [true, true, false, false]);
    let found = Calibration::learn(Method::Platt, &scores, &labels).unwrap();
    assert_eq!(found.method(), Method::Platt);
    assert_close(found.risk(-10.0), 0.5, 1e-12, "risk");
    assert_close(found.risk(10.0), 0.5, 1e-12, "risk");
    let found = Calibration::learn(Method::Isotonic, &scores, &labels).unwrap();
    assert_eq!(
        found,
        Calibration::Isotonic { knots: vec![Knot { score: 1.0, risk: 0.5 }, Knot { score: 4.0, risk: 0.5 }] }
    );
}

#[test]
fn few_rows_make_nobody_certain() {
    let found = Calibration::learn(Method::Isotonic, &[1.0, 2.0], &[false, true]).unwrap();
    assert_close(found.risk(0.0), 1.0 / 3.0, 1e-15, "the lowest risk");
    assert_close(found.risk(1.5), 0.5, 1e-15, "half-way");
    assert_close(found.risk(9.0), 2.0 / 3.0, 1e-15, "the highest risk");
    // Of many others less is known of the first two than that nobody leaves: 1 / 4 is more than 1 / 50.
    let scores: Vec<f64> = (0..102).map(f64::from).collect();
    let labels: Vec<bool> = (0..102).map(|row| row == 2 || row == 52 || row == 101).collect();
    let found = Calibration::learn(Method::Isotonic, &scores, &labels).unwrap();
    assert_close(found.risk(0.0), 1.0 / 52.0, 1e-15, "the first two, with the fifty behind them");
    assert_close(found.risk(101.0), 2.0 / 3.0, 1e-15, "the last, alone");
}

#[test]
fn without_calibration_log_odds_are_taken_at_their_word() {
    let found = Calibration::learn(Method::None, &[1.0, 2.0], &[false, true]).unwrap();
    assert_close(found.risk(3.0_f64.ln()), 0.75, 1e-15, "risk");
}

#[test]
fn scores_that_are_none_are_refused() {
    for method in [Method::None, Method::Platt, Method::Isotonic] {
        let refused = Calibration::learn(method, &[0.0, f64::INFINITY], &[true, false]);
        assert_eq!(refused, Err(ChurnError::Prediction(1)));
        assert!(Calibration::learn(method, &[0.0, 1.0], &[true, true]).is_err());
    }
}

proptest! {
    #[test]
    fn no_order_is_turned_round(
        rows in prop::collection::vec((-50.0..50.0_f64, any::<bool>()), 2..80).prop_filter(
            "both outcomes", |rows| rows.iter().any(|row| row.1) && rows.iter().any(|row| !row.1)),
        asked in prop::collection::vec(-80.0..80.0_f64, 2..40),
    ) {
        let (scores, labels): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
        let mut asked = asked;
        asked.sort_by(f64::total_cmp);
        for method in [Method::None, Method::Platt, Method::Isotonic] {
            let found = Calibration::learn(method, &scores, &labels).unwrap();
            prop_assert_eq!(found.check(), Ok(()));
            let risks: Vec<f64> = asked.iter().map(|score| found.risk(*score)).collect();
            prop_assert!(risks.iter().all(|risk| (0.0..=1.0).contains(risk)));
            prop_assert!(risks.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }

    /// By the definition of the best curve: as many are expected to leave as did.
    #[test]
    fn as_many_are_expected_to_leave_as_did(labels in prop::collection::vec(any::<bool>(), 20..80)) {
        prop_assume!(labels.iter().any(|label| *label) && labels.iter().any(|label| !*label));
        let scores: Vec<f64> = (0..labels.len()).map(|row| row as f64).collect();
        let churned = labels.iter().filter(|label| **label).count() as f64;
        let found = Calibration::learn(Method::Isotonic, &scores, &labels).unwrap();
        let expected: f64 = scores.iter().map(|score| found.risk(*score)).sum();
        // Risks of 0 and 1 of n rows count as 1 / (n + 2) and 1 less that: of each that is less than one customer.
        prop_assert!((expected - churned).abs() < 1.0);
    }
}
