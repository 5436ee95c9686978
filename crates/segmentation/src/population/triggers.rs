//! Which definitions a change of a value can move: those with a condition that is another before it and after it.
//!
//! A rule is made of conditions of one field each, nearly all of which compare it with constants. So a number that goes from 3 to 4 can move what
//! compares it with 3 or with 4 and nothing else, and among thousands of definitions a change asks a few. What is found may be too much, never too
//! little.

use quintile_expr::{Comparison, Node, Now, Operand, Value, ValueRef};
use std::collections::HashMap;

/// A value of a field that changed, before and after.
pub type Changed<'a> = (u16, Option<ValueRef<'a>>, Option<ValueRef<'a>>);

/// The places of definitions by the conditions that they have of one field.
#[derive(Default)]
struct OfField {
    /// Every definition that reads the field.
    all: Vec<usize>,
    /// Those with a condition that any change may turn.
    by_any: Vec<usize>,
    /// By the number or instant that they compare with, ascending.
    by_number: Vec<(i64, usize)>,
    /// By the days since an instant that they compare with, ascending.
    by_days: Vec<(i64, usize)>,
    /// By the text that they compare with.
    by_text: HashMap<String, Vec<usize>>,
}

/// The conditions of all definitions, by field.
#[derive(Default)]
pub struct Triggers(HashMap<u16, OfField>);

impl Triggers {
    /// Takes in a condition of the definition at a place. [`Triggers::settle`] comes behind the last one.
    pub fn add(&mut self, node: &Node, place: usize) {
        match node {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| self.add(node, place)),
            Node::Not(node) => self.add(node, place),
            Node::Compare { field, op, with } => match with {
                Operand::Constant(value) => self.constant(*field, Some(*op), value, place),
                Operand::Field(other) => {
                    self.any(*field, place);
                    self.any(*other, place);
                }
                Operand::Now => self.any(*field, place),
            },
            Node::In { field, set } => {
                // An empty set never holds.
                self.of(*field, place);
                for value in set {
                    self.constant(*field, None, value, place);
                }
            }
            Node::Has(field) => drop(self.of(*field, place)),
            Node::DaysSince { field, days, .. } => self.of(*field, place).by_days.push((*days, place)),
            Node::StartsWith { field, .. } | Node::Contains { field, .. } => self.any(*field, place),
            Node::Segment(_) | Node::Const(_) => {}
        }
    }

    /// Takes in that any change of a field may move the definition at a place.
    pub fn any(&mut self, field: u16, place: usize) {
        self.of(field, place).by_any.push(place);
    }

    fn of(&mut self, field: u16, place: usize) -> &mut OfField {
        let of_field = self.0.entry(field).or_default();
        if of_field.all.last() != Some(&place) {
            of_field.all.push(place);
        }
        of_field
    }

    /// `op`: `None` for equality.
    fn constant(&mut self, field: u16, op: Option<Comparison>, value: &Value, place: usize) {
        let is_equality = op.is_none_or(|op| matches!(op, Comparison::Equal | Comparison::NotEqual));
        let of_field = self.of(field, place);
        match value {
            Value::Int(number) | Value::Instant(number) => of_field.by_number.push((*number, place)),
            Value::Text(text) if is_equality => of_field.by_text.entry(text.clone()).or_default().push(place),
            Value::Text(_) | Value::Bool(_) => of_field.by_any.push(place),
        }
    }

    /// Puts what was taken in in order.
    pub fn settle(&mut self) {
        for of_field in self.0.values_mut() {
            of_field.by_number.sort_unstable();
            of_field.by_days.sort_unstable();
        }
    }

    /// Tells the places of the definitions that a change may move by a condition of their own, some of them more than once.
    pub fn turned_by(&self, (field, before, after): Changed<'_>, now: &Now<'_>, mut tell: impl FnMut(usize)) {
        let Some(of_field) = self.0.get(&field) else { return };
        match (before, after) {
            (Some(ValueRef::Int(before)), Some(ValueRef::Int(after))) => {
                between(&of_field.by_number, before, after, &mut tell);
            }
            (Some(ValueRef::Instant(before)), Some(ValueRef::Instant(after))) => {
                between(&of_field.by_number, before, after, &mut tell);
                between(&of_field.by_days, now.days_since(before), now.days_since(after), &mut tell);
            }
            (Some(ValueRef::Text(before)), Some(ValueRef::Text(after))) => {
                let named = [before, after].into_iter().filter_map(|text| of_field.by_text.get(text));
                named.flatten().for_each(|place| tell(*place));
            }
            // A value that comes or goes turns any condition.
            _ => return of_field.all.iter().for_each(|place| tell(*place)),
        }
        of_field.by_any.iter().for_each(|place| tell(*place));
    }
}

/// Those with a constant from one number to another, both included.
fn between(by_number: &[(i64, usize)], one: i64, other: i64, tell: &mut impl FnMut(usize)) {
    let (low, high) = (one.min(other), one.max(other));
    let first = by_number.partition_point(|(number, _)| *number < low);
    by_number[first..].iter().take_while(|(number, _)| *number <= high).for_each(|(_, place)| tell(*place));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::differential::{NOW_MICROS, Owned, ZONES, one_of, own_schema, rule};
    use proptest::prelude::*;
    use quintile_domain::time::{Instant, TimeZone};
    use quintile_expr::{Row, Rule};

    /// A customer with another value in one field.
    struct Changing<'a> {
        customer: &'a dyn Row,
        change: Changed<'a>,
    }

    impl Row for Changing<'_> {
        fn value(&self, field: u16) -> Option<ValueRef<'_>> {
            if field == self.change.0 { self.change.2 } else { self.customer.value(field) }
        }

        fn in_segment(&self, name: &str) -> bool {
            self.customer.in_segment(name)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever a change of one value turns is told of.
        #[test]
        fn no_rule_turns_unasked(source in rule(), seeds in (0..u64::MAX, 0..u64::MAX), zone in one_of(&ZONES)) {
            let rule = Rule::parse(&source, &own_schema()).unwrap();
            let zone = TimeZone::from_name(zone).unwrap();
            let local_day = |micros| zone.local_day(Instant::from_micros(micros));
            let now = Now::new(NOW_MICROS, &local_day);
            let mut triggers = Triggers::default();
            triggers.add(rule.root(), 7);
            triggers.settle();
            let (one, other) = (Owned::new(seeds.0), Owned::new(seeds.1));
            let (one, other) = (one.customer(), other.customer());
            let no_segments = |_: &str| None;
            let customer = one.row(1, &no_segments);
            for field in rule.fields() {
                let change = (*field, one.value_of(*field), other.value_of(*field));
                let changed = Changing { customer: &customer, change };
                if rule.matches(&customer, &now) != rule.matches(&changed, &now) {
                    let mut told = false;
                    triggers.turned_by(change, &now, |place| told |= place == 7);
                    prop_assert!(told, "{} by {:?}", source, change);
                }
            }
        }
    }

    #[test]
    fn a_change_asks_those_alone_whose_constants_it_passes() {
        let schema = own_schema();
        let sources = [
            "orders == 3",
            "orders > 9",
            "channel == \"online\"",
            "has(orders)",
            "orders > interactions",
            "days_since(last_order_at) > 30",
            "last_order_at < now",
            "orders in [4, 20]",
        ];
        let mut triggers = Triggers::default();
        for (place, source) in sources.iter().enumerate() {
            triggers.add(Rule::parse(source, &schema).unwrap().root(), place);
        }
        triggers.settle();
        let utc_day = |micros: i64| micros.div_euclid(86_400_000_000) as i32;
        let now = Now::new(100 * 86_400_000_000, &utc_day);
        let asked = |name: &str, before, after| {
            let mut told = Vec::new();
            triggers.turned_by((schema.field(name).unwrap().id, before, after), &now, |place| told.push(place));
            told.sort_unstable();
            told.dedup();
            told
        };
        let int = |number| Some(ValueRef::Int(number));
        let day = |day: i64| Some(ValueRef::Instant(day * 86_400_000_000));
        assert_eq!(asked("orders", int(3), int(4)), [0, 4, 7]);
        assert_eq!(asked("orders", int(5), int(6)), [4]);
        assert_eq!(asked("orders", None, int(6)), [0, 1, 3, 4, 7]);
        assert_eq!(asked("channel", Some(ValueRef::Text("a")), Some(ValueRef::Text("b"))), Vec::<usize>::new());
        assert_eq!(asked("channel", Some(ValueRef::Text("a")), Some(ValueRef::Text("online"))), [2]);
        assert_eq!(asked("last_order_at", day(60), day(65)), [6]);
        assert_eq!(asked("last_order_at", day(60), day(99)), [5, 6]);
        assert_eq!(asked("revenue", int(1), int(2)), Vec::<usize>::new());
    }
}
