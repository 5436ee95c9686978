//! Clusters: found on request, kept as drafts of label sets.

use super::cluster_texts::{clustering, titled, told, told_drift, told_factors};
use super::definitions::{Edit, Turn, check_etag};
use super::labels::{bound, label_set_key, refuse_another, refuse_the_one_that_ships, usable};
use super::previews;
use super::segments::{draft_fields, parse};
use super::{apart, check_fields, check_rights, may_read, population};
use crate::Service;
use crate::cancellation::Cancellation;
use crate::clusters::{
    CLUSTERS, Choice, ClusterError, Drift, Factors, Feature, KMeans, MAX_FEATURES, Mixture, Model, Partition, Pca,
    Prepared, Search, Table, Tally, choose, most_factors,
};
use crate::engine::Bitmap;
use crate::fields;
use crate::population::Population;
use crate::population::catalogue::Key;
use crate::population::clustering::{Clustering, Measure};
use crate::population::definition::{Body, Definition};
use crate::population::membership::Membership;
use quintile_domain::seeded::Seeded;
use quintile_expr::{Rule, Type};
use quintile_proto::segmentation::cluster_service_server::ClusterService;
use quintile_proto::segmentation::{
    self as message, ClusterDrift, ClusterFeature, ClusterMethod, FactorAnalysis, FindFactorsRequest,
    FitClustersRequest, GetClusterDriftRequest, GetClusteringRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError, Caller};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tonic::Request;

/// Customers that are looked at: enough that a cluster of one in a thousand has two hundred of them.
const LOOKED_AT: usize = 200_000;
/// The same for mixtures, each step of which asks every customer about every pair of features.
const LOOKED_AT_BY_MIXTURES: usize = 50_000;
/// The most features of a mixture, for the same reason.
const MAX_MIXTURE_FEATURES: usize = 12;
/// The numbers of clusters that are tried where nobody says which.
const TRIED: RangeInclusive<usize> = 3..=8;
/// The fewest features that factors are found of.
const MIN_FACTOR_FEATURES: usize = 3;

/// The handlers.
pub struct Clusters {
    pub service: Service,
}

/// What customers are compared by, and who.
struct Compared {
    features: Vec<Feature>,
    measures: Vec<Measure>,
    members: Bitmap,
}

impl Compared {
    /// Of a request, as far as the caller may.
    fn new(
        caller: &Caller,
        population: &Population,
        given: &[ClusterFeature],
        within: &str,
        counts: RangeInclusive<usize>,
    ) -> Result<Self, ApiError> {
        if !counts.contains(&given.len()) {
            let problem = format!("must have {} to {} fields", counts.start(), counts.end());
            return Err(ApiError::invalid_field("features", problem));
        }
        let names: Vec<String> = given.iter().map(|feature| feature.field.clone()).collect();
        let known = previews::fields(caller, population, "features", &names, *counts.end())?;
        let mut compared = Self { features: Vec::new(), measures: Vec::new(), members: Bitmap::new() };
        for (index, (field, given)) in known.iter().zip(given).enumerate() {
            let invalid = |problem: &str| ApiError::invalid_field(format!("features[{index}].field"), problem);
            let measure = Measure::of(field, population.schema().minor_digits());
            let measure = measure.ok_or_else(|| invalid("must be a number, money or an instant"))?;
            if compared.measures.contains(&measure) {
                return Err(invalid("is there twice"));
            }
            let (high, low) = fields::words(&field.name, field.ty == Type::Instant);
            let name = field.name.to_string();
            compared.features.push(Feature { name, logarithmic: !given.linear, high, low });
            compared.measures.push(measure);
        }
        compared.members = members(caller, population, within)?;
        Ok(compared)
    }

    /// The features of up to so many of them.
    fn table(self, population: &Population, most: usize, seed: u64) -> Result<Table, ApiError> {
        let mut table = Table::new(self.features).map_err(|error| refused(&error))?;
        let chosen = chosen(&self.members, most, seed);
        let taken = population.rows(chosen, &self.measures, |row| table.push(row));
        taken.map_err(|error| refused(&error))?;
        Ok(table)
    }
}

/// Those who match a rule that the caller may use; everybody without one.
fn members(caller: &Caller, population: &Population, within: &str) -> Result<Bitmap, ApiError> {
    if within.is_empty() {
        return Ok(population.engine().present().clone());
    }
    let rule: Rule = parse("within", within, population)?;
    check_rights(caller, population, std::slice::from_ref(&rule))?;
    Ok(population.select(&rule, population.as_of()))
}

/// Up to so many customers, each as likely as any other.
fn chosen(members: &Bitmap, most: usize, seed: u64) -> impl Iterator<Item = u32> {
    let count = usize::try_from(members.count()).unwrap_or(usize::MAX);
    let mut places = Seeded::new(seed).sample(count, most).into_iter().peekable();
    members
        .iter()
        .enumerate()
        .filter(move |(place, _)| places.next_if_eq(place).is_some())
        .map(|(_, customer)| customer)
}

/// What stands in the way is what customers are like.
fn refused(error: &ClusterError) -> ApiError {
    if *error == ClusterError::Cancelled {
        return ApiError::deadline_exceeded();
    }
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, error.to_string())
}

fn clustering_key(name: &str) -> Result<Key, ApiError> {
    let set = name.strip_suffix("/clustering").and_then(|set| label_set_key("name", set).ok());
    set.ok_or_else(|| ApiError::invalid_field("name", "must be labelSets/{set}/clustering"))
}

/// A search, as a request asks for it.
struct Task {
    method: ClusterMethod,
    /// `None`: it is to be found out.
    clusters: Option<usize>,
    tried: RangeInclusive<usize>,
    seed: u64,
}

impl Task {
    fn new(request: &FitClustersRequest) -> Result<Self, ApiError> {
        let method = ClusterMethod::try_from(request.method);
        let method = method.map_err(|_| ApiError::invalid_field("method", "is not known"))?;
        let (least, most) = CLUSTERS.into_inner();
        let number = |field: &str, given: i32| match usize::try_from(given) {
            Ok(0) => Ok(None),
            Ok(number) if CLUSTERS.contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::invalid_field(field, format!("must be 0 or within {least} and {most}"))),
        };
        let clusters = number("clusters", request.clusters)?;
        let lowest = number("min_clusters", request.min_clusters)?;
        let highest = number("max_clusters", request.max_clusters)?;
        if clusters.is_some() && (lowest.is_some() || highest.is_some()) {
            return Err(ApiError::invalid_field("clusters", "must be 0 where a range is given"));
        }
        let lowest = lowest.unwrap_or_else(|| highest.map_or(*TRIED.start(), |most| most.min(*TRIED.start())));
        let highest = highest.unwrap_or_else(|| lowest.max(*TRIED.end()));
        if lowest > highest {
            return Err(ApiError::invalid_field("max_clusters", "must not be below min_clusters"));
        }
        let mixture_is_too_wide = method == ClusterMethod::Mixture && request.features.len() > MAX_MIXTURE_FEATURES;
        if mixture_is_too_wide {
            let problem = format!("must have at most {MAX_MIXTURE_FEATURES} fields for a mixture");
            return Err(ApiError::invalid_field("features", problem));
        }
        Ok(Self { method, clusters, tried: lowest..=highest, seed: request.seed.cast_unsigned() })
    }

    fn customers(&self) -> usize {
        if self.method == ClusterMethod::Mixture { LOOKED_AT_BY_MIXTURES } else { LOOKED_AT }
    }

    fn find(
        &self,
        table: Table,
        previous: Option<&Partition>,
        cancellation: &Cancellation,
    ) -> Result<(Model, Option<Choice>), ClusterError> {
        let prepared = table.prepare()?;
        let search = Search { cancellation: Some(cancellation), ..Search::new(self.seed) };
        let choice = match self.clusters {
            Some(_) => None,
            None => Some(choose(&prepared, self.tried.clone(), &search)?),
        };
        let known = choice.as_ref().map(|choice| choice.recommended);
        let clusters = self.clusters.or(known).unwrap_or(*TRIED.start());
        let model = match self.method {
            ClusterMethod::Mixture => Model::Mixture(Mixture::fit(&prepared, clusters, &search, previous)?),
            ClusterMethod::Unspecified | ClusterMethod::KMeans => {
                Model::KMeans(KMeans::fit(&prepared, clusters, &search, previous)?)
            }
        };
        Ok((model, choice))
    }
}

/// What is there of the set that clusters are found for. `None`: it is to be made.
fn present<'a>(
    caller: &Caller,
    population: &'a Population,
    key: &Key,
    etag: &str,
) -> Result<Option<&'a Definition>, ApiError> {
    refuse_the_one_that_ships(key)?;
    if population.definition(key).is_none() {
        refuse_another(population, key)?;
        return if etag.is_empty() { Ok(None) } else { Err(ApiError::not_found()) };
    }
    let definition = usable(caller, population, key)?;
    check_etag(definition, etag)?;
    if clustering(definition.live.as_ref().or(definition.draft.as_ref())).is_none() {
        let message = "the label set is of rules: clusters need one of their own";
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
    }
    Ok(Some(definition))
}

/// What was found for a request, and the set that it was found for.
type Found = (Option<Definition>, Clustering);

/// Finds clusters, as long as somebody waits for them.
fn found(
    service: &Service,
    caller: &Caller,
    request: FitClustersRequest,
    cancellation: &Cancellation,
) -> Result<Found, ApiError> {
    let (key, task) = (label_set_key("name", &request.name)?, Task::new(&request)?);
    let loaded = population(service, caller)?;
    let (before, reads_draft, fitted_at, table) = {
        let population = loaded.population.read();
        let before = present(caller, &population, &key, &request.etag)?.cloned();
        let draft = before.as_ref().and_then(|before| draft_fields(&population, before));
        let reads_draft = draft.is_some_and(|fields| may_read(caller, &population, &fields));
        let counts = 1..=MAX_FEATURES;
        let compared = Compared::new(caller, &population, &request.features, &request.within, counts)?;
        (before, reads_draft, population.as_of(), compared.table(&population, task.customers(), task.seed)?)
    };
    let customers = table.rows() as u64;
    // What never was in force has no numbers that anybody would know.
    let previous = before.as_ref().and_then(|before| clustering(before.live.as_ref()));
    let draft = before.as_ref().and_then(|before| clustering(before.draft.as_ref()));
    let draft = draft.filter(|_| previous.is_some() && reads_draft);
    let found = task.find(table, previous.map(|previous| previous.model.partition()), cancellation);
    let (model, choice) = found.map_err(|error| refused(&error))?;
    let titled_before: Vec<&Clustering> = previous.into_iter().chain(draft).map(Arc::as_ref).collect();
    let labels = titled(model.partition(), &titled_before);
    let (within, seed) = (request.within, task.seed);
    let clustering = Clustering { within, model, labels, choice, customers, fitted_at, seed };
    Ok((before, clustering))
}

/// Looks at those who are assigned to clusters now.
fn drift(service: &Service, caller: &Caller, request: &GetClusterDriftRequest) -> Result<ClusterDrift, ApiError> {
    let key = clustering_key(&request.name)?;
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let population = loaded.population.read();
    usable(caller, &population, &key)?;
    let (place, live) = population.catalogue().find(&key).ok_or_else(ApiError::not_found)?;
    check_fields(caller, &population, population.catalogue().fields_of(place))?;
    let Membership::Clusters(clusters) = &live.membership else { return Err(ApiError::not_found()) };
    let clustering = clusters.clustering();
    let members = members(caller, &population, &clustering.within)?;
    let mut tally = Tally::default();
    let taken = population.rows(chosen(&members, LOOKED_AT, clustering.seed), clusters.measures(), |row| {
        clustering.model.assign(row).map(|found| tally.add(found.cluster, found.distance))
    });
    taken.map_err(|error| refused(&error))?;
    let nobody = || ApiError::failed_precondition(ErrorReason::FailedPrecondition, "nobody is clustered now");
    let partition = clustering.model.partition();
    let drift = Drift::since_fit(partition, &tally).ok_or_else(nobody)?;
    Ok(ClusterDrift { watermark: Some(watermark.to_message()), ..told_drift(&key, partition, &tally, &drift) })
}

/// Finds factors.
fn factors(service: &Service, caller: &Caller, request: &FindFactorsRequest) -> Result<FactorAnalysis, ApiError> {
    let most = MAX_FEATURES - 1;
    let wanted = usize::try_from(request.factors).ok().filter(|wanted| *wanted <= most);
    let problem = || ApiError::invalid_field("factors", format!("must be within 0 and {most}"));
    let wanted = wanted.ok_or_else(problem)?;
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let table = {
        let population = loaded.population.read();
        let counts = MIN_FACTOR_FEATURES..=MAX_FEATURES;
        let compared = Compared::new(caller, &population, &request.features, &request.within, counts)?;
        compared.table(&population, LOOKED_AT, request.seed.cast_unsigned())?
    };
    let customers = table.rows() as i64;
    let found = table.prepare().and_then(|prepared| factors_of(&prepared, wanted));
    let (components, factors) = found.map_err(|error| refused(&error))?;
    let told = told_factors(&components, &factors);
    Ok(FactorAnalysis { customers, watermark: Some(watermark.to_message()), ..told })
}

impl Clusters {
    /// Runs a search when it is its turn: each takes a processor and memory, for seconds.
    async fn search<T: Send + 'static>(
        &self,
        find: impl FnOnce(&Service, &Cancellation) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.service.searches.clone().acquire_owned().await;
        let turn = turn.map_err(|_| ApiError::unavailable("the service is stopping"))?;
        let service = self.service.clone();
        apart(move |cancellation| {
            let _turn = turn;
            find(&service, cancellation)
        })
        .await
    }

    async fn fit(&self, caller: &Caller, request: FitClustersRequest) -> Result<message::Clustering, ApiError> {
        let key = label_set_key("name", &request.name)?;
        caller.is_about(key.to_string());
        Task::new(&request)?;
        let asking = caller.clone();
        let search = self.search(move |service, cancellation| found(service, &asking, request, cancellation));
        let (before, clustering) = search.await?;
        self.keep(caller, &key, before.as_ref(), clustering).await
    }

    /// Keeps what was found as a draft, unless somebody has changed the set meanwhile.
    async fn keep(
        &self,
        caller: &Caller,
        key: &Key,
        before: Option<&Definition>,
        clustering: Clustering,
    ) -> Result<message::Clustering, ApiError> {
        let turn = Turn::wait(&self.service, caller).await?;
        let body = Body::Clusters(Arc::new(clustering));
        let definition = {
            let population = turn.loaded.population.read();
            let now = present(caller, &population, key, "")?;
            if now.map(Definition::etag) != before.map(Definition::etag) {
                return Err(ApiError::stale_etag());
            }
            bound(caller, &population, &body)?;
            let made = || Definition {
                key: key.clone(),
                description: String::new(),
                created_at: self.service.clock.now(),
                revision: 0,
                version: 0,
                live: None,
                draft: None,
            };
            let definition = now.cloned().unwrap_or_else(made);
            Definition { revision: definition.revision + 1, draft: Some(body.clone()), ..definition }
        };
        turn.commit(key, Edit { definition: Some(definition.clone()), ..Edit::default() }).await?;
        told(&definition, true).ok_or_else(ApiError::not_found)
    }

    fn get(&self, caller: &Caller, request: &GetClusteringRequest) -> Result<message::Clustering, ApiError> {
        let key = clustering_key(&request.name)?;
        let loaded = population(&self.service, caller)?;
        let population = loaded.population.read();
        let definition = usable(caller, &population, &key)?;
        let body = if request.draft { &definition.draft } else { &definition.live };
        clustering(body.as_ref()).ok_or_else(ApiError::not_found)?;
        bound(caller, &population, body.as_ref().ok_or_else(ApiError::not_found)?)?;
        told(definition, request.draft).ok_or_else(ApiError::not_found)
    }
}

fn factors_of(prepared: &Prepared, wanted: usize) -> Result<(Pca, Factors), ClusterError> {
    let components = Pca::fit(prepared)?;
    let most = most_factors(components.features.len());
    let wanted = if wanted == 0 { components.above_one().min(most) } else { wanted };
    let factors = Factors::fit(prepared, wanted)?;
    Ok((components, factors))
}

#[tonic::async_trait]
impl ClusterService for Clusters {
    async fn fit_clusters(&self, request: Request<FitClustersRequest>) -> Answer<message::Clustering> {
        let caller = Caller::of(&request)?;
        let clustering = self.fit(&caller, request.into_inner()).await?;
        Ok(caller.respond(clustering))
    }

    async fn get_clustering(&self, request: Request<GetClusteringRequest>) -> Answer<message::Clustering> {
        let caller = Caller::of(&request)?;
        let clustering = self.get(&caller, request.get_ref())?;
        Ok(caller.respond(clustering))
    }

    async fn get_cluster_drift(&self, request: Request<GetClusterDriftRequest>) -> Answer<ClusterDrift> {
        let caller = Caller::of(&request)?;
        let (service, asking, request) = (self.service.clone(), caller.clone(), request.into_inner());
        let drift = apart(move |_| drift(&service, &asking, &request)).await?;
        Ok(caller.respond(drift))
    }

    async fn find_factors(&self, request: Request<FindFactorsRequest>) -> Answer<FactorAnalysis> {
        let caller = Caller::of(&request)?;
        let (asking, request) = (caller.clone(), request.into_inner());
        let factors = self.search(move |service, _| factors(service, &asking, &request)).await?;
        Ok(caller.respond(factors))
    }
}
