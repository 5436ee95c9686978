//! What clusters are found in: rows of customers, columns of features.

use super::error::ClusterError;
use super::preparation::Prepared;
use super::{MAX_FEATURES, MAX_ROWS};

/// Values of this size and above are refused, as their squares would not add up.
const LARGEST: f64 = 1e100;

/// Something that customers are compared by, and the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, by which it is known again in the next model.
    pub name: String,
    /// Whether it is compared by sign(x) ln(1 + |x|): right for what grows by factors, such as revenue and numbers of
    /// orders.
    pub logarithmic: bool,
    /// What is said of customers who have more of it than others: "high revenue".
    pub high: String,
    /// What is said of those who have less: "low revenue".
    pub low: String,
}

/// Rows by features, the rows one after the other.
#[derive(Clone, Debug)]
pub struct Table {
    features: Vec<Feature>,
    /// What is not known is no number.
    values: Vec<f64>,
}

impl Table {
    /// Without rows. Refuses no features, more than [`MAX_FEATURES`], and a name that is there twice.
    pub fn new(features: Vec<Feature>) -> Result<Self, ClusterError> {
        if !(1..=MAX_FEATURES).contains(&features.len()) {
            return Err(ClusterError::FeaturesOutOfRange(features.len()));
        }
        for (place, feature) in features.iter().enumerate() {
            if features.iter().skip(place + 1).any(|other| other.name == feature.name) {
                return Err(ClusterError::DuplicateFeature(feature.name.clone()));
            }
        }
        Ok(Self { features, values: Vec::new() })
    }

    /// Adds a customer: a value for each feature, or `None` where it is not known. A row that is refused leaves nothing
    /// behind.
    pub fn push(&mut self, row: &[Option<f64>]) -> Result<(), ClusterError> {
        if self.rows() >= MAX_ROWS {
            return Err(ClusterError::TooManyRows);
        }
        check_width(row, self.features.len())?;
        let before = self.values.len();
        for (place, value) in row.iter().enumerate() {
            match known(place, *value) {
                Ok(value) => self.values.push(value),
                Err(error) => {
                    self.values.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// How many customers there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.features.len()
    }

    /// Standardises the table in its place, and learns how to do the same to others.
    pub fn prepare(self) -> Result<Prepared, ClusterError> {
        Prepared::of(self.features, self.values)
    }
}

pub(super) fn check_width(row: &[Option<f64>], expected: usize) -> Result<(), ClusterError> {
    if row.len() == expected { Ok(()) } else { Err(ClusterError::Width { found: row.len(), expected }) }
}

/// A value as a table has it. NaN fails the comparison, too.
pub(super) fn known(place: usize, value: Option<f64>) -> Result<f64, ClusterError> {
    match value {
        None => Ok(f64::NAN),
        Some(value) if value.abs() < LARGEST => Ok(value),
        Some(_) => Err(ClusterError::NotFinite(place)),
    }
}
