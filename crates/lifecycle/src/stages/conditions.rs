//! Rules of a policy's own: a stage, and the condition of those who are in it; and the days on which conditions turn.

use super::fields::{StageField, is_withheld, schema};
use super::{Evidence, Stage, StageInput};
use quintile_domain::time::{Instant, TimeZone};
use quintile_expr::{ExprError, Node, Now, Operand, Position, Row, Rule, Value, ValueRef};
use thiserror::Error;

/// The most rules of a policy.
pub const MAX_RULES: usize = 32;
/// The most bytes of a condition: everybody whom it puts into a stage has it in the record, for a reason.
pub const MAX_CONDITION_BYTES: usize = 1_024;
/// The most terms of all rules of a policy.
pub const MAX_TERMS: usize = 256;
/// The most of them that ask for something of the day: each may turn on two days, and all terms are asked on each of these.
pub const MAX_TURNING_TERMS: usize = 32;

/// A rule of a policy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageRule {
    stage: Stage,
    condition: Rule,
}

/// Why a rule is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConditionError {
    /// The language has no such condition, or there is no such field.
    #[error("{0}")]
    Language(#[from] ExprError),
    /// It asks for a field of segments that is of money, of a place or of a person's circumstances.
    #[error("unknown field `{name}` at {position}: stages may not depend on money, places or circumstances")]
    Withheld {
        /// Where the name starts.
        position: Position,
        /// The name.
        name: String,
    },
    /// It asks for segments.
    #[error("must not ask for segments: these are made of stages")]
    Segment,
    /// It compares an instant with the present one.
    #[error("must not compare with `now`: days_since(field) counts local days")]
    Now,
}

impl StageRule {
    /// Reads a condition.
    pub fn parse(stage: Stage, condition: &str) -> Result<Self, ConditionError> {
        let condition = Rule::parse(condition, schema()).map_err(|error| match error {
            ExprError::UnknownField { position, name, .. } if is_withheld(&name) => {
                ConditionError::Withheld { position, name }
            }
            error => error.into(),
        })?;
        if !condition.references().is_empty() {
            return Err(ConditionError::Segment);
        }
        if compares_with_now(condition.root()) {
            return Err(ConditionError::Now);
        }
        Ok(Self { stage, condition })
    }

    /// The stage of whom the condition holds.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The condition, as it was written.
    pub fn condition(&self) -> &str {
        self.condition.source()
    }

    /// Its conditions and list elements.
    pub fn terms(&self) -> usize {
        sum(self.condition.root(), &elements)
    }

    /// Those of them that may have another answer on another day.
    pub fn turning_terms(&self) -> usize {
        sum(self.condition.root(), &|term| if turns(term) { elements(term) } else { 0 })
    }

    /// Whether it holds for a customer at an instant.
    pub(super) fn holds(&self, row: &DayRow<'_, '_>) -> bool {
        let local_day = |micros: i64| row.local_day(micros);
        self.condition.matches(row, &Now::new(row.at.micros(), &local_day))
    }

    /// Adds the local days on which a part of the condition turns.
    pub(super) fn add_turning_days(&self, evidence: &Evidence<'_>, days: &mut Vec<i64>) {
        add_turning_days(self.condition.root(), evidence, days);
    }
}

fn compares_with_now(node: &Node) -> bool {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(compares_with_now),
        Node::Not(inner) => compares_with_now(inner),
        Node::Compare { with, .. } => *with == Operand::Now,
        _ => false,
    }
}

/// Adds up what each term of a condition counts for.
fn sum(node: &Node, counts: &impl Fn(&Node) -> usize) -> usize {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(|node| sum(node, counts)).sum(),
        Node::Not(inner) => sum(inner, counts),
        term => counts(term),
    }
}

fn elements(term: &Node) -> usize {
    match term {
        Node::In { set, .. } => set.len().max(1),
        _ => 1,
    }
}

/// Whether a term may have another answer on another day.
fn turns(term: &Node) -> bool {
    match term {
        Node::DaysSince { .. } => true,
        Node::In { field, .. } => Counted::of(*field).is_some(),
        Node::Compare { field, with, .. } => {
            let other = if let Operand::Field(other) = with { Counted::of(*other) } else { None };
            Counted::of(*field).or(other).is_some()
        }
        _ => false,
    }
}

/// The instants of a customer that conditions may ask for, and their local days: found once, since many terms ask for them on many days.
#[derive(Default)]
pub(super) struct LocalDays {
    /// The beginning of the day on which the customer came.
    acquired_at: Option<Instant>,
    /// Instants in microseconds since 1970, and local days since then.
    days: [Option<(i64, i32)>; 5],
}

impl LocalDays {
    pub(super) fn of(input: &StageInput<'_>, zone: &TimeZone) -> Self {
        let acquired_at = input.acquired_day.map(|day| zone.start_of_day(day));
        let instants = [input.first_order, input.last_order, input.last_interaction, input.last_low_score, acquired_at];
        Self { acquired_at, days: instants.map(|at| at.map(|at| (at.micros(), zone.local_day(at)))) }
    }

    fn day_of(&self, micros: i64) -> Option<i32> {
        self.days.iter().flatten().find(|(at, _)| *at == micros).map(|(_, day)| *day)
    }
}

/// A customer at an instant of a local day.
pub(super) struct DayRow<'e, 'a> {
    pub(super) evidence: &'e Evidence<'a>,
    pub(super) at: Instant,
    pub(super) day: i32,
}

impl DayRow<'_, '_> {
    fn local_day(&self, micros: i64) -> i32 {
        if micros == self.at.micros() { self.day } else { local_day(micros, self.evidence) }
    }
}

fn local_day(micros: i64, evidence: &Evidence<'_>) -> i32 {
    let known = evidence.local_days.day_of(micros);
    known.unwrap_or_else(|| evidence.zone.local_day(Instant::from_micros(micros)))
}

impl Row for DayRow<'_, '_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        let silent_days = || self.evidence.silent_days(i64::from(self.day));
        match StageField::from_id(field)? {
            StageField::SilentDays => Some(ValueRef::Int(silent_days())),
            StageField::RhythmsSilent => Some(ValueRef::Int(self.evidence.p80.times_exceeded(silent_days()))),
            field => self.evidence.input.value(field, self.evidence.local_days.acquired_at),
        }
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }
}

/// A number that is another on another day.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    SilentDays,
    RhythmsSilent,
}

impl Counted {
    fn of(field: u16) -> Option<Self> {
        match StageField::from_id(field)? {
            StageField::SilentDays => Some(Self::SilentDays),
            StageField::RhythmsSilent => Some(Self::RhythmsSilent),
            _ => None,
        }
    }

    /// The local days from which it is a number, and from which it is more.
    fn days(self, number: i64, evidence: &Evidence<'_>) -> [i64; 2] {
        let silences = match self {
            Self::SilentDays => [number, number.saturating_add(1)],
            Self::RhythmsSilent => {
                let factor = |number: i64| i32::try_from(number.clamp(0, i64::from(i32::MAX))).unwrap_or(i32::MAX);
                [number, number.saturating_add(1)].map(|times| evidence.p80.first_beyond(factor(times)))
            }
        };
        silences.map(|silence| evidence.last_order_day.saturating_add(silence))
    }
}

/// The local days on which a part of a condition turns; between two of them nothing can change. Some may turn nothing.
fn add_turning_days(node: &Node, evidence: &Evidence<'_>, days: &mut Vec<i64>) {
    match node {
        Node::And(nodes) | Node::Or(nodes) => {
            for node in nodes {
                add_turning_days(node, evidence, days);
            }
        }
        Node::Not(inner) => add_turning_days(inner, evidence, days),
        Node::DaysSince { field, days: since, .. } => {
            if let Some(ValueRef::Instant(micros)) = constant(*field, evidence) {
                let turns = i64::from(local_day(micros, evidence)).saturating_add(*since);
                days.extend([turns, turns.saturating_add(1)]);
            }
        }
        Node::Compare { field, with, .. } => {
            if let Some((counted, number)) = compared(*field, with, evidence) {
                days.extend(counted.days(number, evidence));
            }
        }
        Node::In { field, set } => {
            if let Some(counted) = Counted::of(*field) {
                for value in set {
                    if let Value::Int(number) = value {
                        days.extend(counted.days(*number, evidence));
                    }
                }
            }
        }
        Node::Has(_) | Node::StartsWith { .. } | Node::Contains { .. } | Node::Segment(_) | Node::Const(_) => {}
    }
}

/// The value of a field that is the same on every day.
fn constant<'e>(field: u16, evidence: &'e Evidence<'_>) -> Option<ValueRef<'e>> {
    evidence.input.value(StageField::from_id(field)?, evidence.local_days.acquired_at)
}

/// What of a comparison is another on another day, and the number that it is compared with. `None`: nothing is, or the number is missing.
fn compared(field: u16, with: &Operand, evidence: &Evidence<'_>) -> Option<(Counted, i64)> {
    let number = |field: u16| match constant(field, evidence)? {
        ValueRef::Int(number) => Some(number),
        _ => None,
    };
    match (Counted::of(field), with) {
        (Some(counted), Operand::Constant(Value::Int(number))) => Some((counted, *number)),
        (Some(counted), Operand::Field(other)) if Counted::of(*other).is_none() => Some((counted, number(*other)?)),
        // A rhythm is of a day or more: from the first day of silence on it is of more days than rhythms, and of as many before.
        (Some(_), Operand::Field(_)) => Some((Counted::SilentDays, 0)),
        (None, Operand::Field(other)) => Some((Counted::of(*other)?, number(field)?)),
        _ => None,
    }
}
