//! What customers will be worth, in steps that records carry: they change at local midnights alone, and seldom.

use super::turning::turns_on;
use super::{ValueModel, expected};
use crate::models::feature::Conventions;
use quintile_domain::midnight::begin_of_later_day;
use quintile_domain::time::Instant;
use quintile_proto::types::Features;
use quintile_rpc::convert;

/// The steps of a decade, in tenths of its power of ten: two or so to a doubling, as amounts are read most easily.
const STEPS: [i128; 6] = [70, 50, 30, 20, 15, 10];

/// What a customer will be worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// In minor units, rounded down to a step.
    pub minor: i64,
    /// The earliest later instant at which time alone makes it another, or at which it is to be looked again: where it falls more than ten years from
    /// now. `None`: never.
    pub next_change: Option<Instant>,
}

/// What a customer is expected to be worth on a local day, in minor units. `None`: it has not bought, or the model knows no spending.
pub fn minor_on(model: &ValueModel, features: &Features, day: i64, conventions: Conventions<'_>) -> Option<i64> {
    if features.purchase_days == 0 || model.spend.is_none() {
        return None;
    }
    let minor_per_major = 10_f64.powi(conventions.currency.minor_digits() as i32);
    let (worth, _) = expected(model, features, day, conventions);
    worth.value.map(|value| (value * minor_per_major).round() as i64)
}

/// What a customer is expected to be worth by what it had bought by the end of yesterday. `None`: it has not bought, or the model knows no spending.
pub fn lifetime(
    model: &ValueModel,
    features: &Features,
    as_of: Instant,
    conventions: Conventions<'_>,
) -> Option<Lifetime> {
    let last = convert::sent_instant(features.last_order_time.as_ref())?;
    let [today, last] = [as_of, last].map(|instant| i64::from(conventions.zone.local_day(instant)));
    let unit = 10_i64.pow(conventions.currency.minor_digits());
    let minor = step(minor_on(model, features, today, conventions)?, unit);
    let step_on = |day| minor_on(model, features, day, conventions).map_or(0, |minor| step(minor, unit));
    let changes_on = turns_on(today, last, step_on, |_, _| minor == 0);
    let next_change = changes_on.and_then(|day| begin_of_later_day(conventions.zone, day, as_of));
    Some(Lifetime { minor, next_change })
}

/// The step that an amount is on: 1, 1.5, 2, 3, 5 or 7 times a power of ten of minor units; 0 below a major unit, where steps would be passed for nothing.
fn step(minor: i64, unit: i64) -> i64 {
    let Some(decade) = minor.checked_ilog10().filter(|_| minor >= unit) else { return 0 };
    let power = 10_i128.pow(decade);
    let reached = STEPS.into_iter().find(|tenths| tenths * power <= i128::from(minor) * 10);
    // No more than the amount itself.
    reached.map_or(0, |tenths| (tenths * power / 10) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::MAX_DAYS_AHEAD;
    use proptest::prelude::*;
    use quintile_clv::{BgNbd, Dropout, Fitted, GammaGamma, Nbd};
    use quintile_domain::money::Currency;
    use quintile_domain::time::TimeZone;
    use quintile_proto::google_type::Money;

    const DAY_MICROS: i64 = 86_400_000_000;

    fn midnight(day: i64) -> Instant {
        Instant::from_micros(day * DAY_MICROS)
    }

    fn conventions() -> Conventions<'static> {
        Conventions { currency: Currency::from_code("USD").unwrap(), zone: &TimeZone::UTC }
    }

    fn on(model: &ValueModel, features: &Features, day: i64) -> Option<Lifetime> {
        lifetime(model, features, midnight(day), conventions())
    }

    /// By the parameters that are published for CDNOW.
    fn model(leave: bool) -> ValueModel {
        ValueModel {
            purchases: Fitted {
                model: BgNbd { dropout: Dropout::AfterRepeats, r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 },
                log_likelihood: if leave { -90.0 } else { -100.0 },
                never_leaving: Nbd { r: 0.385, alpha: 12.07 },
                never_leaving_log_likelihood: -100.0,
            },
            spend: Some(GammaGamma { p: 6.25, q: 3.74, v: 15.44 }),
            gross_margin: 1.0,
            monthly_discount: 0.01,
            months: 12,
        }
    }

    /// Somebody who bought on these days at noon, for 20 dollars each time but the first.
    fn buys(days: &[i64]) -> Features {
        let noon = |day: Option<&i64>| day.map(|day| convert::timestamp(midnight(*day).plus_micros(DAY_MICROS / 2)));
        let spent = Money { currency_code: "USD".to_owned(), units: 20 * (days.len() as i64 - 1), nanos: 0 };
        Features {
            first_order_time: noon(days.first()),
            last_order_time: noon(days.last()),
            purchase_days: days.len() as i64,
            gap_days: days.windows(2).map(|pair| (pair[1] - pair[0]) as i32).collect(),
            repeat_revenue: Some(spent),
            ..Features::default()
        }
    }

    #[test]
    fn an_amount_is_on_the_highest_step_that_it_reaches() {
        let table = [
            (i64::MIN, 0),
            (0, 0),
            (99, 0),
            (100, 100),
            (149, 100),
            (150, 150),
            (199, 150),
            (200, 200),
            (499, 300),
            (699, 500),
            (999, 700),
            (1_000, 1_000),
            (14_999, 10_000),
            (15_000, 15_000),
            (i64::MAX, 7_000_000_000_000_000_000),
        ];
        for (minor, expected) in table {
            assert_eq!(step(minor, 100), expected, "{minor}");
        }
        assert_eq!([0, 1, 2, 4, 6, 9, 15].map(|yen| step(yen, 1)), [0, 1, 2, 3, 5, 7, 15]);
    }

    proptest! {
        #[test]
        fn an_amount_is_on_a_step_that_is_less_than_half_below_it(minor in 100..i64::MAX) {
            let on = step(minor, 100);
            prop_assert!(on <= minor && i128::from(minor) < 2 * i128::from(on) && step(on, 100) == on);
        }

        #[test]
        fn the_announced_day_is_the_first_with_another_step(
            leave in any::<bool>(),
            gaps in prop::collection::vec(1..60_i64, 0..8),
            silent in 0..300_i64,
        ) {
            let mut days = vec![1_000];
            days.extend(gaps.iter().scan(1_000, |at, gap| { *at += gap; Some(*at) }));
            let (model, features) = (model(leave), buys(&days));
            let today = days.last().unwrap() + silent;
            let told = on(&model, &features, today).unwrap();
            let step_on = |day| step(minor_on(&model, &features, day, conventions()).unwrap(), 100);
            prop_assert_eq!(told.minor, step_on(today));
            let Some(change) = told.next_change else {
                prop_assert_eq!(told.minor, 0);
                return Ok(());
            };
            let day = change.micros() / DAY_MICROS;
            prop_assert_eq!(change, midnight(day));
            prop_assert!((today + 1..day).all(|between| step_on(between) == told.minor));
            prop_assert!(step_on(day) != told.minor || day == today + MAX_DAYS_AHEAD);
        }
    }

    /// As the formulas of the papers have it, computed without any of our code.
    #[test]
    fn whoever_is_silent_for_a_year_passes_few_steps() {
        let once: &[i64] = &[3_000, 2_000, 1_500, 1_000, 700, 500];
        let weekly: &[i64] =
            &[20_000, 15_000, 10_000, 7_000, 5_000, 3_000, 2_000, 1_500, 1_000, 700, 500, 300, 200, 150, 100, 0];
        for (purchases, expected) in [(1, once), (30, weekly)] {
            let days: Vec<i64> = (0..purchases).map(|n| 1_000 + 7 * n).collect();
            let (features, last) = (buys(&days), days[days.len() - 1]);
            let (mut day, mut passed) = (last + 31, Vec::new());
            while day <= last + 395 {
                let told = on(&model(true), &features, day).unwrap();
                passed.push(told.minor);
                let Some(change) = told.next_change else { break };
                day = change.micros() / DAY_MICROS;
            }
            assert_eq!(passed, expected, "{purchases} purchases");
        }
    }

    #[test]
    fn what_nobody_knows_is_not_told() {
        let spends_unknown = ValueModel { spend: None, ..model(true) };
        assert_eq!(on(&spends_unknown, &buys(&[1_000]), 1_100), None);
        assert_eq!(on(&model(true), &Features::default(), 1_100), None);
    }
}
