//! From values to what models compute with. What it learnt is part of the model, so that who comes later is measured as
//! those were who were there.
//!
//! Trees ask values themselves. Regression has terms: a number is z = (v - mean) / deviation, a category has a term of
//! 0 or 1 for each level but the alphabetically first, and for the levels that are not told apart. What was missing at
//! the fit has a term of its own; the others stand at their means for it, and so does all that the fit never saw.

use super::MAX_LEVELS;
use super::error::ChurnError;
use super::table::{Column, Kind, MISSING, Table, Value, check_finite, check_width};
use serde::{Deserialize, Serialize};

/// A deviation smaller than this share of the largest value is what rounding leaves of a constant.
const LEAST_VARIATION: f64 = 1e-12;
/// The furthest from the mean that a value counts, in deviations. None of n rows is further than the root of n from
/// their mean, so that this bounds newcomers alone.
const FURTHEST: f64 = 1e4;

/// What the features were like at the fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoding {
    /// In the order of a row's values.
    pub features: Vec<Encoded>,
}

/// A feature at the fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoded {
    /// Its name.
    pub name: String,
    /// The share of rows in which it was missing, 0 to 1.
    pub missing: f64,
    /// What its known values were like.
    pub learnt: Learnt,
}

/// What known values were like at the fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Learnt {
    /// Those of numbers.
    Number {
        /// Their mean; 0 without any.
        mean: f64,
        /// Their population standard deviation (divided by n, not n - 1). 0: it was constant, and says nothing.
        deviation: f64,
    },
    /// Those of a category.
    Category {
        /// The levels that are told apart, by name: the [`MAX_LEVELS`] most frequent ones, of equal ones the first.
        levels: Vec<Level>,
        /// The share of known values that are of another level, 0 to 1.
        other: f64,
    },
}

/// A level of a category at the fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Its name.
    pub name: String,
    /// Its share of the known values, 0 to 1.
    pub share: f64,
}

/// A column of a regression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The place of the feature that it belongs to.
    pub feature: usize,
    /// What of the feature it is.
    pub part: Part,
    /// Its mean over the rows of the fit.
    pub mean: f64,
}

/// What a term is of its feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A number, in deviations from the mean.
    Amount,
    /// 1 where the category has the level at this place, else 0.
    Level(usize),
    /// 1 where it has a level that is not told apart, else 0.
    Other,
    /// 1 where it is missing, else 0.
    Missing,
}

/// A value, as a model has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    Missing,
    Number(f64),
    /// A place among the levels of the encoding.
    Level(u32),
    /// A level that is not told apart, or that the fit never saw.
    Other,
}

impl Encoding {
    /// The table has rows.
    pub(super) fn learn(table: &Table) -> Self {
        let each = table.features().iter().zip(table.columns()).map(|(feature, column)| {
            let (missing, learnt) = match column {
                Column::Numbers(numbers) => learn_number(numbers),
                Column::Levels { names, codes, .. } => learn_category(names, codes),
            };
            Encoded { name: feature.name.clone(), missing: missing as f64 / table.rows().max(1) as f64, learnt }
        });
        Self { features: each.collect() }
    }

    /// The terms of a regression, in the order of their coefficients.
    pub fn terms(&self) -> Vec<Term> {
        let mut terms = Vec::new();
        for (feature, encoded) in self.features.iter().enumerate() {
            match &encoded.learnt {
                Learnt::Number { .. } => terms.push(Term { feature, part: Part::Amount, mean: 0.0 }),
                Learnt::Category { levels, other } => {
                    let each = levels.iter().enumerate().skip(1);
                    terms.extend(each.map(|(place, level)| Term {
                        feature,
                        part: Part::Level(place),
                        mean: level.share,
                    }));
                    if *other > 0.0 {
                        terms.push(Term { feature, part: Part::Other, mean: *other });
                    }
                }
            }
            if encoded.missing > 0.0 {
                terms.push(Term { feature, part: Part::Missing, mean: encoded.missing });
            }
        }
        terms
    }

    /// What a term is of a customer.
    pub(super) fn term(&self, term: &Term, cell: Cell) -> f64 {
        match (term.part, cell) {
            (Part::Amount, Cell::Number(value)) => self.standardised(term.feature, value),
            (Part::Missing, _) => f64::from(cell == Cell::Missing),
            (Part::Level(place), Cell::Level(level)) => f64::from(place == level as usize),
            (Part::Other, Cell::Other) => 1.0,
            (Part::Other, Cell::Level(_)) => 0.0,
            (Part::Level(_), Cell::Other) if self.knew_others(term.feature) => 0.0,
            _ => term.mean,
        }
    }

    fn standardised(&self, feature: usize, value: f64) -> f64 {
        match self.features.get(feature).map(|encoded| &encoded.learnt) {
            Some(Learnt::Number { mean, deviation }) if *deviation > 0.0 => {
                ((value - mean) / deviation).clamp(-FURTHEST, FURTHEST)
            }
            _ => 0.0,
        }
    }

    fn knew_others(&self, feature: usize) -> bool {
        let learnt = self.features.get(feature).map(|encoded| &encoded.learnt);
        matches!(learnt, Some(Learnt::Category { other, .. }) if *other > 0.0)
    }

    /// A customer's values, one cell for each feature.
    pub(super) fn cells(&self, row: &[Value<'_>]) -> Result<Vec<Cell>, ChurnError> {
        check_width(row, self.features.len())?;
        let each =
            self.features.iter().zip(row).enumerate().map(|(place, (encoded, value))| match (&encoded.learnt, value) {
                (_, Value::Missing) => Ok(Cell::Missing),
                (Learnt::Number { .. }, Value::Number(value)) => {
                    check_finite(place, *value)?;
                    Ok(Cell::Number(*value))
                }
                (Learnt::Category { levels, .. }, Value::Category(name)) => Ok(cell_of(levels, name)),
                _ => Err(ChurnError::OtherKind(place)),
            });
        each.collect()
    }

    /// Reads a table of the same features in the same order as those of the fit.
    pub(super) fn reader<'t>(&self, table: &'t Table) -> Result<Reader<'t>, ChurnError> {
        if table.features().len() != self.features.len() {
            return Err(ChurnError::Width { found: table.features().len(), expected: self.features.len() });
        }
        let each = self.features.iter().zip(table.features()).zip(table.columns()).enumerate();
        let columns = each.map(|(place, ((encoded, feature), column))| match (&encoded.learnt, column) {
            _ if encoded.name != feature.name => Err(ChurnError::OtherFeature(place)),
            (Learnt::Number { .. }, Column::Numbers(numbers)) => Ok(Reading::Numbers(numbers)),
            (Learnt::Category { levels, .. }, Column::Levels { names, codes, .. }) => {
                Ok(Reading::Levels { cells: names.iter().map(|name| cell_of(levels, name)).collect(), codes })
            }
            _ => Err(ChurnError::OtherKind(place)),
        });
        Ok(Reader { columns: columns.collect::<Result<_, _>>()? })
    }

    /// Whether what was stored can be read by.
    pub(super) fn check(&self) -> Result<(), ChurnError> {
        let holds = |encoded: &Encoded| match &encoded.learnt {
            Learnt::Number { mean, deviation } => mean.is_finite() && deviation.is_finite() && *deviation >= 0.0,
            Learnt::Category { levels, other } => {
                let shares = levels.iter().all(|level| (0.0..=1.0).contains(&level.share));
                // Levels are looked for by bisection.
                let ordered = levels.iter().zip(levels.iter().skip(1)).all(|(one, next)| one.name < next.name);
                shares && ordered && levels.len() <= MAX_LEVELS && (0.0..=1.0).contains(other)
            }
        };
        let all = self.features.iter().all(|encoded| holds(encoded) && (0.0..=1.0).contains(&encoded.missing));
        if all { Ok(()) } else { Err(ChurnError::Malformed("encoding")) }
    }
}

impl Encoded {
    /// What its values are.
    pub fn kind(&self) -> Kind {
        match self.learnt {
            Learnt::Number { .. } => Kind::Number,
            Learnt::Category { .. } => Kind::Category,
        }
    }

    /// How many levels are told apart. `None`: it is a number.
    pub(super) fn levels(&self) -> Option<usize> {
        match &self.learnt {
            Learnt::Number { .. } => None,
            Learnt::Category { levels, .. } => Some(levels.len()),
        }
    }
}

fn cell_of(levels: &[Level], name: &str) -> Cell {
    levels
        .binary_search_by(|level| level.name.as_str().cmp(name))
        .map_or(Cell::Other, |place| Cell::Level(place as u32))
}

fn learn_number(numbers: &[f64]) -> (usize, Learnt) {
    let known = || numbers.iter().filter(|value| !value.is_nan());
    let count = known().count();
    if count == 0 {
        return (numbers.len(), Learnt::Number { mean: 0.0, deviation: 0.0 });
    }
    let mean = known().sum::<f64>() / count as f64;
    // A second pass, as a sum of squares less the square of a sum would cancel where the mean is large.
    let deviation = (known().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count as f64).sqrt();
    let largest = known().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let deviation = if deviation > LEAST_VARIATION * largest { deviation } else { 0.0 };
    (numbers.len() - count, Learnt::Number { mean, deviation })
}

fn learn_category(names: &[String], codes: &[u32]) -> (usize, Learnt) {
    let mut counts = vec![0_usize; names.len()];
    let mut missing = 0;
    for code in codes {
        match counts.get_mut(*code as usize) {
            Some(count) => *count += 1,
            None => missing += 1,
        }
    }
    let known = (codes.len() - missing).max(1) as f64;
    let mut found: Vec<(&String, usize)> = names.iter().zip(counts).collect();
    found.sort_unstable_by(|(name, count), (other, of_other)| of_other.cmp(count).then(name.cmp(other)));
    let other = found.iter().skip(MAX_LEVELS).map(|(_, count)| *count).sum::<usize>() as f64 / known;
    found.truncate(MAX_LEVELS);
    found.sort_unstable();
    let level = |(name, count): (&String, usize)| Level { name: name.clone(), share: count as f64 / known };
    (missing, Learnt::Category { levels: found.into_iter().map(level).collect(), other })
}

/// A table, as a model reads it.
pub(super) struct Reader<'t> {
    columns: Vec<Reading<'t>>,
}

enum Reading<'t> {
    Numbers(&'t [f64]),
    /// For each level of the table the cell of the model.
    Levels {
        cells: Vec<Cell>,
        codes: &'t [u32],
    },
}

impl Reader<'_> {
    /// A row's value. Missing where there is none.
    pub(super) fn cell(&self, row: usize, feature: usize) -> Cell {
        match self.columns.get(feature) {
            Some(Reading::Numbers(numbers)) => match numbers.get(row) {
                Some(value) if !value.is_nan() => Cell::Number(*value),
                _ => Cell::Missing,
            },
            Some(Reading::Levels { cells, codes }) => {
                let code = codes.get(row).copied().unwrap_or(MISSING);
                cells.get(code as usize).copied().unwrap_or(Cell::Missing)
            }
            None => Cell::Missing,
        }
    }

    /// A row's values, in the place of what was there.
    pub(super) fn read(&self, row: usize, cells: &mut Vec<Cell>) {
        cells.clear();
        cells.extend((0..self.columns.len()).map(|feature| self.cell(row, feature)));
    }
}
