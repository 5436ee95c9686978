//! The RPCs of scoring: one file per resource.

mod economics;
mod erasures;
mod explanations;
mod fits;
mod previews;
mod publishing;
mod recommendation_models;
mod recommendations;
mod refits;
mod score_models;
mod scores;
mod value_models;
mod values;
mod versions;

use crate::Service;
use crate::models::Definition;
use crate::models::feature::Feature;
use quintile_chain::operations::LongWork;
use quintile_domain::masking::Sensitivity;
use quintile_proto::ingestion::GetTraitRequest;
use quintile_proto::ingestion::trait_service_client::TraitServiceClient;
use quintile_proto::longrunning::operations_server::{self, OperationsServer};
use quintile_proto::scoring::economics_service_server::{self, EconomicsServiceServer};
use quintile_proto::scoring::erasure_service_server::{self, ErasureServiceServer};
use quintile_proto::scoring::recommendation_model_service_server::{self, RecommendationModelServiceServer};
use quintile_proto::scoring::recommendation_service_server::{self, RecommendationServiceServer};
use quintile_proto::scoring::refit_service_server::{self, RefitServiceServer};
use quintile_proto::scoring::score_model_service_server::{self, ScoreModelServiceServer};
use quintile_proto::scoring::score_service_server::{self, ScoreServiceServer};
use quintile_proto::scoring::value_model_service_server::{self, ValueModelServiceServer};
use quintile_proto::scoring::value_service_server::{self, ValueServiceServer};
use quintile_rpc::client::upstream_error;
use quintile_rpc::{ApiError, Caller};
use tonic::Code;
use tonic::service::Routes;

/// The services of this server.
pub fn routes(service: &Service) -> Routes {
    Routes::default()
        .add_service(ErasureServiceServer::new(erasures::Erasures { service: service.clone() }))
        .add_service(ScoreServiceServer::new(scores::Scores { service: service.clone() }))
        .add_service(ScoreModelServiceServer::new(score_models::ScoreModels { service: service.clone() }))
        .add_service(ValueModelServiceServer::new(value_models::ValueModels { service: service.clone() }))
        .add_service(ValueServiceServer::new(values::Values { service: service.clone() }))
        .add_service(EconomicsServiceServer::new(economics::UnitEconomicsReads { service: service.clone() }))
        .add_service(RecommendationModelServiceServer::new(recommendation_models::RecommendationModels {
            service: service.clone(),
        }))
        .add_service(RecommendationServiceServer::new(recommendations::CustomerRecommendations {
            service: service.clone(),
        }))
        .add_service(RefitServiceServer::new(refits::Refits { service: service.clone() }))
        .add_service(OperationsServer::new(LongWork { runtime: service.runtime.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        score_service_server::SERVICE_NAME,
        score_model_service_server::SERVICE_NAME,
        erasure_service_server::SERVICE_NAME,
        value_model_service_server::SERVICE_NAME,
        value_service_server::SERVICE_NAME,
        economics_service_server::SERVICE_NAME,
        recommendation_model_service_server::SERVICE_NAME,
        recommendation_service_server::SERVICE_NAME,
        refit_service_server::SERVICE_NAME,
        operations_server::SERVICE_NAME,
    ]
}

/// Whether a caller reads a feature in clear. What a trait reads is ingestion's to say: `None` where it has no such trait.
async fn reads(service: &Service, caller: &Caller, feature: &Feature) -> Result<Option<bool>, ApiError> {
    let Feature::Trait(_) = feature else { return Ok(Some(caller.reads_in_clear(feature.sensitivity()))) };
    let unavailable = |status| upstream_error(&status);
    let request = GetTraitRequest { name: feature.name() };
    let request = service.credentials.request_for(caller, request).await.map_err(unavailable)?;
    match TraitServiceClient::new(service.ingestion.clone()).get_trait(request).await {
        Ok(found) => {
            let number = found.into_inner().sensitivity;
            let class = Sensitivity::ALL.into_iter().find(|class| *class as i32 == number);
            Ok(Some(caller.reads_in_clear(class.unwrap_or(feature.sensitivity()))))
        }
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(unavailable(status)),
    }
}

/// Refuses a definition that reads what the caller does not read in clear. Customers may still have values of a trait that is no more: it is as
/// sensitive as any.
async fn check_rights(service: &Service, caller: &Caller, definition: &Definition) -> Result<(), ApiError> {
    for dimension in &definition.dimensions {
        let read = reads(service, caller, &dimension.feature).await?;
        if !read.unwrap_or(caller.reads_in_clear(dimension.feature.sensitivity())) {
            return Err(ApiError::field_denied(&dimension.feature.name()));
        }
    }
    Ok(())
}
