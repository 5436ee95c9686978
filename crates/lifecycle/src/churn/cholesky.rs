//! Linear equations of symmetric, positive definite matrices.

/// Symmetric, of which only the lower triangle is used: row by row, each with `size` values.
#[derive(Clone, Debug)]
pub(super) struct Symmetric {
    pub(super) size: usize,
    pub(super) values: Vec<f64>,
}

impl Symmetric {
    pub(super) fn zero(size: usize) -> Self {
        Self { size, values: vec![0.0; size * size] }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.size..=row * self.size + row]
    }

    /// The solution of A x = b by Cholesky's L Lᵀ. `None`: the matrix is not positive definite to working precision.
    pub(super) fn solve(mut self, right: &[f64]) -> Option<Vec<f64>> {
        let size = self.size;
        for row in 0..size {
            for column in 0..=row {
                let (one, other) = (self.row(row), self.row(column));
                let product: f64 = one.iter().zip(other).take(column).map(|(one, other)| one * other).sum();
                let rest = self.values[row * size + column] - product;
                self.values[row * size + column] = if column < row {
                    rest / self.values[column * size + column]
                } else if rest > 0.0 && rest.is_finite() {
                    rest.sqrt()
                } else {
                    return None;
                };
            }
        }
        let mut solution = right.to_vec();
        for row in 0..size {
            let known: f64 = self.row(row).iter().zip(&solution).take(row).map(|(one, other)| one * other).sum();
            solution[row] = (solution[row] - known) / self.values[row * size + row];
        }
        for row in (0..size).rev() {
            let below = (row + 1..size).map(|below| self.values[below * size + row] * solution[below]);
            solution[row] = (solution[row] - below.sum::<f64>()) / self.values[row * size + row];
        }
        Some(solution)
    }
}
