//! What models learn from: rows of customers, columns of features.

use super::error::ChurnError;
use super::{MAX_FEATURES, MAX_ROWS, MAX_TABLE_LEVELS};
use std::collections::HashMap;

/// Values of this size and above are refused, as their squares would not add up.
const LARGEST: f64 = 1e100;
/// The code of a level that is not known. A column has fewer levels than that.
pub(super) const MISSING: u32 = u32::MAX;

/// Something that is known of customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, by which a model knows it again.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// What the values of a feature are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, whose order counts.
    Number,
    /// One of several levels without order: a contract, a channel, yes or no.
    Category,
}

/// A customer's value of a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'v> {
    /// It is not known.
    Missing,
    /// A number.
    Number(f64),
    /// A level of a category.
    Category(&'v str),
}

/// The values of a feature, of all rows.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// What is not known is no number.
    Numbers(Vec<f64>),
    /// Codes are places among the names, or [`MISSING`].
    Levels { names: Vec<String>, places: HashMap<String, u32>, codes: Vec<u32> },
}

/// Rows by features. It has 8 bytes for each number, and 4 for each level.
#[derive(Clone, Debug)]
pub struct Table {
    features: Vec<Feature>,
    columns: Vec<Column>,
    rows: usize,
}

impl Table {
    /// Without rows. Refuses no features, more than [`MAX_FEATURES`], and a name that is there twice.
    pub fn new(features: Vec<Feature>) -> Result<Self, ChurnError> {
        if !(1..=MAX_FEATURES).contains(&features.len()) {
            return Err(ChurnError::FeaturesOutOfRange(features.len()));
        }
        for (place, feature) in features.iter().enumerate() {
            if features.iter().skip(place + 1).any(|other| other.name == feature.name) {
                return Err(ChurnError::DuplicateFeature(feature.name.clone()));
            }
        }
        let column = |feature: &Feature| match feature.kind {
            Kind::Number => Column::Numbers(Vec::new()),
            Kind::Category => Column::Levels { names: Vec::new(), places: HashMap::new(), codes: Vec::new() },
        };
        let columns = features.iter().map(column).collect();
        Ok(Self { features, columns, rows: 0 })
    }

    /// Adds a customer: a value for each feature, in the order of the features. A row that is refused leaves nothing
    /// behind.
    pub fn push(&mut self, row: &[Value<'_>]) -> Result<(), ChurnError> {
        if self.rows >= MAX_ROWS {
            return Err(ChurnError::TooManyRows);
        }
        check_width(row, self.features.len())?;
        // All are checked before the first is added.
        for (place, (column, value)) in self.columns.iter().zip(row).enumerate() {
            column.check(place, *value)?;
        }
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(*value);
        }
        self.rows += 1;
        Ok(())
    }

    /// How many customers there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The features, in the order of a row's values.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The rows at these places, in their order, as if they alone had been added.
    pub(super) fn part(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| column.part(rows)).collect();
        Self { features: self.features.clone(), columns, rows: rows.len() }
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }
}

impl Column {
    fn check(&self, place: usize, value: Value<'_>) -> Result<(), ChurnError> {
        match (self, value) {
            (_, Value::Missing) => Ok(()),
            (Self::Numbers(_), Value::Number(value)) => check_finite(place, value),
            (Self::Levels { places, names, .. }, Value::Category(level)) => {
                if names.len() < MAX_TABLE_LEVELS || places.contains_key(level) {
                    Ok(())
                } else {
                    Err(ChurnError::TooManyLevels(place))
                }
            }
            _ => Err(ChurnError::OtherKind(place)),
        }
    }

    fn part(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(numbers) => Self::Numbers(rows.iter().filter_map(|row| numbers.get(*row)).copied().collect()),
            Self::Levels { names, codes, .. } => {
                let mut part = Self::Levels { names: Vec::new(), places: HashMap::new(), codes: Vec::new() };
                for code in rows.iter().filter_map(|row| codes.get(*row)) {
                    let name = names.get(*code as usize);
                    part.push(name.map_or(Value::Missing, |name| Value::Category(name)));
                }
                part
            }
        }
    }

    /// The value has been checked.
    fn push(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Numbers(numbers), Value::Number(value)) => numbers.push(value),
            (Self::Numbers(numbers), _) => numbers.push(f64::NAN),
            (Self::Levels { names, places, codes }, Value::Category(level)) => {
                let code = places.get(level).copied().unwrap_or_else(|| {
                    let code = names.len() as u32;
                    names.push(level.to_owned());
                    places.insert(level.to_owned(), code);
                    code
                });
                codes.push(code);
            }
            (Self::Levels { codes, .. }, _) => codes.push(MISSING),
        }
    }
}

pub(super) fn check_width(row: &[Value<'_>], expected: usize) -> Result<(), ChurnError> {
    if row.len() == expected { Ok(()) } else { Err(ChurnError::Width { found: row.len(), expected }) }
}

/// NaN fails the comparison, too.
pub(super) fn check_finite(place: usize, value: f64) -> Result<(), ChurnError> {
    if value.abs() < LARGEST { Ok(()) } else { Err(ChurnError::NotFinite(place)) }
}
