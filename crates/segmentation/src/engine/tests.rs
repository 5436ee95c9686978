//! What the engine promises besides agreeing with the row evaluator.

use super::plan::Plan;
use super::{Bitmap, Customer, Engine, EngineError, MAX_CUSTOMER_ID, scan};
use crate::cancellation::Cancellation;
use crate::fields::{FieldId, schema};
use quintile_expr::{Now, Row, Rule};

fn select(engine: &Engine, source: &str) -> Vec<u32> {
    let rule = Rule::parse(source, &schema(2).unwrap()).unwrap();
    let utc_day = |micros: i64| micros.div_euclid(86_400_000_000) as i32;
    let customers = engine.select(&rule, &Now::new(0, &utc_day), &|_| None);
    customers.iter().collect()
}

#[test]
fn a_removed_customer_matches_nothing_and_adds_nothing() {
    let mut engine = Engine::new();
    let customer = Customer { net_revenue_minor: 500, channel: "online", ..Customer::default() };
    for id in 1..=3 {
        engine.apply(id, Some(&customer)).unwrap();
    }
    let all: Bitmap = (1..=3).collect();
    engine.apply(2, None).unwrap();
    engine.apply(2, None).unwrap();
    assert_eq!(engine.population(), 2);
    assert_eq!(engine.present(), &Bitmap::from_iter([1, 3]));
    assert_eq!(select(&engine, "true"), [1, 3]);
    assert_eq!(select(&engine, "!(channel == \"shop\")"), [1, 3]);
    assert_eq!(engine.sum_minor(FieldId::NetRevenue, &all), 1000);
    assert!(engine.row(2, &|_| None).is_none());
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let mut engine = Engine::new();
    for id in 1..=30_000_u32 {
        let channel = ["online", "shop", ""][id as usize % 3];
        let customer =
            Customer { orders: i64::from(id % 97), revenue_minor: i64::from(id * 7), channel, ..Customer::default() };
        engine.apply(id, Some(&customer)).unwrap();
    }
    let source = "orders > 40 && channel == \"shop\" || revenue < 500 && !has(channel)";
    let rule = Rule::parse(source, &schema(2).unwrap()).unwrap();
    let utc_day = |micros: i64| micros.div_euclid(86_400_000_000) as i32;
    let now = Now::new(0, &utc_day);
    let plan = Plan::new(engine.customers(), rule.root(), &now, &|_| None);
    let found = |threads| scan::select(threads, &plan, engine.present().words(), &Cancellation::default());
    let counted = |threads| scan::count(threads, &plan, engine.present().words(), &Cancellation::default());
    let by_rows = engine.present().iter().filter(|id| rule.matches(&engine.row(*id, &|_| None).unwrap(), &now));
    assert_eq!(Bitmap::from_words(found(1)), by_rows.collect());
    for threads in 2..=8 {
        assert_eq!(found(threads), found(1), "{threads}");
        assert_eq!(counted(threads), Bitmap::from_words(found(1)).count(), "{threads}");
    }
}

#[test]
fn a_question_that_nobody_waits_for_is_given_up() {
    let mut engine = Engine::new();
    engine.apply(1, Some(&Customer::default())).unwrap();
    let rule = Rule::parse("orders > 5", &schema(2).unwrap()).unwrap();
    let utc_day = |micros: i64| micros.div_euclid(86_400_000_000) as i32;
    let (now, cancellation) = (Now::new(0, &utc_day), Cancellation::default());
    assert!(engine.select_until(&rule, &now, &|_| None, &cancellation).is_empty());
    cancellation.cancel();
    // Nothing was narrowed.
    assert_eq!(engine.select_until(&rule, &now, &|_| None, &cancellation), *engine.present());
}

#[test]
fn what_reads_more_costs_more() {
    let mut engine = Engine::new();
    for id in 1..=1_000 {
        engine.apply(id, Some(&Customer { orders: id.into(), ..Customer::default() })).unwrap();
    }
    let utc_day = |micros: i64| micros.div_euclid(86_400_000_000) as i32;
    let now = Now::new(0, &utc_day);
    let cost = |source| engine.cost(&Rule::parse(source, &schema(2).unwrap()).unwrap(), &now);
    assert_eq!(cost("true"), 0);
    assert!(cost("has(rfm.r)") < cost("orders > 5"));
    assert!(cost("orders > 5") < cost("orders > 5 && interactions > 5"));
    let fields = FieldId::all().map(|field| engine.memory_bytes_of(field.id())).sum::<usize>();
    assert_eq!(fields + engine.present().memory_bytes(), engine.memory_bytes());
}

#[test]
fn a_replaced_customer_leaves_no_value_behind() {
    let mut engine = Engine::new();
    let before = Customer { recency: Some(5), channel: "online", first_order_at: Some(1), ..Customer::default() };
    engine.apply(1, Some(&before)).unwrap();
    engine.apply(1, Some(&Customer::default())).unwrap();
    assert_eq!(select(&engine, "has(rfm.r) || has(channel) || has(first_order_at)"), Vec::<u32>::new());
    assert_eq!(engine.row(1, &|_| None).unwrap().value(FieldId::Channel.id()), None);
}

#[test]
fn sums_are_of_counts_and_money_alone() {
    let mut engine = Engine::new();
    let customer = Customer { orders: 3, last_order_at: Some(7), recency: Some(5), ..Customer::default() };
    engine.apply(1, Some(&customer)).unwrap();
    let one = Bitmap::from_iter([1, 900]);
    let table =
        [(FieldId::Orders, 3), (FieldId::LastOrderAt, 0), (FieldId::Recency, 0), (FieldId::AverageOrderValue, 0)];
    for (field, sum) in table {
        assert_eq!(engine.sum_minor(field, &one), sum, "{field:?}");
    }
}

#[test]
fn an_id_out_of_range_is_refused_and_changes_nothing() {
    let mut engine = Engine::new();
    for id in [0, MAX_CUSTOMER_ID + 1, u32::MAX] {
        assert_eq!(engine.apply(id, Some(&Customer::default())), Err(EngineError::CustomerId(id)));
        assert_eq!(engine.apply(id, None), Err(EngineError::CustomerId(id)));
        assert_eq!(engine.reserve(id), Err(EngineError::CustomerId(id)));
    }
    assert_eq!(engine.population(), 0);
    assert_eq!(engine.memory_bytes(), Engine::new().memory_bytes());
}

#[test]
fn more_texts_than_two_bytes_can_tell_apart_are_told_apart() {
    let mut engine = Engine::new();
    engine.reserve(66_000).unwrap();
    let owner = |id: u32| format!("owner {}", id % 65_990);
    for id in 1..=66_000 {
        engine.apply(id, Some(&Customer { owner: &owner(id), region: &owner(id + 1), ..Customer::default() })).unwrap();
    }
    assert_eq!(select(&engine, "owner == \"owner 9\""), [9, 65_999]);
    assert_eq!(select(&engine, "owner in [\"owner 65988\", \"owner 3\"]"), [3, 65_988, 65_993]);
    assert_eq!(select(&engine, "owner.contains(\"65989\") || owner == \"nobody\""), [65_989]);
    assert_eq!(select(&engine, "region < owner && owner.startsWith(\"owner 6599\")"), Vec::<u32>::new());
    assert_eq!(select(&engine, "region < owner && owner == \"owner 65989\""), [65_989]);
    assert_eq!(
        engine.break_down(FieldId::Owner.id(), &Bitmap::from_iter([9, 65_999]), FieldId::Orders).groups.len(),
        1
    );
    engine.apply(9, None).unwrap();
    assert_eq!(select(&engine, "owner == \"owner 9\""), [65_999]);
}

#[test]
fn memory_is_flat_per_customer() {
    let per_customer = [60_000, 240_000].map(|customers| {
        let mut engine = Engine::new();
        engine.reserve(customers).unwrap();
        let channels = ["online", "shop", "social"];
        for id in 1..=customers {
            let channel = channels[id as usize % channels.len()];
            // Money and instants that need eight bytes, as real ones do.
            let (large, instant) = (i64::from(id) << 32, Some(1_700_000_000_000_000));
            let customer = Customer {
                channel,
                recency: Some(3),
                first_order_at: instant,
                last_order_at: instant,
                last_interaction_at: instant,
                last_low_score_time: instant,
                acquired_at: instant,
                net_revenue_minor: large,
                revenue_minor: large,
                average_order_value_minor: Some(large),
                revenue_30_minor: large,
                revenue_90_minor: large,
                revenue_365_minor: large,
                lifetime_value_minor: Some(large),
                ..Customer::default()
            };
            engine.apply(id, Some(&customer)).unwrap();
        }
        engine.memory_bytes() / customers as usize
    });
    assert!(per_customer.iter().all(|bytes| *bytes <= 250), "{per_customer:?}");
}
