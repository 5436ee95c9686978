//! Access control: who calls, who may call what, and for which tenant.
//!
//! It issues tokens, keeps the keys that sign them, the principals that may have them, the external issuers that are trusted beside
//! it, the revocations, the tenants and the roles, and streams what decides about calls, but no private key, to the services. It decides
//! about no call but its own: each service decides by its own copy of the policy. It knows no customer.
//! To add a role, add it to `policy::seed` with its methods, one by one, and its field forms; to add a method of any service, grant
//! it there to somebody, or a test fails.

mod api;
mod issuing;
mod oidc;
mod policy;
mod refreshing;
mod rotation;
mod signing;
mod store;
mod witness;

use api::checkpoints::CheckpointApi;
use api::issuers::IssuerApi;
use api::master_keys::MasterKeyApi;
use api::policies::PolicyApi;
use api::principals::PrincipalApi;
use api::revocations::RevocationApi;
use api::signing_keys::SigningKeyApi;
use api::tenants::TenantApi;
use api::tokens::TokenApi;
use oidc::Fetcher;
use policy::in_force::{InForce, InForceError};
pub use policy::seeded_roles;
use quintile_audit::ServiceAudit;
use quintile_chain::rewrapping::{self, Reporter};
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_proto::access::KeyState;
use quintile_proto::access::checkpoint_service_server::{self, CheckpointServiceServer};
use quintile_proto::access::issuer_service_server::{self, IssuerServiceServer};
use quintile_proto::access::master_key_service_server::{self, MasterKeyServiceServer};
use quintile_proto::access::policy_service_server::{self, PolicyServiceServer};
use quintile_proto::access::principal_service_server::{self, PrincipalServiceServer};
use quintile_proto::access::revocation_service_server::{self, RevocationServiceServer};
use quintile_proto::access::signing_key_service_server::{self, SigningKeyServiceServer};
use quintile_proto::access::tenant_service_server::{self, TenantServiceServer};
use quintile_proto::access::token_service_server::{self, TokenServiceServer};
use quintile_rpc::policy::PolicyError;
use quintile_rpc::server::{self, ServerError, ServiceServer, Shared};
use quintile_store::keys::{self, KeyStore};
use quintile_store::sealing::{KeyEncryption, TokenSealer};
use quintile_store::{DatabaseUrl, StoreError};
use refreshing::Refresher;
use std::sync::Arc;
use store::Store;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use witness::{OwnSigner, Witness};

/// The service's name: of its database, its audit log and its checkpoints.
pub const SERVICE: &str = "access-control";

/// The names of its gRPC services.
const NAMES: [&str; 10] = [
    token_service_server::SERVICE_NAME,
    policy_service_server::SERVICE_NAME,
    tenant_service_server::SERVICE_NAME,
    principal_service_server::SERVICE_NAME,
    issuer_service_server::SERVICE_NAME,
    revocation_service_server::SERVICE_NAME,
    signing_key_service_server::SERVICE_NAME,
    master_key_service_server::SERVICE_NAME,
    checkpoint_service_server::SERVICE_NAME,
    quintile_audit::SERVICE_NAME,
];
/// The purpose of the key that seals private keys.
const SIGNING_KEYS: &str = "signing keys";

/// Why access-control does not run.
#[derive(Debug, Error)]
pub enum AccessControlError {
    /// Its database is not there, or holds what this process can't open (another master key wrapped its keys).
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The policy that it keeps is not one.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// The server failed.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// Nothing can be fetched by TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl From<InForceError> for AccessControlError {
    fn from(error: InForceError) -> Self {
        match error {
            InForceError::Store(error) => Self::Store(error),
            InForceError::Policy(error) => Self::Policy(error),
        }
    }
}

/// The names of the migrations of its schema, in order.
pub fn migrations() -> Vec<String> {
    store::migrations()
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
    /// The master keys, under which the key that seals its private keys is wrapped.
    pub keys: Arc<dyn KeyEncryption>,
    /// Who reports the state of its keys.
    pub instance: Arc<str>,
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
        let keys = KeyStore::new(database.clone(), self.keys.clone(), self.entropy.clone());
        let store = Store::new(database.clone(), keys.of(keys::SERVICE, SIGNING_KEYS).await?);
        store.seed(seeded_roles(), &self.entropy, self.shared.clock.now()).await?;
        let in_force = Arc::new(InForce::load(store, self.issuer.clone()).await?);
        let audit = ServiceAudit::open(&self.database, SERVICE, self.shared.clock.clone()).await?;
        let witness = Witness { in_force: in_force.clone(), clock: self.shared.clock.clone() };
        let signer = Arc::new(OwnSigner(witness.clone()));
        let signing = audit.checkpoint(in_force.handle(), signer, self.shared.stop.clone());
        let refresher = Arc::new(Refresher {
            in_force: in_force.clone(),
            fetcher: Fetcher::new()?,
            clock: self.shared.clock.clone(),
        });
        let sealer = TokenSealer::new(keys.of(keys::SERVICE, keys::CURSORS).await?, self.entropy.clone());
        let checkpoints = CheckpointApi { witness, sealer: sealer.clone() };
        let routes = self
            .routes(&in_force, &refresher, &sealer)
            .add_service(audit.api(sealer))
            .add_service(CheckpointServiceServer::new(checkpoints));
        let reporter = Reporter { service: SERVICE, instance: self.instance.clone() };
        let rewrapping = rewrapping::follow(keys, in_force.handle(), reporter, |state| {
            report(in_force.clone(), self.shared.clock.clone(), state)
        });
        // Kept to the end: health reports a service whose readiness nobody can set any more as not serving.
        let (_readiness, ready) = watch::channel(true);
        let server = ServiceServer {
            listener: self.listener,
            policy: in_force.handle(),
            issuer_keys: refresher.clone(),
            audit: audit.sink(),
            routes,
            names: NAMES.to_vec(),
            ready,
        };
        tokio::select! {
            ended = server::serve(self.shared.clone(), server) => ended?,
            never = in_force.follow() => match never {},
            never = refresher.follow() => match never {},
            never = rewrapping => match never {},
        }
        signing.abort();
        audit.close().await?;
        Ok(database.close().await?)
    }

    fn routes(&self, in_force: &Arc<InForce>, refresher: &Arc<Refresher>, sealer: &TokenSealer) -> Routes {
        let (clock, entropy) = (self.shared.clock.clone(), self.entropy.clone());
        let tokens = TokenApi {
            in_force: in_force.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            bootstrap_secret: self.bootstrap_secret.clone(),
            issuer: self.issuer.clone(),
        };
        let policies = PolicyApi { in_force: in_force.clone(), clock: clock.clone(), sealer: sealer.clone() };
        let principals = PrincipalApi {
            in_force: in_force.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            sealer: sealer.clone(),
        };
        let issuers = IssuerApi { refresher: refresher.clone(), own_issuer: self.issuer.clone() };
        let revocations = RevocationApi { in_force: in_force.clone(), clock: clock.clone(), sealer: sealer.clone() };
        let master_keys = MasterKeyApi { in_force: in_force.clone(), clock: clock.clone() };
        let signing_keys = SigningKeyApi { in_force: in_force.clone(), clock, entropy: entropy.clone() };
        Routes::new(TokenServiceServer::new(tokens))
            .add_service(PolicyServiceServer::new(policies))
            .add_service(TenantServiceServer::new(TenantApi { in_force: in_force.clone(), entropy }))
            .add_service(PrincipalServiceServer::new(principals))
            .add_service(IssuerServiceServer::new(issuers))
            .add_service(RevocationServiceServer::new(revocations))
            .add_service(SigningKeyServiceServer::new(signing_keys))
            .add_service(MasterKeyServiceServer::new(master_keys))
    }
}

/// Keeps the state of this process's own keys, and returns whether it was kept.
async fn report(in_force: Arc<InForce>, clock: MachineClock, state: KeyState) -> bool {
    match in_force.store().report_key_state(&state, clock.now()).await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(%error, "the state of the keys was not kept; trying again");
            false
        }
    }
}
