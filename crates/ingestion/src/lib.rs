//! Ingestion: takes in customers and what they do, finds out who is one person, and publishes what each customer's facts amount to.
//!
//! It alone holds what identifies a person, as ciphertext. It knows no scores, stages or segments. To add a fact kind, add its message
//! to `Row`, its check to [`intake`], its table to `store::facts`, and what follows from it to [`features`].

mod api;
mod backfill;
mod bulk;
mod declarations;
mod defined_traits;
mod dropping;
mod erasing;
mod feature_records;
pub mod features;
mod heavy;
mod intake;
mod responses;
mod retention;
mod store;
pub mod traits;
mod vitals;
mod worker;

use declarations::Declarations;
use defined_traits::DefinedTraits;
use quintile_chain::context::{Peers, Runtime, ServiceContext, ServiceError};
use quintile_domain::clock::MachineClock;
use quintile_rpc::client::Credentials;
use quintile_rpc::lookups::Lookups;
use quintile_store::{Database, DatabaseUrl, StoreError};
use std::sync::Arc;
use store::keys::KeyRing;
use tokio::sync::{Notify, watch};

/// The service's name: of its database, its tokens and its logs.
pub const SERVICE: &str = "ingestion";
/// How many days backups are kept at most: receipts of erasures say so.
pub const BACKUP_DAYS: i64 = 35;
/// The feed of facts: which customers got new ones. Only the feature worker follows it.
const FACTS: &str = "facts";
/// The feed of records with features.
const FEATURES: &str = "features";

/// What the handlers and workers of this service share.
#[derive(Clone)]
struct Service {
    runtime: Runtime,
    keys: KeyRing,
    declarations: Declarations,
    traits: DefinedTraits,
    clock: MachineClock,
    lookups: Lookups,
    /// Wakes the feature worker: new facts, frozen time has moved, or there is long work.
    wake: Arc<Notify>,
    /// Wakes the follow-up of erasures: there is a new one.
    erased: Arc<Notify>,
    credentials: Credentials,
    peers: Peers,
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
    let service = Service {
        keys: KeyRing::new(runtime.keys.clone(), context.entropy.clone()),
        declarations: Declarations::new(runtime.database.clone()),
        traits: DefinedTraits::new(runtime.database.clone()),
        runtime: runtime.clone(),
        clock: context.shared.clock.clone(),
        lookups: Lookups::default(),
        wake: Arc::new(Notify::new()),
        erased: Arc::new(Notify::new()),
        credentials: context.credentials.clone(),
        peers: context.peers.clone(),
    };
    let (working, erasing) = (service.clone(), service.clone());
    tokio::spawn(runtime.clone().for_each_tenant("erasures", move |tenant| erasing::run(erasing.clone(), tenant)));
    tokio::spawn(runtime.clone().for_each_tenant("features", move |tenant| worker::run(working.clone(), tenant)));
    let (_caught_up, ready) = watch::channel(true);
    context.serve(&runtime, api::routes(&service), api::names(), ready).await
}
