//! Lifecycle: where every customer stands, from lead to churned and back, and why.
//!
//! It follows scoring and publishes records with stages. A stage depends on facts, scores and the instant, never on segments or
//! labels: that would close a circle. To add a rule, see [`stages`].

mod api;
pub mod churn;
mod churning;
pub mod endpoints;
mod granting;
mod in_force;
pub mod offers;
pub mod outcome;
pub mod playbooks;
mod restaging;
pub mod retention;
mod running;
pub mod stages;
mod store;
mod triggering;
pub mod warnings;
mod worker;

use self::churning::{Churning, ModelsInForce};
use self::endpoints::Endpoints;
use self::in_force::PoliciesInForce;
use self::running::Playbooks;
use quintile_chain::context::{Runtime, ServiceContext, ServiceError};
use quintile_chain::derive;
use quintile_store::{Database, DatabaseUrl, StoreError};
use std::sync::Arc;
use tokio::sync::watch;

/// The service's name: of its database, its tokens and its logs.
pub const SERVICE: &str = "lifecycle";

/// The window whose revenue is that of a year, in days.
pub(crate) const YEAR_DAYS: i32 = 365;

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

/// Runs the service until the process stops. `endpoints` are those that playbooks may send to.
pub async fn serve(context: ServiceContext, endpoints: Endpoints) -> Result<(), ServiceError> {
    let database = migrate(&context.database).await?;
    let runtime = Runtime::new(&context, database).await?;
    let policies = PoliciesInForce::new(runtime.database.clone());
    let models = ModelsInForce::new(runtime.database.clone());
    let link = Arc::new(worker::StageLink::new(policies, models, &context));
    let playbooks = Arc::new(Playbooks::new(&runtime, &context, endpoints));
    let churning = Arc::new(Churning::new(&runtime, &context, link.policies.clone(), link.models.clone()));
    let routes = api::routes(&runtime, &link, &playbooks, &churning);
    tokio::spawn(runtime.clone().for_each_tenant("playbooks", move |tenant| playbooks.clone().run(tenant)));
    tokio::spawn(runtime.clone().for_each_tenant("trainings", move |tenant| churning::run(churning.clone(), tenant)));
    let (following, worked) = (runtime.clone(), link.clone());
    tokio::spawn(runtime.clone().for_each_tenant("stages", move |tenant| {
        let (runtime, link) = (following.clone(), worked.clone());
        async move {
            link.know_in_force(tenant.id).await?;
            derive::run(runtime, link, tenant).await
        }
    }));
    // It computes what it reads, so it can answer as soon as it has its rows and a policy.
    let (_caught_up, ready) = watch::channel(true);
    context.serve(&runtime, routes, api::names(), ready).await
}
