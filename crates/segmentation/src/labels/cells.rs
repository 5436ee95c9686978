//! The labels of the 125 cells, for those who have to look them up by the million.

use super::Proof;
use crate::fields::FieldId;
use quintile_expr::Value;

/// Scores run from 1 to this.
const BINS: u8 = 5;
/// Cells of three scores.
const CELLS: usize = 125;

/// The label of every cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellMap {
    table: [u8; CELLS],
    rest: u8,
}

impl CellMap {
    /// By what was proved of a set of so many labels. `None`: it was not proved of the three scores alone.
    pub(super) fn new(proof: &Proof, labels: usize) -> Option<Self> {
        let rest = u8::try_from(labels).ok()?;
        let of_scores = proof.fields == [FieldId::Recency, FieldId::Frequency, FieldId::Monetary];
        if !of_scores || proof.cells.len() != CELLS {
            return None;
        }
        let mut table = [rest; CELLS];
        for (cell, label) in &proof.cells {
            let score = |value: &Value| match value {
                Value::Int(score) => u8::try_from(*score).ok(),
                _ => None,
            };
            let at = position(score(cell.first()?)?, score(cell.get(1)?)?, score(cell.get(2)?)?)?;
            table[at] = u8::try_from(*label).ok()?;
        }
        Some(Self { table, rest })
    }

    /// The place in the set of the label of these scores; that of the rest for any score outside 1 to 5.
    pub fn label(&self, recency: u8, frequency: u8, monetary: u8) -> u8 {
        position(recency, frequency, monetary).map_or(self.rest, |at| self.table[at])
    }

    /// The place of the label of whom no rule finds.
    pub fn rest(&self) -> u8 {
        self.rest
    }
}

/// Where a cell stands in the table; none when it is not three scores of 1 to 5.
fn position(recency: u8, frequency: u8, monetary: u8) -> Option<usize> {
    let scores = [recency, frequency, monetary];
    let known = scores.iter().all(|score| (1..=BINS).contains(score));
    known.then(|| scores.iter().fold(0, |at, score| at * usize::from(BINS) + usize::from(score - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::schema;
    use crate::labels::{cells, rfm_11};

    #[test]
    fn the_set_that_ships_gives_every_cell_its_label() {
        let set = rfm_11();
        let map = cells(&set, &schema(2).unwrap()).unwrap();
        let table = [
            ((5, 5, 5), "champions"),
            ((4, 4, 4), "loyal"),
            ((3, 2, 3), "potential-loyalist"),
            ((3, 1, 1), "new"),
            ((5, 1, 3), "promising"),
            ((3, 2, 4), "need-attention"),
            ((2, 5, 1), "about-to-sleep"),
            ((1, 2, 4), "at-risk"),
            ((1, 4, 4), "cannot-lose"),
            ((2, 1, 1), "hibernating"),
            ((1, 5, 1), "lost"),
            ((0, 5, 5), "unscored"),
            ((6, 1, 1), "unscored"),
            ((1, 10, 1), "unscored"),
        ];
        for ((recency, frequency, monetary), id) in table {
            assert_eq!(set.ids()[usize::from(map.label(recency, frequency, monetary))], id);
        }
    }

    #[test]
    fn cells_and_positions_are_one_to_one() {
        let mut positions: Vec<_> = (0..=u8::MAX)
            .flat_map(|r| (0..10).flat_map(move |f| (0..10).map(move |m| (r, f, m))))
            .filter_map(|(r, f, m)| position(r, f, m))
            .collect();
        positions.sort_unstable();
        assert_eq!(positions, (0..CELLS).collect::<Vec<_>>());
    }
}
