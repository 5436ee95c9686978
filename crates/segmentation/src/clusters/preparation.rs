//! From features to points: logarithms where asked for, then z = (v - mean) / deviation. What it learnt is part of the
//! model, so that who comes later is measured as those were who were there.

use super::MAX_FEATURES;
use super::error::ClusterError;
use super::points::Points;
use super::table::{Feature, check_width, known};

/// A deviation smaller than this share of the largest value is what rounding leaves of a constant.
const LEAST_VARIATION: f64 = 1e-12;
/// The furthest from the mean that a value counts, in deviations. None of n rows is further than the root of n from
/// their mean, so that this bounds newcomers alone.
const FURTHEST: f64 = 1e6;

/// What a feature's values were like at the fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The feature.
    pub feature: Feature,
    /// The mean of its known values, of their logarithms where it is logarithmic.
    pub mean: f64,
    /// Their population standard deviation (divided by n, not n - 1). 0: the feature is constant, and sets nobody
    /// apart.
    pub deviation: f64,
}

impl Column {
    /// Where a value stands, in deviations from the mean. What is not known stands at the mean.
    fn place(&self, value: f64) -> f64 {
        let compared = if self.feature.logarithmic { compressed(value) } else { value };
        self.standardised(compared)
    }

    fn standardised(&self, compared: f64) -> f64 {
        if self.deviation <= 0.0 || compared.is_nan() {
            return 0.0;
        }
        ((compared - self.mean) / self.deviation).clamp(-FURTHEST, FURTHEST)
    }

    /// The value that stands there.
    pub fn value(&self, place: f64) -> f64 {
        let compared = self.mean + place * self.deviation;
        if self.feature.logarithmic { compared.abs().exp_m1().copysign(compared) } else { compared }
    }
}

/// sign(x) ln(1 + |x|).
fn compressed(value: f64) -> f64 {
    value.abs().ln_1p().copysign(value)
}

/// How a row becomes a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparation {
    /// In the order of a row's values.
    pub columns: Vec<Column>,
}

/// Where a row's point is put, so that assigning millions allocates nothing.
pub(super) type Space = [f64; MAX_FEATURES];

impl Preparation {
    fn learn(features: Vec<Feature>, values: &[f64]) -> Self {
        let rows = || values.chunks_exact(features.len());
        let mut sums = vec![Sums::default(); features.len()];
        for row in rows() {
            sums.iter_mut().zip(row).for_each(|(sums, value)| sums.add(*value));
        }
        let means: Vec<f64> = sums.iter().map(Sums::mean).collect();
        // A second pass, as a sum of squares less the square of a sum would cancel where the mean is large.
        let mut squares = vec![0.0; features.len()];
        for row in rows() {
            for ((square, mean), value) in squares.iter_mut().zip(&means).zip(row).filter(|(_, value)| !value.is_nan())
            {
                *square += (value - mean) * (value - mean);
            }
        }
        let columns = features.into_iter().zip(sums).zip(squares).map(|((feature, sums), square)| Column {
            feature,
            mean: sums.mean(),
            deviation: sums.deviation(square),
        });
        Self { columns: columns.collect() }
    }

    /// Where a row stands: a point of one coordinate per feature, in deviations from the mean.
    pub(super) fn point<'s>(&self, row: &[Option<f64>], space: &'s mut Space) -> Result<&'s [f64], ClusterError> {
        check_width(row, self.columns.len())?;
        let point = space.get_mut(..row.len()).ok_or(ClusterError::FeaturesOutOfRange(row.len()))?;
        for (place, ((column, value), coordinate)) in self.columns.iter().zip(row).zip(point.iter_mut()).enumerate() {
            *coordinate = column.place(known(place, *value)?);
        }
        Ok(point)
    }

    /// Where a point of another model stands in this one. A feature that the other did not have stands at the mean.
    pub(super) fn point_of(&self, other: &Self, point: &[f64]) -> Vec<f64> {
        let here = |column: &Column| {
            let same = other.columns.iter().zip(point).find(|(theirs, _)| theirs.feature.name == column.feature.name);
            same.map_or(0.0, |(theirs, place)| column.place(theirs.value(*place)))
        };
        self.columns.iter().map(here).collect()
    }

    /// Whether one of its features is another's too.
    pub(super) fn shares_features(&self, other: &Self) -> bool {
        let theirs = |name: &str| other.columns.iter().any(|column| column.feature.name == name);
        self.columns.iter().any(|column| theirs(&column.feature.name))
    }

    /// The places of the features that vary.
    pub(super) fn varying(&self) -> Vec<usize> {
        let varies = self.columns.iter().enumerate().filter(|(_, column)| column.deviation > 0.0);
        varies.map(|(place, _)| place).collect()
    }
}

/// What is summed of a column.
#[derive(Clone, Copy)]
struct Sums {
    known: usize,
    total: f64,
    least: f64,
    most: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { known: 0, total: 0.0, least: f64::INFINITY, most: f64::NEG_INFINITY }
    }
}

impl Sums {
    fn add(&mut self, value: f64) {
        if !value.is_nan() {
            self.known += 1;
            self.total += value;
            self.least = self.least.min(value);
            self.most = self.most.max(value);
        }
    }

    fn mean(&self) -> f64 {
        if self.known == 0 { 0.0 } else { self.total / self.known as f64 }
    }

    fn deviation(&self, squares: f64) -> f64 {
        if self.known == 0 || self.least >= self.most {
            return 0.0;
        }
        let deviation = (squares / self.known as f64).sqrt();
        let largest = self.least.abs().max(self.most.abs());
        if deviation > LEAST_VARIATION * largest { deviation } else { 0.0 }
    }
}

/// Rows as points, and how they became that.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) preparation: Preparation,
    pub(super) points: Points,
}

impl Prepared {
    pub(super) fn of(features: Vec<Feature>, mut values: Vec<f64>) -> Result<Self, ClusterError> {
        let width = features.len();
        for row in values.chunks_exact_mut(width) {
            for (value, _) in row.iter_mut().zip(&features).filter(|(_, feature)| feature.logarithmic) {
                *value = compressed(*value);
            }
        }
        let preparation = Preparation::learn(features, &values);
        if preparation.varying().is_empty() {
            return Err(ClusterError::NothingVaries);
        }
        for row in values.chunks_exact_mut(width) {
            for (value, column) in row.iter_mut().zip(&preparation.columns) {
                *value = column.standardised(*value);
            }
        }
        Ok(Self { preparation, points: Points::new(width, values) })
    }

    /// How a row becomes a point.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.points.rows()
    }
}
