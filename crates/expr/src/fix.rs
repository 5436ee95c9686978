//! Puts known values into a rule: what is left asks only about the other fields.

use crate::bind::Bound;
use crate::evaluate::ValueRef;
use crate::node::{Comparison, Node, Operand, Value};
use crate::{Row, Rule};

/// What is known of a field: nothing, that it is missing, or its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// Nothing: it stays in the rule.
    Nothing,
    /// That it is missing.
    Missing,
    /// Its value.
    Value(ValueRef<'a>),
}

impl Rule {
    /// The rule for rows of which some fields are known: it matches the rows that this rule matches, and reads no known field.
    #[must_use]
    pub fn fixed<'a>(&self, known: &dyn Fn(u16) -> Known<'a>) -> Self {
        let fields = self.fields().iter().copied().filter(|field| known(*field) == Known::Nothing).collect();
        let bound = Bound { root: fix(self.root(), known), fields, ..self.bound().clone() };
        self.with_bound(bound)
    }
}

/// A row that has the known fields and nothing else.
struct KnownRow<'a, 'b>(&'b dyn Fn(u16) -> Known<'a>);

impl Row for KnownRow<'_, '_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        match (self.0)(field) {
            Known::Value(value) => Some(value),
            Known::Nothing | Known::Missing => None,
        }
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }
}

fn fix<'a>(node: &Node, known: &dyn Fn(u16) -> Known<'a>) -> Node {
    let all = |nodes: &[Node]| nodes.iter().map(|node| fix(node, known)).collect();
    let is_known = |field: u16| known(field) != Known::Nothing;
    match node {
        Node::And(nodes) => Node::And(all(nodes)),
        Node::Or(nodes) => Node::Or(all(nodes)),
        Node::Not(inner) => Node::Not(Box::new(fix(inner, known))),
        Node::Compare { field, op, with } => fix_comparison(*field, *op, with, known),
        // Of a known field nothing is left to ask but whether the condition holds; only days depend on the clock.
        Node::In { field, .. } | Node::Has(field) | Node::StartsWith { field, .. } | Node::Contains { field, .. }
            if is_known(*field) =>
        {
            Node::Const(node.holds(&KnownRow(known), &crate::Now::new(0, &|_| 0)))
        }
        other => other.clone(),
    }
}

fn fix_comparison<'a>(field: u16, op: Comparison, with: &Operand, known: &dyn Fn(u16) -> Known<'a>) -> Node {
    let constant = |value: ValueRef<'_>| Operand::Constant(Value::from(value));
    let decided =
        |left: ValueRef<'_>, right: ValueRef<'_>| Node::Const(left.order(right).is_some_and(|order| op.accepts(order)));
    let unchanged = || Node::Compare { field, op, with: with.clone() };
    let other = match with {
        Operand::Field(other) => known(*other),
        Operand::Constant(value) => Known::Value(value.into()),
        // The clock is not known: a value takes the field's place in no comparison with it.
        Operand::Now => Known::Nothing,
    };
    match (known(field), other, with) {
        (Known::Missing, ..) | (_, Known::Missing, _) => Node::Const(false),
        (Known::Nothing, Known::Value(value), _) => Node::Compare { field, op, with: constant(value) },
        (Known::Value(left), Known::Value(right), _) => decided(left, right),
        (Known::Value(value), Known::Nothing, Operand::Field(other)) => {
            Node::Compare { field: *other, op: op.turned(), with: constant(value) }
        }
        (_, Known::Nothing, _) => unchanged(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, Now, Schema, Type};
    use std::borrow::Cow;

    struct Person<'a>([Option<&'a str>; 3]);

    impl Row for Person<'_> {
        fn value(&self, field: u16) -> Option<ValueRef<'_>> {
            self.0[usize::from(field) - 1].map(ValueRef::Text)
        }

        fn in_segment(&self, _name: &str) -> bool {
            false
        }
    }

    fn schema() -> Schema {
        let field = |id, name| Field { id, name: Cow::Borrowed(name), ty: Type::Text, description: "".into() };
        Schema::new(vec![field(1, "owner"), field(2, "region"), field(3, "caller.subject")], 2).unwrap()
    }

    #[test]
    fn a_fixed_rule_answers_like_the_rule_itself_and_reads_no_known_field() {
        const RULES: [&str; 10] = [
            "owner == caller.subject",
            "caller.subject == owner",
            "caller.subject < owner",
            "owner != caller.subject",
            "!(owner == caller.subject)",
            "has(caller.subject) && region == \"north\"",
            "caller.subject in [\"ann\", \"bob\"] || region == \"south\"",
            "caller.subject.startsWith(\"a\") || owner.contains(\"b\")",
            "caller.subject == \"ann\" && region != owner",
            "caller.subject >= \"b\" || caller.subject == caller.subject && region == \"south\"",
        ];
        let now = Now::new(0, &|_| 0);
        let texts = [None, Some("ann"), Some("bob"), Some("north"), Some("south")];
        for source in RULES {
            let rule = Rule::parse(source, &schema()).unwrap();
            for caller in texts {
                let fixed = rule.fixed(&|field| match (field, caller) {
                    (3, None) => Known::Missing,
                    (3, Some(text)) => Known::Value(ValueRef::Text(text)),
                    _ => Known::Nothing,
                });
                assert!(!fixed.fields().contains(&3), "{source}");
                for owner in texts {
                    for region in texts {
                        let asked = rule.matches(&Person([owner, region, caller]), &now);
                        assert_eq!(
                            fixed.matches(&Person([owner, region, None]), &now),
                            asked,
                            "{source} {caller:?} {owner:?}"
                        );
                    }
                }
            }
        }
    }
}
