use super::cut_offs::{CutOffs, Direction, Method, TieRule};
use super::explain::DimensionReason;
use super::feature::{Conventions, Feature, Value};
use super::grade::{Band, Grading, Tier, composite};
use super::presets::{PRESETS, Preset, retail};
use super::{At, Definition, Dimension, Points, RFM, RFM_DIMENSIONS, Scale, Scored};
use proptest::prelude::*;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::types::{CustomerRecord, Features};
use quintile_rpc::convert;
use serde_json::Value as Json;

const DAY_MICROS: i64 = 86_400_000_000;

fn instant(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::from_name(name).unwrap()
}

fn usd() -> Currency {
    Currency::from_code("USD").unwrap()
}

fn at(text: &str, zone: &TimeZone, check: impl FnOnce(&At<'_>)) {
    check(&At::new(instant(text), Conventions { currency: usd(), zone }));
}

/// The scores of a customer with these values of recency, frequency and monetary, by their local days.
fn scored(definition: &Definition, days: i64, orders: i64, revenue: i64) -> Scored {
    with_reasons(definition, days, orders, revenue).0
}

fn with_reasons(definition: &Definition, days: i64, orders: i64, revenue: i64) -> (Scored, Vec<DimensionReason>) {
    let at = At::new(instant("1998-07-01T00:00:00Z"), Conventions { currency: usd(), zone: &TimeZone::UTC });
    let values = [Value::Day(at.day - days), Value::Number(orders), Value::Number(revenue)];
    (definition.score_values(values.into_iter(), &at), definition.explain(&values, &at))
}

/// A model of these cut-offs of days, and 2, 3, 5 and 10 orders, and cut-offs of 1 to 4 cents.
fn with_days(days: [i64; 4]) -> Definition {
    let mut definition = retail(2);
    definition.dimensions[0].scale = Scale::Numbers(CutOffs::fixed(Direction::Lower, &days));
    definition.dimensions[2].scale = Scale::Numbers(CutOffs::fixed(Direction::Higher, &[1, 2, 3, 4]));
    definition
}

#[test]
fn the_retail_preset_scores_each_dimension_by_its_table() {
    let model = retail(2);
    let recency = [(0, 5), (30, 5), (31, 4), (90, 4), (91, 3), (180, 3), (181, 2), (365, 2), (366, 1), (9000, 1)];
    for (days, expected) in recency {
        assert_eq!(scored(&model, days, 1, 0).scores[0], expected, "{days} days");
    }
    let frequency = [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (9, 4), (10, 5), (i64::MAX, 5)];
    for (orders, expected) in frequency {
        assert_eq!(scored(&model, 0, orders, 0).scores[1], expected, "{orders} orders");
    }
    let monetary = [(i64::MIN, 1), (4999, 1), (5000, 2), (9999, 2), (10_000, 3), (20_000, 4), (49_999, 4), (50_000, 5)];
    for (revenue, expected) in monetary {
        assert_eq!(scored(&model, 0, 1, revenue).scores[2], expected, "{revenue} minor units");
    }
}

#[test]
fn the_published_example_is_met() {
    let find = |preset: &&Preset| preset.id == "published-example";
    let model = (PRESETS.iter().find(find).unwrap().definition)(2);
    // Over three months ago, 5 purchases, more than 60,000.
    assert_eq!(scored(&model, 92, 5, 6_000_001).scores, [1, 4, 4]);
}

#[test]
fn presets_read_features_that_there_are_in_every_currency() {
    for preset in &PRESETS {
        for digits in [0, 2, 4, u32::MAX] {
            let definition = (preset.definition)(digits);
            let built_in = |dimension: &Dimension| matches!(dimension.feature, Feature::BuiltIn(_));
            assert!(definition.dimensions.iter().all(built_in), "{}", preset.id);
            assert_eq!(definition.grading.is_none(), preset.model == RFM, "{}", preset.id);
            for dimension in &definition.dimensions {
                let Scale::Numbers(cut_offs) = &dimension.scale else { continue };
                assert!(cut_offs.edges.is_sorted_by(|lower, upper| lower < upper), "{}", preset.id);
            }
            if preset.model == RFM {
                let names: Vec<_> = definition.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
                assert_eq!(names, RFM_DIMENSIONS);
            }
        }
    }
    assert!(PRESETS.is_sorted_by_key(|preset| preset.id));
}

#[test]
fn a_record_without_an_order_has_no_score_and_never_changes() {
    at("1998-07-01T00:00:00Z", &TimeZone::UTC, |at| {
        let record = CustomerRecord { features: Some(Features::default()), ..CustomerRecord::default() };
        let expected = Scored { scores: vec![0; 3], ..Scored::default() };
        assert_eq!(retail(2).score(&record, at), expected);
        for reason in retail(2).explain(&[Value::Missing; 3], at) {
            assert_eq!((reason.score, reason.input, reason.reason.as_str()), (0, None, "no order"));
        }
    });
}

#[test]
fn a_record_is_scored_by_its_own_values() {
    let features = Features {
        last_order_time: Some(convert::timestamp(instant("1998-06-01T12:00:00Z"))),
        orders: 4,
        revenue: Some(Money { currency_code: "USD".to_owned(), units: 123, nanos: 450_000_000 }),
        ..Features::default()
    };
    let record = CustomerRecord { features: Some(features), ..CustomerRecord::default() };
    at("1998-07-01T00:00:00Z", &TimeZone::UTC, |at| {
        let scored = retail(2).score(&record, at);
        assert_eq!(scored.scores, [5, 3, 3]);
        assert_eq!(scored.next_change, Some(instant("1998-07-02T00:00:00Z")));
    });
}

#[test]
fn recency_counts_local_calendar_days() {
    let model = with_days([0, 1, 2, 3]);
    // A minute apart, and across midnight in Shanghai alone.
    for (zone, expected) in [(TimeZone::UTC, 5), (zone("Asia/Shanghai"), 4)] {
        at("2024-02-29T16:00:30Z", &zone, |at| {
            let day = Value::Day(i64::from(zone.local_day(instant("2024-02-29T15:59:30Z"))));
            let values = [day, Value::Number(1), Value::Number(0)];
            assert_eq!(model.score_values(values.into_iter(), at).scores[0], expected);
        });
    }
}

#[test]
fn recency_changes_at_the_local_midnight_that_exceeds_the_next_cut_off() {
    let berlin = zone("Europe/Berlin");
    // 2024-03-05; 30 days later the clock has gone forward.
    let day = i64::from(berlin.local_day(instant("2024-03-05T09:00:00Z")));
    let changes = [
        ("2024-03-10T00:00:00Z", Some("2024-04-04T22:00:00Z")),
        ("2025-03-04T00:00:00Z", Some("2025-03-05T23:00:00Z")),
        ("2025-03-05T23:00:00Z", None),
    ];
    for (now, expected) in changes {
        at(now, &berlin, |at| {
            let values = [Value::Day(day), Value::Number(1), Value::Number(0)];
            let change = retail(2).score_values(values.into_iter(), at).next_change;
            assert_eq!(change, expected.map(instant), "{now}");
        });
    }
}

#[test]
fn an_order_ahead_of_the_instant_counts_as_of_the_same_day() {
    at("2024-02-29T23:59:00Z", &TimeZone::UTC, |at| {
        let values = [Value::Day(at.day + 1), Value::Number(1), Value::Number(0)];
        let scored = retail(2).score_values(values.into_iter(), at);
        assert_eq!((scored.scores[0], scored.next_change), (5, Some(instant("2024-04-01T00:00:00Z"))));
        assert_eq!(retail(2).explain(&values, at)[0].input, Some(0));
    });
}

#[test]
fn a_cut_off_beyond_the_end_of_time_is_never_exceeded() {
    let model = with_days([1, 2, 3, i64::MAX]);
    let (scored, reasons) = with_reasons(&model, 10, 1, i64::MIN);
    assert_eq!(scored.next_change, None);
    assert_eq!(reasons[2].to_next_better, Some(i64::MAX));
}

#[test]
fn an_explanation_says_what_would_raise_and_what_would_lower_a_score() {
    let (_, reasons) = with_reasons(&retail(2), 100, 4, 12_345);
    let told = |reason: &DimensionReason| (reason.score, reason.input, reason.to_next_better, reason.to_next_worse);
    assert_eq!(told(&reasons[0]), (3, Some(100), Some(10), Some(81)));
    assert_eq!(told(&reasons[1]), (3, Some(4), Some(1), Some(2)));
    assert_eq!(told(&reasons[2]), (3, Some(12_345), Some(7655), Some(2346)));
    let words: Vec<_> = reasons.iter().map(|reason| reason.reason.as_str()).collect();
    let expected = [
        "between 91 and 180 days since the last order",
        "between 3 and 4 orders",
        "between 100.00 and 199.99 USD of revenue",
    ];
    assert_eq!(words, expected);
}

#[test]
fn the_best_score_cannot_be_raised_and_the_lowest_cannot_fall() {
    let (_, best) = with_reasons(&retail(2), 3, 12, 60_000);
    assert!(best.iter().all(|reason| reason.to_next_better.is_none()));
    let worse: Vec<_> = best.iter().map(|reason| reason.to_next_worse).collect();
    assert_eq!(worse, [Some(28), Some(3), Some(10_001)]);
    assert_eq!(best[0].reason, "at most 30 days since the last order");
    assert_eq!(best[1].reason, "at least 10 orders");
    let (_, lowest) = with_reasons(&retail(2), 400, 1, -500);
    assert!(lowest.iter().all(|reason| reason.to_next_worse.is_none()));
    let better: Vec<_> = lowest.iter().map(|reason| reason.to_next_better).collect();
    assert_eq!(better, [Some(35), Some(1), Some(5500)]);
    assert_eq!(lowest[1].reason, "at most 1 order");
    assert_eq!(with_reasons(&retail(2), 0, 2, 0).1[1].reason, "exactly 2 orders");
}

#[test]
fn texts_are_worth_what_is_said_of_them() {
    let points = Points { of: [("gold".to_owned(), 3), ("tin".to_owned(), 1)].into(), other: 0, bins: 3 };
    let feature = Feature::from_name("top_category").unwrap();
    let mut dimension =
        Dimension { name: "type".to_owned(), feature, scale: Scale::Texts(points), missing: 0, weight: 1 };
    at("1998-07-01T00:00:00Z", &TimeZone::UTC, |at| {
        let score = |dimension: &Dimension, text| dimension.score(Value::Text(text), at);
        assert_eq!([score(&dimension, "gold"), score(&dimension, "tin"), score(&dimension, "Gold")], [3, 1, 0]);
        // A trait that was defined anew has numbers now.
        assert_eq!(dimension.score(Value::Number(3), at), 0);
        dimension.missing = 2;
        assert_eq!([score(&dimension, "Gold"), dimension.score(Value::Missing, at)], [2, 2]);
    });
}

#[test]
fn a_composite_is_the_weighted_mean_of_what_has_a_score() {
    // By hand: (2/4 * 3 + 4/4 * 1) / 4 = 0.625, half up.
    assert_eq!(composite([(3, 5, 3), (5, 5, 1)].into_iter()), Some(63));
    // (1/2 * 1 + 1/9 * 2) / 3 = 0.2407.
    assert_eq!(composite([(2, 3, 1), (2, 10, 2), (0, 5, 9)].into_iter()), Some(24));
    assert_eq!(composite([(0, 5, 3), (4, 5, 0)].into_iter()), None);
    assert_eq!(composite([(10, 10, 1_000); 16].into_iter()), Some(100));
}

#[test]
fn bands_tiers_and_vips_begin_where_they_are_said_to() {
    let grading = Grading::default();
    let told = |composite| {
        (grading.bands[grading.band(composite)].name.as_str(), grading.tier(composite), grading.is_vip(composite))
    };
    let expected = [
        (0, ("D", Tier::Low, false)),
        (24, ("D", Tier::Low, false)),
        (25, ("C", Tier::Low, false)),
        (40, ("C", Tier::Middle, false)),
        (69, ("B", Tier::Middle, false)),
        (75, ("A", Tier::High, false)),
        (90, ("A", Tier::High, true)),
        (100, ("A", Tier::High, true)),
    ];
    for (composite, expected) in expected {
        assert_eq!(told(composite), expected, "{composite}");
    }
    let only = Grading { bands: vec![Band { name: "all".to_owned(), from: 0 }], ..Grading::default() };
    assert_eq!(only.band(100), 0);
}

/// Cut-offs of quintiles that are found from values, higher is better.
fn quintiles(rule: TieRule, direction: Direction, values: &[i64]) -> CutOffs {
    let mut cut_offs = CutOffs { method: Method::Quantile(rule), direction, bins: 5, edges: Vec::new() };
    assert!(cut_offs.find(&mut values.to_vec()));
    cut_offs
}

#[test]
fn quintiles_are_those_of_the_reference_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/vectors/quintile_ties.json");
    let cases: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut compared, numbers) = (0, |json: &Json| json.as_array().unwrap().clone());
    for case in &cases {
        // In tenths: the vectors hold 0.1 and 1,000,000.
        let values: Vec<_> =
            numbers(&case["values"]).iter().map(|v| (v.as_f64().unwrap() * 10.0).round() as i64).collect();
        for (rule, key) in [
            (TieRule::Value, "pandas_qcut5"),
            (TieRule::CumeDist, "ceil5_cume_dist"),
            (TieRule::PercentRank, "floor5_percent_rank"),
        ] {
            // pandas refuses edges that repeat, where ours stay.
            let Some(expected) = case[key].as_array() else { continue };
            let expected: Vec<_> = expected.iter().map(|score| score.as_u64().unwrap() as u8).collect();
            let cut_offs = quintiles(rule, Direction::Higher, &values);
            let scores: Vec<_> = values.iter().map(|value| cut_offs.score(*value)).collect();
            // One pair of values is in descending order in the file, and so are its scores.
            assert_eq!(scores, expected, "{key} of {values:?}");
            compared += 1;
        }
    }
    assert_eq!((cases.len(), compared), (10, 26));
}

#[test]
fn cut_offs_that_repeat_are_kept_and_told() {
    let cut_offs = quintiles(TieRule::Value, Direction::Higher, &[1, 1, 1, 1, 1, 1, 2, 2, 3, 3]);
    // Type 7 by hand: 1, 1, 1.4 and 2.2, rounded down.
    assert_eq!((cut_offs.edges.as_slice(), cut_offs.repeated()), ([1, 1, 1, 2].as_slice(), 2));
    let scores: Vec<_> = [1, 2, 3].map(|value| cut_offs.score(value)).to_vec();
    assert_eq!(scores, [1, 4, 5]);
}

#[test]
fn few_equal_and_no_values_have_defined_results() {
    for rule in [TieRule::Value, TieRule::CumeDist, TieRule::PercentRank] {
        for direction in [Direction::Higher, Direction::Lower] {
            let cut_offs = quintiles(rule, direction, &[7]);
            assert_eq!(cut_offs.edges, [7; 4]);
            assert!((1..=5).contains(&cut_offs.score(7)));
        }
        let mut none = CutOffs { method: Method::Quantile(rule), direction: Direction::Higher, bins: 5, edges: vec![] };
        assert!(!none.find(&mut []));
        assert_eq!(none.score(7), 0);
    }
    let mut range = CutOffs { method: Method::Range, direction: Direction::Higher, bins: 3, edges: vec![] };
    assert!(range.find(&mut [i64::MIN, i64::MAX]));
    assert_eq!([i64::MIN, 0, i64::MAX].map(|value| range.score(value)), [1, 2, 3]);
    assert!(range.find(&mut [4, 4]));
    assert_eq!([3, 4].map(|value| range.score(value)), [1, 3]);
}

fn any_zone() -> impl Strategy<Value = TimeZone> {
    const NAMES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu"];
    prop::sample::select(NAMES.as_slice()).prop_map(zone)
}

fn any_four() -> impl Strategy<Value = [i64; 4]> {
    (0..40_i64, 1..40_i64, 1..40_i64, 1..40_i64).prop_map(|(a, b, c, d)| [a, a + b, a + b + c, a + b + c + d])
}

fn any_method() -> impl Strategy<Value = Method> {
    let rules = [TieRule::Value, TieRule::CumeDist, TieRule::PercentRank].map(Method::Quantile);
    prop::sample::select(rules.into_iter().chain([Method::Range]).collect::<Vec<_>>())
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(vec![Direction::Higher, Direction::Lower])
}

proptest! {
    #[test]
    fn scores_hold_until_the_announced_change_and_differ_at_it(
        zone in any_zone(),
        edges in any_four(),
        direction in any_direction(),
        // 2008 to 2013: it holds the day that Samoa left out and the last folds over midnight of St. John's.
        ordered in 1_199_145_600_000_000_i64..1_388_534_400_000_000,
        later in -300_000_000_i64..200 * DAY_MICROS,
    ) {
        let mut model = with_days(edges);
        model.dimensions[0].scale = Scale::Numbers(CutOffs::fixed(direction, &edges));
        let ordered = Instant::from_micros(ordered);
        let score_at = |instant: Instant| {
            let at = At::new(instant, Conventions { currency: usd(), zone: &zone });
            let values = [Value::Day(i64::from(zone.local_day(ordered))), Value::Number(3), Value::Number(2)];
            model.score_values(values.into_iter(), &at)
        };
        let as_of = ordered.plus_micros(later);
        let now = score_at(as_of);
        let last = match direction { Direction::Higher => 5, Direction::Lower => 1 };
        prop_assert_eq!(now.next_change.is_none(), now.scores[0] == last);
        prop_assert!(now.next_change.is_none_or(|change| change > as_of));
        let until = now.next_change.unwrap_or(as_of.plus_micros(200 * DAY_MICROS));
        let midnights = (zone.local_day(as_of) + 1..=zone.local_day(until)).map(|day| zone.start_of_day(day));
        for midnight in midnights.filter(|midnight| as_of < *midnight && *midnight < until) {
            prop_assert_eq!(&score_at(midnight).scores, &now.scores);
        }
        if let Some(change) = now.next_change {
            prop_assert_ne!(score_at(change).scores, now.scores);
        }
    }

    #[test]
    fn the_least_change_to_a_neighbour_reaches_it_and_one_less_does_not(
        edges in any_four(), direction in any_direction(), value in -5..200_i64,
    ) {
        let mut model = with_days(edges);
        model.dimensions[1].scale = Scale::Numbers(CutOffs::fixed(direction, &edges));
        let of = |value| with_reasons(&model, 0, value, 0).1[1].clone();
        let (reason, sign) = (of(value), if direction == Direction::Higher { 1 } else { -1 });
        if let Some(change) = reason.to_next_better {
            prop_assert_eq!(of(value + sign * change).score, reason.score + 1);
            prop_assert_eq!(of(value + sign * (change - 1)).score, reason.score);
        }
        if let Some(change) = reason.to_next_worse {
            prop_assert_eq!(of(value - sign * change).score, reason.score - 1);
            prop_assert_eq!(of(value - sign * (change - 1)).score, reason.score);
        }
        prop_assert_eq!(reason.to_next_better.is_none(), reason.score == 5);
        prop_assert_eq!(reason.to_next_worse.is_none(), reason.score == 1);
    }

    #[test]
    fn better_values_never_score_less_and_every_score_is_in_range(
        mut values in prop::collection::vec(-50_i64..50, 1..60),
        bins in 2_u8..=10, method in any_method(), direction in any_direction(),
    ) {
        let mut cut_offs = CutOffs { method, direction, bins, edges: Vec::new() };
        prop_assert!(cut_offs.find(&mut values));
        prop_assert!(cut_offs.edges.is_sorted() && cut_offs.edges.len() == usize::from(bins) - 1);
        let scores: Vec<_> = (-60..60).map(|value| cut_offs.score(value)).collect();
        prop_assert!(scores.iter().all(|score| (1..=bins).contains(score)));
        let better = |pair: &[u8]| match direction {
            Direction::Higher => pair[0] <= pair[1],
            Direction::Lower => pair[0] >= pair[1],
        };
        prop_assert!(scores.windows(2).all(better));
    }

    /// The definitions, worked out over all values for each one.
    #[test]
    fn found_cut_offs_score_as_their_definitions_do(
        values in prop::collection::vec(prop_oneof![-9_i64..9, any::<i64>()], 1..40), bins in 2_u8..=10,
    ) {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let (n, wide) = (values.len() as i128, i128::from(bins));
        let by = |method, direction| {
            let mut cut_offs = CutOffs { method, direction, bins, edges: Vec::new() };
            assert!(cut_offs.find(&mut values.clone()));
            cut_offs
        };
        let count = |test: &dyn Fn(i64) -> bool| values.iter().filter(|other| test(**other)).count() as i128;
        for value in &values {
            let cume = count(&|other| other <= *value);
            let expected = (wide * cume + n - 1) / n;
            let score = by(Method::Quantile(TieRule::CumeDist), Direction::Higher).score(*value);
            prop_assert_eq!(i128::from(score), expected);
            let cume = count(&|other| other >= *value);
            let score = by(Method::Quantile(TieRule::CumeDist), Direction::Lower).score(*value);
            prop_assert_eq!(i128::from(score), (wide * cume + n - 1) / n);
            for (direction, worse) in [
                (Direction::Higher, count(&|other| other < *value)),
                (Direction::Lower, count(&|other| other > *value)),
            ] {
                // Who is alone is worse than nobody, and better than nobody.
                let expected = wide.min(1 + wide * worse / (n - 1).max(1));
                let score = by(Method::Quantile(TieRule::PercentRank), direction).score(*value);
                prop_assert_eq!(i128::from(score), expected);
            }
            // Above the quantile k/bins by type 7: bins * value > bins * low + rest * (high - low).
            let above = (1..wide).filter(|k| {
                let (place, rest) = ((n - 1) * k / wide, (n - 1) * k % wide);
                let low = i128::from(sorted[place as usize]);
                let high = i128::from(sorted[(place as usize + 1).min(values.len() - 1)]);
                wide * i128::from(*value) > wide * low + rest * (high - low)
            });
            let expected = 1 + above.count() as i128;
            prop_assert_eq!(i128::from(by(Method::Quantile(TieRule::Value), Direction::Higher).score(*value)), expected);
            let lower = by(Method::Quantile(TieRule::Value), Direction::Lower).score(*value);
            prop_assert_eq!(i128::from(lower), wide + 1 - expected);
        }
    }

    #[test]
    fn a_better_score_never_lowers_the_composite(
        scores in prop::collection::vec((0_u8..5, 0_u32..1_000), 3..8), place in 0_usize..8,
    ) {
        let with = |raised: Option<usize>| {
            let each = scores.iter().enumerate();
            composite(each.map(|(n, (score, weight))| (score + 1 - u8::from(Some(n) != raised && *score > 0), 5, *weight)))
        };
        let (before, after) = (with(None), with(Some(place % scores.len())));
        prop_assert!(before <= after);
        prop_assert!(after.is_none_or(|composite| composite <= 100));
    }
}
