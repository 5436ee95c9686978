//! The RPCs of scoring: one file per resource.

mod erasures;
mod score_models;
mod scores;

use crate::store::models::Models;
use crate::worker::ScoreLink;
use quintile_chain::context::Runtime;
use quintile_domain::clock::MachineClock;
use quintile_proto::scoring::erasure_service_server::{self, ErasureServiceServer};
use quintile_proto::scoring::score_model_service_server::{self, ScoreModelServiceServer};
use quintile_proto::scoring::score_service_server::{self, ScoreServiceServer};
use std::sync::Arc;
use tonic::service::Routes;

/// The services of this server.
pub fn routes(runtime: &Runtime, link: &Arc<ScoreLink>, models: &Models, clock: &MachineClock) -> Routes {
    let erasures = erasures::Erasures { runtime: runtime.clone(), clock: clock.clone() };
    Routes::default()
        .add_service(ErasureServiceServer::new(erasures))
        .add_service(ScoreServiceServer::new(scores::Scores { runtime: runtime.clone(), link: link.clone() }))
        .add_service(ScoreModelServiceServer::new(score_models::ScoreModels { models: models.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        score_service_server::SERVICE_NAME,
        score_model_service_server::SERVICE_NAME,
        erasure_service_server::SERVICE_NAME,
    ]
}
