//! What rules may not say, and how they are told.

use crate::customers::schema;
use quintile_expr::{ExprError, Position, Rule, SchemaError};

fn refused(source: &str) -> ExprError {
    match Rule::parse(source, &schema()) {
        Ok(rule) => panic!("accepted {source}: {:?}", rule.root()),
        Err(error) => error,
    }
}

fn check(source: &str, line: usize, column: usize, kind: &str) {
    let error = refused(source);
    assert_eq!(error.position(), Some(Position { line, column }), "{source}: {error}");
    let text = error.to_string();
    assert!(text.contains(kind), "{source}: {text}");
}

/// Source, line, column, and what the text must contain.
const SYNTAX: &[(&str, usize, usize, &str)] = &[
    ("", 1, 1, "the end"),
    ("  \n ", 2, 2, "the end"),
    ("opted_in &&", 1, 12, "the end"),
    ("(opted_in", 1, 10, "the end"),
    ("opted_in)", 1, 9, "this symbol"),
    ("opted_in opted_in", 1, 10, "a name"),
    ("rfm.r == 1 2", 1, 12, "a number"),
    ("rfm.r = 1", 1, 7, "this symbol"),
    ("rfm.r & 1", 1, 7, "this symbol"),
    ("rfm.r =! 1", 1, 7, "this symbol"),
    ("rfm.r >\n  && opted_in", 2, 3, "this symbol"),
    ("city == 'é' 'x'", 1, 13, "a text"),
    ("city == 'x", 1, 9, "a text without its end"),
    ("city == 'x\n'", 1, 9, "a text without its end"),
    ("rfm.r == 9223372036854775808", 1, 10, "a number"),
    ("rfm.r == ②", 1, 10, "this symbol"),
    ("opted_in && \0", 1, 13, "this symbol"),
    ("has(", 1, 5, "the end"),
    ("rfm. == 1", 1, 4, "this symbol"),
    ("rfm.r in", 1, 9, "the end"),
    ("while == 1", 1, 1, "a name"),
];

#[test]
fn syntax_errors_say_where_and_what_kind_of_thing() {
    for &(source, line, column, kind) in SYNTAX {
        check(source, line, column, kind);
        assert!(matches!(refused(source), ExprError::Syntax { .. }), "{source}");
    }
}

/// Source, line, column, and what the text must contain.
const UNSUPPORTED: &[(&str, usize, usize, &str)] = &[
    ("rfm.r + 1 > 2", 1, 7, "arithmetic"),
    ("rfm.r - 1 > 2", 1, 7, "arithmetic"),
    ("-rfm.r > 2", 1, 1, "arithmetic"),
    ("rfm.r > --2", 1, 9, "arithmetic"),
    ("rfm.r % 2 == 0", 1, 7, "arithmetic"),
    ("opted_in ? true : false", 1, 10, "the conditional operator"),
    ("city[0] == 'x'", 1, 5, "indexing"),
    ("{} == {}", 1, 1, "a map or message"),
    ("Customer{}", 1, 9, "a map or message"),
    ("rfm.`r` == 1", 1, 5, "an escaped name"),
    ("rfm.r == 0x1F", 1, 10, "a number written like this"),
    ("rfm.r == 1u", 1, 10, "a number written like this"),
    ("revenue == 1e3", 1, 12, "a number written like this"),
    ("revenue == .5", 1, 12, "a number written like this"),
    ("city == r'x'", 1, 9, "a raw text or bytes"),
    ("city == b'x'", 1, 9, "a raw text or bytes"),
    ("city == '''x'''", 1, 9, "a triple-quoted text"),
    (r"city == '\x41'", 1, 9, "an escape in this text"),
    (r"city == '\ud800'", 1, 9, "an escape in this text"),
    (r"city == '\u00'", 1, 9, "an escape in this text"),
    ("1 < rfm.r < 3", 1, 11, "a comparison of comparisons"),
    ("(rfm.r > 1) == true", 1, 8, "a condition inside a comparison"),
    ("!rfm.r > 1", 1, 1, "a condition inside a comparison"),
    ("city == null", 1, 9, "has(field)"),
    ("1 == 1", 1, 3, "a comparison without a field"),
    ("now > timestamp('2024-01-01T00:00:00Z')", 1, 5, "a comparison without a field"),
    ("city.matches('x')", 1, 13, "the function `matches`"),
    ("channel.exists(c, c == 'x')", 1, 15, "the function `exists`"),
    ("rfm.r == size(city)", 1, 14, "a condition inside a comparison"),
    ("[1, 2]", 1, 1, "a list outside of"),
];

#[test]
fn what_cel_has_and_rules_do_not_is_named() {
    for &(source, line, column, what) in UNSUPPORTED {
        check(source, line, column, what);
        assert!(matches!(refused(source), ExprError::Unsupported { .. }), "{source}");
    }
}

/// Source, line, column, and what the text must contain.
const CLASHES: &[(&str, usize, usize, &str)] = &[
    ("rfm.r", 1, 1, "expected a condition, found int"),
    ("'x'", 1, 1, "expected a condition, found text"),
    ("now", 1, 1, "expected a condition, found instant"),
    ("opted_in && rfm.f", 1, 13, "expected a condition, found int"),
    ("days_since(last_order_at)", 1, 11, "expected a condition, found a number of days"),
    ("rfm.r == 'x'", 1, 10, "expected int, found text"),
    ("'x' == rfm.r", 1, 1, "expected int, found text"),
    ("rfm.r == 1.5", 1, 10, "expected int, found a decimal"),
    ("rfm.r == city", 1, 10, "expected int, found text"),
    ("rfm.r == revenue", 1, 10, "expected int, found money"),
    ("rfm.r == now", 1, 10, "expected int, found instant"),
    ("city == 1", 1, 9, "expected text, found int"),
    ("revenue == '1'", 1, 12, "expected money, found text"),
    ("revenue == 1.005", 1, 12, "expected money with at most 2 decimals"),
    ("revenue == 92233720368547759", 1, 12, "expected money with at most 2 decimals"),
    ("mean.pieces > 1.0005", 1, 15, "expected decimal with at most 3 decimals"),
    ("mean.pieces > 9223372036854776", 1, 15, "expected decimal with at most 3 decimals"),
    ("mean.pieces > revenue", 1, 15, "expected decimal, found money"),
    ("rfm.r < mean.pieces", 1, 9, "expected int, found decimal"),
    ("opted_in < true", 1, 10, "expected `==` or `!=` between bools"),
    ("last_order_at > '2024-01-01T00:00:00Z'", 1, 17, "expected instant, found text"),
    ("last_order_at > timestamp('2024-01-01')", 1, 26, "expected timestamp("),
    ("last_order_at > timestamp()", 1, 26, "expected timestamp("),
    ("rfm.r in [1, 'x']", 1, 14, "expected int, found text"),
    ("rfm.r in [1, rfm.f]", 1, 14, "expected a constant"),
    ("1 in [1]", 1, 3, "expected field in [constant, ..]"),
    ("rfm.r in rfm.f", 1, 7, "expected field in [constant, ..]"),
    ("days_since(rfm.r) < 3", 1, 12, "expected a field of type instant, found int"),
    ("days_since(now) < 3", 1, 12, "unknown field `now`"),
    ("days_since(last_order_at) < '3'", 1, 29, "expected a whole number of days, found text"),
    ("days_since(last_order_at, now) < 3", 1, 11, "expected days_since(field)"),
    ("rfm.r.startsWith('x')", 1, 1, "expected a field of type text, found int"),
    ("city.startsWith(channel)", 1, 16, "expected field.startsWith"),
    ("contains('x')", 1, 9, "expected field.contains"),
    ("'x'.contains('x')", 1, 1, "expected a field, found something else"),
    ("has(1)", 1, 5, "expected a field, found something else"),
    ("has(rfm.r, rfm.f)", 1, 4, "expected has(field)"),
    ("segment(city)", 1, 8, "expected segment("),
];

#[test]
fn types_must_agree() {
    for &(source, line, column, text) in CLASHES {
        check(source, line, column, text);
    }
}

#[test]
fn an_unknown_field_is_answered_with_the_nearest_one() {
    let table = [
        ("opted_in && rfm.rr > 1", 13, "`rfm.rr`", Some("rfm.r")),
        ("chanel == 'x'", 1, "`chanel`", Some("channel")),
        ("has(Last_Order_At)", 5, "`Last_Order_At`", Some("last_order_at")),
        (".city == 'x'", 2, "`.city`", Some("city")),
        ("birthday > 1", 1, "`birthday`", None),
    ];
    for (source, column, name, suggestion) in table {
        check(source, 1, column, name);
        let ExprError::UnknownField { nearest, .. } = refused(source) else {
            panic!("{source} should have an unknown field");
        };
        assert_eq!(nearest.as_deref(), suggestion, "{source}");
    }
    let long = refused(&format!("{} > 1", "x".repeat(5_000)));
    assert!(long.to_string().len() < 120);
}

#[test]
fn limits_hold_whatever_the_shape() {
    let deep = |source: String| {
        let error = refused(&source);
        assert!(matches!(error, ExprError::TooDeep { .. }), "{error}");
    };
    deep("(".repeat(10_000));
    deep("[".repeat(10_000));
    deep("has(".repeat(4_000));
    deep("!".repeat(10_000));
    deep("!(".repeat(8_000));
    deep(format!("{}opted_in{}", "(".repeat(33), ")".repeat(33)));
    deep(format!("opted_in{}", ".a".repeat(8_000)));
    deep(format!("city{}", ".contains('x')".repeat(1_000)));
    deep(format!("{}opted_in{}", "!(opted_in || opted_in && ".repeat(11), ")".repeat(11)));

    let wide = |source: String| {
        assert_eq!(refused(&source), ExprError::TooManyTerms { limit: 1_000 });
    };
    wide(vec!["opted_in"; 1_001].join("&&"));
    wide(vec!["a"; 5_000].join("||"));
    wide(format!("rfm.r in [{}]", vec!["1"; 1_001].join(",")));
    wide("&&".repeat(8_000));

    let chained = refused(&vec!["a"; 8_000].join("<"));
    assert!(matches!(chained, ExprError::Unsupported { .. }), "{chained}");
    assert_eq!(refused(&" ".repeat(16_385)), ExprError::TooLong { limit: 16_384 });
}

#[test]
fn error_texts_never_show_a_literal() {
    let sources = [
        "rfm.r == 'mei@example.org'",
        "city == 'mei@example.org",
        "city == 'mei@example.org' 'mei@example.org'",
        "city == 'mei@example.org\\q'",
        "segment('mei@example.org', 1)",
        "last_order_at > timestamp('mei@example.org')",
        "'mei@example.org' in ['mei@example.org']",
        "city.matches('mei@example.org')",
        "revenue == 4711.4711",
        "rfm.r == 47114711471147114711",
        "rfm.r == 4711.5",
        "4711 4711",
        "rfm.r == 4711z",
    ];
    for source in sources {
        let error = refused(source);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("mei") && !shown.contains("4711"), "{source}: {shown}");
    }
}

#[test]
fn a_schema_error_names_the_field() {
    assert_eq!(SchemaError::UnusableName("now".to_owned()).to_string(), "`now` cannot be the name of a field");
}
