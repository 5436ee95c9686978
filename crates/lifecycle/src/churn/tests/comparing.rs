//! Which of two sets of risks is better.

use super::super::compare;
use super::*;
use proptest::prelude::*;

/// `DeLong`'s variance by its definition: each row's mean of who ranks right against it, by pairs.
fn by_pairs(one: &[f64], other: &[f64], labels: &[bool]) -> f64 {
    let wins = |own: f64, theirs: f64| if own > theirs { 1.0 } else { f64::from(u8::from(own >= theirs)) / 2.0 };
    let rows = |outcome: bool| (0..labels.len()).filter(move |row| labels[*row] == outcome);
    let gap = |left: usize, stayed: usize| wins(one[left], one[stayed]) - wins(other[left], other[stayed]);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let of_left: Vec<f64> =
        rows(true).map(|left| mean(&rows(false).map(|stayed| gap(left, stayed)).collect::<Vec<_>>())).collect();
    let of_stayed: Vec<f64> =
        rows(false).map(|stayed| mean(&rows(true).map(|left| gap(left, stayed)).collect::<Vec<_>>())).collect();
    let variance = |values: &[f64]| {
        values.iter().map(|value| (value - mean(values)).powi(2)).sum::<f64>() / (values.len() - 1) as f64
    };
    variance(&of_left) / of_left.len() as f64 + variance(&of_stayed) / of_stayed.len() as f64
}

/// Outcomes of risks, and these risks with noise on their log-odds.
fn noisy(rows: usize, noise: f64, seed: u64) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
    let mut random = Seeded::new(seed);
    let risks: Vec<f64> = (0..rows).map(|_| 0.05 + 0.9 * random.unit()).collect();
    let labels = risks.iter().map(|risk| random.unit() < *risk).collect();
    let blurred = risks.iter().map(|risk| {
        let odds = risk / (1.0 - risk) * ((random.unit() - 0.5) * noise).exp();
        odds / (1.0 + odds)
    });
    let blurred = blurred.collect();
    (risks, blurred, labels)
}

#[test]
fn what_knows_more_is_better_and_the_reverse_is_not() {
    let (risks, blurred, labels) = noisy(2_000, 6.0, 1);
    let found = compare(&risks, &blurred, &labels).unwrap();
    assert!(found.better, "{found:?}");
    let reverse = compare(&blurred, &risks, &labels).unwrap();
    assert!(!reverse.better);
    assert_close(reverse.area_under_curve.value, -found.area_under_curve.value, 1e-15, "difference");
}

#[test]
fn nothing_is_better_than_itself() {
    let (risks, _, labels) = noisy(500, 1.0, 2);
    let found = compare(&risks, &risks, &labels).unwrap();
    assert_close(found.area_under_curve.value, 0.0, 0.0, "difference");
    assert_close(found.area_under_curve.standard_error, 0.0, 0.0, "standard error");
    assert!(!found.better);
}

#[test]
fn a_better_order_with_worse_risks_is_not_better() {
    let (risks, blurred, labels) = noisy(2_000, 6.0, 3);
    // In the same order, but nobody is likely to leave.
    let too_low: Vec<f64> = risks.iter().map(|risk| risk / 100.0).collect();
    let found = compare(&too_low, &blurred, &labels).unwrap();
    assert!(found.area_under_curve.value > 0.0 && found.brier.value > 0.0);
    assert!(!found.better);
}

#[test]
fn the_same_order_with_risks_that_mean_what_they_say_is_better() {
    let (risks, _, labels) = noisy(2_000, 6.0, 3);
    // Of a model that has aged: it ranks customers as it did, and nobody is as likely to leave any more.
    let aged: Vec<f64> = risks.iter().map(|risk| risk.sqrt()).collect();
    let found = compare(&risks, &aged, &labels).unwrap();
    assert_close(found.area_under_curve.value, 0.0, 0.0, "difference");
    assert!(found.better && !compare(&aged, &risks, &labels).unwrap().better);
}

#[test]
fn what_is_as_good_is_taken_for_better_one_time_in_twenty_at_most() {
    // Both are the same risks with noise of their own. Of 400 the 99.9th percentile is 35.
    let mut taken = 0;
    for seed in 0..400 {
        let mut random = Seeded::new(seed);
        let risks: Vec<f64> = (0..200).map(|_| random.unit()).collect();
        let labels: Vec<bool> = risks.iter().map(|risk| random.unit() < *risk).collect();
        let mut blurred = || -> Vec<f64> { risks.iter().map(|risk| (risk + random.unit()) / 2.0).collect() };
        let (one, other) = (blurred(), blurred());
        taken += usize::from(compare(&one, &other, &labels).unwrap().better);
    }
    assert!(taken <= 35, "{taken}");
}

#[test]
fn rows_have_to_be_the_same() {
    assert!(compare(&[0.5; 4], &[0.5; 3], &[true, true, false, false]).is_err());
    assert!(compare(&[0.5; 4], &[0.5; 4], &[true, false, false, false]).is_err());
}

proptest! {
    #[test]
    fn standard_errors_are_those_of_the_definition(
        rows in prop::collection::vec((0_u8..6, 0_u8..6, any::<bool>()), 4..40).prop_filter("both outcomes", |rows| {
            let left = rows.iter().filter(|row| row.2).count();
            left >= 2 && rows.len() - left >= 2
        }),
    ) {
        let one: Vec<f64> = rows.iter().map(|row| f64::from(row.0) / 6.0).collect();
        let other: Vec<f64> = rows.iter().map(|row| f64::from(row.1) / 6.0).collect();
        let labels: Vec<bool> = rows.iter().map(|row| row.2).collect();
        let found = compare(&one, &other, &labels).unwrap();
        let expected = by_pairs(&one, &other, &labels);
        assert_close(found.area_under_curve.standard_error.powi(2), expected, 1e-12, "variance");
        let area = measuring::area_by_pairs;
        let difference = area(&one, &labels) - area(&other, &labels);
        assert_close(found.area_under_curve.value, difference, 1e-12, "difference");
    }
}
