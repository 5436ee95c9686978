//! Survival: the remissions of Freireich et al. (1963), whose figures are in every textbook, and other ways to the same.

use crate::retention::{Bounds, Durations, History, MAX_DAYS, Quantile, Spell, StageTimes, Survival, log_rank};
use proptest::prelude::*;

/// "The effect of 6-mercaptopurine on the duration of steroid-induced remissions in acute leukemia": weeks, those that
/// ended and those that went on.
const ENDED: [u32; 9] = [6, 6, 6, 7, 10, 13, 16, 22, 23];
const GOING_ON: [u32; 12] = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35];
/// The same of those without it, all of which ended.
const PLACEBO: [u32; 21] = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23];

fn durations(all: impl IntoIterator<Item = (u32, bool)>) -> Durations {
    let mut durations = Durations::default();
    all.into_iter().for_each(|(days, ended)| durations.add(days, ended));
    durations
}

fn treated() -> Durations {
    durations(ENDED.map(|days| (days, true)).into_iter().chain(GOING_ON.map(|days| (days, false))))
}

fn placebo() -> Durations {
    durations(PLACEBO.map(|days| (days, true)))
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance, "{ours}, and not {theirs}");
}

#[test]
fn the_curve_is_that_of_the_textbooks() {
    // As printed by Stata's `sts list` and by R's `survfit(conf.type = "log-log")`.
    let table = [
        (6, 21, 3, 0.8571, 0.0764, 0.6197, 0.9516),
        (7, 17, 1, 0.8067, 0.0869, 0.5631, 0.9228),
        (10, 15, 1, 0.7529, 0.0963, 0.5032, 0.8894),
        (13, 12, 1, 0.6902, 0.1068, 0.4316, 0.8491),
        (16, 11, 1, 0.6275, 0.1141, 0.3675, 0.8049),
        (22, 7, 1, 0.5378, 0.1282, 0.2678, 0.7468),
        (23, 6, 1, 0.4482, 0.1346, 0.1881, 0.6801),
    ];
    let survival = treated().survival();
    assert_eq!((survival.count, survival.longest_days, survival.points.len()), (21, 35, table.len()));
    for (point, (days, at_risk, ended, share, error, low, high)) in survival.points.iter().zip(table) {
        assert_eq!((point.days, point.at_risk, point.ended), (days, at_risk, ended));
        assert_close(point.survival, share, 5e-5);
        assert_close(point.standard_error, error, 5e-5);
        let Bounds { low: our_low, high: our_high } = point.interval.unwrap();
        assert_close(our_low, low, 5e-5);
        assert_close(our_high, high, 5e-5);
    }
}

#[test]
fn medians_and_means_are_those_of_the_textbooks() {
    let survival = treated().survival();
    // The lower bound comes to a half at 13 (0.4316), the upper one never does.
    assert_eq!(survival.median(), Quantile { days: Some(23), low_days: Some(13), high_days: None });
    assert_eq!(survival.quantile(0.25).days, Some(13));
    assert_eq!(survival.quantile(0.6).days, None);
    assert_eq!(placebo().survival().median().days, Some(8));
    // By exact fractions; R prints 23.29 and 2.83.
    let mean = survival.restricted_mean(35).unwrap();
    assert_close(mean.days, 23.287_394_957_983_19, 1e-12);
    assert_close(mean.standard_error, 2.827_467_623_371_44, 1e-12);
    assert_eq!(survival.restricted_mean(36), None);
    // Without anything that goes on it is the mean: 182 / 21.
    assert_close(placebo().survival().restricted_mean(1_000).unwrap().days, 182.0 / 21.0, 1e-12);
}

#[test]
fn the_two_groups_differ_by_the_chi_squared_of_the_textbooks() {
    let test = log_rank(&treated(), &placebo()).unwrap();
    assert_eq!(test.observed, [9, 21]);
    assert_close(test.expected[0], 19.25, 5e-3);
    assert_close(test.expected[1], 10.75, 5e-3);
    assert_close(test.chi_squared, 16.79, 5e-3);
    assert_close(test.p_value, 4.17e-5, 5e-8);
    let turned = log_rank(&placebo(), &treated()).unwrap();
    assert_close(turned.chi_squared, test.chi_squared, 1e-12);
}

#[test]
fn groups_that_nothing_can_be_said_of_are_not_compared() {
    let none = Durations::default();
    assert_eq!(log_rank(&none, &placebo()), None);
    assert_eq!(log_rank(&durations([(3, false)]), &durations([(4, false)])), None);
    // One group is gone before anything ends in the other.
    assert_eq!(log_rank(&durations([(3, false)]), &durations([(4, true), (5, true)])), None);
    let same = log_rank(&placebo(), &placebo()).unwrap();
    assert!(same.chi_squared < 1e-20 && same.p_value > 0.999_999);
}

#[test]
fn the_curve_speaks_only_of_the_days_that_were_followed() {
    let survival = treated().survival();
    assert_eq!((survival.at(0), survival.at(5), survival.at(36)), (Some(1.0), Some(1.0), None));
    assert_close(survival.at(35).unwrap(), 0.4482, 5e-5);
    assert_eq!(placebo().survival().at(500), Some(0.0));
    let nobody = Durations::default().survival();
    assert_eq!(nobody, Survival { count: 0, longest_days: 0, points: Vec::new() });
    assert_eq!((nobody.at(0), nobody.restricted_mean(0), nobody.median().days), (None, None, None));
    let at_once = durations([(0, true), (0, false)]).survival();
    assert_eq!((at_once.at(0), at_once.median().days), (Some(0.5), Some(0)));
}

#[test]
fn a_broken_duration_counts_as_going_on_after_a_hundred_years() {
    let survival = durations([(u32::MAX, true), (MAX_DAYS, true), (3, true)]).survival();
    assert_eq!(survival.longest_days, MAX_DAYS);
    assert_close(survival.at(MAX_DAYS).unwrap(), 1.0 / 3.0, 1e-12);
}

#[test]
fn a_curve_that_rests_on_a_half_has_its_median_there_whatever_rounding_says() {
    // 1 - 1/10 - ... : after the fifth of ten the product of five quotients is a half.
    let survival = durations((1..=10).map(|days| (days, true))).survival();
    assert_eq!(survival.median().days, Some(5));
    assert_eq!(survival.quantile(0.7).days, Some(7));
}

fn any_durations() -> impl Strategy<Value = Vec<(u32, bool)>> {
    prop::collection::vec((0..20_u32, any::<bool>()), 1..30)
}

/// Efron's way (1967): everybody weighs the same, and who goes on leaves its weight to those that lasted longer.
fn redistributed(mut all: Vec<(u32, bool)>, at: u32) -> f64 {
    // On the same day what ended comes first.
    all.sort_by_key(|(days, ended)| (*days, !ended));
    let mut weights = vec![1.0 / all.len() as f64; all.len()];
    for place in 0..all.len() {
        let later = all.len() - place - 1;
        if !all[place].1 && later > 0 {
            let share = weights[place] / later as f64;
            weights[place] = 0.0;
            weights[place + 1..].iter_mut().for_each(|weight| *weight += share);
        }
    }
    all.iter().zip(weights).filter(|((days, ended), _)| *days > at || !ended).map(|(_, weight)| weight).sum()
}

proptest! {
    #[test]
    fn the_curve_is_what_leaving_weights_to_the_right_comes_to(all in any_durations()) {
        let survival = durations(all.iter().copied()).survival();
        for day in 0..=survival.longest_days {
            prop_assert!((survival.at(day).unwrap() - redistributed(all.clone(), day)).abs() < 1e-12);
        }
        for point in &survival.points {
            if let Some(Bounds { low, high }) = point.interval {
                prop_assert!(0.0 <= low && low <= point.survival && point.survival <= high && high <= 1.0);
            }
        }
    }

    #[test]
    fn where_everything_has_ended_the_error_is_that_of_a_share(days in prop::collection::vec(0..20_u32, 1..30)) {
        let survival = durations(days.iter().map(|days| (*days, true))).survival();
        let count = days.len() as f64;
        for point in &survival.points {
            let share = days.iter().filter(|days| **days > point.days).count() as f64 / count;
            prop_assert!((point.survival - share).abs() < 1e-12);
            prop_assert!((point.standard_error - (share * (1.0 - share) / count).sqrt()).abs() < 1e-12);
        }
        // The area under the curve is the mean of the durations, each cut, and its error that of a mean.
        for cut in [0, 1, 7, 25] {
            let cut_days: Vec<f64> = days.iter().map(|days| f64::from(*days.min(&cut))).collect();
            let mean = cut_days.iter().sum::<f64>() / count;
            let squares: f64 = cut_days.iter().map(|days| (days - mean) * (days - mean)).sum();
            let restricted = survival.restricted_mean(cut).unwrap();
            prop_assert!((restricted.days - mean).abs() < 1e-9);
            prop_assert!((restricted.standard_error - squares.sqrt() / count).abs() < 1e-9);
        }
    }

    #[test]
    fn durations_that_are_put_together_are_those_of_everybody(one in any_durations(), other in any_durations()) {
        let mut merged = durations(one.iter().copied());
        merged.merge(&durations(other.iter().copied()));
        prop_assert_eq!(merged.count(), (one.len() + other.len()) as u64);
        prop_assert_eq!(merged, durations(one.into_iter().chain(other)));
    }

    #[test]
    fn the_test_counts_what_ended_as_observed_and_as_expected(one in any_durations(), other in any_durations()) {
        if let Some(test) = log_rank(&durations(one.iter().copied()), &durations(other.iter().copied())) {
            let ended = one.iter().chain(&other).filter(|(_, ended)| *ended).count() as f64;
            prop_assert!((test.expected[0] + test.expected[1] - ended).abs() < 1e-9);
            prop_assert_eq!(test.observed[0] + test.observed[1], ended as u64);
            prop_assert!((0.0..=1.0).contains(&test.p_value) && test.chi_squared >= 0.0);
        }
    }

    #[test]
    fn times_in_a_stage_are_those_of_a_sorted_list(
        spells in prop::collection::vec((0..40 * 24_i64, any::<bool>()), 1..30),
    ) {
        const HOUR: i64 = 3_600_000_000;
        // Each spell is of another customer, all of them as of the same instant.
        let mut times = StageTimes::new(0);
        for (hours, ended) in &spells {
            let from_micros = if *ended { -1_000 * HOUR } else { -hours * HOUR };
            let until_micros = ended.then_some(from_micros + hours * HOUR);
            let spell = [Spell { stage: 7, from_micros, until_micros }];
            times.add(&History::new(&spell).unwrap());
        }
        let report = times.report();
        prop_assert_eq!(report.len(), 1);
        for (kind, spread) in [(true, report[0].completed), (false, report[0].running)] {
            let mut hours: Vec<i64> = spells.iter().filter(|(_, ended)| *ended == kind).map(|one| one.0).collect();
            hours.sort_unstable();
            let Some(spread) = spread else {
                prop_assert!(hours.is_empty());
                continue;
            };
            prop_assert_eq!(spread.count as usize, hours.len());
            let mean = hours.iter().sum::<i64>() as f64 / 24.0 / hours.len() as f64;
            prop_assert!((spread.mean_days - mean).abs() < 1e-9);
            for (percent, days) in [(50, spread.median_days), (90, spread.p90_days)] {
                // At least so many of a hundred are as short, and fewer are shorter.
                let share = |to: i64| hours.iter().filter(|hours| **hours / 24 <= to).count() * 100;
                prop_assert!(share(i64::from(days)) >= percent * hours.len());
                prop_assert!(share(i64::from(days) - 1) < percent * hours.len());
            }
        }
        let expected = durations(spells.iter().map(|(hours, ended)| ((hours / 24) as u32, *ended)));
        prop_assert_eq!(&report[0].survival, &expected.survival());
    }
}
