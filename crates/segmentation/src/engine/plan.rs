//! A rule made ready for the columns: fields are columns, constants are codes and spans, names are bitmaps.

use super::codes::{CodeColumn, CodeSlice, ScoreColumn, TextColumn};
use super::days::DaysRange;
use super::numbers::{Buckets, NumberColumn, Span};
use super::supposed::Customers;
use super::{Column, Segments};
use quintile_expr::{Comparison, Node, Now, Operand, Value};
use std::cmp::Ordering;

/// More bitmaps than this are read no faster than the codes are.
const MAX_UNION: usize = 12;

/// A condition over columns. A missing value meets none of them but `Not`.
pub(super) enum Plan<'a> {
    All,
    Nobody,
    /// The customers of a bitmap, which may be shorter than the columns.
    Bits(&'a [u64]),
    /// Those of any of the bitmaps.
    Union(Vec<&'a [u64]>),
    /// Those of the first that are in none of the others.
    Outside(&'a [u64], Vec<&'a [u64]>),
    /// Those with this code.
    Code(CodeSlice<'a>, u32),
    /// Those whose code is accepted.
    Codes(CodeSlice<'a>, Vec<bool>),
    Number(NumberPlan<'a>),
    Set(SetPlan<'a>),
    Pair(Comparison, PairSide<'a>, PairSide<'a>),
    And(Vec<Plan<'a>>),
    Or(Vec<Plan<'a>>),
    Not(Box<Plan<'a>>),
}

/// A number within a span.
pub(super) struct NumberPlan<'a> {
    pub(super) column: &'a NumberColumn,
    /// Outside of it the condition is false.
    pub(super) possible: Span,
    /// Within it the condition is true.
    pub(super) sure: Option<Span>,
    /// Decides between the two.
    pub(super) days: Option<DaysRange<'a>>,
    pub(super) possible_buckets: Buckets,
    pub(super) sure_buckets: Option<Buckets>,
    /// Whether those that have a number and do not meet the condition are wanted.
    pub(super) negated: bool,
}

/// A number in a list.
pub(super) struct SetPlan<'a> {
    pub(super) column: &'a NumberColumn,
    /// By bucket, whether it has a number of the list.
    pub(super) buckets: Vec<bool>,
    /// Ascending.
    pub(super) numbers: Vec<i64>,
}

/// One side of a comparison of two fields.
pub(super) enum PairSide<'a> {
    Number(&'a NumberColumn),
    /// By code, a number that orders as the values do.
    Codes(&'a CodeColumn, Vec<i64>),
}

impl<'a> Plan<'a> {
    pub(super) fn new<'s: 'a>(
        customers: Customers<'a>,
        node: &Node,
        now: &'a Now<'_>,
        segments: &Segments<'s>,
    ) -> Self {
        let plan = |node| Self::new(customers, node, now, segments);
        match node {
            Node::And(all) => Self::And(cheapest_first(all.iter().map(plan).collect())),
            Node::Or(any) => Self::Or(cheapest_first(any.iter().map(plan).collect())),
            Node::Not(inner) => Self::Not(Box::new(plan(inner))),
            Node::Compare { field, op, with } => Self::compare(customers, *field, *op, with, now),
            Node::In { field, set } => Self::membership(customers, *field, set),
            Node::Has(field) => match customers.column(*field) {
                Some(Column::Score(column)) => Self::Bits(column.codes().valid()),
                Some(Column::Text(column)) => Self::Bits(column.codes().valid()),
                Some(Column::Number(column)) => Self::Bits(column.valid()),
                None => Self::Nobody,
            },
            Node::DaysSince { field, op, days } => match customers.column(*field) {
                Some(Column::Number(column)) => Self::days(column, *op, *days, now),
                _ => Self::Nobody,
            },
            Node::StartsWith { field, prefix } => {
                Self::text(customers, *field, |text| text.starts_with(prefix.as_str()))
            }
            Node::Contains { field, part } => Self::text(customers, *field, |text| text.contains(part.as_str())),
            Node::Segment(name) => segments(name).map_or(Self::Nobody, |segment| Self::Bits(segment.words())),
            Node::Const(true) => Self::All,
            Node::Const(false) => Self::Nobody,
        }
    }

    fn compare(customers: Customers<'a>, field: u16, op: Comparison, with: &Operand, now: &Now<'_>) -> Self {
        let Some(column) = customers.column(field) else {
            return Self::Nobody;
        };
        match (column, with) {
            (left, Operand::Field(right)) => {
                customers.column(*right).map_or(Self::Nobody, |right| Self::pair(left, op, right))
            }
            (Column::Number(column), Operand::Now) => Self::number(column, op, now.micros()),
            (Column::Number(column), Operand::Constant(Value::Int(number) | Value::Instant(number))) => {
                Self::number(column, op, *number)
            }
            (Column::Score(column), Operand::Constant(Value::Int(number))) => {
                Self::codes(column.codes(), |code| op.accepts(ScoreColumn::score(code).cmp(number)))
            }
            (Column::Text(column), Operand::Constant(Value::Text(constant))) => match op {
                // The commonest comparisons need not look at every value there is.
                Comparison::Equal => Self::one_of(column, [constant.as_str()]),
                _ => Self::codes(column.codes(), |code| op.accepts(column.text(code).cmp(constant))),
            },
            _ => Self::Nobody,
        }
    }

    fn membership(customers: Customers<'a>, field: u16, set: &[Value]) -> Self {
        match customers.column(field) {
            Some(Column::Number(column)) => {
                let numbers = set.iter().filter_map(|value| match value {
                    Value::Int(number) | Value::Instant(number) => Some(*number),
                    _ => None,
                });
                let numbers: Vec<i64> = numbers.collect();
                let mut buckets = vec![false; column.bucket_count()];
                for number in &numbers {
                    buckets[usize::from(column.bucket(*number))] = true;
                }
                Self::Set(SetPlan { column, buckets, numbers })
            }
            Some(Column::Score(column)) => {
                Self::codes(column.codes(), |code| set.binary_search(&Value::Int(ScoreColumn::score(code))).is_ok())
            }
            Some(Column::Text(column)) => {
                let texts = set.iter().filter_map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                });
                Self::one_of(column, texts)
            }
            None => Self::Nobody,
        }
    }

    fn text(customers: Customers<'a>, field: u16, accepts: impl Fn(&str) -> bool) -> Self {
        match customers.column(field) {
            Some(Column::Text(column)) => Self::codes(column.codes(), |code| accepts(column.text(code))),
            _ => Self::Nobody,
        }
    }

    fn number(column: &'a NumberColumn, op: Comparison, number: i64) -> Self {
        let (span, negated) = accepted(op, number);
        Self::span(column, span.map(|span| (span, Some(span), None)), negated)
    }

    fn days(column: &'a NumberColumn, op: Comparison, days: i64, now: &'a Now<'_>) -> Self {
        let (span, negated) = accepted(op, days);
        let range = span.map(|span| DaysRange::new(now, span));
        let spans = range.map(|range| {
            let (possible, sure) = range.spans();
            (possible, sure, Some(range))
        });
        Self::span(column, spans, negated)
    }

    /// No spans: no number meets the condition.
    fn span(
        column: &'a NumberColumn,
        spans: Option<(Span, Option<Span>, Option<DaysRange<'a>>)>,
        negated: bool,
    ) -> Self {
        match spans.filter(|(possible, ..)| possible.low <= possible.high) {
            Some((possible, sure, days)) => Self::Number(NumberPlan {
                column,
                possible,
                sure,
                days,
                possible_buckets: column.buckets_touching(possible),
                sure_buckets: sure.and_then(|sure| column.buckets_inside(sure)),
                negated,
            }),
            None if negated => Self::Bits(column.valid()),
            None => Self::Nobody,
        }
    }

    fn one_of<'t>(column: &'a TextColumn, texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut codes: Vec<u32> = texts.into_iter().filter_map(|text| column.find(text)).collect();
        codes.sort_unstable();
        match codes.as_slice() {
            [] => Self::Nobody,
            [code] => Self::code(column.codes(), *code),
            codes => Self::codes(column.codes(), |code| codes.binary_search(&code).is_ok()),
        }
    }

    fn code(column: &'a CodeColumn, code: u32) -> Self {
        column.bitmap(code).map_or(Self::Code(column.codes(), code), Self::Bits)
    }

    fn codes(column: &'a CodeColumn, accepts: impl Fn(u32) -> bool) -> Self {
        let (accepted, refused): (Vec<u32>, Vec<u32>) = column.live_codes().partition(|code| accepts(*code));
        let bitmaps = |codes: &[u32]| codes.iter().map(|code| column.bitmap(*code)).collect::<Option<Vec<_>>>();
        match (accepted.as_slice(), refused.as_slice()) {
            ([], _) => return Self::Nobody,
            (_, []) => return Self::Bits(column.valid()),
            ([code], _) => return Self::code(column, *code),
            _ => {}
        }
        let by_bitmaps = if accepted.len().min(refused.len()) > MAX_UNION {
            None
        } else if accepted.len() <= refused.len() {
            bitmaps(&accepted).map(Self::Union)
        } else {
            bitmaps(&refused).map(|refused| Self::Outside(column.valid(), refused))
        };
        by_bitmaps.unwrap_or_else(|| {
            let mut table = vec![false; column.code_count()];
            for code in accepted {
                table[code as usize] = true;
            }
            Self::Codes(column.codes(), table)
        })
    }

    fn pair(left: &'a Column, op: Comparison, right: &'a Column) -> Self {
        let (left, right) = match (left, right) {
            (Column::Text(left), Column::Text(right)) => {
                let (left_ranks, right_ranks) = ranks(left, right);
                (PairSide::Codes(left.codes(), left_ranks), PairSide::Codes(right.codes(), right_ranks))
            }
            (Column::Text(_), _) | (_, Column::Text(_)) => return Self::Nobody,
            (left, right) => match (PairSide::of_numbers(left), PairSide::of_numbers(right)) {
                (Some(left), Some(right)) => (left, right),
                _ => return Self::Nobody,
            },
        };
        Self::Pair(op, left, right)
    }

    /// Roughly the bytes read per 64 customers, and more for work that is not reading.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::All | Self::Nobody => 0,
            Self::Bits(_) => 8,
            Self::Union(bitmaps) | Self::Outside(_, bitmaps) => 8 * (bitmaps.len() + 1),
            Self::Number(_) => 256,
            Self::Code(..) => 160,
            Self::Codes(..) | Self::Set(_) => 512,
            Self::Pair(..) => 2048,
            Self::And(plans) | Self::Or(plans) => plans.iter().map(Self::cost).sum(),
            Self::Not(plan) => plan.cost(),
        }
    }
}

impl<'a> PairSide<'a> {
    fn of_numbers(column: &'a Column) -> Option<Self> {
        match column {
            Column::Number(column) => Some(Self::Number(column)),
            Column::Score(column) => {
                let highest = column.codes().live_codes().last().unwrap_or(0);
                Some(Self::Codes(column.codes(), (0..=highest).map(ScoreColumn::score).collect()))
            }
            Column::Text(_) => None,
        }
    }
}

/// What is cheap narrows the field for what is not; conditions have no effects, so their order is free.
fn cheapest_first(mut plans: Vec<Plan<'_>>) -> Vec<Plan<'_>> {
    plans.sort_by_cached_key(Plan::cost);
    plans
}

/// The numbers that stand in this relation to a constant, as a span (none: no number) and whether the rest is meant.
fn accepted(op: Comparison, number: i64) -> (Option<Span>, bool) {
    let at_most = |high| Span { low: i64::MIN, high };
    let at_least = |low| Span { low, high: i64::MAX };
    match op {
        Comparison::Equal => (Some(Span { low: number, high: number }), false),
        Comparison::NotEqual => (Some(Span { low: number, high: number }), true),
        Comparison::Less => (number.checked_sub(1).map(at_most), false),
        Comparison::LessOrEqual => (Some(at_most(number)), false),
        Comparison::Greater => (number.checked_add(1).map(at_least), false),
        Comparison::GreaterOrEqual => (Some(at_least(number)), false),
    }
}

/// By code of each column, the text's rank among the texts of both.
fn ranks(left: &TextColumn, right: &TextColumn) -> (Vec<i64>, Vec<i64>) {
    let texts = |column: &TextColumn| column.codes().live_codes().map(|code| column.text(code).to_owned()).collect();
    let mut all: Vec<String> = texts(left);
    all.extend::<Vec<String>>(texts(right));
    all.sort_unstable();
    all.dedup();
    let of = |column: &TextColumn| {
        let highest = column.codes().live_codes().last().unwrap_or(0);
        let rank = |code| match all.binary_search_by(|text| text.as_str().cmp(column.text(code))) {
            Ok(rank) | Err(rank) => rank as i64,
        };
        (0..=highest).map(rank).collect()
    };
    (of(left), of(right))
}

/// Whether two values that stand in this order are accepted, as a table that the inner loop can hold.
pub(super) fn outcomes(op: Comparison) -> [bool; 3] {
    [Ordering::Less, Ordering::Equal, Ordering::Greater].map(|order| op.accepts(order))
}
