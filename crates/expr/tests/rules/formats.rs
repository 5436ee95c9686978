//! One spelling for each meaning, which reads as it did.

use crate::customers::{rule, schema};
use proptest::prelude::*;
use quintile_expr::{Node, Rule};

fn formatted(source: &str) -> String {
    rule(source).formatted(&schema())
}

#[test]
fn a_rule_is_written_as_everybody_would() {
    let table = [
        ("rfm.r>=4&&  rfm.f>2", "rfm.r >= 4 && rfm.f > 2"),
        ("(rfm.r >= 4) || (rfm.f > 2 && opted_in)", "rfm.r >= 4 || rfm.f > 2 && opted_in"),
        ("((rfm.r >= 4 || rfm.f > 2)) && opted_in", "(rfm.r >= 4 || rfm.f > 2) && opted_in"),
        ("4 < rfm.r // four", "rfm.r > 4"),
        ("opted_in == true", "opted_in"),
        ("!(opted_in)", "!opted_in"),
        ("!opted_in && !(rfm.r > 3)", "!opted_in && !(rfm.r > 3)"),
        ("opted_in != true || opted_in == false", "opted_in != true || opted_in == false"),
        ("!(!( has( city ) ))", "has(city)"),
        ("!(!(!has(city)))", "!has(city)"),
        ("!(rfm.r in [4,1,4])", "!(rfm.r in [1, 4])"),
        ("channel in ['b', \"a\"]", r#"channel in ["a", "b"]"#),
        ("channel in []", "channel in []"),
        ("revenue >= 199.90 && revenue < 200.00", "revenue >= 199.90 && revenue < 200"),
        ("revenue != -0.07", "revenue != -0.07"),
        ("revenue in [1.5, 2]", "revenue in [1.50, 2]"),
        ("mean.pieces>=4.50 || mean.pieces in [2.000, -0.125]", "mean.pieces >= 4.5 || mean.pieces in [-0.125, 2]"),
        ("revenue == 0 || mean.pieces == 10", "revenue == 0 || mean.pieces == 10"),
        ("spend.last_year<revenue", "spend.last_year < revenue"),
        ("30 >= days_since(last_order_at)", "days_since(last_order_at) <= 30"),
        ("days_since(last_order_at) > -3", "days_since(last_order_at) > -3"),
        ("now > last_order_at", "last_order_at < now"),
        (
            "last_order_at >= timestamp('2024-01-31T01:00:00+01:00')",
            r#"last_order_at >= timestamp("2024-01-31T00:00:00Z")"#,
        ),
        ("city.startsWith('\\'x\\\"\\\\') && city.contains('é')", r#"city.startsWith("'x\"\\") && city.contains("é")"#),
        ("segment('vip') && true", r#"segment("vip") && true"#),
    ];
    for (source, expected) in table {
        assert_eq!(formatted(source), expected, "{source}");
        assert_eq!(rule(expected).root(), &plain(rule(source).root()), "{source}");
    }
}

#[test]
fn a_long_chain_has_a_line_for_each_condition() {
    let source = "rfm.r >= 4 && (channel in ['online', 'store', 'telephone', 'letter'] || city.startsWith('Sankt') || \
                  city.contains('burg') || segment('people who live in cities')) && last_order_at < now";
    let expected = r#"rfm.r >= 4
&& (channel in ["letter", "online", "store", "telephone"]
  || city.startsWith("Sankt")
  || city.contains("burg")
  || segment("people who live in cities"))
&& last_order_at < now"#;
    assert_eq!(formatted(source), expected);
    assert_eq!(formatted(expected), expected);
}

/// A tree without double negations, and without the chains in chains that they kept apart.
fn plain(node: &Node) -> Node {
    match node {
        Node::Not(once) => match plain(once) {
            Node::Not(twice) => *twice,
            other => Node::Not(Box::new(other)),
        },
        Node::And(all) => Node::And(
            all.iter().map(plain).flat_map(|one| if let Node::And(all) = one { all } else { vec![one] }).collect(),
        ),
        Node::Or(all) => Node::Or(
            all.iter().map(plain).flat_map(|one| if let Node::Or(all) = one { all } else { vec![one] }).collect(),
        ),
        other => other.clone(),
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z'\"\\\\\n\r]{0,12}"]
}

fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        c => c.to_string(),
    };
    format!("'{}'", text.chars().map(escape).collect::<String>())
}

fn any_leaf() -> impl Strategy<Value = String> {
    let sign = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        (sign(), any::<i64>()).prop_map(|(sign, number)| format!("rfm.r {sign} {number}")),
        (sign(), -(10_i64.pow(16))..10_i64.pow(16), 0..100)
            .prop_map(|(sign, whole, cents)| format!("revenue {sign} {whole}.{cents:02}")),
        (sign(), any_text()).prop_map(|(sign, text)| format!("city {sign} {}", quoted(&text))),
        (sign(), 0..253_402_300_799_i64).prop_map(|(sign, days)| format!("days_since(last_order_at) {sign} {days}")),
        any_text().prop_map(|text| format!("channel.contains({})", quoted(&text))),
        any_text().prop_map(|text| format!("segment({})", quoted(&text))),
        prop::collection::vec(any::<i64>(), 0..5).prop_map(|set| format!("rfm.f in {set:?}")),
        prop::sample::select(vec![
            "opted_in",
            "opted_in == false",
            "has(city)",
            "true",
            "first_order_at < last_order_at",
            "now != last_order_at"
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_rule() -> impl Strategy<Value = String> {
    any_leaf().prop_recursive(6, 40, 4, |inner| {
        let some = prop::collection::vec(inner.clone(), 2..5);
        prop_oneof![
            (some, any::<bool>()).prop_map(|(all, and)| format!("({})", all.join(if and { " && " } else { " || " }))),
            inner.prop_map(|one| format!("!({one})")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_means_what_was_read_and_is_written_alike(source in any_rule()) {
        let Ok(read) = Rule::parse(&source, &schema()) else { return Ok(()) };
        let written = read.formatted(&schema());
        let again = Rule::parse(&written, &schema());
        prop_assert!(again.is_ok(), "{written}: {again:?}");
        let again = again.unwrap();
        prop_assert_eq!(again.root(), &plain(read.root()));
        prop_assert_eq!(again.formatted(&schema()), written);
    }
}
