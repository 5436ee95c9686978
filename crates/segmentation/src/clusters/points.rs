//! Points in the space of standardised features, row by row, and samples of them.

use quintile_domain::seeded::Seeded;

/// Points of as many dimensions each, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Points {
    dimensions: usize,
    values: Vec<f64>,
}

impl Points {
    /// `values` are a whole number of points of at least one dimension.
    pub(super) fn new(dimensions: usize, values: Vec<f64>) -> Self {
        debug_assert!(dimensions > 0 && values.len().is_multiple_of(dimensions));
        Self { dimensions, values }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.dimensions
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.dimensions)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.dimensions)
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.dimensions..(row + 1) * self.dimensions]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.dimensions..(row + 1) * self.dimensions]
    }

    pub(super) fn push(&mut self, point: &[f64]) {
        self.values.extend_from_slice(point);
    }

    /// Up to so many of them, by a seed. `None`: there are no more than that.
    pub(super) fn sample(&self, size: usize, seed: u64) -> Option<Self> {
        if self.rows() <= size {
            return None;
        }
        let mut taken = Self { dimensions: self.dimensions, values: Vec::with_capacity(size * self.dimensions) };
        for row in Seeded::new(seed).sample(self.rows(), size) {
            taken.push(self.row(row));
        }
        Some(taken)
    }

    /// The same points in some of their dimensions only, of which there is at least one.
    pub(super) fn of_dimensions(&self, kept: &[usize]) -> Self {
        let values = self.iter().flat_map(|point| kept.iter().map(|dimension| point[*dimension])).collect();
        Self::new(kept.len(), values)
    }
}

/// The square of the Euclidean distance. In pairs, so that processors can do two at once.
pub(super) fn squared_distance(one: &[f64], other: &[f64]) -> f64 {
    let ((one, rest_of_one), (other, rest_of_other)) = (one.as_chunks::<2>(), other.as_chunks::<2>());
    let mut sums = [0.0; 2];
    for (one, other) in one.iter().zip(other) {
        let gaps = [one[0] - other[0], one[1] - other[1]];
        sums[0] += gaps[0] * gaps[0];
        sums[1] += gaps[1] * gaps[1];
    }
    let rest: f64 = rest_of_one.iter().zip(rest_of_other).map(|(one, other)| (one - other) * (one - other)).sum();
    sums[0] + sums[1] + rest
}
