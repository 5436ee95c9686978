//! Asks one row. The column engine answers the same questions for many.

use crate::node::{Comparison, Node, Operand, Value};
use std::cmp::Ordering;

/// A row's value, borrowed. Values of one type are ordered as rules order them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueRef<'a> {
    /// A whole number, money in minor units, or a number in thousandths.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// Microseconds since 1970 in UTC.
    Instant(i64),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Int(number) => Self::Int(*number),
            Value::Text(text) => Self::Text(text),
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Instant(micros) => Self::Instant(*micros),
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Int(number) => Self::Int(number),
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            ValueRef::Bool(bool) => Self::Bool(bool),
            ValueRef::Instant(micros) => Self::Instant(micros),
        }
    }
}

impl ValueRef<'_> {
    /// None between different types: a row that breaks its schema then answers like a missing
    /// value, because one bad row must not take a scan down.
    pub(crate) fn order(self, other: ValueRef<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), ValueRef::Int(b)) | (Self::Instant(a), ValueRef::Instant(b)) => Some(a.cmp(&b)),
            (Self::Text(a), ValueRef::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), ValueRef::Bool(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }
}

/// One customer, as rules see it.
pub trait Row {
    /// The value of a field, of the type its schema says; none when it is missing.
    fn value(&self, field: u16) -> Option<ValueRef<'_>>;

    /// Whether the row belongs to another segment. False for a segment that does not exist.
    fn in_segment(&self, name: &str) -> bool;
}

/// The instant that rules are asked about, and the calendar of the tenant.
#[derive(Clone, Copy)]
pub struct Now<'a> {
    micros: i64,
    today: i32,
    local_day: &'a (dyn Fn(i64) -> i32 + Sync),
}

impl<'a> Now<'a> {
    /// `micros` since 1970 in UTC; `local_day` gives the days since 1970 of the local date at an
    /// instant, and decides the time zone.
    #[must_use]
    pub fn new(micros: i64, local_day: &'a (dyn Fn(i64) -> i32 + Sync)) -> Self {
        Self { micros, today: local_day(micros), local_day }
    }

    /// The instant, in microseconds since 1970 in UTC.
    #[must_use]
    pub fn micros(&self) -> i64 {
        self.micros
    }

    /// The local date, in days since 1970.
    #[must_use]
    pub fn today(&self) -> i32 {
        self.today
    }

    /// Local dates between `instant`, in microseconds since 1970 in UTC, and now; negative for a later date.
    #[must_use]
    pub fn days_since(&self, instant: i64) -> i64 {
        i64::from(self.today) - i64::from((self.local_day)(instant))
    }
}

impl Node {
    pub(crate) fn holds(&self, row: &dyn Row, now: &Now<'_>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|node| node.holds(row, now)),
            Self::Or(any) => any.iter().any(|node| node.holds(row, now)),
            Self::Not(node) => !node.holds(row, now),
            Self::Compare { field, op, with } => compares(row, *field, *op, with, now),
            Self::In { field, set } => row.value(*field).is_some_and(|value| contains(set, value)),
            Self::Has(field) => row.value(*field).is_some(),
            Self::DaysSince { field, op, days } => match row.value(*field) {
                Some(ValueRef::Instant(micros)) => op.accepts(now.days_since(micros).cmp(days)),
                _ => false,
            },
            Self::StartsWith { field, prefix } => {
                text(row, *field).is_some_and(|text| text.starts_with(prefix.as_str()))
            }
            Self::Contains { field, part } => text(row, *field).is_some_and(|text| text.contains(part.as_str())),
            Self::Segment(name) => row.in_segment(name),
            Self::Const(answer) => *answer,
        }
    }
}

fn compares(row: &dyn Row, field: u16, op: Comparison, with: &Operand, now: &Now<'_>) -> bool {
    let right = match with {
        Operand::Field(other) => row.value(*other),
        Operand::Constant(value) => Some(value.into()),
        Operand::Now => Some(ValueRef::Instant(now.micros)),
    };
    let order = row.value(field).zip(right).and_then(|(left, right)| left.order(right));
    order.is_some_and(|order| op.accepts(order))
}

fn contains(sorted: &[Value], value: ValueRef<'_>) -> bool {
    // Whichever way a value of another type leans, it leans the same everywhere: it is not found.
    let position = |constant: &Value| ValueRef::from(constant).order(value);
    sorted.binary_search_by(|constant| position(constant).unwrap_or(Ordering::Less)).is_ok()
}

fn text(row: &dyn Row, field: u16) -> Option<&str> {
    match row.value(field) {
        Some(ValueRef::Text(text)) => Some(text),
        _ => None,
    }
}
