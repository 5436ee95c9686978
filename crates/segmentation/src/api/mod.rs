//! The RPCs of segmentation: one file per resource.

mod erasures;
mod expressions;
mod labels;
mod members;
mod memberships;
mod profiles;
mod segments;

use crate::Service;
use crate::engine::Bitmap;
use crate::fields::{FieldId, sensitivity};
use crate::population::{LoadedPopulation, Population};
use quintile_domain::masking::Sensitivity;
use quintile_expr::Rule;
use quintile_proto::google_type::Money;
use quintile_proto::segmentation::erasure_service_server::{self, ErasureServiceServer};
use quintile_proto::segmentation::expression_service_server::{self, ExpressionServiceServer};
use quintile_proto::segmentation::label_service_server::{self, LabelServiceServer};
use quintile_proto::segmentation::profile_service_server::{self, ProfileServiceServer};
use quintile_proto::segmentation::segment_service_server::{self, SegmentServiceServer};
use quintile_rpc::{ApiError, Caller, convert};
use tonic::service::Routes;

/// The services of this server.
pub fn routes(service: &Service) -> Routes {
    Routes::default()
        .add_service(SegmentServiceServer::new(segments::Segments { service: service.clone() }))
        .add_service(ExpressionServiceServer::new(expressions::Expressions { service: service.clone() }))
        .add_service(LabelServiceServer::new(labels::Labels { service: service.clone() }))
        .add_service(ErasureServiceServer::new(erasures::Erasures { service: service.clone() }))
        .add_service(ProfileServiceServer::new(profiles::Profiles { service: service.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        segment_service_server::SERVICE_NAME,
        expression_service_server::SERVICE_NAME,
        label_service_server::SERVICE_NAME,
        profile_service_server::SERVICE_NAME,
        erasure_service_server::SERVICE_NAME,
    ]
}

/// The caller's population.
fn population(service: &Service, caller: &Caller) -> Result<LoadedPopulation, ApiError> {
    let loaded = service.populations.of(caller.tenant().id);
    loaded.ok_or_else(|| ApiError::unavailable("the population is being loaded"))
}

/// Refuses a rule that reads a field, itself or through a segment, that the caller may not read in clear.
fn check_rights(caller: &Caller, population: &Population, rule: &Rule) -> Result<(), ApiError> {
    for field in population.fields_read(rule) {
        if !caller.reads_in_clear(sensitivity(field)) {
            return Err(ApiError::field_denied(FieldId::from_id(field).map_or("a field", FieldId::name)));
        }
    }
    Ok(())
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
