//! Scoring: recency, frequency and monetary value of every customer, by the tenant's published model, each with its reason.
//!
//! It follows ingestion's features and publishes them with scores. It knows no names, phones or addresses, and no segments.
//! To add a kind of score, write it as a pure module beside [`rfm`] and let [`worker`] put it on the record.

mod api;
pub mod clv;
pub mod rfm;
mod store;
mod worker;

use quintile_chain::context::{Runtime, ServiceContext, ServiceError};
use quintile_chain::derive;
use quintile_store::{Database, DatabaseUrl, StoreError};
use std::sync::Arc;
use tokio::sync::watch;

/// The service's name: of its database, its tokens and its logs.
pub const SERVICE: &str = "scoring";

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
    let models = store::models::Models::new(runtime.database.clone(), context.shared.clock.clone());
    let link = Arc::new(worker::ScoreLink::new(models.clone(), &context));
    let routes = api::routes(&runtime, &link, &models, &context.shared.clock);
    let (following, worked) = (runtime.clone(), link.clone());
    tokio::spawn(runtime.clone().for_each_tenant("scores", move |tenant| {
        let (runtime, link) = (following.clone(), worked.clone());
        async move {
            link.prepare(&tenant).await?;
            derive::run(runtime, link, tenant).await
        }
    }));
    // It computes what it reads, so it can answer as soon as it has its rows and a policy.
    let (_caught_up, ready) = watch::channel(true);
    context.serve(&runtime, routes, api::names(), ready).await
}
