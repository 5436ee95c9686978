//! Churn models of tenants: how everybody is read, what a training makes of it, and which model is in force.

mod alarms;
mod attribute_values;
mod columns;
mod drift;
pub mod features;
mod following;
mod gathering;
mod in_force;
mod labelled_risks;
mod labelled_training;
pub mod labels;
mod publishing;
mod scheduled;
mod target;
mod telling;
mod training;
mod trainings;

use crate::churn::ChurnError;
use crate::in_force::PoliciesInForce;
use quintile_chain::context::{Runtime, ServiceContext};
use quintile_chain::listening::Stopped;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_rpc::client::{Channel, Credentials};
use quintile_store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

pub use attribute_values::read_some;
pub use drift::measure;
pub use following::Pause;
pub use in_force::{InForce, ModelsInForce, Risk, told_of};
pub use labels::Label;
pub use publishing::stand;
pub use scheduled::SCHEDULE;
pub use target::Target;
pub use trainings::{begin, run};

/// How often it is asked whether what waits for its turn is still wanted.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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
    /// One at a time goes through everybody: each holds what it has read in memory, and wants every core.
    turns: Arc<Semaphore>,
}

impl Churning {
    /// What a service trains with.
    pub fn new(runtime: &Runtime, context: &ServiceContext, policies: PoliciesInForce, models: ModelsInForce) -> Self {
        Self {
            runtime: runtime.clone(),
            clock: context.shared.clock.clone(),
            models,
            policies,
            credentials: context.credentials.clone(),
            ingestion: context.peers.ingestion.clone(),
            turns: Arc::new(Semaphore::new(1)),
        }
    }

    /// The model in force, for who asks for it by itself: one that can't be read is a fault, where stages and records go on without it.
    pub async fn model(&self, tenant: TenantId) -> Result<Option<Arc<InForce>>, StoreError> {
        match self.models.of(tenant).await? {
            None => in_force::stored(&self.runtime.database, tenant).await,
            model => Ok(model),
        }
    }

    /// Waits for a turn to go through everybody. `is_wanted` says whether anybody still waits for what comes of it.
    async fn turn(&self, mut is_wanted: impl FnMut() -> bool) -> Result<OwnedSemaphorePermit, Stopped> {
        loop {
            match tokio::time::timeout(ASK_AGAIN, self.turns.clone().acquire_owned()).await {
                Ok(turn) => return turn.map_err(|_| Some(ApiError::unavailable("the service is stopping"))),
                Err(_) if is_wanted() => {}
                Err(_) => return Err(None),
            }
        }
    }
}

/// What a failure to learn means to a client: that there is too little or too much to learn from, or a fault of ours.
fn told(error: &ChurnError) -> ApiError {
    match error {
        // Without counts: a reason is told to who hears no figures of everybody, too.
        ChurnError::TooFewOutcomes { least, .. } => refused(format!(
            "at one of the three midnights fewer than {least} customers had left, or fewer had stayed: {least} of each are needed"
        )),
        ChurnError::TooManyRows => refused(error.to_string()),
        _ => fault(error),
    }
}

/// A fault of ours.
fn fault(error: &ChurnError) -> ApiError {
    ApiError::internal(error.to_string())
}

/// Whether a failure is that of a moment: what failed by it is tried again.
fn may_be_over(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
    )
}

/// A refusal because of how things are.
pub fn refused(problem: impl Into<String>) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}
