//! Scores of lifetime value, which falls from day to day with nobody doing anything.

use super::cut_offs::{CutOffs, Direction};
use super::feature::{Conventions, Feature, LIFETIME_VALUE, Value};
use super::{At, Definition, Dimension, Scale};
use crate::value::ValueModel;
use proptest::prelude::*;
use quintile_clv::{BgNbd, Dropout, Fitted, GammaGamma, Nbd};
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::types::{CustomerRecord, Features};
use quintile_rpc::convert;

const DAY_MICROS: i64 = 86_400_000_000;

fn midnight(day: i64) -> Instant {
    Instant::from_micros(day * DAY_MICROS)
}

fn at(day: i64, model: &ValueModel) -> At<'_> {
    let currency = Currency::from_code("USD").unwrap();
    At::new(midnight(day), Conventions { currency, zone: &TimeZone::UTC }).valued_by(Some(model))
}

/// A model with the spending of CDNOW; half of them let nobody leave.
fn any_model() -> impl Strategy<Value = ValueModel> {
    let kinds = prop::sample::select(vec![Dropout::AfterRepeats, Dropout::AfterEveryPurchase]);
    let parameters = (0.1..3.0_f64, 1.0..20.0_f64, 0.1..3.0_f64, 0.5..5.0_f64);
    (kinds, parameters, any::<bool>()).prop_map(|(dropout, (r, alpha, a, b), leave)| ValueModel {
        purchases: Fitted {
            model: BgNbd { dropout, r, alpha, a, b },
            log_likelihood: if leave { -90.0 } else { -100.0 },
            never_leaving: Nbd { r, alpha },
            never_leaving_log_likelihood: -100.0,
        },
        spend: Some(GammaGamma { p: 6.25, q: 3.74, v: 15.44 }),
        gross_margin: 0.5,
        monthly_discount: 0.01,
        months: 12,
    })
}

/// A customer who bought on day 1,000 and then after each of these gaps, for 20 dollars each time but the first.
fn buyer(gaps: &[i32]) -> CustomerRecord {
    let last = 1_000 + gaps.iter().map(|gap| i64::from(*gap)).sum::<i64>();
    let noon = |day: i64| Some(convert::timestamp(midnight(day).plus_micros(DAY_MICROS / 2)));
    let spent = Money { currency_code: "USD".to_owned(), units: 20 * gaps.len() as i64, nanos: 0 };
    let features = Features {
        first_order_time: noon(1_000),
        last_order_time: noon(last),
        orders: gaps.len() as i64 + 1,
        purchase_days: gaps.len() as i64 + 1,
        gap_days: gaps.to_vec(),
        repeat_revenue: Some(spent),
        ..Features::default()
    };
    CustomerRecord { features: Some(features), ..CustomerRecord::default() }
}

fn scored_by(edges: &[i64]) -> Definition {
    let dimension = Dimension {
        name: "value".to_owned(),
        feature: Feature::from_name(LIFETIME_VALUE).unwrap(),
        scale: Scale::Numbers(CutOffs::fixed(Direction::Higher, edges)),
        missing: 1,
        weight: 1,
    };
    Definition { description: String::new(), dimensions: vec![dimension], grading: None }
}

fn minor(record: &CustomerRecord, at: &At<'_>) -> Option<i64> {
    match Feature::from_name(LIFETIME_VALUE).unwrap().value(record, at) {
        Value::Number(minor) => Some(minor),
        _ => None,
    }
}

fn any_gaps() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(1..60_i32, 0..12)
}

proptest! {
    #[test]
    fn from_the_day_after_the_last_purchase_on_it_never_rises(
        model in any_model(),
        gaps in any_gaps(),
        steps in prop::collection::vec(1..90_i64, 1..30),
    ) {
        let record = buyer(&gaps);
        let mut day = 1_001 + gaps.iter().map(|gap| i64::from(*gap)).sum::<i64>();
        let mut before = minor(&record, &at(day, &model));
        for step in steps {
            day += step;
            let now = minor(&record, &at(day, &model));
            prop_assert!(now.is_some() && now <= before, "{now:?} after {before:?}");
            before = now;
        }
    }

    #[test]
    fn a_score_holds_until_the_announced_day_and_differs_on_it(
        model in any_model(),
        gaps in any_gaps(),
        silent in 0..400_i64,
        edges in prop::collection::btree_set(50..60_000_i64, 4),
    ) {
        let (record, edges) = (buyer(&gaps), edges.into_iter().collect::<Vec<_>>());
        let definition = scored_by(&edges);
        let last = 1_000 + gaps.iter().map(|gap| i64::from(*gap)).sum::<i64>();
        let today = last + silent;
        let now = definition.score(&record, &at(today, &model));
        let score_on = |day: i64| definition.score(&record, &at(day, &model)).scores;
        if silent == 0 {
            // What was bought today counts from tomorrow on.
            prop_assert_eq!(now.next_change, Some(midnight(today + 1)));
            return Ok(());
        }
        let Some(change) = now.next_change else {
            // It is under the lowest cut-off already.
            prop_assert_eq!(now.scores, [1]);
            return Ok(());
        };
        let day = change.micros() / DAY_MICROS;
        if day == today + 3_653 && score_on(day) == now.scores {
            // It is looked again then.
            return Ok(());
        }
        prop_assert_eq!(change, midnight(day));
        prop_assert_eq!(score_on(day - 1), now.scores.clone());
        prop_assert_ne!(score_on(day), now.scores);
    }
}

#[test]
fn who_never_bought_and_what_nobody_values_is_missing() {
    let record = buyer(&[10, 20]);
    let currency = Currency::from_code("USD").unwrap();
    let unvalued = At::new(midnight(2_000), Conventions { currency, zone: &TimeZone::UTC });
    assert_eq!(scored_by(&[1, 2, 3, 4]).score(&record, &unvalued).scores, [1]);
    assert_eq!(minor(&CustomerRecord::default(), &unvalued), None);
    assert_eq!(scored_by(&[1, 2, 3, 4]).score(&record, &unvalued).next_change, None);
}
