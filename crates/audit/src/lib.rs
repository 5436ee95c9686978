//! The audit log: who was shown what, and who changed what, in a chain of hashes that nobody can change unnoticed.
//!
//! Each service has a log of its own per tenant. [`AuditLog`] writes it in group commits and answers when an entry is on disk;
//! [`Checkpointer`] has its head signed by access-control, which keeps a copy; [`AuditApi`] reads it; [`verify`] recomputes it on the
//! reader's side. What is written, and when, is the edge's to say. To add something to an entry, add a field to `AuditEvent`.

mod api;
mod checkpoint;
mod checkpointer;
mod log;
pub mod page;
pub mod verify;

pub use api::AuditApi;
pub use checkpoint::{signed_text, thumbprint};
pub use checkpointer::{CheckpointSigner, Checkpointer, RemoteSigner};
pub use log::{AuditLog, canonical};

use quintile_domain::clock::MachineClock;
use quintile_proto::audit::audit_service_server::AuditServiceServer;
use quintile_rpc::ApiError;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_store::sealing::TokenSealer;
use quintile_store::{Database, DatabaseUrl, Result, StoreError, audit};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The name of the RPCs that every service has on its port, for health.
pub const SERVICE_NAME: &str = quintile_proto::audit::audit_service_server::SERVICE_NAME;

/// Brings the schema of a service's audit log up to date, making it if it is not there.
pub async fn migrate(url: &DatabaseUrl, service: &str) -> Result<()> {
    audit::open(url, service).await?.close().await
}

/// The audit log of a running service: its database, and what is made of it.
pub struct ServiceAudit {
    service: &'static str,
    clock: MachineClock,
    database: Database,
    log: Arc<AuditLog>,
}

impl ServiceAudit {
    /// Opens the log of a service, migrated.
    pub async fn open(url: &DatabaseUrl, service: &'static str, clock: MachineClock) -> Result<Self> {
        let database = audit::open(url, service).await?;
        let log = Arc::new(AuditLog::new(service, database.clone(), clock.clone()));
        Ok(Self { service, clock, database, log })
    }

    /// What the edge writes through.
    pub fn sink(&self) -> Arc<AuditLog> {
        self.log.clone()
    }

    /// The RPCs that read it.
    pub fn api(&self, sealer: TokenSealer) -> AuditServiceServer<AuditApi> {
        AuditServiceServer::new(AuditApi { service: self.service, database: self.database.clone(), sealer })
    }

    /// Has the log signed from now on, until the process stops.
    pub fn checkpoint(
        &self,
        policy: PolicyHandle,
        signer: Arc<dyn CheckpointSigner>,
        stop: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let checkpointer = Checkpointer::new(self.database.clone(), self.clock.clone(), policy, signer);
        tokio::spawn(checkpointer.run(stop))
    }

    /// Closes the database.
    pub async fn close(self) -> Result<()> {
        self.database.close().await
    }
}

/// What a failure of storage means to a client.
fn store_error(error: &StoreError) -> ApiError {
    match error {
        StoreError::Sealed(problem) => ApiError::internal((*problem).to_owned()),
        StoreError::Full => ApiError::disk_full(),
        other => ApiError::unavailable(other.to_string()),
    }
}
