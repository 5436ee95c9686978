//! Churn: who is likely to leave, how likely, why, and whether a model knows better than a rule of thumb.
//!
//! Pure: a table of features as of a past instant and who has left since give a model; a model and a customer's
//! features give a risk and what makes it up. Nothing here knows a clock, a customer, a database or a stored form, and
//! what is random follows from a seed. Formulas are those of the sheet's sections 5 and 8. Every part of a
//! [`ChurnModel`] is public and plain, for whoever stores one; what comes back is checked ([`ChurnModel::check`]).
//!
//! The order of things: a [`Table`] per period and labels; [`train`] fits [`Candidate`]s on the earliest, calibrates
//! them on the next and holds them against [`Baseline`]s on the latest. It gives [`ModelCard`]s and says whether a
//! model is to be published. Where a label says who has left there are no periods: [`cross_validate`] judges by folds
//! instead. Who splits by time, chooses features and decides when to do so again is not here.
//!
//! Regression and boosting are our own and not linfa's, for three reasons: missing values have to count, explanations
//! have to add up, and a model has to be the same on any number of threads.
//!
//! To add another kind of model: a variant of [`Model`] with log-odds and an explanation, and of [`Settings`].

mod bins;
mod boosting;
mod calibration;
mod card;
mod cholesky;
mod comparison;
mod drift;
mod drivers;
mod encoding;
mod error;
mod evaluation;
mod explanation;
mod folds;
mod growth;
mod histogram;
mod logistic;
mod model;
mod moving;
mod parallel;
mod ranking;
mod shapley;
mod table;
#[cfg(test)]
mod tests;
mod training;
mod tree;

pub use boosting::{Boosted, Boosting, Stopping};
pub use calibration::{Calibration, Knot, Method};
pub use card::{Against, ModelCard, Rows};
pub use comparison::{Comparison, Difference, compare};
pub use drift::{Band, Drift, RiskProfile};
pub use drivers::{Driver, Group, LevelEffect, drivers};
pub use encoding::{Encoded, Encoding, Learnt, Level, Part, Term};
pub use error::ChurnError;
pub use evaluation::{Evaluation, Lift, ReliabilityBin};
pub use explanation::{Explanation, Factor};
pub use folds::{FOLDS, cross_validate, fold_of};
pub use logistic::{Logistic, Penalty};
pub use model::{ChurnModel, Model, Settings};
pub use moving::{Moving, Turns};
pub use ranking::Ranking;
pub use table::{Feature, Kind, Table, Value};
pub use training::{Baseline, Candidate, Period, Trained, Training, train};
pub use tree::{Node, Question, Tree};

/// The most features of a model. What needs more is not explained to anybody.
pub const MAX_FEATURES: usize = 64;
/// The most rows of a table: a sample of so many tells all that a model of so many features can learn.
pub const MAX_ROWS: usize = 1_000_000;
/// The most levels of a category that a model tells apart: the most frequent ones. All others are one.
pub const MAX_LEVELS: usize = 32;
/// The most different levels that a table takes for a category. What has more is a name, not a category.
pub const MAX_TABLE_LEVELS: usize = 4_096;
/// The most trees of a model.
pub const MAX_TREES: usize = 2_000;
/// The deepest tree: so many questions from its root to a leaf.
pub const MAX_DEPTH: usize = 8;
