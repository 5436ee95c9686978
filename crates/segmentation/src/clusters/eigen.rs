//! Correlations, and the axes of symmetric matrices.

use super::points::Points;

/// Sweeps over all pairs of axes; ten are enough for any matrix of 32.
const MAX_SWEEPS: usize = 60;

/// A symmetric matrix, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Symmetric {
    size: usize,
    values: Vec<f64>,
}

/// An eigenvalue and its vector of length 1, whose largest coordinate by size (the first of several) is positive: so
/// that a fit on the same customers does not turn round from one time to the next.
pub(super) struct Axis {
    pub(super) value: f64,
    pub(super) direction: Vec<f64>,
}

impl Symmetric {
    pub(super) fn new(size: usize, of: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..size * size).map(|place| of(place / size.max(1), place % size.max(1))).collect();
        Self { size, values }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.size + column]
    }

    /// The Pearson correlations of the dimensions of points, each of which varies.
    pub(super) fn correlations(points: &Points) -> Self {
        let size = points.dimensions();
        let mut sums = vec![0.0; size];
        for point in points.iter() {
            sums.iter_mut().zip(point).for_each(|(sum, value)| *sum += value);
        }
        let means: Vec<f64> = sums.iter().map(|sum| sum / points.rows() as f64).collect();
        let mut products = vec![0.0; size * size];
        let mut gaps = vec![0.0; size];
        for point in points.iter() {
            for ((gap, value), mean) in gaps.iter_mut().zip(point).zip(&means) {
                *gap = value - mean;
            }
            for (row, one) in products.chunks_exact_mut(size).zip(&gaps) {
                row.iter_mut().zip(&gaps).for_each(|(product, other)| *product += one * other);
            }
        }
        let products = Self { size, values: products };
        Self::new(size, |row, column| {
            let scale = (products.at(row, row) * products.at(column, column)).sqrt();
            if row == column { 1.0 } else { (products.at(row, column) / scale).clamp(-1.0, 1.0) }
        })
    }

    /// All axes, the largest eigenvalue first (Jacobi 1846: each rotation makes the correlation of a pair of axes 0).
    pub(super) fn axes(&self) -> Vec<Axis> {
        let size = self.size;
        let mut rotated = self.clone();
        let mut vectors = Self::new(size, |row, column| if row == column { 1.0 } else { 0.0 });
        let negligible = f64::EPSILON * f64::EPSILON * self.values.iter().map(|value| value * value).sum::<f64>();
        for _ in 0..MAX_SWEEPS {
            let pairs = || (0..size).flat_map(|p| (p + 1..size).map(move |q| (p, q)));
            if pairs().map(|(p, q)| rotated.at(p, q) * rotated.at(p, q)).sum::<f64>() <= negligible {
                break;
            }
            for (p, q) in pairs() {
                rotated.rotate(&mut vectors, p, q);
            }
        }
        let mut axes: Vec<Axis> = (0..size)
            .map(|axis| {
                let direction: Vec<f64> = (0..size).map(|row| vectors.at(row, axis)).collect();
                let sign = sign_of_largest(direction.iter());
                let direction = direction.iter().map(|coordinate| coordinate * sign).collect();
                Axis { value: rotated.at(axis, axis), direction }
            })
            .collect();
        axes.sort_by(|one, other| other.value.total_cmp(&one.value));
        axes
    }

    /// Turns axes `p` and `q` until nothing of one is in the other (Golub and Van Loan, Matrix Computations, 8.5.2).
    fn rotate(&mut self, vectors: &mut Self, p: usize, q: usize) {
        let off = self.at(p, q);
        if off.abs() <= f64::MIN_POSITIVE {
            return;
        }
        let tau = (self.at(q, q) - self.at(p, p)) / (2.0 * off);
        let tangent = 1.0_f64.copysign(tau) / (tau.abs() + tau.hypot(1.0));
        let cosine = 1.0 / tangent.hypot(1.0);
        let sine = tangent * cosine;
        let count = self.size;
        let turn = |values: &mut [f64], one: usize, other: usize| {
            let (before, after) = (values[one], values[other]);
            values[one] = cosine * before - sine * after;
            values[other] = sine * before + cosine * after;
        };
        for index in 0..count {
            turn(&mut self.values, index * count + p, index * count + q);
            turn(&mut vectors.values, index * count + p, index * count + q);
        }
        for index in 0..count {
            turn(&mut self.values, p * count + index, q * count + index);
        }
    }
}

/// 1 or -1: the sign of the largest by size, the first of several.
pub(super) fn sign_of_largest<'v>(values: impl Iterator<Item = &'v f64>) -> f64 {
    // What differs by rounding alone counts as equally large.
    let largest = values.fold(
        0.0_f64,
        |largest, value| {
            if value.abs() > largest.abs() * (1.0 + 1e-9) { *value } else { largest }
        },
    );
    1.0_f64.copysign(largest)
}

#[cfg(test)]
mod tests {
    //! What makes axes axes.

    use super::*;
    use proptest::prelude::*;

    fn product(one: &[f64], other: &[f64]) -> f64 {
        one.iter().zip(other).map(|(one, other)| one * other).sum()
    }

    proptest! {
        #[test]
        fn axes_are_at_right_angles_and_only_stretched(
            values in (1..8_usize).prop_flat_map(|size| prop::collection::vec(-3.0..3.0_f64, size * size)),
        ) {
            let size = values.len().isqrt();
            let matrix = Symmetric::new(size, |row, column| values[row.min(column) * size + row.max(column)]);
            let axes = matrix.axes();
            for (place, axis) in axes.iter().enumerate() {
                for row in 0..size {
                    let image: f64 = (0..size).map(|column| matrix.at(row, column) * axis.direction[column]).sum();
                    prop_assert!((image - axis.value * axis.direction[row]).abs() < 1e-9);
                }
                for other in &axes[..place] {
                    prop_assert!(other.value >= axis.value);
                    prop_assert!(product(&other.direction, &axis.direction).abs() < 1e-9);
                }
                prop_assert!((product(&axis.direction, &axis.direction) - 1.0).abs() < 1e-9);
                let largest = axis.direction.iter().copied().reduce(f64::max).unwrap();
                prop_assert!(axis.direction.iter().all(|coordinate| coordinate.abs() <= largest + 1e-8));
            }
        }
    }

    #[test]
    fn of_equally_large_ones_the_first_gives_the_sign_whatever_rounding_says() {
        assert!(sign_of_largest([0.5, -0.5 - 1e-15].iter()) > 0.0);
        assert!(sign_of_largest([-0.5, 0.5 + 1e-15].iter()) < 0.0);
        assert!(sign_of_largest([0.5, -0.6].iter()) < 0.0);
        assert!(sign_of_largest([].iter()) > 0.0);
    }

    #[test]
    fn a_matrix_of_equal_correlations_has_the_axes_of_the_textbook() {
        // Eigenvalues 1 + 2r and twice 1 - r.
        let axes = Symmetric::new(3, |row, column| if row == column { 1.0 } else { 0.5 }).axes();
        for (axis, expected) in axes.iter().zip([2.0, 0.5, 0.5]) {
            assert!((axis.value - expected).abs() < 1e-12);
        }
        assert!(axes[0].direction.iter().all(|coordinate| (coordinate - 3.0_f64.sqrt().recip()).abs() < 1e-12));
    }
}
