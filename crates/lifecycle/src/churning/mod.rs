//! Churn models of tenants: how everybody is read, what a training makes of it, and which model is in force.

pub mod features;
mod gathering;
mod in_force;
mod telling;
mod training;

use crate::in_force::PoliciesInForce;
use quintile_chain::context::{Runtime, ServiceContext};
use quintile_domain::clock::MachineClock;
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_rpc::client::Credentials;
use tokio::sync::Semaphore;
use tonic::transport::Channel;

pub use in_force::{InForce, ModelsInForce};
pub use training::train;

/// What trainings and risks are made with.
pub struct Churning {
    /// What the service runs on.
    pub runtime: Runtime,
    /// For when models are made.
    pub clock: MachineClock,
    /// The models in force.
    pub models: ModelsInForce,
    /// The stage policies in force: they tell what a customer's rhythm is.
    policies: PoliciesInForce,
    credentials: Credentials,
    ingestion: Channel,
    /// One training at a time: each holds its rows in memory, and wants every core.
    turns: Semaphore,
}

impl Churning {
    /// What a service trains with.
    pub fn new(runtime: &Runtime, context: &ServiceContext, policies: PoliciesInForce) -> Self {
        Self {
            runtime: runtime.clone(),
            clock: context.shared.clock.clone(),
            models: ModelsInForce::new(runtime.database.clone()),
            policies,
            credentials: context.credentials.clone(),
            ingestion: context.peers.ingestion.clone(),
            turns: Semaphore::new(1),
        }
    }
}

/// A refusal because of how things are.
pub fn refused(problem: impl Into<String>) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}
