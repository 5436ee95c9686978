use super::Spend;
use super::{Buyers, UNIT_DAYS, ValueModel, buyer};
use crate::models::feature::Conventions;
use quintile_clv::{BgNbd, Dropout, FitError, Fitted, GammaGamma, History, Nbd};
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::types::Features;
use quintile_rpc::convert;

const DAY_MICROS: i64 = 86_400_000_000;

fn conventions() -> Conventions<'static> {
    Conventions { currency: Currency::from_code("USD").unwrap(), zone: &TimeZone::UTC }
}

/// A customer who bought at noon of these days (since 1970-01-01), and spent so many dollars on all but the first.
fn customer(days: &[i64], repeat_dollars: i64) -> Features {
    let noon =
        |day: Option<&i64>| day.map(|day| convert::timestamp(Instant::from_micros(day * DAY_MICROS + DAY_MICROS / 2)));
    Features {
        first_order_time: noon(days.first()),
        last_order_time: noon(days.last()),
        purchase_days: days.len() as i64,
        gap_days: days.windows(2).map(|pair| (pair[1] - pair[0]) as i32).collect(),
        repeat_revenue: Some(Money { currency_code: "USD".to_owned(), units: repeat_dollars, nanos: 0 }),
        ..Features::default()
    }
}

#[test]
fn a_history_ends_with_the_day_that_is_asked_for() {
    let features = customer(&[100, 107, 121, 142], 90);
    let at = |end| buyer(&features, end, conventions());
    let history = |repeats, recency_days: f64, age_days: f64| History {
        repeats,
        recency: recency_days / UNIT_DAYS,
        age: age_days / UNIT_DAYS,
    };
    let told = |end| at(end).map(|buyer| (buyer.history, buyer.bought_after));
    assert_eq!(told(99), None);
    assert_eq!(told(100), Some((history(0, 0.0, 0.0), 3)));
    assert_eq!(told(106), Some((history(0, 0.0, 6.0), 3)));
    assert_eq!(told(121), Some((history(2, 21.0, 21.0), 1)));
    assert_eq!(told(142), Some((history(3, 42.0, 42.0), 0)));
    assert_eq!(told(200), Some((history(3, 42.0, 100.0), 0)));
    assert_eq!(at(200).unwrap().mean_spend_minor, Some(3_000.0));
    assert_eq!(buyer(&customer(&[100], 0), 200, conventions()).unwrap().mean_spend_minor, None);
    assert_eq!(buyer(&Features::default(), 200, conventions()), None);
}

#[test]
fn what_is_not_kept_of_gaps_is_not_made_up() {
    let mut features = customer(&[100, 110, 120, 130], 30);
    features.gap_days.remove(0);
    // The last two gaps reach back to 110.
    assert_eq!(buyer(&features, 115, conventions()).unwrap().history.repeats, 1);
    features.gap_days.clear();
    assert_eq!(buyer(&features, 130, conventions()).unwrap().history.repeats, 3);
    assert_eq!(buyer(&features, 129, conventions()), None);
}

#[test]
fn purchases_of_days_that_are_held_out_are_counted_apart_from_todays() {
    let mut buyers = Buyers::default();
    // Held out are days 121 to 150; 151 is today.
    buyers.add(&customer(&[100, 110, 125, 140, 151], 40), 150, 30, conventions());
    buyers.add(&customer(&[130, 151], 10), 150, 30, conventions());
    assert_eq!((buyers.all.len(), buyers.before.len()), (2, 1));
    assert_eq!((buyers.before[0].history.repeats, buyers.before[0].bought_after), (1, 2));
    assert_eq!(buyers.all[0].history.repeats, 3);
}

#[test]
fn who_bought_on_more_days_than_are_known_is_left_out_and_counted() {
    let mut buyers = Buyers::default();
    let mut features = customer(&[100, 110, 125, 140], 40);
    features.gap_days.drain(..2);
    // The gap that is left reaches back to 125, and no further.
    buyers.add(&features, 150, 30, conventions());
    // Who came later is not left out of anything.
    buyers.add(&customer(&[130, 140], 10), 150, 30, conventions());
    assert_eq!((buyers.all.len(), buyers.before.len(), buyers.left_out), (2, 0, 1));
}

#[test]
fn days_before_which_nobody_bought_again_leave_the_fit_without_a_report() {
    let mut buyers = Buyers::default();
    for n in 0..40 {
        buyers.add(&customer(&[120, 125 + n % 7, 135 + n % 11], 20 + n), 150, 20, conventions());
    }
    let found = buyers.fit(Dropout::AfterRepeats, 28, None, 100.0).unwrap();
    assert_eq!(found.holdout.unwrap().err(), None);
    let found = buyers.fit(Dropout::AfterRepeats, 0, None, 100.0).unwrap();
    assert!(found.holdout.is_none());
    buyers.before.clear();
    let found = buyers.fit(Dropout::AfterRepeats, 20, None, 100.0).unwrap();
    assert_eq!(found.holdout.unwrap().unwrap_err(), FitError::NoRepeats);
}

#[test]
fn nobody_who_bought_again_is_nothing_to_learn_from() {
    let mut buyers = Buyers::default();
    assert_eq!(buyers.fit(Dropout::AfterRepeats, 0, None, 100.0).unwrap_err(), FitError::NoRepeats);
    buyers.add(&customer(&[100], 0), 150, 0, conventions());
    assert_eq!(buyers.fit(Dropout::AfterRepeats, 0, None, 100.0).unwrap_err(), FitError::NoRepeats);
}

/// The published parameters of CDNOW.
fn published(identified: bool) -> ValueModel {
    let model = BgNbd { dropout: Dropout::AfterRepeats, r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };
    let never_leaving = Nbd { r: 0.385, alpha: 12.072 };
    let advantage = if identified { 180.0 } else { 1.0 };
    let purchases =
        Fitted { model, log_likelihood: -9_582.4, never_leaving, never_leaving_log_likelihood: -9_582.4 - advantage };
    let spend = Some(GammaGamma { p: 6.25, q: 3.74, v: 15.44 });
    ValueModel { purchases, spend, gross_margin: 0.5, monthly_discount: 0.01, months: 12 }
}

#[test]
fn a_customer_is_worth_the_margin_of_what_it_is_expected_to_buy() {
    // The worked example of the formula sheet: two repeats, the last after 30.43 of 38.86 weeks.
    let history = History { repeats: 2, recency: 30.43, age: 38.86 };
    let worth = published(true).worth(&history, Some(&Spend { repeats: 2, mean: 22.35 }));
    assert!((worth.alive.unwrap() - 0.7266).abs() < 5e-4, "{worth:?}");
    // (v + x m) p / (p x + q - 1), by hand.
    let spend = 6.25 * (15.44 + 2.0 * 22.35) / (6.25 * 2.0 + 3.74 - 1.0);
    assert!((worth.spend.unwrap() - spend).abs() < 1e-12);
    // Discounted, it is less than all of it, and more than with a year's discount on everything.
    let all = 0.5 * spend * worth.purchases;
    let value = worth.value.unwrap();
    assert!(value < all && value > all / 1.01_f64.powi(12), "{value} of {all}");
    let unpaid =
        ValueModel { spend: None, ..published(true) }.worth(&history, Some(&Spend { repeats: 2, mean: 22.35 }));
    assert_eq!((unpaid.spend, unpaid.value, unpaid.purchases), (None, None, worth.purchases));
}

#[test]
fn where_nobody_is_known_to_leave_nobody_is_told_to_have_left() {
    let history = History { repeats: 2, recency: 30.43, age: 38.86 };
    let worth = published(false).worth(&history, None);
    assert_eq!(worth.alive, None);
    // NBD: (r + x) t / (alpha + T), t of 12 months.
    let expected = (0.385 + 2.0) * (365.25 / 7.0) / (12.072 + 38.86);
    assert!((worth.purchases - expected).abs() < 1e-9);
    // The mean of the population stands in for what nobody knows of the customer.
    assert!((worth.spend.unwrap() - 6.25 * 15.44 / (3.74 - 1.0)).abs() < 1e-9);
}
