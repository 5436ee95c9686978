//! Stage flow: where those who were in a stage at one instant are at a later one, and every move in between.

use super::history::History;
use std::collections::BTreeMap;

/// From a stage to a stage. `None`: no stage, as before a customer is known and after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Change {
    /// Where from.
    pub from: Option<u8>,
    /// Where to.
    pub to: Option<u8>,
}

/// Counts of customers and of moves between two instants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFlow {
    from_micros: i64,
    to_micros: i64,
    ends: BTreeMap<Change, u64>,
    moves: BTreeMap<Change, u64>,
}

impl StageFlow {
    /// Between two instants, in microseconds since 1970. If the second is not the later one, nothing moves in between.
    pub fn new(from_micros: i64, to_micros: i64) -> Self {
        Self { from_micros, to_micros, ends: BTreeMap::new(), moves: BTreeMap::new() }
    }

    /// Counts a customer in.
    pub fn add(&mut self, history: &History<'_>) {
        let ends = Change { from: history.stage_at(self.from_micros), to: history.stage_at(self.to_micros) };
        if ends != (Change { from: None, to: None }) {
            *self.ends.entry(ends).or_default() += 1;
        }
        // After the first instant, at which the stage counts as the one before, and up to the second.
        let within = |at_micros: i64| self.from_micros < at_micros && at_micros <= self.to_micros;
        for step in history.moves().filter(|step| within(step.at_micros)) {
            *self.moves.entry(Change { from: step.from, to: step.to }).or_default() += 1;
        }
    }

    /// Customers by stage at the first and at the second instant, those who stayed included. Customers in no stage at
    /// both are not counted.
    pub fn ends(&self) -> &BTreeMap<Change, u64> {
        &self.ends
    }

    /// Moves after the first instant and up to the second; a customer that went back and forth counts for each. Customers
    /// of a stage at the second instant are those at the first, and the moves into it less those out of it.
    pub fn moves(&self) -> &BTreeMap<Change, u64> {
        &self.moves
    }

    /// Customers that were in a stage at the first instant and at the second.
    pub fn sizes(&self, stage: u8) -> (u64, u64) {
        let sum = |at: fn(&Change) -> Option<u8>| {
            self.ends.iter().filter(|(ends, _)| at(ends) == Some(stage)).map(|(_, count)| count).sum()
        };
        (sum(|ends| ends.from), sum(|ends| ends.to))
    }
}
