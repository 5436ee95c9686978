//! Clusters, for people: found, looked at, and compared with what became of them.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, thousands};
use crate::remote::{Session, connect};
use clap::{Subcommand, ValueEnum};
use prost::Message;
use quintile_proto::segmentation::cluster_service_client::ClusterServiceClient;
use quintile_proto::segmentation::{
    Cluster, ClusterDrift, ClusterFeature, ClusterMethod, Clustering, Factor, FactorAnalysis, FindFactorsRequest,
    FitClustersRequest, GetClusterDriftRequest, GetClusteringRequest,
};
use quintile_rpc::client::Channel;

#[derive(Debug, Subcommand)]
pub enum ClustersCommand {
    /// Finds customers who resemble each other, and keeps them as the draft of a label set
    Fit {
        /// `labelSets/{set}`: made if it is not there
        name: String,
        /// A field to compare by: a number, money, or an instant (the days since then). Up to 32
        #[arg(long = "by", value_name = "FIELD", required = true)]
        by: Vec<String>,
        /// One of these fields that is compared as it is, and not by its logarithm
        #[arg(long, value_name = "FIELD")]
        linear: Vec<String>,
        /// A rule for who is clustered, such as `orders > 0` [default: everybody]
        #[arg(long, value_name = "RULE", default_value = "", hide_default_value = true)]
        within: String,
        /// How many, 2 to 20 [default: 3 to 8 are tried]
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        clusters: i32,
        /// How they are found
        #[arg(long, value_enum, default_value_t = Method::KMeans)]
        method: Method,
        /// What randomness follows from
        #[arg(long, default_value_t = 0)]
        seed: i64,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells of the clusters in force, or of the draft
    Show {
        /// `labelSets/{set}`
        name: String,
        /// Of the draft
        #[arg(long)]
        draft: bool,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells whether the clusters in force still fit
    Drift {
        /// `labelSets/{set}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Finds the few unseen traits that make fields go together
    Factors {
        /// A field: a number, money, or an instant (the days since then). 3 to 32
        #[arg(long = "by", value_name = "FIELD", required = true)]
        by: Vec<String>,
        /// One of these fields that counts as it is, and not by its logarithm
        #[arg(long, value_name = "FIELD")]
        linear: Vec<String>,
        /// A rule for whose values count, such as `orders > 0` [default: everybody's]
        #[arg(long, value_name = "RULE", default_value = "", hide_default_value = true)]
        within: String,
        /// How many [default: as many as say more than a field does]
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        factors: i32,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// How clusters are found.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Method {
    /// Each customer belongs to the nearest centre
    #[value(name = "k-means")]
    KMeans,
    /// Each customer belongs to the most probable ellipsoid
    Mixture,
}

/// A command's connection.
struct Asker<'a> {
    client: ClusterServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: ClusterServiceClient::new(connect(&config, Role::Segmentation)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.segmentation.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }
}

/// Runs a command.
pub async fn run(command: ClustersCommand) -> anyhow::Result<()> {
    match command {
        ClustersCommand::Fit { name, by, linear, within, clusters, method, seed, caller } => {
            let method = match method {
                Method::KMeans => ClusterMethod::KMeans,
                Method::Mixture => ClusterMethod::Mixture,
            };
            let features = features(by, &linear)?;
            let method = method.into();
            let request = FitClustersRequest { name, features, within, method, clusters, seed, ..Default::default() };
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.client.fit_clusters(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "Clustering", show_clustering)
        }
        ClustersCommand::Show { name, draft, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = GetClusteringRequest { name: format!("{name}/clustering"), draft };
            let answer = asker.client.get_clustering(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "Clustering", show_clustering)
        }
        ClustersCommand::Drift { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = GetClusterDriftRequest { name: format!("{name}/clustering") };
            let answer = asker.client.get_cluster_drift(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "ClusterDrift", show_drift)
        }
        ClustersCommand::Factors { by, linear, within, factors, caller } => {
            let request = FindFactorsRequest { features: features(by, &linear)?, within, factors, seed: 0 };
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.client.find_factors(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "FactorAnalysis", show_factors)
        }
    }
}

fn features(by: Vec<String>, linear: &[String]) -> anyhow::Result<Vec<ClusterFeature>> {
    if let Some(other) = linear.iter().find(|field| !by.contains(field)) {
        anyhow::bail!("--linear {other} is not among those of --by");
    }
    Ok(by.into_iter().map(|field| ClusterFeature { linear: linear.contains(&field), field }).collect())
}

fn show_clustering(clustering: &Clustering) {
    for candidate in &clustering.candidates {
        say!(
            "{} clusters: inertia {:.1}, silhouette {:.3}",
            candidate.clusters,
            candidate.inertia,
            candidate.silhouette
        );
    }
    let typical = |cluster: &Cluster| {
        let values = cluster.centre.iter().map(|at| format!("{} {:.1}", at.field, at.typical_value));
        values.collect::<Vec<_>>().join(", ")
    };
    let row = |cluster: &Cluster| {
        vec![
            cluster.number.to_string(),
            format!("{:.1} %", cluster.share * 100.0),
            cluster.title.clone(),
            typical(cluster),
        ]
    };
    let rows = clustering.clusters.iter().map(row).collect();
    say!("{}", output::table(&["cluster", "share", "title", "typical"], false, rows));
    let state = if clustering.draft { "a draft" } else { "in force" };
    let looked_at = thousands(clustering.customers.unsigned_abs());
    say!("{}: {state}, of {looked_at} customers, etag {}", clustering.name, clustering.etag);
}

fn show_drift(drift: &ClusterDrift) {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let rows = drift.shares.iter().map(|share| {
        let label = share.label.rsplit('/').next().unwrap_or_default();
        vec![label.to_owned(), percent(share.then), percent(share.now)]
    });
    say!("{}", output::table(&["cluster", "then", "now"], true, rows.collect()));
    let verdict = drift.verdict().as_str_name().trim_start_matches("DRIFT_VERDICT_").to_lowercase();
    say!(
        "{verdict}: stability index {:.4} ({:.4} by chance), distances {:.2} times what they were",
        drift.stability_index,
        drift.index_by_chance,
        drift.distance_ratio
    );
}

fn show_factors(analysis: &FactorAnalysis) {
    let header: Vec<String> = (1..=analysis.factors.len()).map(|number| format!("factor {number}")).collect();
    let header: Vec<&str> = ["field"].into_iter().chain(header.iter().map(String::as_str)).chain(["own"]).collect();
    let loading = |factor: &Factor, place: usize| {
        factor.loadings.get(place).map_or_else(String::new, |loading| format!("{:.2}", loading.loading))
    };
    let rows = analysis.uniquenesses.iter().enumerate().map(|(place, own)| {
        let loadings = analysis.factors.iter().map(|factor| loading(factor, place));
        let own_share = format!("{:.2}", own.loading);
        [own.field.clone()].into_iter().chain(loadings).chain([own_share]).collect()
    });
    say!("{}", output::table(&header, true, rows.collect()));
    let explained = analysis.factors.iter().map(|factor| format!("{:.0} %", factor.explained * 100.0));
    say!("explained: {}", explained.collect::<Vec<_>>().join(", "));
}
