use proptest::prelude::*;
use std::sync::Arc;

use super::*;

const DAY_MICROS: i64 = 86_400_000_000;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn as_of() -> Instant {
    at("1998-07-01T00:00:00Z")
}

fn days_ago(days: i64) -> Instant {
    as_of().plus_micros(-days * DAY_MICROS)
}

/// A customer who bought once per purchase day, the last `silent` days ago.
fn customer(silent: i64, gap_days: &[i32]) -> StageInput<'_> {
    let active: i64 = gap_days.iter().copied().map(i64::from).sum();
    StageInput {
        first_order: Some(days_ago(silent + active)),
        last_order: Some(days_ago(silent)),
        orders: gap_days.len() as i64 + 1,
        gap_days,
        ..StageInput::default()
    }
}

fn stage_of(input: &StageInput<'_>) -> Stage {
    StagePolicy::default().evaluate(input, as_of(), &TimeZone::UTC).stage
}

#[test]
fn a_customer_without_an_order_is_a_lead_for_good() {
    let decision = StagePolicy::default().evaluate(&StageInput::default(), as_of(), &TimeZone::UTC);
    let expected = StageDecision {
        stage: Stage::Lead,
        silent_days: None,
        rhythm_p80: None,
        reason: "no order yet".to_owned(),
        next_change: None,
    };
    assert_eq!(decision, expected);
}

#[test]
fn silence_decides_only_beyond_the_multiples_of_the_rhythm() {
    // No gaps of its own: 119 days, twice 238, four times 476.
    let table = [
        (0, Stage::New),
        (89, Stage::New),
        (90, Stage::Active),
        (119, Stage::Active),
        (120, Stage::AtRisk),
        (238, Stage::AtRisk),
        (239, Stage::Dormant),
        (476, Stage::Dormant),
        (477, Stage::Churned),
    ];
    for (silent, expected) in table {
        assert_eq!(stage_of(&customer(silent, &[])), expected, "{silent} days");
    }
}

#[test]
fn an_own_rhythm_shortens_the_silence_that_is_explained() {
    // (3 * 10 + 3 * 119) / 6 = 64.5
    let decision = StagePolicy::default().evaluate(&customer(65, &[10, 10, 10]), as_of(), &TimeZone::UTC);
    assert_eq!(decision.stage, Stage::AtRisk);
    assert_eq!(decision.silent_days, Some(65));
    assert_eq!(decision.rhythm_p80.map(|p80| (p80.numerator(), p80.denominator())), Some((129, 2)));
    assert_eq!(decision.reason, "silent for longer than its rhythm explains");
    assert_eq!(stage_of(&customer(64, &[10, 10, 10])), Stage::Active);
}

#[test]
fn coming_back_from_a_dormant_gap_counts_for_ninety_days() {
    // Twice 119 is not exceeded by itself.
    assert_eq!(stage_of(&customer(10, &[238])), Stage::Active);
    assert_eq!(stage_of(&customer(10, &[239])), Stage::Reactivated);
    assert_eq!(stage_of(&customer(89, &[239])), Stage::Reactivated);
    assert_eq!(stage_of(&customer(90, &[239])), Stage::Active);
    // The long gap itself must not lengthen the rhythm that it is held against: (3 * 10 + 3 * 119) / 6 * 2 = 129.
    assert_eq!(stage_of(&customer(10, &[10, 10, 10, 130])), Stage::Reactivated);
    assert_eq!(stage_of(&customer(10, &[10, 10, 10, 129])), Stage::Loyal);
    // It comes before the warning by silence, and after DORMANT: (10 * 1 + 3 * 119) / 13 = 28.2.
    let hurried = [1, 1, 1, 1, 1, 1, 1, 1, 1, 200];
    assert_eq!(stage_of(&customer(29, &hurried)), Stage::Reactivated);
    assert_eq!(stage_of(&customer(57, &hurried)), Stage::Dormant);
}

#[test]
fn interactions_down_by_half_are_a_risk_from_four_on() {
    let table = [(2, 4, Stage::AtRisk), (3, 4, Stage::Loyal), (0, 3, Stage::Loyal), (0, 9, Stage::AtRisk)];
    for (interactions_90, previous_interactions_90, expected) in table {
        let input = StageInput { orders: 9, interactions_90, previous_interactions_90, ..customer(5, &[20, 20, 20]) };
        assert_eq!(stage_of(&input), expected, "{interactions_90} after {previous_interactions_90}");
    }
}

#[test]
fn a_complaint_that_is_not_resolved_is_a_risk_unless_silence_says_worse() {
    let complaining = |silent| StageInput { orders: 9, open_complaints: 1, ..customer(silent, &[20, 20, 20]) };
    assert_eq!(stage_of(&complaining(5)), Stage::AtRisk);
    assert_eq!(stage_of(&StageInput { open_complaints: 0, ..complaining(5) }), Stage::Loyal);
    assert_eq!(stage_of(&complaining(1_000)), Stage::Churned);
}

#[test]
fn orders_down_by_half_are_a_risk_from_four_on() {
    let table = [(2, 4, Stage::AtRisk), (3, 4, Stage::Loyal), (0, 3, Stage::Loyal), (3, 7, Stage::AtRisk)];
    for (orders_90, previous_orders_90, expected) in table {
        let input = StageInput { orders: 9, orders_90, previous_orders_90, ..customer(5, &[20, 20, 20]) };
        assert_eq!(stage_of(&input), expected, "{orders_90} after {previous_orders_90}");
    }
}

#[test]
fn orders_of_one_day_count_one_by_one() {
    assert_eq!(stage_of(&StageInput { orders: 2, ..customer(5, &[]) }), Stage::New);
    assert_eq!(stage_of(&StageInput { orders: 3, ..customer(5, &[]) }), Stage::Active);
    assert_eq!(stage_of(&StageInput { orders: 5, ..customer(5, &[]) }), Stage::Loyal);
}

#[test]
fn a_turning_day_that_leaves_the_stage_alone_is_no_change() {
    let policy = StagePolicy::default();
    // Loyal, so that its first order turning 90 days old changes nothing; its rhythm, 64.5 days, does.
    let input = StageInput { orders: 5, ..customer(40, &[10, 10, 10]) };
    let decision = policy.evaluate(&input, as_of(), &TimeZone::UTC);
    assert_eq!((decision.stage, decision.next_change), (Stage::Loyal, Some(at("1998-07-26T00:00:00Z"))));
    let churned = policy.evaluate(&customer(500, &[]), as_of(), &TimeZone::UTC);
    assert_eq!((churned.stage, churned.next_change), (Stage::Churned, None));
}

#[test]
fn an_order_ahead_of_the_instant_counts_as_of_the_same_day() {
    let ahead = Some(as_of().plus_micros(240_000_000));
    let input = StageInput { first_order: ahead, last_order: ahead, orders: 1, ..StageInput::default() };
    let just_before = as_of().plus_micros(-1);
    let decision = StagePolicy::default().evaluate(&input, just_before, &TimeZone::UTC);
    assert_eq!((decision.stage, decision.silent_days), (Stage::New, Some(0)));
    assert_eq!(decision.next_change, Some(at("1998-09-29T00:00:00Z")));
}

#[test]
fn parameters_that_make_no_sense_still_have_a_defined_result() {
    let policy = StagePolicy {
        version: 0,
        population_p80_days: i32::MAX,
        new_days: i32::MIN,
        new_orders: i64::MIN,
        loyal_orders: i64::MAX,
        churned_factor: i32::MAX,
        dormant_factor: i32::MIN,
        reactivated_days: i32::MAX,
        decline_min_count: i64::MIN,
        risk_warning_percent: i32::MIN,
        churned_below_alive_percent: i32::MIN,
        dormant_below_alive_percent: i32::MIN,
        at_risk_below_alive_percent: i32::MIN,
        rules: Arc::default(),
    };
    let input =
        StageInput { orders_90: i64::MAX, previous_orders_90: i64::MIN, ..customer(1, &[i32::MAX, i32::MIN, 1]) };
    assert_eq!(policy.evaluate(&input, as_of(), &TimeZone::UTC).stage, Stage::Dormant);
}

fn any_zone() -> impl Strategy<Value = TimeZone> {
    const NAMES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu"];
    prop::sample::select(NAMES.as_slice()).prop_map(|name| TimeZone::from_name(name).unwrap())
}

/// Small parameters, so that every order of the turning days occurs.
fn any_policy() -> impl Strategy<Value = StagePolicy> {
    (1..60_i32, 1..90_i32, 1..6_i64, 1..6_i64, 2..4_i32, 1..4_i32, 1..90_i32).prop_map(
        |(population_p80_days, new_days, new_orders, loyal_orders, dormant_factor, more, reactivated_days)| {
            StagePolicy {
                population_p80_days,
                new_days,
                new_orders,
                loyal_orders,
                dormant_factor,
                churned_factor: dormant_factor + more,
                reactivated_days,
                ..StagePolicy::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn a_stage_holds_every_day_until_the_announced_change_and_differs_at_it(
        zone in any_zone(),
        policy in prop_oneof![Just(StagePolicy::default()), any_policy()],
        gap_days in prop::collection::vec(1..150_i32, 0..8),
        more_orders in 0..3_i64,
        windows in (0..6_i64, 0..8_i64, 0..6_i64, 0..8_i64, 0..2_i64),
        // 2009 to 2012: it holds the day that Samoa left out and the last folds over midnight of St. John's.
        last_order in 1_230_768_000_000_000_i64..1_325_376_000_000_000,
        later in -300_000_000_i64..300 * DAY_MICROS,
    ) {
        let active: i64 = gap_days.iter().copied().map(i64::from).sum();
        let last_order = Instant::from_micros(last_order);
        let input = StageInput {
            first_order: Some(last_order.plus_micros(-active * DAY_MICROS)),
            last_order: Some(last_order),
            orders: gap_days.len() as i64 + 1 + more_orders,
            gap_days: &gap_days,
            orders_90: windows.0,
            previous_orders_90: windows.1,
            interactions_90: windows.2,
            previous_interactions_90: windows.3,
            open_complaints: windows.4,
            ..StageInput::default()
        };
        prop_assert_eq!(policy.validate(), Ok(()));
        let as_of = last_order.plus_micros(later);
        let decision = policy.evaluate(&input, as_of, &zone);
        prop_assert!(decision.next_change.is_none_or(|change| change > as_of));
        // Beyond four times the longest rhythm everybody has churned.
        let until = decision.next_change.unwrap_or(as_of.plus_micros(900 * DAY_MICROS));
        let days = zone.local_day(as_of) + 1..=zone.local_day(until);
        let instants = days.flat_map(|day| {
            let midnight = zone.start_of_day(day);
            [midnight, midnight.plus_micros(DAY_MICROS / 2)]
        });
        for instant in instants.filter(|instant| as_of < *instant && *instant < until) {
            prop_assert_eq!(policy.evaluate(&input, instant, &zone).stage, decision.stage, "at {}", instant);
        }
        let first_day = input.first_order.map(|first| zone.local_day(first)).unwrap();
        let until_day = |instant| i64::from((zone.local_day(instant) - first_day).max(0));
        let stay = |at| policy.stay(&input, at, &zone).unwrap();
        prop_assert_eq!(stay(as_of).ended, decision.stage == Stage::Churned);
        if !stay(as_of).ended {
            prop_assert_eq!(stay(as_of).days, until_day(as_of));
        }
        let churns = decision.next_change.filter(|change| policy.evaluate(&input, *change, &zone).stage == Stage::Churned);
        if let Some(change) = churns {
            // It stays what it was, however much later one asks; a zone may have left out the day itself.
            let later = stay(change.plus_micros(500 * DAY_MICROS));
            prop_assert!(later.ended && (0..=1).contains(&(until_day(change) - later.days)), "{:?}", later);
        }
        if let Some(change) = decision.next_change {
            prop_assert_ne!(policy.evaluate(&input, change, &zone).stage, decision.stage);
        } else {
            prop_assert_eq!(decision.stage, Stage::Churned);
        }
    }
}
