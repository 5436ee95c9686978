//! A Gaussian mixture: clusters that are ellipsoids of their own shape and may overlap, so that each customer belongs
//! to one with a probability.
//!
//! Covariances are full. Features of customers go together (who orders more spends more), and ellipsoids along the axes
//! would cut each such cloud into several; the price is d (d + 1) / 2 numbers per cluster, which BIC charges for.

use super::MAX_FEATURES;
use super::error::ClusterError;
use super::lloyd::{Search, solve};
use super::numbering::{Partition, Unnumbered};
use super::points::Points;
use super::preparation::{Prepared, Space};
use std::f64::consts::TAU;

/// What is added to each variance, in squared deviations: a cluster may be thin, but not without extent, where its
/// likelihood would be infinite. A feature that many customers have in the same value (one order) would bring that
/// about.
const FLOOR: f64 = 1e-3;
/// The search ends when the mean log-likelihood changes by less than this in a step.
const SETTLED: f64 = 1e-6;
const MAX_STEPS: usize = 300;
/// Parts of a row below this are lost in rounding anyway.
const NEGLIGIBLE: f64 = 1e-14;

/// The shape of a cluster, in the space of the features that vary.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The share of all customers, 0 to 1.
    pub weight: f64,
    /// The mean.
    pub mean: Vec<f64>,
    /// The lower triangle, row by row, of the inverse of the Cholesky factor of the covariance: it turns the ellipsoid
    /// into a ball of radius 1.
    pub whitening: Vec<f64>,
    /// The logarithm of weight times density at the mean.
    pub log_peak: f64,
}

/// Ellipsoids that customers are assigned to.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// The clusters. A centre is the mean of its ellipsoid, a size the rows for which it is the most probable one;
    /// distances are Mahalanobis's, in deviations of the ellipsoid itself.
    pub partition: Partition,
    /// In the order of the clusters.
    pub shapes: Vec<Shape>,
    /// The places of the features that vary.
    pub places: Vec<usize>,
    /// The log-likelihood of the rows of the fit.
    pub log_likelihood: f64,
    /// Bayesian information criterion (Schwarz 1978), -2 log-likelihood + parameters ln rows: of two mixtures of the
    /// same rows the lower is better.
    pub bic: f64,
    /// Whether the search came to rest within its bound.
    pub settled: bool,
}

/// Where a customer belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Membership {
    /// The number of the most probable cluster.
    pub cluster: u32,
    /// Its probability: 1 / k to 1.
    pub probability: f64,
    /// Mahalanobis's distance to its mean.
    pub distance: f64,
}

impl Mixture {
    /// Finds so many ellipsoids (2 to 20) by expectation and maximisation (Dempster, Laird and Rubin 1977) from the
    /// clusters of k-means. With a `previous` partition, each that has a counterpart there keeps its number.
    pub fn fit(
        prepared: &Prepared,
        clusters: usize,
        search: &Search<'_>,
        previous: Option<&Partition>,
    ) -> Result<Self, ClusterError> {
        let start = solve(&prepared.points, clusters, search)?;
        let places = prepared.preparation.varying();
        if places.is_empty() {
            return Err(ClusterError::NothingVaries);
        }
        let points = prepared.points.of_dimensions(&places);
        let (shapes, log_likelihood, settled) = maximise(&points, &start.labels, clusters, search);
        search.go_on()?;
        let (sizes, mean_distance) = census(&points, &shapes);
        let found = shapes.iter().zip(sizes).map(|(shape, size)| {
            let mut centre = vec![0.0; prepared.points.dimensions()];
            places.iter().zip(&shape.mean).for_each(|(place, mean)| centre[*place] = *mean);
            Unnumbered { size, centre }
        });
        let found: Vec<_> = found.collect();
        let (partition, order) = Partition::number(prepared.preparation.clone(), &found, mean_distance, previous);
        let shapes = order.into_iter().filter_map(|place| shapes.get(place).cloned()).collect();
        let free = parameters(clusters, places.len()) as f64;
        let bic = free * (points.rows() as f64).ln() - 2.0 * log_likelihood;
        Ok(Self { partition, shapes, places, log_likelihood, bic, settled })
    }

    /// The most probable cluster of a customer: a value for each feature, or `None` where it is not known. Allocates
    /// nothing.
    pub fn assign(&self, row: &[Option<f64>]) -> Result<Membership, ClusterError> {
        let mut space: Space = [0.0; MAX_FEATURES];
        let point = self.partition.preparation.point(row, &mut space)?;
        let mut varying: Space = [0.0; MAX_FEATURES];
        for (coordinate, place) in varying.iter_mut().zip(&self.places) {
            *coordinate = point.get(*place).copied().unwrap_or_default();
        }
        let varying = varying.get(..self.places.len()).unwrap_or_default();
        let found = Found::of(varying, self.shapes.iter());
        let cluster = self.partition.clusters.get(found.place).map_or(0, |cluster| cluster.number);
        Ok(Membership { cluster, probability: found.probability, distance: found.squared.sqrt() })
    }
}

/// How many numbers a mixture has: weights, means, covariances.
fn parameters(clusters: usize, dimensions: usize) -> usize {
    clusters - 1 + clusters * (dimensions + dimensions * (dimensions + 1) / 2)
}

impl Shape {
    /// The logarithm of weight times density at a point, and the square of Mahalanobis's distance.
    fn log_density(&self, point: &[f64]) -> (f64, f64) {
        let (mut squared, mut rest) = (0.0, self.whitening.as_slice());
        for last in 1..=point.len() {
            let Some((row, behind)) = rest.split_at_checked(last) else { break };
            rest = behind;
            let parts = row.iter().zip(point.iter().zip(&self.mean));
            let along: f64 = parts.map(|(factor, (value, mean))| factor * (value - mean)).sum();
            squared += along * along;
        }
        (self.log_peak - squared / 2.0, squared)
    }

    /// Of a weight, a mean and the lower triangle of a covariance to which the floor has been added.
    fn new(weight: f64, mean: Vec<f64>, covariance: &[f64]) -> Self {
        let whitening = whitening(covariance, mean.len());
        let diagonal = (0..mean.len()).filter_map(|row| whitening.get(row * (row + 3) / 2));
        let log_volume: f64 = diagonal.map(|factor| factor.ln()).sum();
        // A cluster that has lost all its customers is never the most probable, and does no harm.
        let log_weight = weight.max(f64::MIN_POSITIVE).ln();
        let log_peak = log_weight + log_volume - mean.len() as f64 / 2.0 * TAU.ln();
        Self { weight, mean, whitening, log_peak }
    }
}

/// The inverse of the Cholesky factor of a positive definite matrix. Both are lower triangles, row by row: row i begins
/// at i (i + 1) / 2.
fn whitening(matrix: &[f64], size: usize) -> Vec<f64> {
    let at = |row: usize, column: usize| row * (row + 1) / 2 + column;
    let mut factor = matrix.to_vec();
    for row in 0..size {
        for column in 0..=row {
            let done: f64 = (0..column).map(|k| factor[at(row, k)] * factor[at(column, k)]).sum();
            let left = factor[at(row, column)] - done;
            // The floor keeps this positive but for rounding.
            factor[at(row, column)] =
                if row == column { left.max(FLOOR * 1e-6).sqrt() } else { left / factor[at(column, column)] };
        }
    }
    let mut inverse = vec![0.0; factor.len()];
    for column in 0..size {
        inverse[at(column, column)] = 1.0 / factor[at(column, column)];
        for row in column + 1..size {
            let done: f64 = (column..row).map(|k| factor[at(row, k)] * inverse[at(k, column)]).sum();
            inverse[at(row, column)] = -done / factor[at(row, row)];
        }
    }
    inverse
}

/// What is summed of the rows of a cluster, each by its part.
#[derive(Clone)]
struct Moments {
    weight: f64,
    sums: Vec<f64>,
    products: Vec<f64>,
}

impl Moments {
    fn new(dimensions: usize) -> Self {
        let products = vec![0.0; dimensions * (dimensions + 1) / 2];
        Self { weight: 0.0, sums: vec![0.0; dimensions], products }
    }

    fn add(&mut self, point: &[f64], part: f64) {
        self.weight += part;
        let mut rest = self.products.as_mut_slice();
        for (row, (value, sum)) in point.iter().zip(&mut self.sums).enumerate() {
            let scaled = part * value;
            *sum += scaled;
            let Some((products, behind)) = rest.split_at_mut_checked(row + 1) else { break };
            products.iter_mut().zip(point).for_each(|(product, other)| *product += scaled * other);
            rest = behind;
        }
    }

    /// The shape that these rows have. `before`: what it was, and stays where nobody belongs to it any more.
    fn shape(&self, rows: usize, before: Option<&Shape>) -> Shape {
        let weight = self.weight / rows as f64;
        if let Some(before) = before.filter(|_| self.weight < NEGLIGIBLE) {
            return Shape { weight, log_peak: f64::MIN, ..before.clone() };
        }
        let mean: Vec<f64> = self.sums.iter().map(|sum| sum / self.weight).collect();
        let pairs = (0..mean.len()).flat_map(|row| (0..=row).map(move |column| (row, column)));
        let covariance = self.products.iter().zip(pairs).map(|(product, (row, column))| {
            product / self.weight - mean[row] * mean[column] + if row == column { FLOOR } else { 0.0 }
        });
        let covariance: Vec<f64> = covariance.collect();
        Shape::new(weight, mean, &covariance)
    }
}

/// The shapes at which the likelihood is greatest near where it starts, and its logarithm.
fn maximise(points: &Points, labels: &[u32], clusters: usize, search: &Search<'_>) -> (Vec<Shape>, f64, bool) {
    let mut moments = vec![Moments::new(points.dimensions()); clusters];
    for (point, label) in points.iter().zip(labels) {
        moments[*label as usize].add(point, 1.0);
    }
    let mut shapes: Vec<Shape> = moments.iter().map(|moments| moments.shape(points.rows(), None)).collect();
    let (mut moments, mut log_likelihood) = expect(points, &shapes);
    for _ in 0..MAX_STEPS {
        if search.is_cancelled() {
            break;
        }
        let both = moments.iter().zip(&shapes);
        let next: Vec<Shape> = both.map(|(moments, before)| moments.shape(points.rows(), Some(before))).collect();
        let (next_moments, next_log_likelihood) = expect(points, &next);
        let gain = (next_log_likelihood - log_likelihood) / points.rows() as f64;
        // The floor is no part of the likelihood, which it can make fall by a trifle at the end.
        if gain < SETTLED {
            return if gain > 0.0 { (next, next_log_likelihood, true) } else { (shapes, log_likelihood, true) };
        }
        (shapes, moments, log_likelihood) = (next, next_moments, next_log_likelihood);
    }
    (shapes, log_likelihood, false)
}

/// The parts that rows have in each shape, summed, and the log-likelihood. One pass.
fn expect(points: &Points, shapes: &[Shape]) -> (Vec<Moments>, f64) {
    let mut moments = vec![Moments::new(points.dimensions()); shapes.len()];
    let mut log_likelihood = 0.0;
    let mut logs = vec![0.0; shapes.len()];
    for point in points.iter() {
        let mut largest = f64::NEG_INFINITY;
        for (log, shape) in logs.iter_mut().zip(shapes) {
            *log = shape.log_density(point).0;
            largest = largest.max(*log);
        }
        let mut sum = 0.0;
        for log in &mut logs {
            *log = (*log - largest).exp();
            sum += *log;
        }
        log_likelihood += largest + sum.ln();
        for (moments, part) in moments.iter_mut().zip(&logs).filter(|(_, part)| **part > NEGLIGIBLE) {
            moments.add(point, part / sum);
        }
    }
    (moments, log_likelihood)
}

/// The most probable shape of a point.
struct Found {
    place: usize,
    probability: f64,
    squared: f64,
}

impl Found {
    fn of<'s>(point: &[f64], shapes: impl Iterator<Item = &'s Shape>) -> Self {
        let (mut place, mut largest, mut squared, mut sum) = (0, f64::NEG_INFINITY, 0.0, 0.0);
        for (other, shape) in shapes.enumerate() {
            let (log, distance) = shape.log_density(point);
            if log > largest {
                // The sum is kept as multiples of the largest part.
                sum = sum * (largest - log).exp() + 1.0;
                (place, largest, squared) = (other, log, distance);
            } else {
                sum += (log - largest).exp();
            }
        }
        Self { place, probability: 1.0 / sum, squared }
    }
}

/// How many rows each shape is the most probable of, and their mean distance.
fn census(points: &Points, shapes: &[Shape]) -> (Vec<u64>, f64) {
    let (mut sizes, mut distance) = (vec![0; shapes.len()], 0.0);
    for point in points.iter() {
        let found = Found::of(point, shapes.iter());
        sizes[found.place] += 1;
        distance += found.squared.sqrt();
    }
    (sizes, distance / points.rows().max(1) as f64)
}
