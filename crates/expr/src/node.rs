//! The typed tree: what a rule means, for every executor.

use std::cmp::Ordering;

/// A condition whose fields exist and whose types agree.
///
/// At most [`MAX_DEPTH`](crate::MAX_DEPTH) levels, so executors may recurse. Fields are named by
/// their id. Every condition on a missing value is false, except through [`Node::Not`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// All of two or more, none of which is an `And`.
    And(Vec<Node>),
    /// Any of two or more, none of which is an `Or`.
    Or(Vec<Node>),
    /// The opposite: true when the inner condition is false because of a missing value.
    Not(Box<Node>),
    /// `field op with`. The binder turns `3 < x` round, so that the field is always on the left;
    /// a bool field alone is `field == true`.
    Compare {
        /// The field on the left.
        field: u16,
        /// The comparison; only `==` and `!=` for bools.
        op: Comparison,
        /// What the field is compared with, of the field's type.
        with: Operand,
    },
    /// The field's value is one of `set`.
    In {
        /// The field.
        field: u16,
        /// Constants of the field's type, sorted, each once; may be empty.
        set: Vec<Value>,
    },
    /// The field has a value.
    Has(u16),
    /// The local date of now minus the local date of the field, in days, compared with `days`.
    DaysSince {
        /// An instant field.
        field: u16,
        /// The comparison.
        op: Comparison,
        /// Days; negative for instants after today.
        days: i64,
    },
    /// The text field starts with these bytes.
    StartsWith {
        /// A text field.
        field: u16,
        /// May be empty: then it asks only for a value.
        prefix: String,
    },
    /// The text field contains these bytes.
    Contains {
        /// A text field.
        field: u16,
        /// May be empty: then it asks only for a value.
        part: String,
    },
    /// The row belongs to the segment of that name, which may not exist.
    Segment(String),
    /// Always this.
    Const(bool),
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Another field, of the same type.
    Field(u16),
    /// A constant.
    Constant(Value),
    /// The instant the rule is asked about.
    Now,
}

/// A constant. Values of one type have the order that rules compare by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A whole number, money in minor units, or a number in thousandths.
    Int(i64),
    /// Text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// Microseconds since 1970 in UTC.
    Instant(i64),
}

/// How two values of one type are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether values that stand in this order satisfy the comparison.
    #[must_use]
    pub const fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The comparison that holds for `(b, a)` when this one holds for `(a, b)`.
    pub(crate) const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    /// Whether it needs an order, and not only equality.
    pub(crate) const fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}
