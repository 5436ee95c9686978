//! Arms whose comparison can be done on paper.

#![expect(clippy::float_cmp, reason = "what is the same by construction is compared exactly")]

use crate::outcome::{Adjustment, Arm, Effect, Estimate, Observed, Outcome, Verdict, effect};

fn arm(customers: impl IntoIterator<Item = (bool, i64, i64)>) -> Arm {
    let mut arm = Arm::default();
    for (converted, revenue_minor, revenue_before_minor) in customers {
        arm.add(Observed { converted, revenue_minor, revenue_before_minor });
    }
    arm
}

/// So many customers, of whom so many convert.
fn converting(converted: u64, customers: u64) -> Arm {
    Arm { customers, converted, ..Arm::default() }
}

fn plain(treated: &Arm, holdout: &Arm) -> Effect {
    effect(treated, holdout, Adjustment::None).unwrap()
}

#[test]
fn an_arm_without_anybody_shows_nothing() {
    assert_eq!(effect(&Arm::default(), &converting(1, 100), Adjustment::None), None);
    assert_eq!(effect(&converting(1, 100), &Arm::default(), Adjustment::None), None);
}

#[test]
fn uplift_is_told_as_a_difference_and_as_a_share_of_what_happens_anyway() {
    let effect = plain(&converting(56, 70), &converting(48, 80));
    assert_eq!((effect.treated, effect.holdout), (70, 80));
    assert_eq!((effect.treated_conversion, effect.holdout_conversion), (0.8, 0.6));
    assert!((effect.conversion.value - 0.2).abs() < 1e-12);
    assert!((effect.relative_uplift.unwrap().value - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(effect.conversion.verdict(), Verdict::Helps);
    assert!((effect.conversions_brought_about().value - 14.0).abs() < 1e-12);
    // Newcombe's 0.0524 of each of 70.
    let low = effect.conversions_brought_about().interval.unwrap().low;
    assert!((low - 70.0 * 0.0524).abs() < 70.0 * 5e-5);
}

#[test]
fn no_interval_is_told_of_too_few() {
    let told = |one: u64, other: u64| plain(&converting(20, one), &converting(20, other)).conversion.interval.is_some();
    assert_eq!((told(50, 50), told(49, 900), told(900, 49)), (true, false, false));
    let relative = |converted| plain(&converting(20, 900), &converting(converted, 900)).relative_uplift;
    assert_eq!(relative(0), None);
    assert!(relative(9).unwrap().interval.is_none() && relative(10).unwrap().interval.is_some());
    let buying = |buyers: i64| arm((0..500).map(|place| (false, i64::from(place < buyers) * (100 + place), 0)));
    let told = |one, other| plain(&buying(one), &buying(other)).revenue_minor.interval.is_some();
    assert_eq!((told(100, 100), told(99, 400), told(400, 99)), (true, false, false));
}

#[test]
fn revenue_is_compared_by_its_means() {
    // 1,000 and 3,000 in turn, against 900 and 2,900.
    let of = |low: i64| arm((0..200).map(|place| (true, low + 2_000 * (place % 2), 0)));
    let effect = plain(&of(1_000), &of(900));
    assert_eq!(effect.revenue_minor.value, 100.0);
    // Squared errors of 200 × 1,000² / 199 / 200 each, and t(398) = 1.96594.
    let interval = effect.revenue_minor.interval.unwrap();
    let reach = 1.965_94 * (2.0 * 1e6 / 199.0_f64).sqrt();
    assert!((interval.high - 100.0 - reach).abs() < 1e-2 && (interval.low - 100.0 + reach).abs() < 1e-2);
    assert_eq!(effect.revenue_brought_about_minor().value, 20_000.0);
}

#[test]
fn revenue_before_takes_out_what_the_arms_differed_in_already() {
    // Revenue is twice that before, and 50 more for the treated, who by chance spent more before as well.
    let of = |more: i64, shift: i64| {
        arm((0..300).map(|place| {
            let before = 1_000 + 7 * (place % 90) + shift;
            (true, 2 * before + more + place % 3, before)
        }))
    };
    let (treated, holdout) = (of(50, 40), of(0, 0));
    assert!((plain(&treated, &holdout).revenue_minor.value - 130.0).abs() < 1e-9);
    let adjusted = effect(&treated, &holdout, Adjustment::RevenueBefore).unwrap().revenue_minor;
    assert!((adjusted.value - 50.0).abs() < 0.5, "{adjusted:?}");
    let width = |estimate: Estimate| estimate.interval.map(|interval| interval.high - interval.low).unwrap();
    assert!(width(adjusted) < 0.01 * width(plain(&treated, &holdout).revenue_minor));
}

#[test]
fn where_revenue_before_says_nothing_the_adjustment_changes_nothing() {
    let of = |more: i64| arm((0..200).map(|place| (true, more + place, 17)));
    let (treated, holdout) = (of(30), of(10));
    assert_eq!(effect(&treated, &holdout, Adjustment::RevenueBefore).unwrap(), plain(&treated, &holdout));
}

#[test]
fn revenue_that_does_not_vary_has_no_interval() {
    let of = |revenue: i64| arm((0..200).map(|_| (true, revenue, 0)));
    let revenue = plain(&of(1_000), &of(900)).revenue_minor;
    assert_eq!((revenue.value, revenue.interval), (100.0, None));
}

#[test]
fn variants_are_compared_one_by_one_and_together() {
    let (one, other, holdout) = (converting(30, 100), converting(10, 300), converting(20, 200));
    let outcome = Outcome::of(&[one, other, Arm::default()], &holdout, Adjustment::None);
    assert_eq!(outcome.overall, effect(&converting(40, 400), &holdout, Adjustment::None));
    let variants = [effect(&one, &holdout, Adjustment::None), effect(&other, &holdout, Adjustment::None), None];
    assert_eq!(outcome.variants, variants);
    assert_eq!(outcome.variants[0].unwrap().conversion.verdict(), Verdict::Helps);
    assert_eq!(outcome.variants[1].unwrap().conversion.verdict(), Verdict::Harms);
    assert_eq!(outcome.overall.unwrap().conversion.verdict(), Verdict::Undecided);
}
