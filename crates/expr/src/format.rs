//! Writes a tree as its author would: one spelling for each meaning.

use crate::node::{Comparison, Node, Operand, Value};
use crate::schema::{DECIMALS, Schema, Type};
use quintile_domain::money::with_decimals;
use quintile_domain::time::Instant;

/// Longer chains of one connective are written one condition to a line.
const LINE: usize = 100;
const INDENT: &str = "  ";

/// The source of a tree. Parsed again under the same schema, it gives the same tree but for double negations, which say nothing.
pub(crate) fn format(root: &Node, schema: &Schema) -> String {
    Formatter { schema }.node(root, 0)
}

struct Formatter<'a> {
    schema: &'a Schema,
}

impl Formatter<'_> {
    /// `level` is how many chains that are broken into lines it stands in.
    fn node(&self, node: &Node, level: usize) -> String {
        match node {
            Node::Not(inner) if matches!(**inner, Node::Not(_)) => self.node(plain(node), level),
            Node::And(all) => self.chain(all, "&&", level),
            Node::Or(all) => self.chain(all, "||", level),
            Node::Not(inner) if binds_tightly(inner) => format!("!{}", self.node(inner, level)),
            Node::Not(inner) => format!("!({})", self.node(inner, level)),
            Node::Compare { field, op: Comparison::Equal, with: Operand::Constant(Value::Bool(true)) } => {
                self.name(*field).to_owned()
            }
            Node::Compare { field, op, with } => {
                format!("{} {} {}", self.name(*field), sign(*op), self.operand(*field, with))
            }
            Node::In { field, set } => {
                let values: Vec<_> = set.iter().map(|value| self.value(*field, value)).collect();
                format!("{} in [{}]", self.name(*field), values.join(", "))
            }
            Node::Has(field) => format!("has({})", self.name(*field)),
            Node::DaysSince { field, op, days } => format!("days_since({}) {} {days}", self.name(*field), sign(*op)),
            Node::StartsWith { field, prefix } => format!("{}.startsWith({})", self.name(*field), text(prefix)),
            Node::Contains { field, part } => format!("{}.contains({})", self.name(*field), text(part)),
            Node::Segment(name) => format!("segment({})", text(name)),
            Node::Const(answer) => answer.to_string(),
        }
    }

    fn chain(&self, all: &[Node], connective: &str, level: usize) -> String {
        let operands: Vec<_> = all.iter().map(|node| self.operand_of_chain(node, connective, level + 1)).collect();
        let line = operands.join(&format!(" {connective} "));
        let is_short = INDENT.len() * level + line.chars().count() <= LINE;
        if is_short && !line.contains('\n') {
            return line;
        }
        operands.join(&format!("\n{}{connective} ", INDENT.repeat(level)))
    }

    /// `&&` binds more tightly than `||`; a chain never stands in one of its own kind.
    fn operand_of_chain(&self, node: &Node, connective: &str, level: usize) -> String {
        match plain(node) {
            Node::Or(_) if connective == "&&" => format!("({})", self.node(node, level)),
            _ => self.node(node, level),
        }
    }

    fn operand(&self, field: u16, operand: &Operand) -> String {
        match operand {
            Operand::Field(other) => self.name(*other).to_owned(),
            Operand::Constant(value) => self.value(field, value),
            Operand::Now => "now".to_owned(),
        }
    }

    fn value(&self, field: u16, value: &Value) -> String {
        match value {
            Value::Int(number) => match self.field(field).map(|field| field.ty) {
                Some(Type::Money) => self.money(*number),
                Some(Type::Decimal) => {
                    let written = with_decimals(*number, DECIMALS.into());
                    written.trim_end_matches('0').trim_end_matches('.').to_owned()
                }
                _ => number.to_string(),
            },
            Value::Text(value) => text(value),
            Value::Bool(value) => value.to_string(),
            Value::Instant(micros) => format!("timestamp(\"{}\")", Instant::from_micros(*micros)),
        }
    }

    /// Major units: whole ones without decimals, others with all that the currency has.
    fn money(&self, minor: i64) -> String {
        let written = with_decimals(minor, self.schema.minor_digits().into());
        let whole = written.trim_end_matches('0').strip_suffix('.').map(str::to_owned);
        whole.unwrap_or(written)
    }

    fn field(&self, id: u16) -> Option<&crate::Field> {
        self.schema.fields().iter().find(|field| field.id == id)
    }

    fn name(&self, id: u16) -> &str {
        // Every field of a tree is of the schema that it was bound to.
        self.field(id).map_or("", |field| &field.name)
    }
}

/// A node without the double negations around it.
fn plain(mut node: &Node) -> &Node {
    while let Node::Not(once) = node
        && let Node::Not(twice) = &**once
    {
        node = twice;
    }
    node
}

/// Whether `!` in front of it is about all of it.
fn binds_tightly(node: &Node) -> bool {
    match node {
        Node::Has(_) | Node::StartsWith { .. } | Node::Contains { .. } | Node::Segment(_) | Node::Const(_) => true,
        Node::Compare { op, with, .. } => *op == Comparison::Equal && *with == Operand::Constant(Value::Bool(true)),
        Node::And(_) | Node::Or(_) | Node::Not(_) | Node::In { .. } | Node::DaysSince { .. } => false,
    }
}

const fn sign(op: Comparison) -> &'static str {
    match op {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn text(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
