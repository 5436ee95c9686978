use super::*;
use crate::features::{FeedbackFact, InteractionFact, LineFact, Opening, OrderFact, Purchase, RefundFact};
use proptest::prelude::*;
use quintile_proto::ingestion::{FeedbackKind, InteractionKind};

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn definition(fact: TraitFact, aggregate: TraitAggregate, value: &str, filter: &str, window_days: i32) -> Definition {
    Definition { fact, aggregate, value: value.to_owned(), filter: filter.to_owned(), window_days }
}

fn line(product: &str, category: &str, quantity: i64, amount_minor: Option<i64>) -> LineFact {
    let (product, category) = (product.to_owned(), category.to_owned());
    LineFact { product, category, quantity, amount_minor, cost_minor: None }
}

fn order(text: &str, channel: &str, lines: Vec<LineFact>) -> OrderFact {
    let amount_minor = lines.iter().filter_map(|line| line.amount_minor).sum();
    OrderFact { at: at(text), amount_minor, profit_minor: None, channel: channel.to_owned(), lines }
}

/// Three orders, a refund, two visits and a call, two scores and a comment.
fn facts() -> CustomerFacts {
    let interaction = |text: &str, kind: InteractionKind, about: &str| InteractionFact {
        at: at(text),
        kind: kind.into(),
        channel: "online".to_owned(),
        about: about.to_owned(),
        case: None,
    };
    let feedback = |text: &str, kind, score| FeedbackFact {
        at: at(text),
        kind,
        score,
        channel: "survey".to_owned(),
        about: String::new(),
    };
    let mut facts = CustomerFacts {
        orders: vec![
            order("2024-03-10T12:00:00Z", "store", vec![line("pot", "kitchen", 1, Some(4_000))]),
            order(
                "2024-01-05T12:00:00Z",
                "online",
                vec![line("assam", "tea", 2, Some(1_000)), line("mug", "kitchen", 1, Some(501))],
            ),
            order(
                "2024-02-05T12:00:00Z",
                "online",
                vec![line("assam", "tea", 3, Some(1_500)), line("gift", "tea", 1, None)],
            ),
        ],
        refunds: vec![RefundFact {
            at: at("2024-02-10T00:00:00Z"),
            subject_id: 1,
            id: ("shop".to_owned(), "r1".to_owned()),
            amount_minor: 700,
            purchase: Purchase::Any,
        }],
        interactions: vec![
            interaction("2024-01-01T00:00:00Z", InteractionKind::Visit, "/tea"),
            interaction("2024-02-01T00:00:00Z", InteractionKind::Call, ""),
            interaction("2024-03-01T00:00:00Z", InteractionKind::Visit, "/pots"),
        ],
        feedback: vec![
            feedback("2024-01-02T00:00:00Z", FeedbackKind::Nps, Some(9)),
            feedback("2024-01-03T00:00:00Z", FeedbackKind::Nps, Some(4)),
            feedback("2024-01-04T00:00:00Z", FeedbackKind::Nps, None),
        ],
        referred: Vec::new(),
        behind_referred: 0,
        without_rate: 0,
        opening: Opening::default(),
    };
    facts.sort();
    facts
}

fn amount(definition: &Definition, as_of: &str) -> Option<Amount> {
    Trait::new(definition, 2).unwrap().amount(&facts(), at(as_of), &TimeZone::UTC)
}

#[test]
fn every_kind_of_fact_is_aggregated_in_every_way() {
    use TraitAggregate::{Count, Distinct, Last, Max, Mean, Min, Sum};
    use TraitFact::{Feedback, Interaction, Order, OrderLine, Refund};
    let text = |text: &str| Some(Amount::Text(text.to_owned()));
    // Counted by hand from the facts above.
    let table = [
        (Order, Count, "", "", Some(Amount::Integer(3))),
        (Order, Count, "", r#"channel == "online""#, Some(Amount::Integer(2))),
        (Order, Sum, "amount", "", Some(Amount::Money(7_001))),
        (Order, Sum, "amount", "amount >= 15.01", Some(Amount::Money(5_501))),
        // 7,001 / 3 = 2,333.67.
        (Order, Mean, "amount", "", Some(Amount::Money(2_334))),
        (Order, Sum, "quantity", "", Some(Amount::Integer(8))),
        (Order, Mean, "lines", "", Some(Amount::Number(5.0 / 3.0))),
        (Order, Max, "at", "", Some(Amount::Time(at("2024-03-10T12:00:00Z")))),
        (Order, Last, "channel", "", text("store")),
        (Order, Sum, "profit", "", Some(Amount::Money(0))),
        (Order, Mean, "profit", "", None),
        (OrderLine, Sum, "amount", r#"category == "tea""#, Some(Amount::Money(2_500))),
        (OrderLine, Count, "", r#"category == "tea""#, Some(Amount::Integer(3))),
        (OrderLine, Count, "", r#"category == "tea" && !has(amount)"#, Some(Amount::Integer(1))),
        (OrderLine, Distinct, "product", "", Some(Amount::Integer(4))),
        (OrderLine, Min, "quantity", r#"product == "assam""#, Some(Amount::Integer(2))),
        (OrderLine, Last, "product", r#"product.startsWith("a")"#, text("assam")),
        (OrderLine, Last, "product", r#"product == "sofa""#, None),
        (Refund, Sum, "amount", "", Some(Amount::Money(700))),
        (Interaction, Count, "", r#"kind == "visit" && about.contains("tea")"#, Some(Amount::Integer(1))),
        (Interaction, Distinct, "about", "", Some(Amount::Integer(2))),
        (Interaction, Last, "about", "", text("/pots")),
        (Feedback, Min, "score", r#"kind == "nps""#, Some(Amount::Integer(4))),
        (Feedback, Mean, "score", "", Some(Amount::Number(6.5))),
        (Feedback, Last, "score", "", Some(Amount::Integer(4))),
        (Feedback, Count, "", "score >= 9", Some(Amount::Integer(1))),
    ];
    for (fact, aggregate, value, filter, expected) in table {
        let definition = definition(fact, aggregate, value, filter, 0);
        assert_eq!(amount(&definition, "2024-04-01T00:00:00Z"), expected, "{definition:?}");
    }
}

#[test]
fn a_fact_counts_after_its_instant_and_leaves_a_window_to_the_microsecond() {
    let visits = definition(TraitFact::Interaction, TraitAggregate::Count, "", r#"kind == "visit""#, 30);
    let counted = Trait::new(&visits, 2).unwrap();
    for (as_of, count, next) in [
        ("2024-01-01T00:00:00Z", 0, None),
        ("2024-01-01T00:00:00.000001Z", 1, Some("2024-01-31T00:00:00.000001Z")),
        ("2024-01-31T00:00:00Z", 1, Some("2024-01-31T00:00:00.000001Z")),
        // The call within the window is no visit.
        ("2024-01-31T00:00:00.000001Z", 0, None),
    ] {
        let facts = facts();
        assert_eq!(counted.amount(&facts, at(as_of), &TimeZone::UTC), Some(Amount::Integer(count)), "{as_of}");
        assert_eq!(counted.next_change(&facts, at(as_of), &TimeZone::UTC), next.map(at), "{as_of}");
    }
}

#[test]
fn a_definition_that_makes_no_sense_is_refused_at_its_field() {
    use TraitAggregate::{Count, Max, Mean, Sum};
    use TraitFact::{Interaction, Order, OrderLine};
    let table = [
        (definition(TraitFact::Unspecified, Count, "", "", 0), "fact"),
        (definition(Order, TraitAggregate::Unspecified, "", "", 0), "aggregate"),
        (definition(Order, Count, "amount", "", 0), "value"),
        (definition(Order, Sum, "", "", 0), "value"),
        (definition(Order, Sum, "amuont", "", 0), "value"),
        (definition(Order, Sum, "product", "", 0), "value"),
        (definition(Order, Sum, "channel", "", 0), "value"),
        (definition(Order, Mean, "at", "", 0), "value"),
        (definition(OrderLine, Max, "category", "", 0), "value"),
        (definition(Order, Count, "", "amount >", 0), "filter"),
        (definition(Order, Count, "", r#"kind == "visit""#, 0), "filter"),
        (definition(Interaction, Count, "", "days_since(at) < 30", 0), "filter"),
        (definition(Interaction, Count, "", "at < now", 0), "filter"),
        (definition(Interaction, Count, "", r#"segment("vip")"#, 0), "filter"),
        (definition(Interaction, Count, "", "kind == \"a\0\"", 0), "filter"),
        (definition(Order, Count, "", "", -1), "window_days"),
        (definition(Order, Count, "", "", MAX_WINDOW_DAYS + 1), "window_days"),
    ];
    for (definition, field) in table {
        let error = Trait::new(&definition, 2).unwrap_err();
        assert_eq!(error.field, field, "{definition:?}: {error}");
    }
    let nearest = Trait::new(&definition(Order, Sum, "amuont", "", 0), 2).unwrap_err();
    assert!(nearest.problem.contains("amount"), "{nearest}");
}

#[test]
fn a_trait_is_of_the_class_of_what_it_reads_in_its_filter_too() {
    use TraitAggregate::{Count, Sum};
    for (definition, class, forbidden) in [
        (definition(TraitFact::Order, Count, "", r#"channel == "store""#, 0), Sensitivity::None, None),
        (definition(TraitFact::Order, Count, "", "amount > 10", 0), Sensitivity::Financial, Some("amount")),
        (definition(TraitFact::OrderLine, Sum, "cost", "", 0), Sensitivity::Financial, Some("cost")),
    ] {
        let read = Trait::new(&definition, 2).unwrap();
        assert_eq!(read.class(), class, "{definition:?}");
        assert_eq!(read.forbidden(|class| class == Sensitivity::None).as_deref(), forbidden, "{definition:?}");
        assert_eq!(read.forbidden(|_| true), None);
    }
}

/// Hours after the start of the generated history, around a change to daylight-saving time.
fn after(hours: i64) -> Instant {
    at("2024-02-20T00:00:00Z").plus_micros(hours * 3_600_000_000)
}

fn any_orders() -> impl Strategy<Value = Vec<OrderFact>> {
    let one = (0_i64..1_500, -5_i64..500, 0..3_usize).prop_map(|(hours, paid, channel)| OrderFact {
        at: after(hours),
        amount_minor: paid,
        channel: ["", "store", "online"][channel].to_owned(),
        lines: vec![line(["assam", "mug", "pot"][channel], "tea", paid, (paid > 0).then_some(paid))],
        ..OrderFact::default()
    });
    prop::collection::vec(one, 0..12)
}

fn any_definition() -> impl Strategy<Value = Definition> {
    let fact = prop::sample::select(vec![(TraitFact::Order, "amount"), (TraitFact::OrderLine, "product")]);
    let filter = prop::sample::select(vec!["", r#"channel == "store""#, "amount >= 2"]);
    (fact, filter, 1..60_i32, 0..3_usize).prop_map(|((fact, value), filter, days, aggregate)| {
        let aggregate = [TraitAggregate::Count, TraitAggregate::Last, TraitAggregate::Distinct][aggregate];
        let value = if aggregate == TraitAggregate::Count { "" } else { value };
        definition(fact, aggregate, value, filter, days)
    })
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_show(orders in any_orders(), definition in any_definition(), hours in 0_i64..2_000) {
        let read = Trait::new(&definition, 2).unwrap();
        let mut forwards = CustomerFacts { orders: orders.clone(), ..CustomerFacts::default() };
        let mut backwards = CustomerFacts { orders: orders.into_iter().rev().collect(), ..CustomerFacts::default() };
        forwards.sort();
        backwards.sort();
        let amount = |facts: &CustomerFacts| read.amount(facts, after(hours), &TimeZone::UTC);
        prop_assert_eq!(amount(&forwards), amount(&backwards));
    }

    #[test]
    fn nothing_leaves_a_window_before_the_instant_that_is_told(
        orders in any_orders(),
        definition in any_definition(),
        hours in 0_i64..2_000,
    ) {
        let zone = TimeZone::from_name("Europe/Berlin").unwrap();
        let read = Trait::new(&definition, 2).unwrap();
        let mut facts = CustomerFacts { orders, ..CustomerFacts::default() };
        facts.sort();
        let as_of = after(hours);
        // Facts ahead begin to count at instants that are known elsewhere.
        facts.orders.retain(|order| order.at < as_of);
        let count = |as_of| read.counted(&facts, as_of, &zone).count();
        let next = read.next_change(&facts, as_of, &zone);
        prop_assert!(next.is_some() || count(as_of) == 0 || definition.window_days == 0);
        if let Some(next) = next {
            prop_assert!(next > as_of);
            prop_assert_eq!(count(as_of), count(next.plus_micros(-1)));
            prop_assert!(definition.filter.is_empty() <= (count(next) < count(as_of)));
        }
        // Whoever sees when it changes sees nothing of what the filter reads.
        let unfiltered = Definition { filter: String::new(), ..definition };
        prop_assert_eq!(next, Trait::new(&unfiltered, 2).unwrap().next_change(&facts, as_of, &zone));
    }
}
