//! Principal components (Hotelling 1933): the few directions in which customers differ most, of the correlations of the
//! features that vary.

use super::eigen::Symmetric;
use super::error::ClusterError;
use super::preparation::Prepared;

/// A direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// The variance of customers along it; that of a single feature is 1.
    pub variance: f64,
    /// Its share of all variance, 0 to 1.
    pub explained: f64,
    /// Its part of each feature, in the order of [`Pca::features`]: of length 1, the largest by size positive.
    pub direction: Vec<f64>,
    /// Its correlation with each feature: the direction times the root of the variance.
    pub loadings: Vec<f64>,
}

/// All components, the most variance first.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// The names of the features that vary.
    pub features: Vec<String>,
    /// Their places among all features.
    pub places: Vec<usize>,
    /// As many as features.
    pub components: Vec<Component>,
}

impl Pca {
    /// Finds the components.
    pub fn fit(prepared: &Prepared) -> Result<Self, ClusterError> {
        let (places, features) = varying(prepared)?;
        let correlations = Symmetric::correlations(&prepared.points.of_dimensions(&places));
        let total = correlations.size() as f64;
        let components = correlations.axes().into_iter().map(|axis| {
            // What rounding leaves below 0 of a variance that is none.
            let variance = axis.value.max(0.0);
            Component {
                variance,
                explained: variance / total,
                loadings: axis.direction.iter().map(|part| part * variance.sqrt()).collect(),
                direction: axis.direction,
            }
        });
        Ok(Self { features, places, components: components.collect() })
    }

    /// Where a point stands along each component, such as the centre of a cluster of a model with the same features:
    /// two of these make a map.
    pub fn scores(&self, point: &[f64]) -> Vec<f64> {
        let along = |component: &Component| {
            let parts = self.places.iter().zip(&component.direction);
            parts.filter_map(|(place, part)| Some(part * point.get(*place)?)).sum()
        };
        self.components.iter().map(along).collect()
    }

    /// How many components say more than a single feature does: those with a variance above 1 (Kaiser 1960), at least
    /// one. A start for the number of factors.
    pub fn above_one(&self) -> usize {
        self.components.iter().filter(|component| component.variance > 1.0).count().max(1)
    }
}

/// The features that vary: their places and names.
pub(super) fn varying(prepared: &Prepared) -> Result<(Vec<usize>, Vec<String>), ClusterError> {
    let places = prepared.preparation.varying();
    if places.is_empty() {
        return Err(ClusterError::NothingVaries);
    }
    let columns = places.iter().filter_map(|place| prepared.preparation.columns.get(*place));
    let names = columns.map(|column| column.feature.name.clone()).collect();
    Ok((places, names))
}
