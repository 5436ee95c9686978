//! The risk of one customer while some of its values move, as days do that go by: what a move can't change is not asked again.

use super::boosting::Boosted;
use super::encoding::{Cell, Learnt};
use super::error::ChurnError;
use super::model::{ChurnModel, Model, OfCells};
use super::table::Value;
use super::tree::{Node, Question};

/// Where the questions of a model turn: what lies between two of these is the same to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Turns {
    /// For each feature the numbers that it is compared with, ascending, each with the place of the tree that does so. Empty: of a regression.
    of_features: Vec<Vec<(f64, u32)>>,
}

impl Turns {
    /// Of a model.
    pub fn of(model: &ChurnModel) -> Self {
        let Model::Boosted(boosted) = &model.model else { return Self { of_features: Vec::new() } };
        let mut of_features = vec![Vec::new(); boosted.encoding.features.len()];
        for (place, tree) in boosted.trees.iter().enumerate() {
            for node in &tree.nodes {
                if let Node::Split { feature, question: Question::AtMost(threshold), .. } = node
                    && let Some(turns) = of_features.get_mut(*feature as usize)
                {
                    turns.push((*threshold, place as u32));
                }
            }
        }
        for turns in &mut of_features {
            turns.sort_unstable_by(|(one, _): &(f64, u32), (other, _)| one.total_cmp(other));
        }
        Self { of_features }
    }

    /// The trees that may tell one number of a feature from another, some more than once. `before`: `None` where it was missing.
    fn between(&self, feature: usize, before: Option<f64>, after: f64) -> &[(f64, u32)] {
        let Some(turns) = self.of_features.get(feature) else { return &[] };
        let place = |number: f64| turns.partition_point(|(turn, _)| *turn < number);
        let (one, other) = before.map_or((0, turns.len()), |before| (place(before), place(after)));
        turns.get(one.min(other)..one.max(other)).unwrap_or_default()
    }
}

/// What is known of the log-odds of a customer.
enum Parts<'m> {
    /// What makes them of its values, all at once.
    Regression(OfCells<'m>),
    /// What each tree adds.
    Trees(&'m Boosted, Vec<f64>),
}

/// A customer whose values move.
pub struct Moving<'m> {
    model: &'m ChurnModel,
    turns: &'m Turns,
    cells: Vec<Cell>,
    parts: Parts<'m>,
}

impl<'m> Moving<'m> {
    /// A customer with a value for each feature, under a model whose questions turn so.
    pub fn new(model: &'m ChurnModel, turns: &'m Turns, row: &[Value<'_>]) -> Result<Self, ChurnError> {
        let cells = model.model.encoding().cells(row)?;
        let parts = match &model.model {
            Model::Logistic(_) => Parts::Regression(model.model.of_cells()),
            Model::Boosted(boosted) => {
                Parts::Trees(boosted, boosted.trees.iter().map(|tree| tree.value(&cells)).collect())
            }
        };
        Ok(Self { model, turns, cells, parts })
    }

    /// The risk, 0 to 1: to the last bit what [`ChurnModel::risk`] gives for the same values.
    pub fn risk(&self) -> f64 {
        let log_odds = match &self.parts {
            Parts::Regression(of_cells) => of_cells(&self.cells),
            // In the order of the trees, as sums of floating point depend on it.
            Parts::Trees(boosted, values) => boosted.base + values.iter().sum::<f64>(),
        };
        self.model.calibration.risk(log_odds)
    }

    /// Moves the number of the feature at a place, and tells whether the risk may be another one. What is no finite number, or of no number, stays.
    pub fn set(&mut self, feature: usize, number: f64) -> bool {
        let encoded = self.model.model.encoding().features.get(feature);
        let is_number = encoded.is_some_and(|encoded| matches!(encoded.learnt, Learnt::Number { .. }));
        let Some(cell) = self.cells.get_mut(feature).filter(|_| is_number && number.is_finite()) else { return false };
        let before = if let Cell::Number(before) = *cell { Some(before) } else { None };
        *cell = Cell::Number(number);
        match &mut self.parts {
            Parts::Regression(_) => true,
            Parts::Trees(boosted, values) => {
                let asked = self.turns.between(feature, before, number);
                for (_, place) in asked {
                    let tree = boosted.trees.get(*place as usize);
                    if let (Some(tree), Some(value)) = (tree, values.get_mut(*place as usize)) {
                        *value = tree.value(&self.cells);
                    }
                }
                !asked.is_empty()
            }
        }
    }
}
