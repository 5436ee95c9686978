//! Nothing an author writes makes the parser panic, and the algebra holds.

use crate::customers::{Customer, rule, schema};
use proptest::prelude::*;
use quintile_expr::{ExprError, MAX_DEPTH, Node, Rule, ValueRef};

/// The rule is read or refused, and never because the parser itself failed.
fn is_read_or_refused(source: &str) {
    match Rule::parse(source, &schema()) {
        Ok(rule) => assert!(depth(rule.root()) <= MAX_DEPTH),
        Err(error) => assert_ne!(error, ExprError::ParserFailed, "{source:?}"),
    }
}

fn depth(node: &Node) -> usize {
    1 + match node {
        Node::And(all) | Node::Or(all) => all.iter().map(depth).max().unwrap_or(0),
        Node::Not(node) => depth(node),
        _ => 0,
    }
}

const TOKENS: [&str; 44] = [
    "&&",
    "||",
    "!",
    "(",
    ")",
    "[",
    "]",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    ",",
    ".",
    "-",
    "has(",
    "segment(",
    "days_since(",
    "timestamp(",
    "now",
    "true",
    "null",
    "rfm.r",
    "channel",
    "opted_in",
    "last_order_at",
    "revenue",
    "city.contains(",
    ".startsWith(",
    "'x'",
    "\"é\"",
    "'2024-01-01T00:00:00Z'",
    "1",
    "199.99",
    "-3",
    "// no\n",
    "\n",
    "'",
    "\\",
    "\u{1}",
    "_",
    "if",
];

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "rfm.r > 3",
        "rfm.r != 3",
        "rfm.f < rfm.r",
        "opted_in",
        "has(rfm.r)",
        "!has(rfm.f)",
        "segment('vip')",
        "segment('none')",
        "rfm.r in [1, 4]",
        "false",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn customer() -> impl Strategy<Value = Customer> {
    let score = || prop::option::of(1..6_i64);
    (score(), score(), prop::option::of(any::<bool>())).prop_map(|(r, f, opted_in)| {
        let values = [(1, r.map(ValueRef::Int)), (2, f.map(ValueRef::Int)), (5, opted_in.map(ValueRef::Bool))];
        Customer(values.into_iter().filter_map(|(id, value)| Some((id, value?))).collect())
    })
}

proptest! {
    #[test]
    fn any_string_is_read_or_refused(source in any::<String>()) {
        is_read_or_refused(&source);
    }

    #[test]
    fn any_ascii_is_read_or_refused(source in "[ -~\n]{0,80}") {
        is_read_or_refused(&source);
    }

    #[test]
    fn any_tokens_are_read_or_refused(tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..40)) {
        is_read_or_refused(&tokens.join(" "));
        is_read_or_refused(&tokens.concat());
    }

    #[test]
    fn a_damaged_rule_is_read_or_refused(source in condition(), at in any::<prop::sample::Index>(), token in prop::sample::select(&TOKENS[..])) {
        let at = at.index(source.len() + 1);
        is_read_or_refused(&format!("{}{token}{}", &source[..at], &source[at..]));
        is_read_or_refused(&source[..at]);
    }

    #[test]
    fn any_text_survives_its_escaping(text in any::<String>()) {
        let escaped: String = text
            .chars()
            .map(|c| match c {
                '\'' | '\\' => format!("\\{c}"),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                c => c.to_string(),
            })
            .collect();
        let rule = rule(&format!("segment('{escaped}')"));
        prop_assert_eq!(rule.references(), [text]);
    }

    #[test]
    fn logic_is_two_valued_even_when_values_are_missing(a in condition(), b in condition(), row in customer()) {
        let (is_a, is_b) = (row.matches(&a), row.matches(&b));
        prop_assert_eq!(row.matches(&format!("({a}) && ({b})")), is_a && is_b);
        prop_assert_eq!(row.matches(&format!("({a}) || ({b})")), is_a || is_b);
        prop_assert_eq!(row.matches(&format!("!({a})")), !is_a);
        prop_assert_eq!(row.matches(&format!("!(({a}) && ({b}))")), row.matches(&format!("!({a}) || !({b})")));
    }
}
