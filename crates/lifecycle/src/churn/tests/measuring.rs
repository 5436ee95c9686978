//! Figures against those of others, and against definitions that take no short cut.

use super::super::{ChurnError, Evaluation, Ranking};
use super::vectors::BINARY;
use super::*;
use proptest::prelude::*;

fn share(labels: &[bool]) -> f64 {
    labels.iter().filter(|label| **label).count() as f64 / labels.len() as f64
}

/// Pairs of one who left and one who stayed, a tie counting half.
pub(super) fn area_by_pairs(scores: &[f64], labels: &[bool]) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (one, _) in scores.iter().zip(labels).filter(|(_, label)| **label) {
        for (other, _) in scores.iter().zip(labels).filter(|(_, label)| !**label) {
            pairs += 1.0;
            won += if one > other { 1.0 } else { f64::from(u8::from(one >= other)) / 2.0 };
        }
    }
    won / pairs
}

/// For each row as a threshold: the shares of those at or above it among who left and who stayed, and the share who
/// left among them.
fn at_thresholds(scores: &[f64], labels: &[bool]) -> Vec<(f64, f64, f64)> {
    let at = |threshold: &f64| {
        let above: Vec<bool> =
            scores.iter().zip(labels).filter(|(score, _)| *score >= threshold).map(|(_, label)| *label).collect();
        let (left, stayed) = (share(&above) * above.len() as f64, (1.0 - share(&above)) * above.len() as f64);
        let all = labels.len() as f64;
        (left / (share(labels) * all), stayed / ((1.0 - share(labels)) * all), share(&above))
    };
    scores.iter().map(at).collect()
}

#[test]
fn figures_are_those_of_others() {
    for binary in BINARY {
        let labels: Vec<bool> = binary.labels.iter().map(|label| *label == 1).collect();
        let found = Evaluation::new(binary.risks, &labels).unwrap();
        assert_close(found.area_under_curve, binary.area_under_curve, 1e-14, "area under the curve");
        assert_close(found.kolmogorov_smirnov, binary.kolmogorov_smirnov, 1e-14, "Kolmogorov-Smirnov");
        assert_close(found.brier, binary.brier, 1e-14, "Brier score");
        assert_close(found.log_loss, binary.log_loss, 1e-13, "log loss");
        assert_close(found.average_precision, binary.average_precision, 1e-14, "average precision");
    }
}

#[test]
fn bins_and_lifts_are_those_on_paper() {
    let risks = [0.05, 0.15, 0.15, 0.95, 1.0];
    let found = Evaluation::new(&risks, &[false, true, false, true, true]).unwrap();
    let bins: Vec<_> = found.reliability.iter().map(|bin| (bin.rows, bin.from, bin.to)).collect();
    assert_eq!(bins, [(1, 0.0, 0.1), (2, 0.1, 0.2), (2, 0.9, 1.0)]);
    assert_close(found.reliability[1].mean_risk, 0.15, 1e-15, "mean risk");
    assert_close(found.reliability[1].churned_share, 0.5, 1e-15, "share");
    // (1 × |.05 - 0| + 2 × |.15 - .5| + 2 × |.975 - 1|) / 5.
    assert_close(found.calibration_error, (0.05 + 0.7 + 0.05) / 5.0, 1e-15, "calibration error");
    // The top three tenths of five are two rows, both of whom left; of all it is three in five.
    assert_close(found.lifts[3].lift, 1.0 / 0.6, 1e-14, "lift");
}

#[test]
fn of_tied_rows_the_top_has_its_share() {
    // The top half is the first row and, of three that are tied, one, of which one in three left.
    let ranking = Ranking::new(&[0.9, 0.5, 0.5, 0.5], &[true, true, false, false]).unwrap();
    assert_close(ranking.lift(0.5), 4.0 / 3.0 / 2.0 / 0.5, 1e-14, "lift");
    assert_close(ranking.lift(1.0), 1.0, 1e-14, "lift of all");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    assert_eq!(Evaluation::new(&[0.5, 1.5], &[true, false]), Err(ChurnError::Prediction(1)));
    assert_eq!(Evaluation::new(&[f64::NAN, 0.5], &[true, false]), Err(ChurnError::Prediction(0)));
    assert_eq!(Evaluation::new(&[0.5], &[true, false]), Err(ChurnError::Length { found: 1, expected: 2 }));
    let refused = Evaluation::new(&[0.5, 0.5], &[true, true]);
    assert_eq!(refused, Err(ChurnError::TooFewOutcomes { rows: 2, churned: 2, least: 1 }));
}

proptest! {
    #[test]
    fn figures_are_those_of_their_definitions(
        rows in prop::collection::vec((0_u8..8, any::<bool>()), 2..60).prop_filter(
            "both outcomes", |rows| rows.iter().any(|row| row.1) && rows.iter().any(|row| !row.1)),
    ) {
        let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
        let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
        let ranking = Ranking::new(&scores, &labels).unwrap();
        assert_close(ranking.area_under_curve(), area_by_pairs(&scores, &labels), 1e-12, "area under the curve");
        let thresholds = at_thresholds(&scores, &labels);
        let furthest = thresholds.iter().map(|at| (at.0 - at.1).abs()).fold(0.0, f64::max);
        assert_close(ranking.kolmogorov_smirnov(), furthest, 1e-12, "Kolmogorov-Smirnov");
        // The precision at their own threshold, averaged over those who left.
        let own: Vec<f64> = thresholds.iter().zip(&labels).filter(|(_, label)| **label).map(|(at, _)| at.2).collect();
        let expected = own.iter().sum::<f64>() / own.len() as f64;
        assert_close(ranking.average_precision(), expected, 1e-12, "average precision");
        // The whole has no lift.
        assert_close(ranking.lift(1.0), 1.0, 1e-12, "lift");
    }
}
