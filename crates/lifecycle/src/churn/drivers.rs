//! Why customers leave: what their features add to their risks, over all of them.

use super::encoding::{Cell, Encoded, Learnt};
use super::error::ChurnError;
use super::model::ChurnModel;
use super::table::Table;
use quintile_domain::seeded::Seeded;
use std::collections::BTreeMap;

/// The rows that are explained: so many tell means to a hundredth of a deviation.
const ROWS: usize = 10_000;

/// What a feature does to risks.
#[derive(Clone, Debug, PartialEq)]
pub struct Driver {
    /// The feature's name.
    pub feature: String,
    /// The mean size of what it adds to log-odds, whatever the sign: how much it matters.
    pub strength: f64,
    /// Of a number: the correlation between it and what it adds, -1 to 1. Near 1 the more of it the likelier somebody
    /// is to leave, near -1 the less likely, near 0 it depends. `None`: it is a category, or does not vary, or adds
    /// nothing.
    pub direction: Option<f64>,
    /// Of a category what each of its levels adds, and of either what it adds to be missing: the most first.
    pub levels: Vec<LevelEffect>,
}

/// What it adds to be of a level.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelEffect {
    /// The level.
    pub level: Group,
    /// How many of the rows are of it. What is said of few is said of somebody.
    pub rows: usize,
    /// What it adds to log-odds on average: above 0 they are likelier to leave.
    pub mean: f64,
}

/// Customers with the same value of a feature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Those of a level.
    Level(String),
    /// Those of levels that the model does not tell apart.
    Other,
    /// Those of whom it is not known.
    Missing,
}

/// What is summed of a feature.
#[derive(Default)]
struct Sums {
    size: f64,
    /// Pairs of value and contribution.
    pairs: Vec<(f64, f64)>,
    groups: BTreeMap<Group, (usize, f64)>,
}

/// The features of a model by how much they matter for the customers of a table, the strongest first; of equal ones the
/// feature that comes first. It looks at 10,000 rows at most, chosen by the seed.
pub fn drivers(model: &ChurnModel, table: &Table, seed: u64) -> Result<Vec<Driver>, ChurnError> {
    let encoding = model.model.encoding();
    let reader = encoding.reader(table)?;
    let rows = Seeded::new(seed).sample(table.rows(), ROWS);
    let mut sums: Vec<Sums> = encoding.features.iter().map(|_| Sums::default()).collect();
    let mut cells = Vec::new();
    for row in &rows {
        reader.read(*row, &mut cells);
        let explanation = model.model.explain(&cells);
        let each = sums.iter_mut().zip(&cells).zip(&explanation.factors).zip(&encoding.features);
        for (((sums, cell), factor), encoded) in each {
            sums.add(*cell, factor.contribution, encoded);
        }
    }
    let count = rows.len().max(1) as f64;
    let mut found: Vec<Driver> =
        encoding.features.iter().zip(sums).map(|(encoded, sums)| sums.driver(encoded, count)).collect();
    found.sort_by(|one, other| other.strength.total_cmp(&one.strength));
    Ok(found)
}

impl Sums {
    fn add(&mut self, cell: Cell, contribution: f64, encoded: &Encoded) {
        self.size += contribution.abs();
        let group = match cell {
            Cell::Number(value) => {
                self.pairs.push((value, contribution));
                return;
            }
            Cell::Missing => Group::Missing,
            Cell::Other => Group::Other,
            Cell::Level(place) => match &encoded.learnt {
                Learnt::Category { levels, .. } => {
                    levels.get(place as usize).map_or(Group::Other, |level| Group::Level(level.name.clone()))
                }
                Learnt::Number { .. } => Group::Other,
            },
        };
        let (rows, sum) = self.groups.entry(group).or_default();
        *rows += 1;
        *sum += contribution;
    }

    fn driver(self, encoded: &Encoded, count: f64) -> Driver {
        let level = |(level, (rows, sum)): (Group, (usize, f64))| LevelEffect { level, rows, mean: sum / rows as f64 };
        let mut levels: Vec<LevelEffect> = self.groups.into_iter().map(level).collect();
        levels.sort_by(|one, other| other.mean.total_cmp(&one.mean));
        Driver {
            feature: encoded.name.clone(),
            strength: self.size / count,
            direction: correlation(&self.pairs),
            levels,
        }
    }
}

/// Pearson's. `None`: one side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len().max(1) as f64;
    let mean = |side: fn(&(f64, f64)) -> f64| pairs.iter().map(side).sum::<f64>() / count;
    let (of_values, of_others) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut squares, mut other_squares, mut products) = (0.0, 0.0, 0.0);
    for (value, other) in pairs {
        squares += (value - of_values) * (value - of_values);
        other_squares += (other - of_others) * (other - of_others);
        products += (value - of_values) * (other - of_others);
    }
    let scale = (squares * other_squares).sqrt();
    (scale > 0.0 && scale.is_finite()).then(|| (products / scale).clamp(-1.0, 1.0))
}
