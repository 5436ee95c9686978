//! Access control: who calls, who may call what, and for which tenant.
//!
//! It issues tokens, keeps the keys that sign them, the tenants and the roles, and streams all of it but the private keys to the
//! services. It decides about no call but its own: each service decides by its own copy of the policy. It knows no customer.
//! To add a role, add it to `policy::seed` with its methods, one by one, and its field forms; to add a method of any service, grant
//! it there to somebody, or a test fails.

mod api;
mod issuing;
mod policy;
mod signing;
mod store;

use api::policies::PolicyApi;
use api::tenants::TenantApi;
use api::tokens::TokenApi;
use policy::in_force::{InForce, InForceError};
use quintile_domain::entropy::Entropy;
use quintile_proto::access::policy_service_server::{self, PolicyServiceServer};
use quintile_proto::access::tenant_service_server::{self, TenantServiceServer};
use quintile_proto::access::token_service_server::{self, TokenServiceServer};
use quintile_rpc::policy::PolicyError;
use quintile_rpc::server::{self, ServerError, ServiceServer, Shared};
use quintile_store::sealing::Key;
use quintile_store::{DatabaseUrl, StoreError};
use std::sync::Arc;
use store::Store;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;

/// Why access-control does not run.
#[derive(Debug, Error)]
pub enum AccessControlError {
    /// Its database is not there, or holds what this process can't open (another master key sealed it).
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The policy that it keeps is not one.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// The server failed.
    #[error("{0}")]
    Server(#[from] ServerError),
}

impl From<InForceError> for AccessControlError {
    fn from(error: InForceError) -> Self {
        match error {
            InForceError::Store(error) => Self::Store(error),
            InForceError::Policy(error) => Self::Policy(error),
        }
    }
}

/// Brings the database of access-control up to date, making it if it is not there.
pub async fn migrate(database: &DatabaseUrl) -> Result<(), AccessControlError> {
    let database = store::open(database).await?;
    store::migrate(&database).await?;
    Ok(database.close().await?)
}

/// The service, ready to serve.
pub struct AccessControl {
    /// What the servers of the process share.
    pub shared: Shared,
    /// The socket that it listens on.
    pub listener: TcpListener,
    /// Where it keeps its data.
    pub database: DatabaseUrl,
    /// The key under which its private keys are sealed.
    pub master: Key,
    /// Where keys, nonces and token ids come from.
    pub entropy: Entropy,
    /// What a token can be had for without another one. Empty: nothing can.
    pub bootstrap_secret: Arc<str>,
    /// The issuer that its tokens name.
    pub issuer: String,
}

impl AccessControl {
    /// Migrates and seeds the database, then serves until the process is told to stop.
    pub async fn serve(self) -> Result<(), AccessControlError> {
        let database = store::open(&self.database).await?;
        store::migrate(&database).await?;
        let store = Store::new(database.clone(), &self.master);
        store.seed(policy::seeded_roles(), &self.entropy, self.shared.clock.now()).await?;
        let signing_key = store.signing_key().await?;
        let in_force = Arc::new(InForce::load(store, self.issuer.clone()).await?);

        let tokens = TokenApi {
            in_force: in_force.clone(),
            signing_key,
            clock: self.shared.clock.clone(),
            entropy: self.entropy,
            bootstrap_secret: self.bootstrap_secret,
            issuer: self.issuer,
        };
        let policies = PolicyApi { in_force: in_force.clone() };
        let tenants = TenantApi { in_force: in_force.clone() };
        let routes = Routes::new(TokenServiceServer::new(tokens))
            .add_service(PolicyServiceServer::new(policies))
            .add_service(TenantServiceServer::new(tenants));
        // Kept to the end: health reports a service whose readiness nobody can set any more as not serving.
        let (_readiness, ready) = watch::channel(true);
        let server = ServiceServer {
            listener: self.listener,
            policy: in_force.handle(),
            audit: Arc::new(quintile_rpc::audit::Nowhere),
            routes,
            names: vec![
                token_service_server::SERVICE_NAME,
                policy_service_server::SERVICE_NAME,
                tenant_service_server::SERVICE_NAME,
            ],
            ready,
        };
        tokio::select! {
            ended = server::serve(self.shared, server) => ended?,
            never = in_force.follow() => match never {},
        }
        Ok(database.close().await?)
    }
}
