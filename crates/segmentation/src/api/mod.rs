//! The RPCs of segmentation: one file per resource.

mod analyses;
mod cluster_texts;
mod clusters;
mod definitions;
mod erasures;
mod expressions;
mod impacts;
mod label_texts;
mod labels;
mod lists;
mod members;
mod memberships;
mod previews;
mod profiles;
mod segments;

use crate::Service;
use crate::cancellation::Cancellation;
use crate::engine::Bitmap;
use crate::fields::{Classes, FieldId};
use crate::population::{LoadedPopulation, Population};
use quintile_domain::masking::Sensitivity;
use quintile_expr::Rule;
use quintile_proto::google_type::Money;
use quintile_proto::segmentation::analysis_service_server::{self, AnalysisServiceServer};
use quintile_proto::segmentation::cluster_service_server::{self, ClusterServiceServer};
use quintile_proto::segmentation::erasure_service_server::{self, ErasureServiceServer};
use quintile_proto::segmentation::expression_service_server::{self, ExpressionServiceServer};
use quintile_proto::segmentation::label_service_server::{self, LabelServiceServer};
use quintile_proto::segmentation::profile_service_server::{self, ProfileServiceServer};
use quintile_proto::segmentation::segment_service_server::{self, SegmentServiceServer};
use quintile_rpc::{ApiError, Caller, convert};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::service::Routes;

/// The services of this server.
pub fn routes(service: &Service) -> Routes {
    Routes::default()
        .add_service(SegmentServiceServer::new(segments::Segments { service: service.clone() }))
        .add_service(AnalysisServiceServer::new(analyses::Analyses { service: service.clone() }))
        .add_service(ClusterServiceServer::new(clusters::Clusters { service: service.clone() }))
        .add_service(ExpressionServiceServer::new(expressions::Expressions { service: service.clone() }))
        .add_service(LabelServiceServer::new(labels::Labels { service: service.clone() }))
        .add_service(ErasureServiceServer::new(erasures::Erasures { service: service.clone() }))
        .add_service(ProfileServiceServer::new(profiles::Profiles { service: service.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        segment_service_server::SERVICE_NAME,
        analysis_service_server::SERVICE_NAME,
        cluster_service_server::SERVICE_NAME,
        expression_service_server::SERVICE_NAME,
        label_service_server::SERVICE_NAME,
        profile_service_server::SERVICE_NAME,
        erasure_service_server::SERVICE_NAME,
    ]
}

/// Cancels when it is dropped.
struct CancelOnDrop(Arc<Cancellation>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Does what may take long away from the threads that answer calls. It is cancelled when nobody waits for it any longer.
async fn apart<T: Send + 'static>(
    work: impl FnOnce(&Cancellation) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let cancellation = Arc::new(Cancellation::default());
    let _waiting = CancelOnDrop(cancellation.clone());
    let done = tokio::task::spawn_blocking(move || work(&cancellation)).await;
    done.map_err(|_| ApiError::internal("a question panicked"))?
}

/// The caller's population.
fn population(service: &Service, caller: &Caller) -> Result<LoadedPopulation, ApiError> {
    let loaded = service.populations.of(caller.tenant().id);
    loaded.ok_or_else(|| ApiError::unavailable("the population is being loaded"))
}

/// Refuses rules that read a field, themselves or through a segment, that the caller may not read in clear.
fn check_rights(caller: &Caller, population: &Population, rules: &[Rule]) -> Result<(), ApiError> {
    check_fields(caller, population, population.catalogue().fields_read(rules))
}

/// Refuses fields that the caller may not read in clear.
fn check_fields(
    caller: &Caller,
    population: &Population,
    fields: impl IntoIterator<Item = u16>,
) -> Result<(), ApiError> {
    let denied = fields.into_iter().find(|field| !caller.reads_in_clear(population.sensitivity(*field)));
    denied.map_or(Ok(()), |field| Err(ApiError::field_denied(&population.field_name(field))))
}

/// Whether the caller may read all of these fields in clear.
fn may_read(caller: &Caller, population: &Population, fields: &BTreeSet<u16>) -> bool {
    fields.iter().all(|field| caller.reads_in_clear(population.sensitivity(*field)))
}

/// Whether a caller may hear of what rules that read these classes decided. The rules may be gone by now, and others in their place.
fn may_read_classes(caller: &Caller, classes: Classes) -> bool {
    classes.each().all(|class| caller.reads_in_clear(class))
}

/// Some customers as far as the caller reaches them.
fn reached(caller: &Caller, population: &Population, mut customers: Bitmap) -> Bitmap {
    if let Some(scope) = population.reached(caller.scope()) {
        customers = customers.and(&scope);
    }
    customers
}

/// How many customers the caller reaches in all.
fn reached_population(caller: &Caller, population: &Population) -> i64 {
    population.reached(caller.scope()).map_or(population.engine().population(), |scope| scope.count()) as i64
}

/// The revenue of customers so far. A caller that does not read money in clear gets no sum either, not even a rough one: with a few
/// customers of known amounts more or less it would tell the rest.
fn revenue(caller: &Caller, population: &Population, customers: &Bitmap) -> Option<Money> {
    if !caller.reads_in_clear(Sensitivity::Financial) {
        return None;
    }
    let minor = population.engine().sum_minor(FieldId::NetRevenue, customers);
    Some(convert::money(caller.tenant().currency, i64::try_from(minor).unwrap_or(i64::MAX)))
}
