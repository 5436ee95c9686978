//! Signs, against what they are defined as, day by day.

use super::*;
use proptest::prelude::*;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::lifecycle::WarningSeverity;
use quintile_proto::types::{self, CustomerRecord, Features, ScoreValues, WindowActivity};

const DAY_MICROS: i64 = 86_400_000_000;

/// Noon of a day in UTC, so that no rounding of instants matters.
fn noon(day: i64) -> Instant {
    Instant::from_micros(day * DAY_MICROS + DAY_MICROS / 2)
}

/// A customer who bought once on each of some days, ascending.
struct Bought {
    days: Vec<i64>,
    gaps: Vec<i32>,
}

impl Bought {
    fn on(days: impl IntoIterator<Item = i64>) -> Self {
        let days: Vec<i64> = days.into_iter().collect();
        let gaps = days.windows(2).map(|pair| (pair[1] - pair[0]) as i32).collect();
        Self { days, gaps }
    }

    fn input(&self) -> StageInput<'_> {
        StageInput {
            first_order: self.days.first().map(|day| noon(*day)),
            last_order: self.days.last().map(|day| noon(*day)),
            orders: self.days.len() as i64,
            gap_days: &self.gaps,
            ..StageInput::default()
        }
    }
}

fn showing_at(input: &StageInput<'_>, as_of: Instant) -> Showing {
    let policy = StagePolicy::default();
    let decision = policy.evaluate(input, as_of, &TimeZone::UTC);
    showing(&policy, input, &decision, as_of, &TimeZone::UTC)
}

fn kinds(input: &StageInput<'_>, day: i64) -> Vec<WarningKind> {
    showing_at(input, noon(day)).kinds
}

#[test]
fn silence_begins_behind_the_rhythm_and_ends_with_the_churn() {
    // Without gaps of its own: the population's 119 days, four times 476.
    let once = Bought::on([1_000]);
    for (day, expected) in [(1_119, vec![]), (1_120, vec![WarningKind::Silence]), (1_477, vec![])] {
        assert_eq!(kinds(&once.input(), day), expected, "{day}");
    }
    assert_eq!(showing_at(&once.input(), noon(1_000)).next_change, Some(Instant::from_micros(1_120 * DAY_MICROS)));
}

#[test]
fn nobody_is_silent_within_a_fortnight() {
    // 200 gaps of a day: a rhythm of (200 + 3 x 119) / 203 = 2.7 days.
    let daily = Bought::on(1_000..1_201);
    // Churned behind four times the rhythm, 10.9 days: gone before it is silent.
    for day in 1_201..1_230 {
        assert!(!kinds(&daily.input(), day).contains(&WarningKind::Silence), "{day}");
    }
    // 30 gaps of 7 days: (30 x 7 + 357) / 33 = 17.2, so silent on the 18th day; the last gap of 20 did, on the day before yesterday.
    let weekly = Bought::on((0..31).map(|week| 1_000 + 7 * week).chain([1_230]));
    let silent = |day: i64| kinds(&weekly.input(), day).contains(&WarningKind::Silence);
    // The silence began on 1,228, and is shown for 14 days.
    assert_eq!([1_230, 1_241, 1_242].map(silent), [true, true, false]);
    assert_eq!(showing_at(&weekly.input(), noon(1_230)).next_change, Some(Instant::from_micros(1_242 * DAY_MICROS)));
    // Whatever it buys since.
    let again = Bought::on((0..31).map(|week| 1_000 + 7 * week).chain([1_230, 1_231, 1_235]));
    let silent = |day: i64| kinds(&again.input(), day).contains(&WarningKind::Silence);
    assert_eq!([1_235, 1_241, 1_242].map(silent), [true, true, false]);
}

#[test]
fn half_as_many_days_as_before_show_for_a_fortnight() {
    // Four days in the window before, two in the last: from the 91st day after the first four.
    let slowing = Bought::on([1_000, 1_001, 1_002, 1_003, 1_060, 1_090]);
    let shows = |day: i64| kinds(&slowing.input(), day).contains(&WarningKind::FewerPurchases);
    // On 1,093 three of the four have left the last 90 days, on 1,094 all four have. On 1,182 the 90 before have the last two of them and the two others,
    // and on the next day three days.
    assert_eq!([1_093, 1_094, 1_182, 1_195, 1_196].map(shows), [false, true, true, true, false]);
    let shown_by = |day: i64| purchase_days(&StagePolicy::default(), &slowing.input(), noon(day), &TimeZone::UTC);
    assert_eq!(shown_by(1_094), PurchaseDays { now: 2, before: 4 });
    // By the midnight of 1,182.
    assert_eq!(shown_by(1_190), PurchaseDays { now: 0, before: 4 });
    assert_eq!(shown_by(1_093), PurchaseDays { now: 3, before: 3 });
}

#[test]
fn contacts_that_end_show_after_a_fortnight_without_any() {
    let bought = Bought::on([1_000]);
    let fewer = StageInput {
        interactions_90: 2,
        previous_interactions_90: 4,
        last_interaction: Some(noon(1_050)),
        ..bought.input()
    };
    let shows = |input: &StageInput<'_>, day: i64| kinds(input, day).contains(&WarningKind::FewerInteractions);
    assert_eq!([1_063, 1_064].map(|day| shows(&fewer, day)), [false, true]);
    assert_eq!(showing_at(&fewer, noon(1_060)).next_change, Some(Instant::from_micros(1_064 * DAY_MICROS)));
    for (now, before) in [(3, 4), (1, 3)] {
        let steady = StageInput { interactions_90: now, previous_interactions_90: before, ..fewer };
        assert!(!shows(&steady, 1_064));
    }
}

#[test]
fn a_low_score_shows_for_a_fortnight_from_the_last_one() {
    let bought = Bought::on([1_000]);
    let scored = |day| StageInput { last_low_score: Some(noon(day)), ..bought.input() };
    let shows = |input: &StageInput<'_>, day: i64| kinds(input, day).contains(&WarningKind::LowScore);
    assert_eq!([1_010, 1_023, 1_024].map(|day| shows(&scored(1_010), day)), [true, true, false]);
    let midnight = |day: i64| Instant::from_micros(day * DAY_MICROS);
    assert_eq!(showing_at(&scored(1_010), midnight(1_024).plus_micros(-1)).next_change, Some(midnight(1_024)));
    assert!(shows(&scored(1_015), 1_028) && !shows(&scored(1_015), 1_029));
    // By local days: an evening in UTC is of the next day in Berlin.
    let berlin = TimeZone::from_name("Europe/Berlin").unwrap();
    let evening = StageInput { last_low_score: Some(midnight(1_010).plus_micros(-DAY_MICROS / 48)), ..bought.input() };
    let policy = StagePolicy::default();
    let still_shown = |zone: &TimeZone| {
        let as_of = noon(1_023);
        showing(&policy, &evening, &policy.evaluate(&evening, as_of, zone), as_of, zone).kinds
    };
    assert_eq!(still_shown(&berlin), [WarningKind::LowScore]);
    assert!(still_shown(&TimeZone::UTC).is_empty());
}

#[test]
fn leads_and_churned_customers_show_nothing() {
    let complaining = StageInput { open_complaints: 1, last_low_score: Some(noon(1_000)), ..StageInput::default() };
    assert_eq!(showing_at(&complaining, noon(1_000)), Showing::default());
    let bought = Bought::on([1_000]);
    let complaining = StageInput { open_complaints: 1, ..bought.input() };
    assert_eq!(kinds(&complaining, 1_010), [WarningKind::Complaint]);
    assert_eq!(showing_at(&complaining, noon(1_477)), Showing::default());
}

#[test]
fn what_is_at_stake_is_a_part_of_the_better_year() {
    let currency = Currency::from_code("USD").unwrap();
    let dollars = |units, nanos| Some(Money { currency_code: "USD".to_owned(), units, nanos });
    let year = WindowActivity {
        days: 365,
        revenue: dollars(0, 990_000_000),
        previous_revenue: dollars(200, 10_000_000),
        ..WindowActivity::default()
    };
    let refunded = WindowActivity { revenue: dollars(-5, 0), previous_revenue: dollars(-1, 0), ..year.clone() };
    let record = |year: Option<WindowActivity>| CustomerRecord {
        features: Some(Features { windows: year.into_iter().collect(), ..Features::default() }),
        ..CustomerRecord::default()
    };
    let worth = |record: &CustomerRecord| Worth::of(record, currency);
    let at_risk = Stake::of(worth(&record(Some(year.clone()))).minor, types::Stage::AtRisk, None);
    assert_eq!((at_risk.customer_value, at_risk.value()), (20_001, 10_000), "half of a cent, to even");
    assert_eq!(Stake::of(20_001, types::Stage::Dormant, None).value(), 16_001, "16,000.8");
    assert_eq!(worth(&record(Some(refunded))), Worth::default());
    assert_eq!(worth(&record(None)), Worth::default());
    assert_eq!(worth(&CustomerRecord::default()), Worth::default());
    // What a value model expects is what it is, be it nothing; where it knows no spending, revenue says it.
    for (lifetime_value, (minor, value_model)) in
        [(dollars(3, 0), (300, "valueModels/7")), (dollars(0, 0), (0, "valueModels/7")), (None, (20_001, ""))]
    {
        let scores = ScoreValues { lifetime_value, value_model: "valueModels/7".to_owned(), ..ScoreValues::default() };
        let valued = CustomerRecord { scores: Some(scores), ..record(Some(year.clone())) };
        assert_eq!(worth(&valued), Worth { minor, value_model: value_model.to_owned() });
    }
    let yen = Currency::from_code("JPY").unwrap();
    let severities = [(99, WarningSeverity::Low), (100, WarningSeverity::Medium), (1_000, WarningSeverity::High)];
    for (value, severity) in severities {
        assert_eq!(Thresholds::unsaid(yen).severity(value), severity);
    }
    assert_eq!(Thresholds::unsaid(currency).severity(9_999), WarningSeverity::Low);
}

/// The definition of fewer purchases, told from the days themselves.
fn fewer_purchases(days: &[i64], today: i64) -> bool {
    let bought = |from: i64, to: i64| days.iter().filter(|day| (from..to).contains(*day)).count();
    (today - 13..=today).any(|midnight| {
        let (now, before) = (bought(midnight - 90, midnight), bought(midnight - 180, midnight - 90));
        before >= 4 && 2 * now <= before
    })
}

proptest! {
    #[test]
    fn fewer_purchases_are_what_the_days_say(gaps in prop::collection::vec(1..60_i64, 0..40), after in 0..250_i64) {
        let mut day = 1_000;
        let days: Vec<i64> = std::iter::once(day).chain(gaps.into_iter().map(|gap| { day += gap; day })).collect();
        let bought = Bought::on(days.iter().copied());
        let today = day + after;
        let input = bought.input();
        let shown = kinds(&input, today).contains(&WarningKind::FewerPurchases);
        let stage = StagePolicy::default().evaluate(&input, noon(today), &TimeZone::UTC).stage;
        prop_assert_eq!(shown, stage != Stage::Churned && fewer_purchases(&days, today));
    }

    #[test]
    fn the_next_change_is_the_next_midnight_with_other_signs(
        gaps in prop::collection::vec(1..90_i64, 0..30),
        after in 0..200_i64,
        (interactions_90, previous_interactions_90) in (0..6_i64, 0..12_i64),
        last_contact in 0..60_i64,
        last_low_score in prop::option::of(0..60_i64),
    ) {
        let mut day = 1_000;
        let days: Vec<i64> = std::iter::once(day).chain(gaps.into_iter().map(|gap| { day += gap; day })).collect();
        let bought = Bought::on(days);
        let today = day + after;
        let input = StageInput {
            interactions_90,
            previous_interactions_90,
            last_interaction: Some(noon(today - last_contact)),
            last_low_score: last_low_score.map(|days| noon(today - days)),
            ..bought.input()
        };
        let policy = StagePolicy::default();
        let Showing { kinds: now, next_change } = showing_at(&input, noon(today));
        let decision = policy.evaluate(&input, noon(today), &TimeZone::UTC);
        // A stage that changes brings another decision.
        let told = [next_change, decision.next_change].into_iter().flatten().min();
        let other = (today + 1..today + 800).find(|later| {
            let stage = policy.evaluate(&input, noon(*later), &TimeZone::UTC).stage;
            stage != decision.stage || kinds(&input, *later) != now
        });
        prop_assert_eq!(told, other.map(|day| Instant::from_micros(day * DAY_MICROS)));
    }
}
