//! Sums of gradients by bin.
//!
//! They are of whole numbers, so that neither the order of adding nor subtracting one from another rounds: a model is
//! the same on any number of threads.

use super::bins::{Bins, PLACES};
use super::parallel;
use std::num::NonZeroUsize;
use std::ops::{AddAssign, Sub};

/// What 1 is of the whole numbers of gradients. A million of at most 1 add up to less than 2^50.
const GRADIENT: f64 = (1_u64 << 30) as f64;
/// The same of curvatures. A million of at most 1/4 add up to less than one row of packed sums.
const CURVATURE: f64 = (1_u64 << 20) as f64;
/// What a row is of packed sums.
const ROW: i64 = 1 << 40;
/// Fewer values than this are added up sooner than a thread is started.
const WORTH_A_THREAD: usize = 1 << 17;

/// A row's first and second derivative of the loss by its log-odds: risk - label, and risk × (1 - risk).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slope {
    gradient: i32,
    curvature: i32,
}

impl Slope {
    pub(super) fn of(risk: f64, label: bool) -> Self {
        let gradient = ((risk - f64::from(label)) * GRADIENT).round() as i32;
        Self { gradient, curvature: (risk * (1.0 - risk) * CURVATURE).round() as i32 }
    }
}

/// Slopes of several rows together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    gradient: i64,
    /// Rows and curvatures in one number, of which there are then two: a processor adds these at once.
    packed: i64,
}

impl Sums {
    pub(super) fn of<'s>(slopes: impl IntoIterator<Item = &'s Slope>) -> Self {
        let mut sums = Self::default();
        slopes.into_iter().for_each(|slope| sums.add(*slope));
        sums
    }

    #[inline]
    fn add(&mut self, slope: Slope) {
        self.gradient += i64::from(slope.gradient);
        self.packed += ROW + i64::from(slope.curvature);
    }

    pub(super) fn rows(self) -> i64 {
        self.packed / ROW
    }

    fn gradient(self) -> f64 {
        self.gradient as f64 / GRADIENT
    }

    fn curvature(self) -> f64 {
        (self.packed % ROW) as f64 / CURVATURE
    }

    /// The value that lowers the loss most, where its square is penalised: -G / (H + penalty).
    pub(super) fn best_value(self, penalty: f64) -> f64 {
        -self.gradient() / (self.curvature() + penalty)
    }

    /// Twice by how much that value lowers it: G² / (H + penalty).
    pub(super) fn gain(self, penalty: f64) -> f64 {
        self.gradient() * self.gradient() / (self.curvature() + penalty)
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.packed += other.packed;
    }
}

impl Sub for Sums {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { gradient: self.gradient - other.gradient, packed: self.packed - other.packed }
    }
}

/// For each feature that is looked at the sums of its bins.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    pub(super) features: Vec<Vec<Sums>>,
}

impl Histogram {
    /// Of some rows, and of their slopes in the same order.
    pub(super) fn of(features: &[&Bins], rows: &[u32], slopes: &[Slope], threads: NonZeroUsize) -> Self {
        let threads = if rows.len() * features.len() < WORTH_A_THREAD { NonZeroUsize::MIN } else { threads };
        let each = |bins: &&Bins| {
            let mut sums = [Sums::default(); PLACES];
            for (row, slope) in rows.iter().zip(slopes) {
                if let Some(bin) = bins.bins.get(*row as usize)
                    && let Some(sums) = sums.get_mut(usize::from(*bin))
                {
                    sums.add(*slope);
                }
            }
            sums.iter().take(bins.count).copied().collect()
        };
        Self { features: parallel::map(threads, features, each) }
    }

    /// Of the rows that are not in the other one, all of whose rows are in this one.
    pub(super) fn without(mut self, other: &Self) -> Self {
        for (sums, other) in self.features.iter_mut().zip(&other.features) {
            sums.iter_mut().zip(other).for_each(|(sums, other)| *sums = *sums - *other);
        }
        self
    }
}
