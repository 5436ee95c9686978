//! Trees: questions about a customer's values, and what each answer adds to its log-odds.

use super::MAX_DEPTH;
use super::encoding::{Cell, Encoding, Learnt};
use super::error::ChurnError;
use serde::{Deserialize, Serialize};

/// A tree. Its root is the first node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// Nodes, each before those that follow from it.
    pub nodes: Vec<Node>,
}

/// A place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// The end.
    Leaf {
        /// What it adds to the log-odds.
        value: f64,
        /// The rows of the fit that came here.
        rows: u32,
    },
    /// A question.
    Split {
        /// The place of the feature that it is about.
        feature: u32,
        /// What is asked of its value.
        question: Question,
        /// What the answer is where it is missing.
        missing: bool,
        /// The node that follows a yes. It comes later than this one.
        yes: u32,
        /// The node that follows a no. It comes later than this one.
        no: u32,
        /// The rows of the fit that came here.
        rows: u32,
    },
}

/// What is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// Whether a number is at most so large.
    AtMost(f64),
    /// Whether a category has the level at this place of the encoding.
    Is(u32),
}

impl Question {
    pub(super) fn answer(self, cell: Cell, missing: bool) -> bool {
        match (self, cell) {
            (Self::AtMost(threshold), Cell::Number(value)) => value <= threshold,
            (Self::Is(level), Cell::Level(own)) => own == level,
            (Self::Is(_), Cell::Other) => false,
            _ => missing,
        }
    }
}

impl Node {
    pub(super) fn rows(&self) -> f64 {
        match self {
            Self::Leaf { rows, .. } | Self::Split { rows, .. } => f64::from(*rows),
        }
    }
}

impl Tree {
    /// What it adds to a customer's log-odds.
    pub(super) fn value(&self, cells: &[Cell]) -> f64 {
        let mut place = 0;
        loop {
            match self.nodes.get(place) {
                Some(Node::Leaf { value, .. }) => return *value,
                Some(Node::Split { feature, question, missing, yes, no, .. }) => {
                    let cell = cells.get(*feature as usize).copied().unwrap_or(Cell::Missing);
                    let next = if question.answer(cell, *missing) { *yes } else { *no } as usize;
                    if next <= place {
                        return 0.0;
                    }
                    place = next;
                }
                None => return 0.0,
            }
        }
    }

    /// What it adds on average, by the rows of the fit.
    pub(super) fn mean(&self) -> f64 {
        let total = self.nodes.first().map_or(0.0, Node::rows).max(1.0);
        let leaves = self.nodes.iter().map(|node| match node {
            Node::Leaf { value, rows } => value * f64::from(*rows),
            Node::Split { .. } => 0.0,
        });
        leaves.sum::<f64>() / total
    }

    /// Whether what was stored is a tree whose every question can be put to customers of the encoding.
    pub(super) fn check(&self, encoding: &Encoding) -> Result<(), ChurnError> {
        // For each node how many questions lead to it: none, as yet, or one path.
        let mut depths: Vec<Option<usize>> = vec![None; self.nodes.len()];
        if let Some(root) = depths.first_mut() {
            *root = Some(0);
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let depth =
                depths.get(place).copied().flatten().ok_or(ChurnError::Malformed("a node without a way to it"))?;
            match node {
                Node::Leaf { value, rows } if value.is_finite() && *rows > 0 => {}
                Node::Split { feature, question, yes, no, rows, .. } if depth < MAX_DEPTH => {
                    check_question(*question, *feature, encoding)?;
                    let mut below = 0.0;
                    for next in [*yes as usize, *no as usize] {
                        match depths.get_mut(next) {
                            // What has been passed has been reached, so this one comes later.
                            Some(reached @ None) => *reached = Some(depth + 1),
                            _ => return Err(ChurnError::Malformed("a node's successor")),
                        }
                        below += self.nodes.get(next).map_or(0.0, Node::rows);
                    }
                    if (f64::from(*rows) - below).abs() > 0.0 {
                        return Err(ChurnError::Malformed("the rows of a node"));
                    }
                }
                _ => return Err(ChurnError::Malformed("a node")),
            }
        }
        if self.nodes.is_empty() { Err(ChurnError::Malformed("a tree without nodes")) } else { Ok(()) }
    }
}

fn check_question(question: Question, feature: u32, encoding: &Encoding) -> Result<(), ChurnError> {
    match (question, encoding.features.get(feature as usize).map(|encoded| &encoded.learnt)) {
        (Question::AtMost(threshold), Some(Learnt::Number { .. })) if threshold.is_finite() => Ok(()),
        (Question::Is(level), Some(Learnt::Category { levels, .. })) if (level as usize) < levels.len() => Ok(()),
        _ => Err(ChurnError::Malformed("a question")),
    }
}
