//! Scoring: every customer under the tenant's score models, recency, frequency and monetary value first of all, each score with its reason.
//!
//! It follows ingestion's features and publishes them with scores. It knows no names, phones or addresses, and no segments.
//! To add a kind of score, write it as a pure module beside [`models`] and let [`worker`] put it on the record.

mod api;
mod economics;
mod encoding;
mod fitting;
mod in_force;
mod leads;
pub mod models;
pub mod population;
pub mod recommendation;
mod rescoring;
mod store;
mod value;
mod worker;

use in_force::ModelsInForce;
use population::Populations;
use quintile_chain::context::{Runtime, ServiceContext, ServiceError};
use quintile_chain::derive;
use quintile_domain::clock::MachineClock;
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_rpc::client::{Channel, Credentials};
use quintile_store::{Database, DatabaseUrl, StoreError};
use std::sync::Arc;
use tokio::sync::watch;

/// The service's name: of its database, its tokens and its logs.
pub const SERVICE: &str = "scoring";

/// The largest message of another service: of a feed, of rows, of facts.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// What the handlers of this service share.
#[derive(Clone)]
struct Service {
    runtime: Runtime,
    link: Arc<worker::ScoreLink>,
    models: ModelsInForce,
    populations: Populations,
    clock: MachineClock,
    credentials: Credentials,
    ingestion: Channel,
}

/// An error that says what stands against what was asked for.
fn refused(problem: impl Into<String>) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}

/// The names of the migrations of its schema, in order.
pub fn migrations() -> Vec<String> {
    quintile_store::migration::names::<store::migrations::Migrator>()
}

/// Brings the service's schema up to date.
pub async fn migrate(url: &DatabaseUrl) -> Result<Database, StoreError> {
    let database = Database::open(url, SERVICE).await?;
    quintile_store::migration::migrate::<store::migrations::Migrator>(&database).await?;
    Ok(database)
}

/// Runs the service until the process stops.
pub async fn serve(context: ServiceContext) -> Result<(), ServiceError> {
    let database = migrate(&context.database).await?;
    let runtime = Runtime::new(&context, database).await?;
    let models = ModelsInForce::new(runtime.database.clone(), context.shared.clock.clone());
    let populations = Populations::default();
    let service = Service {
        link: Arc::new(worker::ScoreLink::new(models.clone(), populations.clone(), &context)),
        runtime: runtime.clone(),
        models,
        populations,
        clock: context.shared.clock.clone(),
        credentials: context.credentials.clone(),
        ingestion: context.peers.ingestion.clone(),
    };
    tokio::spawn(service.populations.clone().forget_idle());
    let following = service.clone();
    tokio::spawn(runtime.clone().for_each_tenant("scores", move |tenant| {
        let service = following.clone();
        async move {
            // Before its first record is scored, a tenant has a model.
            service.models.of(&tenant).await?;
            derive::run(service.runtime, service.link, tenant).await
        }
    }));
    let refitting = service.clone();
    let refits = move |tenant| fitting::refits::run(refitting.clone(), tenant);
    tokio::spawn(runtime.clone().for_each_tenant("refits", refits));
    // It computes what it reads, so it can answer as soon as it has its rows and a policy.
    let (_caught_up, ready) = watch::channel(true);
    context.serve(&runtime, api::routes(&service), api::names(), ready).await
}
