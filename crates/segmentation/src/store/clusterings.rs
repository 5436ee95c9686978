//! Clusters as a definition keeps them: a message of its own, since contracts tell less of them and may change otherwise.

use crate::clusters::{
    Candidate, Choice, Cluster, Column, Feature, KMeans, Mixture, Model, Partition, Preparation, Shape,
};
use crate::population::clustering::Clustering;
use prost::Message;
use quintile_domain::time::Instant;
use quintile_proto::segmentation::LabelRules;

#[derive(Clone, PartialEq, Message)]
struct StoredClustering {
    #[prost(string, tag = "1")]
    within: String,
    #[prost(message, optional, tag = "2")]
    labels: Option<LabelRules>,
    #[prost(message, repeated, tag = "3")]
    columns: Vec<StoredColumn>,
    #[prost(message, repeated, tag = "4")]
    clusters: Vec<StoredCluster>,
    #[prost(double, tag = "5")]
    mean_distance: f64,
    #[prost(uint32, tag = "6")]
    last_number: u32,
    #[prost(double, optional, tag = "7")]
    inertia: Option<f64>,
    #[prost(message, optional, tag = "8")]
    mixture: Option<StoredMixture>,
    #[prost(message, optional, tag = "9")]
    choice: Option<StoredChoice>,
    #[prost(uint64, tag = "10")]
    customers: u64,
    #[prost(int64, tag = "11")]
    fitted_at: i64,
    #[prost(uint64, tag = "12")]
    seed: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredColumn {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "2")]
    logarithmic: bool,
    #[prost(string, tag = "3")]
    high: String,
    #[prost(string, tag = "4")]
    low: String,
    #[prost(double, tag = "5")]
    mean: f64,
    #[prost(double, tag = "6")]
    deviation: f64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCluster {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(uint64, tag = "2")]
    size: u64,
    #[prost(double, repeated, tag = "3")]
    centre: Vec<f64>,
    #[prost(double, optional, tag = "4")]
    moved: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredMixture {
    #[prost(message, repeated, tag = "1")]
    shapes: Vec<StoredShape>,
    #[prost(uint32, repeated, tag = "2")]
    places: Vec<u32>,
    #[prost(double, tag = "3")]
    log_likelihood: f64,
    #[prost(double, tag = "4")]
    bic: f64,
    #[prost(bool, tag = "5")]
    settled: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredShape {
    #[prost(double, tag = "1")]
    weight: f64,
    #[prost(double, repeated, tag = "2")]
    mean: Vec<f64>,
    #[prost(double, repeated, tag = "3")]
    whitening: Vec<f64>,
    #[prost(double, tag = "4")]
    log_peak: f64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredChoice {
    #[prost(message, repeated, tag = "1")]
    candidates: Vec<StoredCandidate>,
    #[prost(uint64, tag = "2")]
    rows: u64,
    #[prost(uint64, tag = "3")]
    silhouette_rows: u64,
    #[prost(uint32, tag = "4")]
    highest_silhouette: u32,
    #[prost(uint32, optional, tag = "5")]
    elbow: Option<u32>,
    #[prost(uint32, tag = "6")]
    recommended: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCandidate {
    #[prost(uint32, tag = "1")]
    clusters: u32,
    #[prost(double, tag = "2")]
    inertia: f64,
    #[prost(double, tag = "3")]
    silhouette: f64,
}

/// Clusters as bytes.
pub fn encode(clustering: &Clustering) -> Vec<u8> {
    let Partition { preparation, clusters, mean_distance, last_number } = clustering.model.partition();
    let (inertia, mixture) = match &clustering.model {
        Model::KMeans(model) => (Some(model.inertia), None),
        Model::Mixture(model) => (None, Some(stored_mixture(model))),
    };
    let column = |Column { feature, mean, deviation }: &Column| StoredColumn {
        name: feature.name.clone(),
        logarithmic: feature.logarithmic,
        high: feature.high.clone(),
        low: feature.low.clone(),
        mean: *mean,
        deviation: *deviation,
    };
    let cluster = |Cluster { number, size, centre, moved }: &Cluster| StoredCluster {
        number: *number,
        size: *size,
        centre: centre.clone(),
        moved: *moved,
    };
    let stored = StoredClustering {
        within: clustering.within.clone(),
        labels: Some(super::definitions::to_rules(&clustering.labels, str::to_owned)),
        columns: preparation.columns.iter().map(column).collect(),
        clusters: clusters.iter().map(cluster).collect(),
        mean_distance: *mean_distance,
        last_number: *last_number,
        inertia,
        mixture,
        choice: clustering.choice.as_ref().map(stored_choice),
        customers: clustering.customers,
        fitted_at: clustering.fitted_at.micros(),
        seed: clustering.seed,
    };
    stored.encode_to_vec()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn stored_mixture(model: &Mixture) -> StoredMixture {
    let shape = |Shape { weight, mean, whitening, log_peak }: &Shape| StoredShape {
        weight: *weight,
        mean: mean.clone(),
        whitening: whitening.clone(),
        log_peak: *log_peak,
    };
    StoredMixture {
        shapes: model.shapes.iter().map(shape).collect(),
        places: model.places.iter().map(|place| small(*place)).collect(),
        log_likelihood: model.log_likelihood,
        bic: model.bic,
        settled: model.settled,
    }
}

fn stored_choice(choice: &Choice) -> StoredChoice {
    let candidate = |Candidate { clusters, inertia, silhouette }: &Candidate| StoredCandidate {
        clusters: small(*clusters),
        inertia: *inertia,
        silhouette: *silhouette,
    };
    StoredChoice {
        candidates: choice.candidates.iter().map(candidate).collect(),
        rows: choice.rows as u64,
        silhouette_rows: choice.silhouette_rows as u64,
        highest_silhouette: small(choice.highest_silhouette),
        elbow: choice.elbow.map(small),
        recommended: small(choice.recommended),
    }
}

/// Clusters of bytes. `None`: they are not that.
pub fn decode(bytes: &[u8]) -> Option<Clustering> {
    let stored = StoredClustering::decode(bytes).ok()?;
    let column = |StoredColumn { name, logarithmic, high, low, mean, deviation }| Column {
        feature: Feature { name, logarithmic, high, low },
        mean,
        deviation,
    };
    let cluster = |StoredCluster { number, size, centre, moved }| Cluster { number, size, centre, moved };
    let partition = Partition {
        preparation: Preparation { columns: stored.columns.into_iter().map(column).collect() },
        clusters: stored.clusters.into_iter().map(cluster).collect(),
        mean_distance: stored.mean_distance,
        last_number: stored.last_number,
    };
    let model = match stored.mixture {
        Some(mixture) => Model::Mixture(mixture_of(partition, mixture)),
        None => Model::KMeans(KMeans { partition, inertia: stored.inertia? }),
    };
    let labels = super::definitions::of_rules(stored.labels?)?;
    // Each label but the last is of a cluster.
    if labels.labels.len() != model.partition().clusters.len() {
        return None;
    }
    Some(Clustering {
        within: stored.within,
        model,
        labels,
        choice: stored.choice.map(choice_of),
        customers: stored.customers,
        fitted_at: Instant::from_micros(stored.fitted_at),
        seed: stored.seed,
    })
}

fn mixture_of(partition: Partition, stored: StoredMixture) -> Mixture {
    let StoredMixture { shapes, places, log_likelihood, bic, settled } = stored;
    let shape = |StoredShape { weight, mean, whitening, log_peak }| Shape { weight, mean, whitening, log_peak };
    Mixture {
        partition,
        shapes: shapes.into_iter().map(shape).collect(),
        places: places.into_iter().map(|place| place as usize).collect(),
        log_likelihood,
        bic,
        settled,
    }
}

fn choice_of(stored: StoredChoice) -> Choice {
    let candidate = |StoredCandidate { clusters, inertia, silhouette }| Candidate {
        clusters: clusters as usize,
        inertia,
        silhouette,
    };
    Choice {
        candidates: stored.candidates.into_iter().map(candidate).collect(),
        rows: stored.rows as usize,
        silhouette_rows: stored.silhouette_rows as usize,
        highest_silhouette: stored.highest_silhouette as usize,
        elbow: stored.elbow.map(|clusters| clusters as usize),
        recommended: stored.recommended as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::{Search, Table, choose};
    use crate::population::clustering::labels;

    #[test]
    fn what_was_found_comes_back_to_the_last_bit() {
        let feature = |name: &str, logarithmic| Feature {
            name: name.to_owned(),
            logarithmic,
            high: format!("much {name}"),
            low: format!("little {name}"),
        };
        let mut table = Table::new(vec![feature("orders", true), feature("trait.x", false)]).unwrap();
        for row in 0..300 {
            let row = f64::from(row);
            table.push(&[Some((row * 7.31) % 41.0), (row % 5.0 > 0.0).then_some((row / 3.0).sin())]).unwrap();
        }
        let prepared = table.prepare().unwrap();
        let search = Search::new(7);
        let choice = choose(&prepared, 2..=4, &search).unwrap();
        let models = [
            (Model::KMeans(KMeans::fit(&prepared, 3, &search, None).unwrap()), Some(choice)),
            (Model::Mixture(Mixture::fit(&prepared, 3, &search, None).unwrap()), None),
        ];
        for (model, choice) in models {
            let titles = model.partition().clusters.iter().map(|cluster| (cluster.number, "title".to_owned()));
            let labels = labels(titles);
            let clustering = Clustering {
                within: "orders > 0".to_owned(),
                labels,
                model,
                choice,
                customers: 300,
                fitted_at: Instant::from_micros(5),
                seed: u64::MAX,
            };
            assert_eq!(decode(&encode(&clustering)), Some(clustering));
        }
        assert_eq!(decode(b"nonsense"), None);
    }
}
