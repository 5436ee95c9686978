//! Label sets over the 125 RFM cells, and the proof that each cell has exactly one label.
//!
//! To add a preset: a table of its cells and a function beside [`rfm_11`], and its name in the test that proves them.

use thiserror::Error;

/// Scores run from 1 to this.
const BINS: u16 = 5;

/// Cells of three scores.
const CELLS: usize = 125;

/// No label yet: above every index, since a proven set has at most one label per cell.
const UNLABELLED: u8 = u8::MAX;

/// Exclusive labels over the RFM cells, and one more for customers without scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSet {
    /// The set's name, such as `rfm-11`.
    pub id: String,
    /// The labels, in the order in which they are shown.
    pub labels: Vec<Label>,
    /// The label of customers without scores: its id.
    pub default_id: String,
    /// The label of customers without scores: its title.
    pub default_title: String,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What rules compare `label` with, such as `cannot-lose`; unique in its set.
    pub id: String,
    /// What people read.
    pub title: String,
    /// The cells as they are written: 541 is recency 5, frequency 4, monetary 1.
    pub cells: Vec<u16>,
}

/// Why a label set is refused. Each names the first cell or label at fault, in the order of the set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LabelError {
    /// Two labels, the default among them, have one id.
    #[error("two labels have the id `{0}`")]
    DuplicateId(String),
    /// A cell is not three scores of 1 to 5.
    #[error("label `{label}` names the cell {cell}, which is not three scores of 1 to 5")]
    UnknownCell {
        /// The label's id.
        label: String,
        /// The cell as written.
        cell: u16,
    },
    /// A label has no cell, so no customer could ever bear it.
    #[error("label `{0}` has no cell")]
    Empty(String),
    /// All cells of a label belong to labels before it, so no customer could ever bear it.
    #[error("label `{label}` is shadowed: all its cells belong to labels before it, cell {cell} to `{by}`")]
    Shadowed {
        /// The id of the label that nobody would bear.
        label: String,
        /// Its first cell.
        cell: u16,
        /// The id of the label that has this cell.
        by: String,
    },
    /// A cell has two labels, or stands twice in one.
    #[error("cell {cell} belongs to `{first}` and again to `{second}`")]
    Overlap {
        /// The cell.
        cell: u16,
        /// The id of the label that has it first.
        first: String,
        /// The id of the label that names it again.
        second: String,
    },
    /// A cell has no label.
    #[error("cell {cell} has no label")]
    Gap {
        /// The cell.
        cell: u16,
    },
}

/// The label of every cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellMap {
    table: [u8; CELLS],
    default: u8,
}

impl CellMap {
    /// The index in [`LabelSet::labels`] of the label of these scores. Without scores, so for any score outside 1 to 5,
    /// it is the number of labels, which stands for the default.
    pub fn label(&self, recency: u8, frequency: u8, monetary: u8) -> u8 {
        let cell = u16::from(recency) * 100 + u16::from(frequency) * 10 + u16::from(monetary);
        let scores = [recency, frequency, monetary];
        // Checked by score, since 1, 10 and 1 would otherwise pass for another cell.
        if scores.iter().any(|score| u16::from(*score) > BINS) {
            return self.default;
        }
        position(cell).map_or(self.default, |at| self.table[at])
    }
}

impl CellMap {
    /// The index of the label of a cell by its place, the last score running fastest: 0 is 111, 1 is 112, and so on. `None`: the default.
    pub fn label_at(&self, place: Option<u8>) -> u8 {
        place.and_then(|place| self.table.get(usize::from(place)).copied()).unwrap_or(self.default)
    }
}

impl LabelSet {
    /// The id of the label at an index of [`CellMap::label`].
    pub fn id_at(&self, index: u8) -> &str {
        self.labels.get(usize::from(index)).map_or(&self.default_id, |label| &label.id)
    }
}

/// Where a cell stands in the table; none when it is not three scores of 1 to 5.
fn position(cell: u16) -> Option<usize> {
    let scores = [cell / 100, cell / 10 % 10, cell % 10];
    let known = scores.iter().all(|score| (1..=BINS).contains(score));
    known.then(|| scores.iter().fold(0, |at, score| at * usize::from(BINS) + usize::from(score - 1)))
}

/// The cell that stands there in the table.
fn cell_at(position: usize) -> u16 {
    let position = position as u16;
    (position / 25 + 1) * 100 + (position / 5 % 5 + 1) * 10 + position % 5 + 1
}

/// Proves that every cell has exactly one label and every label a cell.
///
/// # Errors
/// [`LabelError`], with the first fault found: per label in order, then gaps.
pub fn prove(set: &LabelSet) -> Result<CellMap, LabelError> {
    let mut table = [UNLABELLED; CELLS];
    for (index, label) in set.labels.iter().enumerate() {
        let earlier = &set.labels[..index];
        if label.id == set.default_id || earlier.iter().any(|other| other.id == label.id) {
            return Err(LabelError::DuplicateId(label.id.clone()));
        }
        let mut positions = Vec::with_capacity(label.cells.len());
        for &cell in &label.cells {
            let unknown = || LabelError::UnknownCell { label: label.id.clone(), cell };
            positions.push(position(cell).ok_or_else(unknown)?);
        }
        refuse_unbearable(set, label, &positions, &table)?;
        for at in positions {
            if table[at] != UNLABELLED {
                let first = set.id_at(table[at]).to_owned();
                return Err(LabelError::Overlap { cell: cell_at(at), first, second: label.id.clone() });
            }
            // Every label before this one has a cell of its own, so the index is at most 124.
            table[at] = index as u8;
        }
    }
    match table.iter().position(|label| *label == UNLABELLED) {
        Some(at) => Err(LabelError::Gap { cell: cell_at(at) }),
        None => Ok(CellMap { table, default: set.labels.len() as u8 }),
    }
}

/// A label that nobody could bear is more than an overlap: its author has lost it altogether.
fn refuse_unbearable(set: &LabelSet, label: &Label, positions: &[usize], table: &[u8]) -> Result<(), LabelError> {
    let Some(&first) = positions.first() else {
        return Err(LabelError::Empty(label.id.clone()));
    };
    if positions.iter().all(|at| table[*at] != UNLABELLED) {
        let by = set.id_at(table[first]).to_owned();
        return Err(LabelError::Shadowed { label: label.id.clone(), cell: cell_at(first), by });
    }
    Ok(())
}

/// Id, title and cells of the labels of `rfm-11`.
const RFM_11: [(&str, &str, &[u16]); 11] = [
    ("champions", "Champions", &[555, 554, 544, 545, 454, 455, 445]),
    ("loyal", "Loyal", &[543, 444, 435, 355, 354, 345, 344, 335]),
    (
        "potential-loyalist",
        "Potential Loyalist",
        &[
            553, 551, 552, 541, 542, 533, 532, 531, 452, 451, 442, 441, 431, 453, 433, 432, 423, 353, 352, 351, 342,
            341, 333, 323,
        ],
    ),
    ("new", "New", &[512, 511, 422, 421, 412, 411, 311]),
    ("promising", "Promising", &[525, 524, 523, 522, 521, 515, 514, 513, 425, 424, 413, 414, 415, 315, 314, 313]),
    ("need-attention", "Need Attention", &[535, 534, 443, 434, 343, 334, 325, 324]),
    ("about-to-sleep", "About To Sleep", &[331, 321, 312, 221, 213, 231, 241, 251]),
    (
        "at-risk",
        "At Risk",
        &[255, 254, 245, 244, 253, 252, 243, 242, 235, 234, 225, 224, 153, 152, 145, 143, 142, 135, 134, 133, 125, 124],
    ),
    ("cannot-lose", "Cannot Lose", &[155, 154, 144, 214, 215, 115, 114, 113]),
    ("hibernating", "Hibernating", &[332, 322, 233, 232, 223, 222, 132, 123, 122, 212, 211]),
    ("lost", "Lost", &[111, 112, 121, 131, 141, 151]),
];

/// The preset `rfm-11`: eleven labels, and `unscored` for customers without an order.
pub fn rfm_11() -> LabelSet {
    let labels = RFM_11.iter().map(|&(id, title, cells)| Label {
        id: id.to_owned(),
        title: title.to_owned(),
        cells: cells.to_vec(),
    });
    LabelSet {
        id: "rfm-11".to_owned(),
        labels: labels.collect(),
        default_id: "unscored".to_owned(),
        default_title: "Unscored".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label_mut<'a>(set: &'a mut LabelSet, id: &str) -> &'a mut Label {
        set.labels.iter_mut().find(|label| label.id == id).unwrap()
    }

    #[test]
    fn the_preset_gives_every_cell_its_label() {
        let set = rfm_11();
        let map = prove(&set).unwrap();
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
        ];
        for ((recency, frequency, monetary), id) in table {
            assert_eq!(set.id_at(map.label(recency, frequency, monetary)), id);
        }
        for label in &set.labels {
            for cell in &label.cells {
                let [recency, frequency, monetary] = [cell / 100, cell / 10 % 10, cell % 10].map(|score| score as u8);
                assert_eq!(set.id_at(map.label(recency, frequency, monetary)), label.id, "{cell}");
            }
        }
    }

    #[test]
    fn customers_without_scores_bear_the_default() {
        let set = rfm_11();
        let map = prove(&set).unwrap();
        for (recency, frequency, monetary) in [(0, 0, 0), (0, 5, 5), (6, 1, 1), (1, 10, 1), (1, 1, 11), (255, 255, 255)]
        {
            assert_eq!(set.id_at(map.label(recency, frequency, monetary)), "unscored");
        }
    }

    #[test]
    fn cells_and_positions_are_one_to_one() {
        for at in 0..CELLS {
            assert_eq!(position(cell_at(at)), Some(at));
        }
        assert_eq!((0..=u16::MAX).filter_map(position).count(), CELLS);
    }

    #[test]
    fn a_gap_is_named() {
        let mut set = rfm_11();
        label_mut(&mut set, "cannot-lose").cells.retain(|cell| *cell != 144);
        assert_eq!(prove(&set), Err(LabelError::Gap { cell: 144 }));
    }

    #[test]
    fn an_overlap_is_named_with_both_labels() {
        let mut set = rfm_11();
        label_mut(&mut set, "lost").cells.push(322);
        let overlap = LabelError::Overlap { cell: 322, first: "hibernating".to_owned(), second: "lost".to_owned() };
        assert_eq!(prove(&set), Err(overlap));
    }

    #[test]
    fn a_cell_twice_in_one_label_is_an_overlap_with_itself() {
        let mut set = rfm_11();
        label_mut(&mut set, "lost").cells.push(111);
        let overlap = LabelError::Overlap { cell: 111, first: "lost".to_owned(), second: "lost".to_owned() };
        assert_eq!(prove(&set), Err(overlap));
    }

    #[test]
    fn a_shadowed_label_is_named_with_the_label_before_it() {
        let mut set = rfm_11();
        let label = Label { id: "best".to_owned(), title: "Best".to_owned(), cells: vec![444, 555] };
        set.labels.push(label);
        let shadowed = LabelError::Shadowed { label: "best".to_owned(), cell: 444, by: "loyal".to_owned() };
        assert_eq!(prove(&set), Err(shadowed));
    }

    #[test]
    fn a_label_without_cells_is_named() {
        let mut set = rfm_11();
        label_mut(&mut set, "new").cells.clear();
        assert_eq!(prove(&set), Err(LabelError::Empty("new".to_owned())));
    }

    #[test]
    fn an_unknown_cell_is_named() {
        for cell in [0, 55, 506, 560, 611, 1111] {
            let mut set = rfm_11();
            label_mut(&mut set, "new").cells.push(cell);
            assert_eq!(prove(&set), Err(LabelError::UnknownCell { label: "new".to_owned(), cell }));
        }
    }

    #[test]
    fn two_labels_with_one_id_are_refused() {
        for taken in ["loyal", "unscored"] {
            let mut set = rfm_11();
            label_mut(&mut set, "lost").id = taken.to_owned();
            assert_eq!(prove(&set), Err(LabelError::DuplicateId(taken.to_owned())));
        }
    }
}
