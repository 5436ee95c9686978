//! Factor analysis: the few unseen traits that make features go together, by maximum likelihood on their correlations
//! (Lawley 1940), turned by varimax (Kaiser 1958) so that each feature belongs to as few of them as may be.
//!
//! Maximum likelihood and not principal factors: it has one answer that other programs give as well, and stays sound
//! where one feature follows from others, as revenue does from orders and their mean, for which the latter needs an
//! inverse that there is none of.

use super::eigen::{Axis, Symmetric, sign_of_largest};
use super::error::ClusterError;
use super::pca::varying;
use super::preparation::Prepared;

/// The least share of a feature's variance that is left to itself: without a floor a factor can become a feature (a
/// Heywood case).
const LEAST_UNIQUENESS: f64 = 0.005;
/// Uniquenesses that change less than this from step to step are found.
const SETTLED: f64 = 1e-9;
const MAX_STEPS: usize = 5_000;
/// Angles below this no longer turn anything.
const STRAIGHT: f64 = 1e-10;
const MAX_TURNS: usize = 200;

/// An unseen trait.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// Its correlation with each feature, in the order of [`Factors::features`]; the largest by size is positive.
    pub loadings: Vec<f64>,
    /// The share of all features' variance that it accounts for, 0 to 1.
    pub explained: f64,
}

/// Factors, turned by varimax: what accounts for most variance first.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// The names of the features that vary.
    pub features: Vec<String>,
    /// The factors.
    pub factors: Vec<Factor>,
    /// For each feature the share of its variance that no factor accounts for: 0.005 to 1. The rest is its communality.
    pub uniquenesses: Vec<f64>,
    /// Whether the search came to rest within its bound.
    pub settled: bool,
}

/// The most factors that the correlations of so many features determine: (p - q)² ≥ p + q. 0 for fewer than three.
pub fn most_factors(features: usize) -> usize {
    (1..features).take_while(|factors| (features - factors).pow(2) >= features + factors).last().unwrap_or(0)
}

impl Factors {
    /// Finds so many factors: at least one, at most [`most_factors`] of the features that vary.
    pub fn fit(prepared: &Prepared, factors: usize) -> Result<Self, ClusterError> {
        let (places, features) = varying(prepared)?;
        let correlations = Symmetric::correlations(&prepared.points.of_dimensions(&places));
        of_correlations(features, &correlations, factors)
    }
}

fn of_correlations(features: Vec<String>, correlations: &Symmetric, count: usize) -> Result<Factors, ClusterError> {
    let most = most_factors(correlations.size());
    if !(1..=most).contains(&count) {
        return Err(ClusterError::FactorsOutOfRange { factors: count, most });
    }
    let (mut loadings, uniquenesses, settled) = extract(correlations, count);
    varimax(&mut loadings);
    let share = |loadings: &Vec<f64>| loadings.iter().map(|loading| loading * loading).sum::<f64>();
    loadings.sort_by(|one, other| share(other).total_cmp(&share(one)));
    let factors = loadings.into_iter().map(|loadings| {
        let sign = sign_of_largest(loadings.iter());
        let explained = share(&loadings) / correlations.size() as f64;
        Factor { loadings: loadings.iter().map(|loading| loading * sign).collect(), explained }
    });
    Ok(Factors { features, factors: factors.collect(), uniquenesses, settled })
}

/// The most likely loadings, factor by factor, and uniquenesses. With these given, the loadings are known from the axes
/// of the correlations scaled by them (Lawley and Maxwell 1971, chapter 4); they follow from these in turn, until
/// nothing changes.
fn extract(correlations: &Symmetric, count: usize) -> (Vec<Vec<f64>>, Vec<f64>, bool) {
    let size = correlations.size();
    let mut uniquenesses = vec![1.0 - count as f64 / (2 * size) as f64; size];
    let mut loadings = Vec::new();
    for _ in 0..MAX_STEPS {
        let roots: Vec<f64> = uniquenesses.iter().map(|uniqueness| uniqueness.sqrt()).collect();
        let scaled = Symmetric::new(size, |row, column| correlations.at(row, column) / (roots[row] * roots[column]));
        let factor = |axis: &Axis| -> Vec<f64> {
            let length = (axis.value - 1.0).max(0.0).sqrt();
            axis.direction.iter().zip(&roots).map(|(part, root)| part * root * length).collect()
        };
        loadings = scaled.axes().iter().take(count).map(factor).collect::<Vec<Vec<f64>>>();
        let mut change = 0.0_f64;
        for (feature, uniqueness) in uniquenesses.iter_mut().enumerate() {
            let communality: f64 = loadings.iter().map(|factor| factor[feature] * factor[feature]).sum();
            let next = (1.0 - communality).max(LEAST_UNIQUENESS);
            change = change.max((next - *uniqueness).abs());
            *uniqueness = next;
        }
        if change < SETTLED {
            return (loadings, uniquenesses, true);
        }
    }
    (loadings, uniquenesses, false)
}

/// Turns factors, pair by pair, until the squares of the loadings of each vary most; features count alike, whatever
/// their communality (Kaiser's normalisation).
fn varimax(factors: &mut [Vec<f64>]) {
    let features = factors.first().map_or(0, Vec::len);
    let lengths: Vec<f64> = (0..features)
        .map(|feature| factors.iter().map(|factor| factor[feature] * factor[feature]).sum::<f64>().sqrt())
        .map(|length| if length > 0.0 { length } else { 1.0 })
        .collect();
    let scale = |factors: &mut [Vec<f64>], by: fn(f64, f64) -> f64| {
        for factor in factors {
            factor.iter_mut().zip(&lengths).for_each(|(loading, length)| *loading = by(*loading, *length));
        }
    };
    scale(factors, |loading, length| loading / length);
    for _ in 0..MAX_TURNS {
        let mut largest = 0.0_f64;
        for second in 1..factors.len() {
            let (before, from) = factors.split_at_mut(second);
            let Some(second) = from.first_mut() else { continue };
            for first in before {
                largest = largest.max(turn(first, second));
            }
        }
        if largest < STRAIGHT {
            break;
        }
    }
    scale(factors, |loading, length| loading * length);
}

/// Turns two factors by the angle at which the criterion is greatest, and tells its size.
fn turn(first: &mut [f64], second: &mut [f64]) -> f64 {
    let (mut sum_u, mut sum_v, mut squares, mut products) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in first.iter().zip(second.iter()) {
        let (u, v) = (x * x - y * y, 2.0 * x * y);
        sum_u += u;
        sum_v += v;
        squares += u * u - v * v;
        products += 2.0 * u * v;
    }
    let count = first.len().max(1) as f64;
    let numerator = products - 2.0 * sum_u * sum_v / count;
    let denominator = squares - (sum_u * sum_u - sum_v * sum_v) / count;
    // Where both are what rounding leaves, every angle is as good as any other.
    if numerator.hypot(denominator) < 1e-14 * count {
        return 0.0;
    }
    let angle = numerator.atan2(denominator) / 4.0;
    let (sine, cosine) = angle.sin_cos();
    for (x, y) in first.iter_mut().zip(second) {
        (*x, *y) = (cosine * *x + sine * *y, cosine * *y - sine * *x);
    }
    angle.abs()
}

#[cfg(test)]
mod tests;
