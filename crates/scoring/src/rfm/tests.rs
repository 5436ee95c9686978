use proptest::prelude::*;

use super::*;

const DAY_MICROS: i64 = 86_400_000_000;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::from_name(name).unwrap()
}

/// A customer whose last order is `days` before midnight of 1998-07-01 UTC.
fn customer(days: i64, orders: i64, revenue_minor: i64) -> RfmInput {
    RfmInput { last_order: Some(as_of().plus_micros(-days * DAY_MICROS)), orders, revenue_minor }
}

fn as_of() -> Instant {
    at("1998-07-01T00:00:00Z")
}

#[test]
fn the_retail_preset_scores_each_dimension_by_its_table() {
    let model = RfmModel::retail(2);
    let recency = [(0, 5), (30, 5), (31, 4), (90, 4), (91, 3), (180, 3), (181, 2), (365, 2), (366, 1), (9000, 1)];
    for (days, expected) in recency {
        let score = model.score(&customer(days, 1, 0), as_of(), &TimeZone::UTC).unwrap();
        assert_eq!(score.recency, expected, "{days} days");
    }
    let frequency = [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (9, 4), (10, 5), (i64::MAX, 5)];
    for (orders, expected) in frequency {
        let score = model.score(&customer(0, orders, 0), as_of(), &TimeZone::UTC).unwrap();
        assert_eq!(score.frequency, expected, "{orders} orders");
    }
    let monetary = [(i64::MIN, 1), (4999, 1), (5000, 2), (9999, 2), (10_000, 3), (20_000, 4), (49_999, 4), (50_000, 5)];
    for (revenue_minor, expected) in monetary {
        let score = model.score(&customer(0, 1, revenue_minor), as_of(), &TimeZone::UTC).unwrap();
        assert_eq!(score.monetary, expected, "{revenue_minor} minor units");
    }
}

#[test]
fn the_retail_preset_is_a_valid_model_in_every_currency() {
    for (minor_digits, expected) in [(0, [50, 100, 200, 500]), (3, [50_000, 100_000, 200_000, 500_000])] {
        assert_eq!(RfmModel::retail(minor_digits).cut_offs(Dimension::Monetary), expected);
    }
    for minor_digits in [0, 2, 4, MAX_MINOR_DIGITS, u32::MAX] {
        let model = RfmModel::retail(minor_digits);
        let [recency, frequency, monetary] =
            [Dimension::Recency, Dimension::Frequency, Dimension::Monetary].map(|dimension| model.cut_offs(dimension));
        assert_eq!(RfmModel::new(1, recency, frequency, monetary), Ok(model));
    }
}

#[test]
fn cut_offs_that_divide_nothing_are_refused() {
    let good = [1, 2, 3, 4];
    assert_eq!(RfmModel::new(0, good, good, good), Err(RfmModelError::Version));
    assert_eq!(RfmModel::new(1, [-1, 2, 3, 4], good, good), Err(RfmModelError::Negative(Dimension::Recency)));
    assert_eq!(RfmModel::new(1, good, [1, 2, 2, 4], good), Err(RfmModelError::NotAscending(Dimension::Frequency)));
    let refused = RfmModel::new(1, good, good, [1, 3, 2, 4]).unwrap_err();
    assert_eq!(refused, RfmModelError::NotAscending(Dimension::Monetary));
    assert_eq!(refused.to_string(), "monetary: cut-offs must be strictly ascending");
}

#[test]
fn without_an_order_there_is_no_score_and_no_change() {
    let model = RfmModel::retail(2);
    let nobody = RfmInput::default();
    assert_eq!(model.score(&nobody, as_of(), &TimeZone::UTC), None);
    assert_eq!(model.next_change(&nobody, as_of(), &TimeZone::UTC), None);
    for reason in model.explain(&nobody, as_of(), &TimeZone::UTC) {
        assert_eq!((reason.score, reason.input), (0, None));
        assert_eq!((reason.to_next_better, reason.to_next_worse), (None, None));
        assert_eq!(reason.reason, "no order");
    }
}

#[test]
fn recency_counts_local_calendar_days() {
    let model = RfmModel::new(1, [0, 1, 2, 3], [2, 3, 5, 10], [1, 2, 3, 4]).unwrap();
    // A minute apart, and across midnight in Shanghai alone.
    let input = RfmInput { last_order: Some(at("2024-02-29T15:59:30Z")), orders: 1, revenue_minor: 0 };
    let now = at("2024-02-29T16:00:30Z");
    assert_eq!(model.score(&input, now, &TimeZone::UTC).unwrap().recency, 5);
    assert_eq!(model.score(&input, now, &zone("Asia/Shanghai")).unwrap().recency, 4);
}

#[test]
fn an_order_ahead_of_the_instant_counts_as_of_the_same_day() {
    let model = RfmModel::retail(2);
    let input = RfmInput { last_order: Some(at("2024-03-01T00:04:00Z")), orders: 1, revenue_minor: 0 };
    let now = at("2024-02-29T23:59:00Z");
    assert_eq!(model.score(&input, now, &TimeZone::UTC).unwrap().recency, 5);
    assert_eq!(model.explain(&input, now, &TimeZone::UTC)[0].input, Some(0));
    assert_eq!(model.next_change(&input, now, &TimeZone::UTC), Some(at("2024-04-01T00:00:00Z")));
}

#[test]
fn recency_changes_at_the_local_midnight_that_exceeds_the_next_cut_off() {
    let model = RfmModel::retail(2);
    // Berlin, 10:00 on 2024-03-05; 30 days later the clock has gone forward.
    let input = RfmInput { last_order: Some(at("2024-03-05T09:00:00Z")), orders: 1, revenue_minor: 0 };
    let berlin = zone("Europe/Berlin");
    let change = model.next_change(&input, at("2024-03-10T00:00:00Z"), &berlin);
    assert_eq!(change, Some(at("2024-04-04T22:00:00Z")));
    assert_eq!(model.next_change(&input, at("2025-03-04T00:00:00Z"), &berlin), Some(at("2025-03-05T23:00:00Z")));
    assert_eq!(model.next_change(&input, at("2025-03-05T23:00:00Z"), &berlin), None);
}

#[test]
fn a_cut_off_beyond_the_end_of_time_is_never_exceeded() {
    let model = RfmModel::new(1, [1, 2, 3, i64::MAX], [2, 3, 5, 10], [1, 2, 3, i64::MAX]).unwrap();
    assert_eq!(model.next_change(&customer(10, 1, 0), as_of(), &TimeZone::UTC), None);
    let reasons = model.explain(&customer(10, 1, i64::MIN), as_of(), &TimeZone::UTC);
    assert_eq!(reasons[2].to_next_better, Some(i64::MAX));
}

#[test]
fn an_explanation_says_what_would_raise_and_what_would_lower_a_score() {
    let model = RfmModel::retail(2);
    let [recency, frequency, monetary] = model.explain(&customer(100, 4, 12_345), as_of(), &TimeZone::UTC);
    assert_eq!((recency.name, recency.score, recency.input), ("recency", 3, Some(100)));
    assert_eq!((recency.to_next_better, recency.to_next_worse), (Some(10), Some(81)));
    assert_eq!(recency.reason, "between 91 and 180 days since the last order");
    assert_eq!((frequency.name, frequency.score, frequency.input), ("frequency", 3, Some(4)));
    assert_eq!((frequency.to_next_better, frequency.to_next_worse), (Some(1), Some(2)));
    assert_eq!(frequency.reason, "between 3 and 4 orders");
    assert_eq!((monetary.name, monetary.score, monetary.input), ("monetary", 3, Some(12_345)));
    assert_eq!((monetary.to_next_better, monetary.to_next_worse), (Some(7655), Some(2346)));
    assert_eq!(monetary.reason, "between 10000 and 19999 minor units of revenue");
}

#[test]
fn the_best_score_cannot_be_raised_and_the_lowest_cannot_fall() {
    let model = RfmModel::retail(2);
    let best = model.explain(&customer(3, 12, 60_000), as_of(), &TimeZone::UTC);
    assert_eq!(best.each_ref().map(|reason| reason.to_next_better), [None; 3]);
    assert_eq!(best.each_ref().map(|reason| reason.to_next_worse), [Some(28), Some(3), Some(10_001)]);
    let words = best.each_ref().map(|reason| reason.reason.as_str());
    assert_eq!(
        words,
        ["at most 30 days since the last order", "at least 10 orders", "at least 50000 minor units of revenue"]
    );
    let lowest = model.explain(&customer(400, 1, -500), as_of(), &TimeZone::UTC);
    assert_eq!(lowest.each_ref().map(|reason| reason.to_next_better), [Some(35), Some(1), Some(5500)]);
    assert_eq!(lowest.each_ref().map(|reason| reason.to_next_worse), [None; 3]);
    let words = lowest.each_ref().map(|reason| reason.reason.as_str());
    assert_eq!(
        words,
        ["at least 366 days since the last order", "at most 1 order", "at most 4999 minor units of revenue"]
    );
    assert_eq!(model.explain(&customer(0, 2, 0), as_of(), &TimeZone::UTC)[1].reason, "exactly 2 orders");
}

fn any_zone() -> impl Strategy<Value = TimeZone> {
    const NAMES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu"];
    prop::sample::select(NAMES.as_slice()).prop_map(zone)
}

fn any_cut_offs() -> impl Strategy<Value = CutOffs> {
    (0..40_i64, 1..40_i64, 1..40_i64, 1..40_i64).prop_map(|(a, b, c, d)| [a, a + b, a + b + c, a + b + c + d])
}

proptest! {
    #[test]
    fn scores_hold_until_the_announced_change_and_differ_at_it(
        zone in any_zone(),
        recency in any_cut_offs(),
        // 2008 to 2013: it holds the day that Samoa left out and the last folds over midnight of St. John's.
        last_order in 1_199_145_600_000_000_i64..1_388_534_400_000_000,
        later in -300_000_000_i64..200 * DAY_MICROS,
    ) {
        let model = RfmModel::new(1, recency, [2, 3, 5, 10], [1, 2, 3, 4]).unwrap();
        let last_order = Instant::from_micros(last_order);
        let input = RfmInput { last_order: Some(last_order), orders: 3, revenue_minor: 2 };
        let as_of = last_order.plus_micros(later);
        let score = model.score(&input, as_of, &zone);
        let change = model.next_change(&input, as_of, &zone);
        let today = zone.local_day(as_of);
        prop_assert_eq!(change.is_none(), score.unwrap().recency == 1);
        prop_assert!(change.is_none_or(|change| change > as_of));
        let until = change.unwrap_or(as_of.plus_micros(200 * DAY_MICROS));
        let midnights = (today + 1..=zone.local_day(until)).map(|day| zone.start_of_day(day));
        for midnight in midnights.filter(|midnight| as_of < *midnight && *midnight < until) {
            prop_assert_eq!(model.score(&input, midnight, &zone), score);
        }
        if let Some(change) = change {
            prop_assert_ne!(model.score(&input, change, &zone), score);
        }
    }

    #[test]
    fn the_least_change_to_a_neighbour_reaches_it_and_one_less_does_not(
        cut_offs in any_cut_offs(),
        days in 0..200_i64,
        orders in -5..200_i64,
    ) {
        let model = RfmModel::new(1, cut_offs, cut_offs, cut_offs).unwrap();
        let scored = |days, orders| model.explain(&customer(days, orders, orders), as_of(), &TimeZone::UTC);
        let [recency, frequency, monetary] = scored(days, orders);
        prop_assert_eq!(frequency.to_next_better, monetary.to_next_better);
        prop_assert_eq!(frequency.to_next_worse, monetary.to_next_worse);
        if let Some(fewer) = recency.to_next_better {
            prop_assert_eq!(scored(days - fewer, orders)[0].score, recency.score + 1);
            prop_assert_eq!(scored(days - fewer + 1, orders)[0].score, recency.score);
        }
        if let Some(more) = recency.to_next_worse {
            prop_assert_eq!(scored(days + more, orders)[0].score, recency.score - 1);
            prop_assert_eq!(scored(days + more - 1, orders)[0].score, recency.score);
        }
        if let Some(more) = frequency.to_next_better {
            prop_assert_eq!(scored(days, orders + more)[1].score, frequency.score + 1);
            prop_assert_eq!(scored(days, orders + more - 1)[1].score, frequency.score);
        }
        if let Some(fewer) = frequency.to_next_worse {
            prop_assert_eq!(scored(days, orders - fewer)[1].score, frequency.score - 1);
            prop_assert_eq!(scored(days, orders - fewer + 1)[1].score, frequency.score);
        }
    }
}
