//! Against the published fits of CDNOW, reference values to 50 digits, and each other.

#![expect(clippy::float_cmp, reason = "what is the same by construction is compared exactly")]

use super::bg_nbd::series_and_quadrature;
use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const SAMPLE: &str = include_str!("../../../tests/data/cdnow/CDNOW_sample.txt");
const PUBLISHED: &str = include_str!("../../../tests/data/vectors/cdnow_published.json");
const POPULATION: &str = include_str!("../../../tests/data/vectors/bgnbd_population.json");

/// The model of the paper, as published.
const OF_THE_PAPER: BgNbd = BgNbd { dropout: Dropout::AfterRepeats, r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };

fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
    (ours - theirs).abs() <= tolerance * theirs.abs()
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    assert!(close(ours, theirs, tolerance), "{what}: {ours}, and not {theirs}");
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number {key}"))
}

/// Days since 0000-03-01 of the proleptic Gregorian calendar, of yyyymmdd.
fn day(date: u32) -> i64 {
    let (year, month, day) = (i64::from(date / 10_000), i64::from(date / 100 % 100), i64::from(date % 100));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day
}

/// The 1/10 sample up to 1997-09-30: histories in weeks, and what was spent on the days of repeat purchases. `summarised`: with weeks and
/// means to hundredths, as the summary has them that the papers were computed from.
fn sample(summarised: bool) -> (Vec<History>, Vec<Spend>) {
    let mut customers: BTreeMap<&str, BTreeMap<i64, i64>> = BTreeMap::new();
    for line in SAMPLE.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, customer, date, _, dollars] = words[..] else { continue };
        let date: u32 = date.parse().unwrap();
        if date <= 19_970_930 {
            let cents: i64 = dollars.replace('.', "").parse().unwrap();
            *customers.entry(customer).or_default().entry(day(date)).or_default() += cents;
        }
    }
    let ratio = |part: i64, whole: i64| {
        if summarised { ((200 * part + whole) / (2 * whole)) as f64 / 100.0 } else { part as f64 / whole as f64 }
    };
    let weeks = |days: i64| ratio(days, 7);
    let of = |days: &BTreeMap<i64, i64>| {
        let (first, last) = (*days.keys().next().unwrap(), *days.keys().last().unwrap());
        let repeats = days.len() as u32 - 1;
        let mean = ratio(days.values().skip(1).sum(), 100 * i64::from(repeats.max(1)));
        let history = History { repeats, recency: weeks(last - first), age: weeks(day(19_970_930) - first) };
        (history, Spend { repeats, mean })
    };
    customers.values().map(of).unzip()
}

/// On how many days of the 39 weeks behind it the customers of the sample bought, in their order.
fn bought_in_holdout() -> Vec<u32> {
    let mut customers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in SAMPLE.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, customer, date, ..] = words[..] else { continue };
        let days = customers.entry(customer).or_default();
        if date > "19970930" {
            days.insert(date);
        }
    }
    customers.values().map(|days| days.len() as u32).collect()
}

/// To four significant digits.
#[track_caller]
fn assert_fit(ours: &[f64], theirs: &[f64], log_likelihood: f64, published: f64) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_close(*ours, *theirs, 5e-5, "parameter");
    }
    assert!((log_likelihood - published).abs() < 1e-3, "{log_likelihood}, and not {published}");
}

#[test]
fn fits_of_the_sample_are_the_published_ones() {
    let (histories, spends) = sample(true);
    assert_eq!(histories.len(), 2_357);
    let histories = Histories::new(histories);
    let bg = BgNbd::fit(Dropout::AfterRepeats, &histories).unwrap();
    let BgNbd { r, alpha, a, b, .. } = bg.model;
    assert_fit(&[r, alpha, a, b], &[0.242_593, 4.413_532, 0.792_886, 2.425_753], bg.log_likelihood, -9_582.425_6);
    assert!(bg.dropout_is_identified());
    let Nbd { r, alpha } = bg.never_leaving;
    assert_fit(&[r, alpha], &[0.384_77, 12.072_08], bg.never_leaving_log_likelihood, -9_763.660);
    let mbg = BgNbd::fit(Dropout::AfterEveryPurchase, &histories).unwrap();
    let BgNbd { r, alpha, a, b, .. } = mbg.model;
    assert_fit(&[r, alpha, a, b], &[0.524_838, 6.182_992, 0.891_356, 1.613_999], mbg.log_likelihood, -9_582.132_7);
    let spends = Spends::new(spends);
    assert_eq!(spends.customers(), 946.0);
    let spend = GammaGamma::fit(&spends).unwrap();
    let GammaGamma { p, q, v } = spend.model;
    assert_fit(&[p, q, v], &[6.248_802, 3.744_588, 15.447_748], spend.log_likelihood, -4_055.923_2);
}

#[test]
fn fits_of_the_raw_log_are_the_published_ones() {
    let (histories, spends) = sample(false);
    let histories = Histories::new(histories);
    let bg = BgNbd::fit(Dropout::AfterRepeats, &histories).unwrap();
    let BgNbd { r, alpha, a, b, .. } = bg.model;
    assert_fit(&[r, alpha, a, b], &[0.242_594_5, 4.413_602, 0.792_922, 2.425_906], bg.log_likelihood, -9_582.429_2);
    assert!((bg.never_leaving_log_likelihood + 9_763.657_6).abs() < 1e-3);
    let mbg = BgNbd::fit(Dropout::AfterEveryPurchase, &histories).unwrap();
    assert!((mbg.log_likelihood + 9_582.135_7).abs() < 1e-3);
    let spend = GammaGamma::fit(&Spends::new(spends)).unwrap();
    let GammaGamma { p, q, v } = spend.model;
    assert_fit(&[p, q, v], &[6.249_57, 3.744_22, 15.443_52], spend.log_likelihood, -4_055.917_7);
}

#[test]
fn customers_of_the_sample_are_expected_what_is_published() {
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    let spending = GammaGamma { p: 6.25, q: 3.74, v: 15.44 };
    let customers = published["customers"].as_array().unwrap();
    assert_eq!(customers.len(), 72);
    for customer in customers {
        let repeats = customer["frequency"].as_u64().unwrap() as u32;
        let history = History { repeats, recency: number(customer, "recency"), age: number(customer, "T") };
        let spend = Spend { repeats, mean: number(customer, "monetary") };
        let expected_spend = spending.expected_spend((repeats > 0).then_some(&spend));
        let value = |units_per_month| {
            let terms = Terms { gross_margin: 1.0, monthly_discount: 0.01, months: 12, units_per_month };
            terms.lifetime_value(expected_spend, |time| OF_THE_PAPER.expected_purchases(&history, time))
        };
        let ours = [
            ("ll", OF_THE_PAPER.log_likelihood(&Histories::new([history]))),
            ("p_alive", OF_THE_PAPER.p_alive(&history)),
            ("expected_purchases_1w", OF_THE_PAPER.expected_purchases(&history, 1.0)),
            ("expected_purchases_39w", OF_THE_PAPER.expected_purchases(&history, 39.0)),
            ("expected_purchases_520w", OF_THE_PAPER.expected_purchases(&history, 520.0)),
            ("expected_avg_profit", expected_spend),
            ("clv_12m_weeks4345", value(4.345)),
            ("clv_12m_weeks_365_25_84", value(365.25 / 84.0)),
        ];
        for (key, ours) in ours {
            assert_close(ours, number(customer, key), 1e-9, &format!("{key} of {}", customer["id"]));
        }
    }
}

#[test]
fn newcomers_are_expected_what_is_published() {
    let published: Value = serde_json::from_str(POPULATION).unwrap();
    for expected in published["expected"].as_array().unwrap() {
        let ours = OF_THE_PAPER.expected_of_newcomer(number(expected, "t"));
        assert_close(ours, number(expected, "value"), 1e-9, "E[X(t)]");
    }
}

#[test]
fn counts_are_as_probable_as_published() {
    let published: Value = serde_json::from_str(POPULATION).unwrap();
    let counts = published["pmf"].as_array().unwrap();
    assert_eq!(counts.len(), 33);
    for count in counts {
        let repeats = count["n"].as_u64().unwrap() as u32;
        let ours = OF_THE_PAPER.probability_of(repeats, number(count, "t"));
        assert_close(ours, number(count, "p"), 1e-9, &format!("{count}"));
    }
}

#[test]
fn the_holdout_of_the_sample_is_the_published_one() {
    let (histories, _) = sample(false);
    let model = BgNbd::fit(Dropout::AfterRepeats, &Histories::new(histories.clone())).unwrap().model;
    let held = histories.into_iter().zip(bought_in_holdout()).map(|(history, bought)| Held { history, bought });
    let holdout = Holdout::new(|history, time| model.expected_purchases(history, time), 39.0, held);
    let rounded = |value: f64, digits: i32| (value * 10_f64.powi(digits)).round() / 10_f64.powi(digits);
    let Accuracy { mae, rmse, bias, correlation } = holdout.model;
    assert_eq!((rounded(mae, 3), rounded(rmse, 3), rounded(bias, 3)), (0.785, 1.608, -0.121));
    assert_eq!(correlation.map(|it| rounded(it, 3)), Some(0.626));
    assert_eq!((rounded(holdout.nobody_buys.mae, 3), holdout.nobody_buys.correlation), (0.798, None));
    assert_eq!(holdout.deciles.iter().map(|decile| decile.customers).sum::<u64>(), 2_357);
    assert!(holdout.deciles.is_sorted_by(|one, next| one.expected <= next.expected));
    let bought: f64 = holdout.deciles.iter().map(|decile| decile.bought * decile.customers as f64).sum();
    assert_close(bought, bought_in_holdout().iter().map(|bought| f64::from(*bought)).sum(), 1e-12, "bought");
}

#[test]
fn where_nobody_leaves_dropout_is_not_identified() {
    // Regular customers of two kinds, all of whom have just bought.
    let histories = (0..400).map(|number| {
        let repeats = if number % 2 == 0 { 3 } else { 12 };
        History { repeats, recency: 51.0 + f64::from(number % 10) / 10.0, age: 52.0 }
    });
    let fitted = BgNbd::fit(Dropout::AfterRepeats, &Histories::new(histories)).unwrap();
    assert!(!fitted.dropout_is_identified(), "{fitted:?}");
    let history = History { repeats: 12, recency: 51.0, age: 52.0 };
    let rate = (fitted.never_leaving.r + 12.0) / (fitted.never_leaving.alpha + 52.0);
    assert_close(fitted.expected_purchases(&history, 10.0), 10.0 * rate, 1e-12, "as without dropout");
    assert_close(fitted.model.expected_purchases(&history, 10.0), 10.0 * rate, 0.01, "hardly anybody leaves");
}

#[test]
fn a_limit_at_which_nobody_leaves_is_told_as_one() {
    // Each at a rate of its own and to the end: the likelihood rises for ever as chances to leave go to 0.
    let regular = (0..60_u32).map(|n| {
        let (every, repeats) = (f64::from(4 + n), 360 / (4 + n));
        History { repeats, recency: f64::from(repeats) * every, age: 360.0 }
    });
    let histories = Histories::new(regular);
    let fitted = BgNbd::fit(Dropout::AfterRepeats, &histories).unwrap();
    assert!(!fitted.dropout_is_identified(), "{fitted:?}");
    assert_close(fitted.log_likelihood, fitted.never_leaving_log_likelihood, 1e-6, "the limit");
    let history = History { repeats: 3, recency: 30.0, age: 40.0 };
    let expected = fitted.never_leaving.expected_purchases(&history, 10.0);
    assert_close(fitted.expected_purchases(&history, 10.0), expected, 1e-12, "what is expected");
}

#[test]
fn what_has_no_maximum_is_refused() {
    let once = History { repeats: 0, recency: 0.0, age: 10.0 };
    assert_eq!(BgNbd::fit(Dropout::AfterRepeats, &Histories::new([once; 5])).unwrap_err(), FitError::NoRepeats);
    assert_eq!(BgNbd::fit(Dropout::AfterRepeats, &Histories::new([])).unwrap_err(), FitError::NoRepeats);
    assert_eq!(GammaGamma::fit(&Spends::new([])).unwrap_err(), FitError::NoRepeats);
    // Of a shop with one price every model is less likely than one that spreads it less.
    let one_price = (1..100).map(|number| Spend { repeats: number % 7 + 1, mean: 20.0 });
    assert_eq!(GammaGamma::fit(&Spends::new(one_price)).unwrap_err(), FitError::NotFound);
    // The tail of these falls off so slowly that they have no mean.
    let spread = (1..2_000_u32).map(|number| {
        let own = (f64::from(number) / 2_000.0).powf(-1.0 / 0.6);
        // The mean of more purchases is closer to the customer's own.
        let repeats = number % 5 + 1;
        let off = [-0.8, -0.3, 0.3, 0.8][number as usize / 5 % 4] / f64::from(repeats).sqrt();
        Spend { repeats, mean: own * (1.0 + off) }
    });
    assert_eq!(GammaGamma::fit(&Spends::new(spread)).unwrap_err(), FitError::NoMeanSpend);
}

/// So many that their likelihood is summed on several threads.
#[test]
fn many_histories_are_as_likely_as_all_of_their_parts() {
    let histories: Vec<_> = (1..=150_000_u32)
        .map(|number| History { repeats: number % 9, recency: 0.0, age: f64::from(number) / 1_000.0 })
        .map(|history| History { recency: if history.repeats > 0 { history.age / 3.0 } else { 0.0 }, ..history })
        .collect();
    let likelihood = |part: &[History]| OF_THE_PAPER.log_likelihood(&Histories::new(part.iter().copied()));
    let parts: f64 = histories.chunks(10_000).map(likelihood).sum();
    assert_close(likelihood(&histories), parts, 1e-12, "the likelihood of all");
}

#[test]
fn impossible_histories_are_left_out() {
    let possible = History { repeats: 1, recency: 2.0, age: 3.0 };
    let impossible = [
        History { recency: 4.0, ..possible },
        History { recency: -1.0, ..possible },
        History { age: f64::NAN, ..possible },
        History { age: f64::INFINITY, ..possible },
        History { repeats: 0, ..possible },
        History { recency: 0.0, ..possible },
    ];
    assert_eq!(Histories::new(impossible).customers(), 0.0);
    assert_eq!(Histories::new([possible, possible]).customers(), 2.0);
}

fn parameter() -> impl Strategy<Value = f64> {
    (-3.0_f64..2.5).prop_map(f64::exp)
}

/// Of regular customers, or of customers who all leave alike, to whom parameters run off.
fn parameter_of_any_size() -> impl Strategy<Value = f64> {
    prop_oneof![parameter(), (2.5_f64..9.0).prop_map(f64::exp)]
}

fn model() -> impl Strategy<Value = BgNbd> {
    let dropout = prop_oneof![Just(Dropout::AfterRepeats), Just(Dropout::AfterEveryPurchase)];
    // The poles that the stable form is for, and b at which a + b is at most 1.
    let a = prop_oneof![parameter(), Just(1.0), Just(2.0), 0.01_f64..0.2];
    let b = prop_oneof![parameter(), Just(1.0), 0.01_f64..0.8];
    (dropout, parameter(), parameter(), a, b).prop_map(|(dropout, r, alpha, a, b)| BgNbd { dropout, r, alpha, a, b })
}

fn model_of_any_size() -> impl Strategy<Value = BgNbd> {
    let sizes = (parameter_of_any_size(), parameter_of_any_size(), parameter_of_any_size(), parameter_of_any_size());
    (model(), sizes, any::<bool>()).prop_map(
        |(model, (r, alpha, a, b), ordinary)| {
            if ordinary { model } else { BgNbd { r, alpha, a, b, ..model } }
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    (prop_oneof![Just(0_u32), 1_u32..10, 100_u32..600], 0.001_f64..1.0, 0.01_f64..200.0)
        .prop_map(|(repeats, part, age)| History { repeats, recency: if repeats == 0 { 0.0 } else { part * age }, age })
}

proptest! {
    #[test]
    fn series_and_quadrature_agree(model in model_of_any_size(), history in history(), time in 0.01_f64..5_000.0) {
        let (series, quadrature) = series_and_quadrature(&model, &history, time);
        if let Some(series) = series {
            prop_assert!(close(series, quadrature, 1e-9), "{series} {quadrature}");
        }
    }

    #[test]
    fn expectations_are_numbers_in_range_and_rise_with_time(model in model_of_any_size(), history in history(), time in 0.01_f64..5_000.0) {
        let p_alive = model.p_alive(&history);
        prop_assert!((0.0..=1.0).contains(&p_alive), "{p_alive}");
        let (some, more) = (model.expected_purchases(&history, time), model.expected_purchases(&history, 2.0 * time));
        prop_assert!(some.is_finite() && some >= 0.0 && more >= some * (1.0 - 1e-9), "{some} {more}");
        // Nobody is expected to buy more often than somebody with the same past who never leaves.
        let rate = (model.r + f64::from(history.repeats)) / (model.alpha + history.age);
        prop_assert!(some <= rate * time * (1.0 + 1e-9));
        prop_assert_eq!(model.expected_purchases(&history, 0.0), 0.0);
    }

    /// What a customer is expected to spend lies between its own mean and that of the population, nearer to its own the oftener it has bought.
    #[test]
    fn expected_spend_is_a_number_between_the_customers_mean_and_everybodys(
        p in 0.01_f64..1e3, above_one in 1e-3_f64..1e3, v in 1e-3_f64..1e6,
        repeats in 1_u32..100_000, mean in prop_oneof![1e-2_f64..1e3, 1e3_f64..1e12],
    ) {
        let model = GammaGamma { p, q: 1.0 + above_one, v };
        let everybodys = model.expected_spend(None);
        prop_assert!(everybodys.is_finite() && everybodys > 0.0, "{everybodys}");
        let expected = |repeats| model.expected_spend(Some(&Spend { repeats, mean }));
        let (some, more) = (expected(repeats), expected(2 * repeats));
        let (least, most) = (mean.min(everybodys) * (1.0 - 1e-9), mean.max(everybodys) * (1.0 + 1e-9));
        prop_assert!(some.is_finite() && (least..=most).contains(&some), "{some} of {mean} and {everybodys}");
        prop_assert!((more - mean).abs() <= (some - mean).abs() + 1e-9 * most, "{some} {more}");
    }

    #[test]
    fn probabilities_of_counts_add_up(model in model(), mean in 0.01_f64..1.0) {
        // Hardly anybody buys more often than a few hundred times the mean.
        let time = mean * model.alpha / model.r;
        let all: f64 = (0..500).map(|repeats| model.probability_of(repeats, time)).sum();
        prop_assert!((all - 1.0).abs() < 1e-6, "{all}");
    }

    #[test]
    fn slopes_are_those_of_the_likelihood(model in model(), histories in prop::collection::vec(history(), 1..20)) {
        let histories = Histories::new(histories);
        let (_, slope) = model.slope(&histories);
        let moved = |index: usize, by: f64| {
            let mut parameters = [model.r, model.alpha, model.a, model.b];
            parameters[index] *= 1.0 + by;
            let [r, alpha, a, b] = parameters;
            BgNbd { r, alpha, a, b, ..model }.log_likelihood(&histories)
        };
        for (index, (slope, parameter)) in slope.iter().zip([model.r, model.alpha, model.a, model.b]).enumerate() {
            let difference = (moved(index, 1e-5) - moved(index, -1e-5)) / (2e-5 * parameter);
            let scale = slope.abs().max(1e-3 * model.log_likelihood(&histories).abs() / parameter).max(1e-3);
            prop_assert!((slope - difference).abs() <= 1e-4 * scale, "{index}: {slope} {difference}");
        }
    }

    #[test]
    fn spend_slopes_are_those_of_the_likelihood(
        (p, q, v) in (parameter(), parameter(), parameter()),
        spends in prop::collection::vec((1_u32..50, 0.01_f64..500.0), 1..20),
    ) {
        let spends = Spends::new(spends.into_iter().map(|(repeats, mean)| Spend { repeats, mean }));
        let (_, slope) = GammaGamma { p, q, v }.slope(&spends);
        let moved = |index: usize, by: f64| {
            let mut parameters = [p, q, v];
            parameters[index] *= 1.0 + by;
            let [p, q, v] = parameters;
            GammaGamma { p, q, v }.log_likelihood(&spends)
        };
        for (index, (slope, parameter)) in slope.iter().zip([p, q, v]).enumerate() {
            let difference = (moved(index, 1e-5) - moved(index, -1e-5)) / (2e-5 * parameter);
            let size = GammaGamma { p, q, v }.log_likelihood(&spends).abs();
            let scale = slope.abs().max(1e-2 * size / parameter).max(1e-3);
            prop_assert!((slope - difference).abs() <= 1e-4 * scale, "{index}: {slope} {difference}");
        }
    }

    #[test]
    fn a_likelihood_does_not_depend_on_the_order_of_customers(
        model in model(),
        histories in prop::collection::vec(history(), 1..30),
    ) {
        let mut turned = histories.clone();
        turned.reverse();
        let ours = [histories, turned].map(|histories| model.log_likelihood(&Histories::new(histories)));
        prop_assert_eq!(ours[0], ours[1]);
    }

    #[test]
    fn another_unit_of_time_scales_alpha_alone(model in model(), histories in prop::collection::vec(history(), 1..30)) {
        let days = |history: &History| History { recency: history.recency * 7.0, age: history.age * 7.0, ..*history };
        let in_days = BgNbd { alpha: model.alpha * 7.0, ..model };
        let repeats: f64 = histories.iter().map(|history| f64::from(history.repeats)).sum();
        let ours = in_days.log_likelihood(&Histories::new(histories.iter().map(days)));
        let shifted = model.log_likelihood(&Histories::new(histories.clone())) - repeats * 7_f64.ln();
        prop_assert!((ours - shifted).abs() <= 1e-9 * shifted.abs().max(1.0));
        for history in &histories {
            let (weeks, days) = (model.expected_purchases(history, 10.0), in_days.expected_purchases(&days(history), 70.0));
            prop_assert!(close(days, weeks, 1e-9));
        }
    }
}
