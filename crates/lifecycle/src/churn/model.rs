//! A model of either kind, and what is asked of it.

use super::boosting::{Boosted, Boosting};
use super::calibration::Calibration;
use super::encoding::{Cell, Encoding};
use super::error::ChurnError;
use super::explanation::Explanation;
use super::logistic::{Logistic, Penalty};
use super::table::{Table, Value};
use serde::{Deserialize, Serialize};

/// What kind of model is fitted, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Settings {
    /// A logistic regression.
    Logistic(Penalty),
    /// Boosted trees.
    Boosted(Boosting),
}

/// A model, before its scores are calibrated. They are log-odds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Model {
    /// A logistic regression.
    Logistic(Logistic),
    /// Boosted trees.
    Boosted(Boosted),
}

/// A model whose risks mean what they say. All that it is, is public, for whoever stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChurnModel {
    /// What gives log-odds.
    pub model: Model,
    /// What makes risks of them.
    pub calibration: Calibration,
}

/// Log-odds of a customer's values.
pub(super) type OfCells<'m> = Box<dyn Fn(&[Cell]) -> f64 + 'm>;

impl Model {
    /// Fits a model to who left.
    pub fn fit(table: &Table, labels: &[bool], settings: &Settings) -> Result<Self, ChurnError> {
        match settings {
            Settings::Logistic(penalty) => Logistic::fit(table, labels, *penalty).map(Self::Logistic),
            Settings::Boosted(boosting) => Boosted::fit(table, labels, boosting).map(Self::Boosted),
        }
    }

    /// What the features were like at the fit.
    pub fn encoding(&self) -> &Encoding {
        match self {
            Self::Logistic(model) => &model.encoding,
            Self::Boosted(model) => &model.encoding,
        }
    }

    /// Whether the fit came to rest. Trees always do.
    pub(super) fn is_at_rest(&self) -> bool {
        match self {
            Self::Logistic(model) => model.converged,
            Self::Boosted(_) => true,
        }
    }

    /// The log-odds of each row of a table, which has the features of the fit in their order.
    pub fn log_odds(&self, table: &Table) -> Result<Vec<f64>, ChurnError> {
        let reader = self.encoding().reader(table)?;
        let (of_cells, mut cells) = (self.of_cells(), Vec::new());
        let each = (0..table.rows()).map(|row| {
            reader.read(row, &mut cells);
            of_cells(&cells)
        });
        Ok(each.collect())
    }

    /// What makes log-odds of a customer's values.
    pub(super) fn of_cells(&self) -> OfCells<'_> {
        match self {
            Self::Logistic(model) => {
                let terms = model.encoding.terms();
                Box::new(move |cells| model.log_odds(cells, &terms))
            }
            Self::Boosted(model) => Box::new(|cells| model.log_odds(cells)),
        }
    }

    pub(super) fn explain(&self, cells: &[Cell]) -> Explanation {
        match self {
            Self::Logistic(model) => model.explain(cells),
            Self::Boosted(model) => model.explain(cells),
        }
    }
}

impl ChurnModel {
    /// A customer's risk of leaving, 0 to 1, by a value for each feature.
    pub fn risk(&self, row: &[Value<'_>]) -> Result<f64, ChurnError> {
        let cells = self.model.encoding().cells(row)?;
        Ok(self.calibration.risk(self.model.of_cells()(&cells)))
    }

    /// The risk of each row of a table, which has the features of the fit in their order.
    pub fn risks(&self, table: &Table) -> Result<Vec<f64>, ChurnError> {
        let log_odds = self.model.log_odds(table)?;
        Ok(log_odds.into_iter().map(|log_odds| self.calibration.risk(log_odds)).collect())
    }

    /// What makes up a customer's log-odds: those before calibration, which keeps their order.
    pub fn explain(&self, row: &[Value<'_>]) -> Result<Explanation, ChurnError> {
        Ok(self.model.explain(&self.model.encoding().cells(row)?))
    }

    /// Refuses a model whose parts do not belong together, such as one that was stored by another version.
    pub fn check(&self) -> Result<(), ChurnError> {
        self.calibration.check()?;
        match &self.model {
            Model::Logistic(model) => model.check(),
            Model::Boosted(model) => model.check(),
        }
    }
}
