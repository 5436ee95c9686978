//! Drift of risks.

use super::super::{ChurnError, RiskProfile};
use super::vectors::STABILITY;
use super::*;
use proptest::prelude::*;
use quintile_domain::stability::{self, Verdict};

#[test]
fn the_index_is_that_of_others() {
    for (then, now, expected) in STABILITY {
        assert_close(stability::index(then, now), expected, 1e-14, "stability index");
    }
}

fn even(rows: usize) -> Vec<f64> {
    (0..rows).map(|row| (row as f64 + 0.5) / rows as f64).collect()
}

#[test]
fn the_same_risks_have_not_drifted() {
    let profile = RiskProfile::new(&even(1_000)).unwrap();
    assert_eq!(profile.bands.iter().map(|band| band.customers).collect::<Vec<_>>(), [100; 10]);
    let drift = profile.drift(&even(1_000).repeat(5)).unwrap();
    assert_close(drift.stability_index, 0.0, 1e-12, "stability index");
    assert_close(drift.mean_risk_change, 0.0, 1e-12, "change");
    assert_close(drift.index_by_chance, 9.0 * (1.0 / 1_000.0 + 1.0 / 5_000.0), 1e-15, "by chance");
    assert_eq!(drift.verdict, Verdict::Stable);
}

#[test]
fn risks_that_have_doubled_have_drifted() {
    let then: Vec<f64> = even(1_000).iter().map(|risk| risk / 2.0).collect();
    let drift = RiskProfile::new(&then).unwrap().drift(&even(1_000)).unwrap();
    // Those above a half are all in the last band: 0.05 in each of nine, 0.55 in the last.
    let expected = 9.0 * (0.05 - 0.1) * (0.05_f64 / 0.1).ln() + (0.55 - 0.1) * (0.55_f64 / 0.1).ln();
    assert_close(drift.stability_index, expected, 1e-9, "stability index");
    assert_close(drift.mean_risk_change, 0.25, 1e-12, "change");
    assert_eq!(drift.verdict, Verdict::Shifted);
}

#[test]
fn equal_risks_are_one_band() {
    let profile = RiskProfile::new(&[0.2; 50]).unwrap();
    assert_eq!(
        profile.bands.iter().map(|band| (band.up_to, band.customers)).collect::<Vec<_>>(),
        [(0.2, 50), (1.0, 0)]
    );
    assert_eq!(profile.drift(&[0.3; 50]).unwrap().verdict, Verdict::Shifted);
    let certain = RiskProfile::new(&[1.0; 3]).unwrap();
    assert_eq!(certain.bands.len(), 1);
}

#[test]
fn what_is_no_risk_is_refused() {
    assert_eq!(RiskProfile::new(&[0.5, -0.1]), Err(ChurnError::Prediction(1)));
    assert!(RiskProfile::new(&[]).is_err());
    assert_eq!(RiskProfile::new(&[0.5]).unwrap().drift(&[f64::NAN]), Err(ChurnError::Prediction(0)));
}

proptest! {
    #[test]
    fn an_index_is_never_below_nought_and_bands_hold_everybody(
        then in prop::collection::vec(0.0..=1.0_f64, 1..200), now in prop::collection::vec(0.0..=1.0_f64, 1..200),
    ) {
        let profile = RiskProfile::new(&then).unwrap();
        prop_assert_eq!(profile.bands.iter().map(|band| band.customers).sum::<u64>(), then.len() as u64);
        prop_assert!(profile.bands.windows(2).all(|pair| pair[0].up_to < pair[1].up_to));
        prop_assert!(profile.drift(&now).unwrap().stability_index >= 0.0);
        assert_close(profile.drift(&then).unwrap().stability_index, 0.0, 1e-15, "against itself");
    }
}
