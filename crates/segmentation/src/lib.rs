//! Segmentation: who belongs together, counted exactly and kept live, and the 360 view of a customer.
//!
//! It follows lifecycle and holds every customer's record in memory, by column. It knows no names, phones or addresses: the profile
//! asks ingestion for them with the caller's own token. To add a field that rules may use, see [`fields`]; to add a label set,
//! see [`labels`].

mod api;
pub mod cancellation;
pub mod clusters;
pub mod engine;
pub mod fields;
mod history;
pub mod labels;
pub mod own_fields;
mod population;
mod store;
mod vitals;
mod worker;

pub use history::History;

use population::Populations;
use quintile_chain::context::{Runtime, ServiceContext, ServiceError};
use quintile_domain::clock::MachineClock;
use quintile_rpc::client::{Channel, Credentials};
use quintile_rpc::telemetry::metrics;
use quintile_store::{Database, DatabaseUrl, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant as MachineInstant;

/// The service's name: of its database, its tokens and its logs.
pub const SERVICE: &str = "segmentation";
/// How often it is looked whether populations are loaded.
const LOOK: Duration = Duration::from_millis(20);
/// How long after the first population is loaded the others are waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the handlers and workers of this service share.
#[derive(Clone)]
struct Service {
    runtime: Runtime,
    populations: Populations,
    clock: MachineClock,
    credentials: Credentials,
    ingestion: Channel,
    scoring: Channel,
    lifecycle: Channel,
    history: History,
    /// One search for clusters at a time.
    searches: Arc<Semaphore>,
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
pub async fn serve(context: ServiceContext, history: History) -> Result<(), ServiceError> {
    let database = migrate(&context.database).await?;
    let runtime = Runtime::new(&context, database).await?;
    let service = Service {
        runtime: runtime.clone(),
        populations: Populations::default(),
        clock: context.shared.clock.clone(),
        credentials: context.credentials.clone(),
        ingestion: context.peers.ingestion.clone(),
        scoring: context.peers.scoring.clone(),
        lifecycle: context.peers.lifecycle.clone(),
        history,
        searches: Arc::new(Semaphore::new(1)),
    };
    let (loaded, caught_up) = watch::channel(false);
    tokio::spawn(tell_when_loaded(service.clone(), loaded));
    if metrics::are_told() {
        tokio::spawn(vitals::count_members(service.clone()));
    }
    let working = service.clone();
    tokio::spawn(runtime.clone().for_each_tenant("segments", move |tenant| worker::run(working.clone(), tenant)));
    context.serve(&runtime, api::routes(&service), api::names(), caught_up).await
}

/// Tells when every tenant's population is loaded. Those that are neither loaded nor being loaded a while after the first are another replica's.
async fn tell_when_loaded(service: Service, loaded: watch::Sender<bool>) {
    let mut first: Option<MachineInstant> = None;
    loop {
        let policy = service.runtime.policy.last();
        let tenants = policy.iter().flat_map(|policy| policy.tenants.values());
        let missing: Vec<_> = tenants.filter(|tenant| service.populations.of(tenant.id).is_none()).collect();
        if service.populations.is_any() {
            let since = *first.get_or_insert_with(MachineInstant::now);
            let is_any_loading = missing.iter().any(|tenant| service.populations.is_loading(tenant.id));
            if missing.is_empty() || (since.elapsed() > PATIENCE && !is_any_loading) {
                loaded.send_replace(true);
                return;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
