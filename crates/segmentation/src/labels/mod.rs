//! Label sets: ordered rules, of which the first that matches gives a customer its one label, and a label for everybody else.
//!
//! `presets.rs` has those that everybody knows; to add one: its table there, its name in [`presets::NAMES`] and in the test that proves them, and
//! what its labels are called in other languages in `titles.rs`.

mod cells;
pub mod presets;
mod proof;
mod titles;

pub use cells::CellMap;
pub use presets::rfm_11;
pub use proof::{LabelError, Proof, prove};

use quintile_expr::{Rule, Schema};

/// The most labels of a set, the one for everybody else aside: their places are bytes, and people have to tell them apart.
pub const MAX_LABELS: usize = 100;

/// Labels, one of which every customer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSet {
    /// The labels, in the order in which they are tried.
    pub labels: Vec<Label>,
    /// The label of whom no rule finds. Its expression is empty.
    pub rest: Label,
    /// Whether it is meant that rules overlap, and the first decides.
    pub overlaps_allowed: bool,
}

/// One label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// What it is known by, such as `cannot-lose`; unique in its set.
    pub id: String,
    /// What people read.
    pub title: String,
    /// What they read in languages, each of which is there once.
    pub titles: Vec<Title>,
    /// Who has it, of those who have none before it.
    pub expression: String,
}

/// What people call a label in a language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// The language, as a BCP 47 tag.
    pub language: String,
    /// What they call it.
    pub title: String,
}

impl LabelSet {
    /// The ids, in order, that of the rest last.
    pub fn ids(&self) -> Vec<String> {
        self.labels.iter().chain([&self.rest]).map(|label| label.id.clone()).collect()
    }
}

/// The label of every cell of recency, frequency and monetary scores, by the rules of a set that reads nothing else.
///
/// # Errors
/// [`LabelError`]; a rule that is none is [`LabelError::Unreadable`].
pub fn cells(set: &LabelSet, schema: &Schema) -> Result<CellMap, LabelError> {
    let mut rules = Vec::with_capacity(set.labels.len());
    for label in &set.labels {
        let unreadable = |_| LabelError::Unreadable(label.id.clone());
        rules.push(Rule::parse(&label.expression, schema).map_err(unreadable)?);
    }
    let proof = prove(set, &rules)?;
    CellMap::new(&proof, set.labels.len()).ok_or(LabelError::NotOfScores)
}

/// A rule for cells, each three scores as they are written: 541 is recency 5, frequency 4, monetary 1.
///
/// # Errors
/// The first that is no cell.
pub fn expression_of(cells: &[u16]) -> Result<String, u16> {
    let mut by_pair: Vec<((u16, u16), Vec<u16>)> = Vec::new();
    let mut sorted = cells.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for cell in sorted {
        let scores = [cell / 100, cell / 10 % 10, cell % 10];
        if cell > 999 || scores.iter().any(|score| !(1..=5).contains(score)) {
            return Err(cell);
        }
        let pair = (scores[0], scores[1]);
        match by_pair.last_mut().filter(|(last, _)| *last == pair) {
            Some((_, monetary)) => monetary.push(scores[2]),
            None => by_pair.push((pair, vec![scores[2]])),
        }
    }
    let conjunction = |((r, f), m): &((u16, u16), Vec<u16>)| {
        let m: Vec<String> = m.iter().map(u16::to_string).collect();
        format!("rfm.r == {r} && rfm.f == {f} && rfm.m in [{}]", m.join(", "))
    };
    Ok(by_pair.iter().map(conjunction).collect::<Vec<_>>().join(" || "))
}
