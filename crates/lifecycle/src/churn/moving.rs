//! The risk of one customer while some of its values move, as days do that go by.

use super::encoding::Cell;
use super::model::{ChurnModel, Model, OfCells};
use super::table::Value;
use super::tree::{Node, Question};
use super::{ChurnError, encoding::Learnt};

/// Where the questions of a model turn: what lies between two of these is the same to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Turns {
    /// For each feature the numbers that it is compared with, ascending. `None`: of a regression, to which any two numbers differ.
    of_features: Option<Vec<Vec<f64>>>,
}

impl Turns {
    /// Of a model.
    pub fn of(model: &ChurnModel) -> Self {
        let Model::Boosted(boosted) = &model.model else { return Self { of_features: None } };
        let mut of_features = vec![Vec::new(); boosted.encoding.features.len()];
        for node in boosted.trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Split { feature, question: Question::AtMost(threshold), .. } = node
                && let Some(turns) = of_features.get_mut(*feature as usize)
            {
                turns.push(*threshold);
            }
        }
        for turns in &mut of_features {
            turns.sort_unstable_by(f64::total_cmp);
            turns.dedup();
        }
        Self { of_features: Some(of_features) }
    }

    /// Whether a model may tell two numbers of a feature apart.
    fn lie_between(&self, feature: usize, one: f64, other: f64) -> bool {
        let Some(of_features) = &self.of_features else { return true };
        let Some(turns) = of_features.get(feature) else { return false };
        let place = |number: f64| turns.partition_point(|turn| *turn < number);
        place(one) != place(other)
    }
}

/// A customer whose values move.
pub struct Moving<'m> {
    model: &'m ChurnModel,
    turns: &'m Turns,
    of_cells: OfCells<'m>,
    cells: Vec<Cell>,
}

impl<'m> Moving<'m> {
    /// A customer with a value for each feature, under a model whose questions turn so.
    pub fn new(model: &'m ChurnModel, turns: &'m Turns, row: &[Value<'_>]) -> Result<Self, ChurnError> {
        let cells = model.model.encoding().cells(row)?;
        Ok(Self { model, turns, of_cells: model.model.of_cells(), cells })
    }

    /// The risk, 0 to 1: what [`ChurnModel::risk`] gives for the same values.
    pub fn risk(&self) -> f64 {
        self.model.calibration.risk((self.of_cells)(&self.cells))
    }

    /// Moves the number of the feature at a place, and tells whether the risk may be another one. What is no finite number, or of no number, stays.
    pub fn set(&mut self, feature: usize, number: f64) -> bool {
        let encoded = self.model.model.encoding().features.get(feature);
        let is_number = encoded.is_some_and(|encoded| matches!(encoded.learnt, Learnt::Number { .. }));
        let Some(cell) = self.cells.get_mut(feature).filter(|_| is_number && number.is_finite()) else { return false };
        let may_differ = match *cell {
            Cell::Number(before) => self.turns.lie_between(feature, before, number),
            _ => true,
        };
        *cell = Cell::Number(number);
        may_differ
    }
}
