//! How likely customers still buy, in steps that records carry: they change at local midnights alone, and seldom.

use super::turning::turns_on;
use super::{NEWCOMER, ValueModel, buyer};
use crate::models::feature::Conventions;
use quintile_domain::midnight::begin_of_later_day;
use quintile_domain::time::Instant;
use quintile_proto::types::Features;
use quintile_rpc::convert;

/// The height of a step, in hundredths.
const STEP_PERCENT: i32 = 5;
/// The steps from 0 to 1.
const STEPS: f64 = 20.0;
/// What rounding may leave of a probability, in steps: one that is a step but for that is on it.
const ROUNDING: f64 = 1e-9;

/// How likely a customer still buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// In hundredths, rounded down to a multiple of 5.
    pub percent: i32,
    /// The earliest later instant at which time alone makes it another, or at which it is to be looked again: where it falls more than ten years from
    /// now. `None`: never.
    pub next_change: Option<Instant>,
}

/// How likely a customer still buys by what it had bought by the end of yesterday. `None`: it has not bought, or the data do not tell that anybody
/// leaves.
pub fn alive(model: &ValueModel, features: &Features, as_of: Instant, conventions: Conventions<'_>) -> Option<Alive> {
    let last = convert::sent_instant(features.last_order_time.as_ref()).filter(|_| features.purchase_days > 0)?;
    let [today, last] = [as_of, last].map(|instant| i64::from(conventions.zone.local_day(instant)));
    let probability = |day: i64| {
        let known = buyer(features, day - 1, conventions);
        model.alive(&known.map_or(NEWCOMER, |buyer| buyer.history))
    };
    let percent = step(probability(today)?);
    let step_on = |day| probability(day).map_or(0, |probability| step(probability).into());
    // There is no lower step, or the model has it that nobody leaves who has bought so seldom.
    let rests = |from, until| percent == 0 || probability(until) >= probability(from);
    let changes_on = turns_on(today, last, step_on, rests);
    let next_change = changes_on.and_then(|day| begin_of_later_day(conventions.zone, day, as_of));
    Some(Alive { percent, next_change })
}

/// The step that a probability is on, in hundredths.
fn step(probability: f64) -> i32 {
    (probability * STEPS + ROUNDING).floor() as i32 * STEP_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::MAX_DAYS_AHEAD;
    use proptest::prelude::*;
    use quintile_clv::{BgNbd, Dropout, Fitted, Nbd};
    use quintile_domain::money::Currency;
    use quintile_domain::time::TimeZone;

    const DAY_MICROS: i64 = 86_400_000_000;

    fn midnight(day: i64) -> Instant {
        Instant::from_micros(day * DAY_MICROS)
    }

    fn on(model: &ValueModel, features: &Features, day: i64) -> Option<Alive> {
        let currency = Currency::from_code("USD").unwrap();
        alive(model, features, midnight(day), Conventions { currency, zone: &TimeZone::UTC })
    }

    fn model(dropout: Dropout, [r, alpha, a, b]: [f64; 4], leave: bool) -> ValueModel {
        ValueModel {
            purchases: Fitted {
                model: BgNbd { dropout, r, alpha, a, b },
                log_likelihood: if leave { -90.0 } else { -100.0 },
                never_leaving: Nbd { r, alpha },
                never_leaving_log_likelihood: -100.0,
            },
            spend: None,
            gross_margin: 1.0,
            monthly_discount: 0.01,
            months: 12,
        }
    }

    /// Somebody who bought on these days, at noon.
    fn buys(days: &[i64]) -> Features {
        let noon = |day: Option<&i64>| day.map(|day| convert::timestamp(midnight(*day).plus_micros(DAY_MICROS / 2)));
        Features {
            first_order_time: noon(days.first()),
            last_order_time: noon(days.last()),
            purchase_days: days.len() as i64,
            gap_days: days.windows(2).map(|pair| (pair[1] - pair[0]) as i32).collect(),
            ..Features::default()
        }
    }

    /// The step on a day, by the formula of the papers.
    fn percent_on(model: &ValueModel, days: &[i64], day: i64) -> i32 {
        let BgNbd { dropout, r, alpha, a, b } = model.purchases.model;
        let known: Vec<i64> = days.iter().copied().filter(|bought| *bought < day).collect();
        let (first, last) = (known.first().copied().unwrap_or(day - 1), known.last().copied().unwrap_or(day - 1));
        let repeats = known.len().saturating_sub(1) as f64;
        let chances = if dropout == Dropout::AfterRepeats { repeats } else { repeats + 1.0 };
        if chances == 0.0 {
            return 100;
        }
        let weeks = |days: i64| days as f64 / 7.0;
        let passed = (alpha + weeks(day - 1 - first)) / (alpha + weeks(last - first));
        let odds = a / (b + chances - 1.0) * passed.powf(r + repeats);
        ((20.0 / (1.0 + odds) + 1e-9).floor() as i32) * 5
    }

    fn any_model() -> impl Strategy<Value = ValueModel> {
        let kinds = prop::sample::select(vec![Dropout::AfterRepeats, Dropout::AfterEveryPurchase]);
        let parameters = (0.1..3.0_f64, 1.0..20.0_f64, 0.1..3.0_f64, 0.5..5.0_f64);
        (kinds, parameters).prop_map(|(dropout, (r, alpha, a, b))| model(dropout, [r, alpha, a, b], true))
    }

    proptest! {
        #[test]
        fn the_announced_day_is_the_first_with_another_step(
            model in any_model(),
            gaps in prop::collection::vec(1..60_i64, 0..12),
            silent in 0..400_i64,
        ) {
            let mut days = vec![1_000];
            days.extend(gaps.iter().scan(1_000, |at, gap| { *at += gap; Some(*at) }));
            let features = buys(&days);
            let today = days.last().unwrap() + silent;
            let told = on(&model, &features, today).unwrap();
            prop_assert_eq!(told.percent, percent_on(&model, &days, today));
            let other = (today + 1..=today + MAX_DAYS_AHEAD).find(|day| percent_on(&model, &days, *day) != told.percent);
            match (other, told.next_change) {
                (Some(day), told) => prop_assert_eq!(told, Some(midnight(day))),
                (None, Some(again)) => prop_assert_eq!(again, midnight(today + MAX_DAYS_AHEAD)),
                (None, None) => prop_assert!(told.percent == 0 || (days.len() == 1 && told.percent == 100)),
            }
        }
    }

    #[test]
    fn a_purchase_counts_from_the_next_midnight_on() {
        let often = model(Dropout::AfterRepeats, [1.0, 2.0, 1.0, 2.0], true);
        let before = on(&often, &buys(&[1_000, 1_007, 1_014]), 1_100).unwrap();
        let bought = on(&often, &buys(&[1_000, 1_007, 1_014, 1_100]), 1_100).unwrap();
        assert_eq!((bought.percent, bought.next_change), (before.percent, Some(midnight(1_101))));
        let after = on(&often, &buys(&[1_000, 1_007, 1_014, 1_100]), 1_101).unwrap();
        assert!(after.percent > before.percent, "{after:?}");
    }

    #[test]
    fn where_nobody_is_known_to_leave_or_nothing_was_bought_nothing_is_told() {
        let parameters = [1.0, 2.0, 1.0, 2.0];
        assert_eq!(on(&model(Dropout::AfterRepeats, parameters, false), &buys(&[1_000]), 1_100), None);
        assert_eq!(on(&model(Dropout::AfterRepeats, parameters, true), &buys(&[]), 1_100), None);
    }

    #[test]
    fn who_has_no_chance_to_leave_stays_for_ever() {
        let told = on(&model(Dropout::AfterRepeats, [1.0, 2.0, 1.0, 2.0], true), &buys(&[1_000]), 3_000);
        assert_eq!(told, Some(Alive { percent: 100, next_change: None }));
    }

    #[test]
    fn what_is_a_step_but_for_rounding_is_on_it() {
        for steps in 0..=20 {
            let percent = 5 * steps;
            let exact = f64::from(percent) / 100.0;
            let beside = [exact * (1.0 - f64::EPSILON), exact, exact * (1.0 + f64::EPSILON)];
            assert_eq!(beside.map(step), [percent; 3]);
        }
        assert_eq!([0.049, 0.051, 0.949, 0.999].map(step), [0, 5, 90, 95]);
    }
}
