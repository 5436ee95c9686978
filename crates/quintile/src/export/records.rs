//! What follows from the facts of each customer, as rows of a file.

use super::rows::{json_text, word};
use super::table::{Cell, Row};
use crate::profile;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::types::{CustomerRecord, Features, TraitValue, WindowActivity};
use quintile_rpc::convert::sent_instant;
use serde_json::{Map, Value};

/// The names of a window's columns.
type WindowColumns = [&'static str; 6];

/// The windows, by their days.
const WINDOWS: [(i32, WindowColumns); 3] = [
    (
        30,
        [
            "orders_30",
            "revenue_30",
            "previous_orders_30",
            "previous_revenue_30",
            "interactions_30",
            "previous_interactions_30",
        ],
    ),
    (
        90,
        [
            "orders_90",
            "revenue_90",
            "previous_orders_90",
            "previous_revenue_90",
            "interactions_90",
            "previous_interactions_90",
        ],
    ),
    (
        365,
        [
            "orders_365",
            "revenue_365",
            "previous_orders_365",
            "previous_revenue_365",
            "interactions_365",
            "previous_interactions_365",
        ],
    ),
];

/// A row of `records`.
pub fn row(record: CustomerRecord) -> Row {
    let features = record.features.unwrap_or_default();
    let mut row = vec![
        ("customer", Cell::Int64(Some(record.customer_id))),
        ("as_of", Cell::instant(sent_instant(features.as_of.as_ref()))),
    ];
    row.extend(purchases(&features));
    for (days, columns) in WINDOWS {
        let activity = features.windows.iter().find(|window| window.days == days).cloned().unwrap_or_default();
        row.extend(window(&activity, columns));
    }
    row.extend(habits(&features));
    let scores = record.scores.unwrap_or_default();
    // No order is no score, which is not the worst one.
    let score = |value: i32| Cell::Int32(Some(value).filter(|value| *value != 0));
    row.extend([
        ("rfm_r", score(scores.recency)),
        ("rfm_f", score(scores.frequency)),
        ("rfm_m", score(scores.monetary)),
        ("score_model_version", Cell::text(scores.model_version.as_str())),
        ("alive_percent", Cell::Int32(scores.alive_percent)),
        ("lifetime_value", Cell::money(scores.lifetime_value.as_ref())),
        ("value_model", Cell::text(scores.value_model.as_str())),
    ]);
    let grade = profile::grade(&scores).cloned().unwrap_or_default();
    let vip = if grade.vip { "yes" } else { "no" };
    let graded = !grade.band.is_empty();
    row.extend([
        ("grade", Cell::Int32(Some(grade.composite).filter(|_| graded))),
        ("grade_band", Cell::text(grade.band)),
        ("grade_tier", Cell::text(grade.tier)),
        ("grade_vip", Cell::text(if graded { vip } else { "" })),
    ]);
    let stage = record.stage.unwrap_or_default();
    row.extend([
        ("stage", word(stage.stage().as_str_name(), "STAGE_")),
        ("silent_days", Cell::Int32(stage.silent_days)),
        ("rhythm_p80_days", Cell::Double(stage.rhythm_p80_days)),
        ("stage_reason", Cell::text(stage.reason)),
        ("stage_policy_version", Cell::text(stage.policy_version)),
        ("churn_risk_percent", Cell::Int32(record.churn.map(|churn| churn.risk_percent))),
    ]);
    row
}

fn purchases(features: &Features) -> Row {
    let amounts = [&features.net_revenue, &features.gross_revenue, &features.profit];
    vec![
        ("currency", Cell::currency(amounts.map(Option::as_ref))),
        ("first_order_time", Cell::instant(sent_instant(features.first_order_time.as_ref()))),
        ("last_order_time", Cell::instant(sent_instant(features.last_order_time.as_ref()))),
        ("orders", Cell::Int64(Some(features.orders))),
        ("purchase_days", Cell::Int64(Some(features.purchase_days))),
        ("net_revenue", Cell::money(features.net_revenue.as_ref())),
        ("revenue", Cell::money(features.revenue.as_ref())),
        ("gross_revenue", Cell::money(features.gross_revenue.as_ref())),
        ("average_order_value", Cell::money(features.average_order_value.as_ref())),
        ("repeat_revenue", Cell::money(features.repeat_revenue.as_ref())),
        ("profit", Cell::money(features.profit.as_ref())),
        ("refunds", Cell::Int64(Some(features.refunds))),
        ("refunded", Cell::money(features.refunded.as_ref())),
        ("unmatched_refunds", Cell::money(features.unmatched_refunds.as_ref())),
        ("facts_without_rate", Cell::Int64(Some(features.facts_without_rate))),
        ("category_count", Cell::Int64(Some(features.category_count))),
        ("top_category", Cell::text(features.top_category.as_str())),
    ]
}

fn window(activity: &WindowActivity, names: WindowColumns) -> impl Iterator<Item = (&'static str, Cell)> {
    let cells = [
        Cell::Int64(Some(activity.orders)),
        Cell::money(activity.revenue.as_ref()),
        Cell::Int64(Some(activity.previous_orders)),
        Cell::money(activity.previous_revenue.as_ref()),
        Cell::Int64(Some(activity.interactions)),
        Cell::Int64(Some(activity.previous_interactions)),
    ];
    names.into_iter().zip(cells)
}

fn habits(features: &Features) -> Row {
    let channels = features.channels.iter();
    let channels: Map<_, _> = channels.map(|it| (it.channel.clone(), Value::from(it.contacts))).collect();
    vec![
        ("primary_channel", Cell::text(features.primary_channel.as_str())),
        ("channels", Cell::text(Value::from(channels).to_string())),
        ("gap_days", Cell::text(Value::from(features.gap_days.as_slice()).to_string())),
        ("gap_mean_days", Cell::Double(features.gap_mean_days)),
        ("gap_p50_days", Cell::Double(features.gap_p50_days)),
        ("gap_p80_days", Cell::Double(features.gap_p80_days)),
        ("interactions", Cell::Int64(Some(features.interactions))),
        ("last_interaction_time", Cell::instant(sent_instant(features.last_interaction_time.as_ref()))),
        ("feedback_count", Cell::Int64(Some(features.feedback_count))),
        ("csat_mean", Cell::Double(features.csat_mean)),
        ("last_nps", Cell::Int32(features.last_nps)),
        ("last_low_score_time", Cell::instant(sent_instant(features.last_low_score_time.as_ref()))),
        ("complaints", Cell::Int64(Some(features.complaints))),
        ("open_complaints", Cell::Int64(Some(features.open_complaints))),
        ("open_tickets", Cell::Int64(Some(features.open_tickets))),
        ("referrals", Cell::Int64(Some(features.referrals))),
        ("traits", Cell::text(Value::from(traits(features)).to_string())),
    ]
}

/// The tenant's own traits, by key. One that is hidden from the reader is null.
fn traits(features: &Features) -> Map<String, Value> {
    features.traits.iter().map(|held| (held.key.clone(), trait_value(held))).collect()
}

fn trait_value(held: &TraitValue) -> Value {
    if let Some(integer) = held.integer {
        Value::from(integer)
    } else if let Some(number) = held.number {
        Value::from(number)
    } else if let Some(money) = &held.money {
        // As text: a number of JSON is a floating-point number to most who read it.
        Value::from(decimal(money))
    } else if let Some(instant) = sent_instant(held.time.as_ref()) {
        Value::from(instant.to_string())
    } else {
        json_text(held.text.as_ref())
    }
}

/// An amount as a decimal such as `-12.50`.
fn decimal(money: &Money) -> String {
    let sign = if money.units < 0 || money.nanos < 0 { "-" } else { "" };
    let digits = Currency::from_code(&money.currency_code).map_or(9, Currency::minor_digits) as usize;
    let fraction = &format!("{:09}", money.nanos.unsigned_abs())[..digits];
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", money.units.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        let amount = |code: &str, units, nanos| decimal(&Money { currency_code: code.to_owned(), units, nanos });
        assert_eq!(amount("USD", -12, -500_000_000), "-12.50");
        assert_eq!(amount("USD", 0, -10_000_000), "-0.01");
        assert_eq!(amount("JPY", 7, 0), "7");
        assert_eq!(amount("KWD", 1, 234_000_000), "1.234");
    }

    #[test]
    fn a_trait_is_its_value_and_null_where_it_is_hidden() {
        let held = TraitValue { key: "x".to_owned(), ..TraitValue::default() };
        let values = [
            (TraitValue { integer: Some(0), ..held.clone() }, Value::from(0)),
            (TraitValue { number: Some(1.5), ..held.clone() }, Value::from(1.5)),
            (TraitValue { text: Some("tea".to_owned()), ..held.clone() }, Value::from("tea")),
            (TraitValue { text: Some("****".to_owned()), ..held.clone() }, Value::Null),
            (held, Value::Null),
        ];
        for (held, expected) in values {
            assert_eq!(trait_value(&held), expected, "{held:?}");
        }
    }
}
