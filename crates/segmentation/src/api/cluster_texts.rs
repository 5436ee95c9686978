//! Clusters as they are told.

use super::label_texts::MAX_TITLE_BYTES;
use crate::clusters::{
    Candidate, Column, DISTINCT, Drift, Factors, Feature, MIN_CUSTOMERS, Model, Partition, Pca, Tally, describe,
};
use crate::labels::{Label, LabelSet};
use crate::population::catalogue::Key;
use crate::population::clustering::{Clustering, labels};
use crate::population::definition::{Body, Definition};
use quintile_domain::stability::Verdict;
use quintile_proto::segmentation::{
    self as message, ClusterDrift, ClusterFeature, ClusterMethod, DriftVerdict, FactorAnalysis, FactorLoading,
};
use quintile_rpc::convert;
use std::sync::Arc;

/// The clusters of a body, where it has some.
pub fn clustering(body: Option<&Body>) -> Option<&Arc<Clustering>> {
    match body {
        Some(Body::Clusters(clustering)) => Some(clustering),
        _ => None,
    }
}

/// A title of what is said of a cluster.
fn title(words: &str) -> String {
    let mut title: String = words.chars().take(1).flat_map(char::to_uppercase).collect();
    title.extend(words.chars().skip(1));
    title.truncate(title.floor_char_boundary(MAX_TITLE_BYTES));
    title
}

/// Gives a label of a cluster what people called the one of the same number, of which it is said so much: a title that was found is found anew, and titles
/// by language are people's in any case.
fn give(label: &mut Label, given: &Label, description: &str) {
    if given.title != title(description) {
        label.title.clone_from(&given.title);
    }
    if !given.titles.is_empty() {
        label.titles.clone_from(&given.titles);
    }
}

/// Labels for what was found, with the titles that people gave those of the same numbers, the latest last.
pub fn titled(partition: &Partition, before: &[&Clustering]) -> LabelSet {
    let comparable = before.iter().filter(|before| before.model.partition().shares_features(partition));
    let described = describe(partition, DISTINCT);
    let mut labels = labels(described.iter().map(|described| (described.cluster, title(&described.text))));
    for before in comparable {
        for (was, given) in describe(before.model.partition(), DISTINCT).iter().zip(&before.labels.labels) {
            let same = described.iter().position(|described| described.cluster == was.cluster);
            if let Some(label) = same.and_then(|place| labels.labels.get_mut(place)) {
                give(label, given, &was.text);
            }
        }
    }
    if let Some(before) = before.last() {
        labels.rest.title.clone_from(&before.labels.rest.title);
        labels.rest.titles.clone_from(&before.labels.rest.titles);
    }
    labels
}

/// The clusters of which no centre is told, by number: those of a few customers. As means and deviations of everybody are known, the centre of all that
/// are not told together follows from those that are; so these have to be as many as are told of.
fn hidden(partition: &Partition) -> Vec<u32> {
    let mut by_size: Vec<(u64, u32)> =
        partition.clusters.iter().map(|cluster| (cluster.size, cluster.number)).collect();
    by_size.sort_unstable();
    let (mut hidden, mut customers) = (Vec::new(), 0);
    for (size, number) in by_size {
        if size >= MIN_CUSTOMERS && (customers == 0 || customers >= MIN_CUSTOMERS) {
            break;
        }
        customers += size;
        hidden.push(number);
    }
    hidden
}

/// What is said of the clusters of a definition. `None`: it has none.
pub fn told(definition: &Definition, draft: bool) -> Option<message::Clustering> {
    let body = if draft { &definition.draft } else { &definition.live };
    let clustering = clustering(body.as_ref())?;
    let partition = clustering.model.partition();
    let columns = &partition.preparation.columns;
    let feature = |feature: &Feature| ClusterFeature { field: feature.name.clone(), linear: !feature.logarithmic };
    let candidates = clustering.choice.iter().flat_map(|choice| &choice.candidates);
    let candidate = |one: &Candidate| message::ClusterCandidate {
        clusters: one.clusters as i32,
        inertia: one.inertia,
        silhouette: one.silhouette,
    };
    let mut told = message::Clustering {
        name: format!("{}/clustering", definition.key),
        features: columns.iter().map(|column| feature(&column.feature)).collect(),
        within: clustering.within.clone(),
        clusters: told_clusters(&definition.key, clustering),
        candidates: candidates.map(candidate).collect(),
        customers: clustering.customers as i64,
        fit_time: Some(convert::timestamp(clustering.fitted_at)),
        seed: clustering.seed.cast_signed(),
        draft,
        etag: definition.etag(),
        ..message::Clustering::default()
    };
    match &clustering.model {
        Model::KMeans(model) => {
            told.set_method(ClusterMethod::KMeans);
            told.inertia = model.inertia;
        }
        Model::Mixture(model) => {
            told.set_method(ClusterMethod::Mixture);
            (told.log_likelihood, told.bic) = (model.log_likelihood, model.bic);
        }
    }
    Some(told)
}

fn told_clusters(key: &Key, clustering: &Clustering) -> Vec<message::Cluster> {
    let partition = clustering.model.partition();
    let (described, hidden) = (describe(partition, DISTINCT), hidden(partition));
    let all = partition.clusters.iter().zip(&clustering.labels.labels).zip(described);
    let told = all.map(|((cluster, label), described)| {
        let columns = partition.preparation.columns.iter().zip(&cluster.centre);
        let coordinate = |(column, deviations): (&Column, &f64)| message::ClusterCoordinate {
            field: column.feature.name.clone(),
            deviations: *deviations,
            typical_value: column.value(*deviations),
        };
        let told = !hidden.contains(&cluster.number);
        message::Cluster {
            label: format!("{key}/labels/{}", label.id),
            title: label.title.clone(),
            number: cluster.number.cast_signed(),
            size: cluster.size as i64,
            share: cluster.size as f64 / clustering.customers.max(1) as f64,
            description: described.text,
            centre: if told { columns.map(coordinate).collect() } else { Vec::new() },
            moved: cluster.moved.filter(|_| told).unwrap_or_default(),
        }
    });
    told.collect()
}

pub fn told_drift(key: &Key, partition: &Partition, tally: &Tally, drift: &Drift) -> ClusterDrift {
    let before: u64 = partition.clusters.iter().map(|cluster| cluster.size).sum();
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let shares = partition.clusters.iter().map(|cluster| message::ClusterShare {
        label: format!("{key}/labels/cluster-{}", cluster.number),
        then: share(cluster.size, before),
        now: share(tally.count(cluster.number), tally.total()),
    });
    let verdict = match drift.verdict {
        Verdict::Stable => DriftVerdict::Stable,
        Verdict::Shifting => DriftVerdict::Shifting,
        Verdict::Shifted => DriftVerdict::Shifted,
    };
    ClusterDrift {
        verdict: verdict.into(),
        stability_index: drift.stability_index,
        index_by_chance: drift.index_by_chance,
        distance_ratio: drift.distance_ratio.unwrap_or_default(),
        customers: tally.total() as i64,
        shares: shares.collect(),
        watermark: None,
    }
}

/// What is said of components and factors.
pub fn told_factors(components: &Pca, factors: &Factors) -> FactorAnalysis {
    let loadings = |names: &[String], loadings: &[f64]| {
        let loading = |(field, loading): (&String, &f64)| FactorLoading { field: field.clone(), loading: *loading };
        names.iter().zip(loadings).map(loading).collect()
    };
    let factor = |names: &[String], values: &[f64], explained: f64| message::Factor {
        loadings: loadings(names, values),
        explained,
    };
    let found = factors.factors.iter().map(|one| factor(&factors.features, &one.loadings, one.explained));
    let principal = components.components.iter();
    FactorAnalysis {
        factors: found.collect(),
        uniquenesses: loadings(&factors.features, &factors.uniquenesses),
        components: principal.map(|one| factor(&components.features, &one.loadings, one.explained)).collect(),
        ..FactorAnalysis::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::{Cluster, Preparation};
    use crate::labels::Title;

    #[test]
    fn what_people_called_a_cluster_is_kept_and_what_was_found_is_found_anew() {
        let label = |title: &str, titles: &[(&str, &str)]| Label {
            id: "cluster-1".to_owned(),
            title: title.to_owned(),
            titles: titles
                .iter()
                .map(|(language, title)| Title { language: (*language).to_owned(), title: (*title).to_owned() })
                .collect(),
            expression: String::new(),
        };
        let chinese = [("zh", "常客")];
        for (given, after) in [
            (label("Many orders", &[]), label("Much revenue", &[])),
            (label("Regulars", &[]), label("Regulars", &[])),
            (label("Many orders", &chinese), label("Much revenue", &chinese)),
            (label("Regulars", &chinese), label("Regulars", &chinese)),
        ] {
            let mut found = label("Much revenue", &[]);
            give(&mut found, &given, "many orders");
            assert_eq!(found, after, "{given:?}");
        }
    }

    #[test]
    fn what_is_not_told_is_of_five_customers_together() {
        let of = |sizes: &[u64]| {
            let cluster =
                |(size, number): (&u64, u32)| Cluster { number, size: *size, centre: Vec::new(), moved: None };
            let clusters = sizes.iter().zip(1..).map(cluster).collect();
            hidden(&Partition {
                preparation: Preparation { columns: Vec::new() },
                clusters,
                mean_distance: 0.0,
                last_number: 9,
            })
        };
        assert_eq!(of(&[90, 5, 7]), Vec::<u32>::new());
        assert_eq!(of(&[90, 1, 4, 5]), [2, 3]);
        assert_eq!(of(&[6, 1, 6]), [2, 1]);
        assert_eq!(of(&[3, 3, 80]), [1, 2]);
        assert_eq!(of(&[2, 2]), [1, 2]);
    }
}
