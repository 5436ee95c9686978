//! What rules may say, and the tree that it means.

use crate::customers::{rule, schema};
use quintile_expr::{Comparison::*, MAX_DEPTH, Node, Operand, Rule, Value};

fn compare(field: u16, op: quintile_expr::Comparison, with: Operand) -> Node {
    Node::Compare { field, op, with }
}

fn int(value: i64) -> Operand {
    Operand::Constant(Value::Int(value))
}

fn text(value: &str) -> Operand {
    Operand::Constant(Value::Text(value.to_owned()))
}

fn bool(value: bool) -> Operand {
    Operand::Constant(Value::Bool(value))
}

fn check<const N: usize>(table: [(&str, Node); N]) {
    for (source, node) in table {
        assert_eq!(rule(source).root(), &node, "{source}");
    }
}

#[test]
fn a_comparison_has_its_field_on_the_left() {
    check([
        ("opted_in", compare(5, Equal, bool(true))),
        ("opted_in != false", compare(5, NotEqual, bool(false))),
        ("rfm.r >= 4", compare(1, GreaterOrEqual, int(4))),
        ("4 <= rfm.r // high", compare(1, GreaterOrEqual, int(4))),
        ("-4 > rfm.r", compare(1, Less, int(-4))),
        ("rfm.r == -9223372036854775808", compare(1, Equal, int(i64::MIN))),
        ("rfm.r < rfm.f", compare(1, Less, Operand::Field(2))),
        ("city < channel", compare(4, Less, Operand::Field(3))),
        ("last_order_at <= now", compare(6, LessOrEqual, Operand::Now)),
        ("now > last_order_at", compare(6, Less, Operand::Now)),
    ]);
    let second = Operand::Constant(Value::Instant(1_000_000));
    check([("last_order_at > timestamp('1970-01-01T00:00:01Z')", compare(6, Greater, second))]);
}

#[test]
fn texts_keep_what_they_escape_and_hide_what_they_hold() {
    check([
        ("channel == 'online'", compare(3, Equal, text("online"))),
        (r#"channel == "\"a\\\u00e9\n""#, compare(3, Equal, text("\"a\\é\n"))),
        ("channel == '//((('", compare(3, Equal, text("//((("))),
        ("city == '一般价值'", compare(4, Equal, text("一般价值"))),
    ]);
}

#[test]
fn money_is_written_in_major_units_and_kept_in_minor_ones() {
    let set = vec![Value::Int(50), Value::Int(100)];
    check([
        ("revenue >= 200", compare(8, GreaterOrEqual, int(20_000))),
        ("revenue >= 199.99", compare(8, GreaterOrEqual, int(19_999))),
        ("-0.07 < revenue", compare(8, Greater, int(-7))),
        ("revenue == 0.29", compare(8, Equal, int(29))),
        ("revenue == 90071992547409.93", compare(8, Equal, int(9_007_199_254_740_993))),
        ("revenue > spend.last_year", compare(8, Greater, Operand::Field(9))),
        ("revenue in [1, 0.5]", Node::In { field: 8, set }),
    ]);
}

#[test]
fn a_decimal_is_kept_in_thousandths() {
    let set = vec![Value::Int(-1_250), Value::Int(4_000)];
    check([
        ("mean.pieces >= 4", compare(10, GreaterOrEqual, int(4_000))),
        ("mean.pieces >= 4.125", compare(10, GreaterOrEqual, int(4_125))),
        ("-0.5 < mean.pieces", compare(10, Greater, int(-500))),
        ("mean.pieces == mean.pieces", compare(10, Equal, Operand::Field(10))),
        ("mean.pieces in [4, -1.25]", Node::In { field: 10, set }),
        ("has(mean.pieces)", Node::Has(10)),
    ]);
}

#[test]
fn each_function_means_its_node() {
    let set = ["online", "social"].map(|text| Value::Text(text.to_owned())).to_vec();
    let days = |op| Node::DaysSince { field: 6, op, days: 30 };
    let on = || "on".to_owned();
    check([
        ("true", Node::Const(true)),
        ("!true", Node::Not(Box::new(Node::Const(true)))),
        ("!!true", Node::Const(true)),
        (r#"channel in ["social", 'online', "social"]"#, Node::In { field: 3, set }),
        ("rfm.r in []", Node::In { field: 1, set: vec![] }),
        ("has(last_order_at)", Node::Has(6)),
        ("has(rfm.r)", Node::Has(1)),
        ("days_since(last_order_at) < 30", days(Less)),
        ("30 < days_since(last_order_at)", days(Greater)),
        ("channel.startsWith('on')", Node::StartsWith { field: 3, prefix: on() }),
        ("channel.contains('on')", Node::Contains { field: 3, part: on() }),
        ("segment('vip')", Node::Segment("vip".to_owned())),
    ]);
}

#[test]
fn chains_of_one_connective_are_flat_and_keep_their_order() {
    let is = |n| compare(1, Equal, int(n));
    let source = "rfm.r == 1 && (rfm.r == 2 && rfm.r == 3) && (rfm.r == 4 || (rfm.r == 5 || rfm.r == 6))";
    let or = Node::Or(vec![is(4), is(5), is(6)]);
    assert_eq!(rule(source).root(), &Node::And(vec![is(1), is(2), is(3), or]));
}

#[test]
fn and_binds_before_or() {
    let segment = |name: &str| Node::Segment(name.to_owned());
    let and = Node::And(vec![segment("b"), segment("c")]);
    let source = "segment('a') || segment('b') && segment('c')";
    assert_eq!(rule(source).root(), &Node::Or(vec![segment("a"), and]));
}

#[test]
fn a_rule_says_what_it_depends_on() {
    let calm = rule("has(rfm.r) && (segment('vip') || !segment('b')) && rfm.r > rfm.f && segment('b') && opted_in");
    assert_eq!(calm.fields(), [1, 2, 5]);
    assert_eq!(calm.references(), ["b", "vip"]);
    assert!(!calm.depends_on_time());
    for timed in ["days_since(last_order_at) < 30", "true || now > last_order_at"] {
        assert!(rule(timed).depends_on_time(), "{timed}");
        assert_eq!(rule(timed).fields(), [6]);
    }
}

#[test]
fn a_thousand_terms_are_one_flat_node() {
    let source = vec!["opted_in"; 1_000].join(" && ");
    let rule = Rule::parse(&source, &schema()).unwrap();
    assert!(matches!(rule.root(), Node::And(all) if all.len() == 1_000));
}

#[test]
fn the_deepest_rule_is_read_on_a_small_stack() {
    let brackets = format!("{}opted_in{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
    let nots = format!("{}opted_in", "!".repeat(MAX_DEPTH));
    let levels = (MAX_DEPTH - 2) / 3;
    let mixed = format!("{}opted_in{}", "!(opted_in || opted_in && ".repeat(levels), ")".repeat(levels));
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    let reading = small.spawn(move || [brackets, nots, mixed].map(|source| rule(&source)));
    assert_eq!(reading.unwrap().join().unwrap().len(), 3);
}
