//! Having the log signed: after so many entries, or after so long, while there is something new.

use futures::FutureExt;
use futures::future::BoxFuture;
use quintile_domain::clock::MachineClock;
use quintile_domain::time::Instant;
use quintile_proto::access::SignCheckpointRequest;
use quintile_proto::access::checkpoint_service_client::CheckpointServiceClient;
use quintile_proto::audit::AuditCheckpoint;
use quintile_proto::types::ErrorReason;
use quintile_rpc::client::{Channel, Credentials, upstream_error};
use quintile_rpc::policy::Tenant;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_rpc::server::wait_for_true;
use quintile_rpc::{ApiError, convert};
use quintile_store::audit::{self, Checkpoint, Head, Standing};
use quintile_store::{Database, StoreError};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tonic::Code;

/// New entries that are signed at once.
const EVERY_ENTRIES: i64 = 1_000;
/// How old the last checkpoint is when anything new is signed.
const EVERY_MICROS: i64 = 10_000_000;
/// How often it is looked whether something is due.
const POLL: Duration = Duration::from_secs(1);
/// How long to wait after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Who signs checkpoints: access-control, from far or from within.
pub trait CheckpointSigner: Send + Sync {
    /// Signs the head of this service's log of a tenant.
    fn sign<'a>(&'a self, tenant: &'a Tenant, head: &'a Head) -> BoxFuture<'a, Result<AuditCheckpoint, ApiError>>;
}

/// Access-control behind a channel.
pub struct RemoteSigner {
    /// The service's own tokens.
    pub credentials: Credentials,
    /// Access-control.
    pub access: Channel,
}

impl CheckpointSigner for RemoteSigner {
    fn sign<'a>(&'a self, tenant: &'a Tenant, head: &'a Head) -> BoxFuture<'a, Result<AuditCheckpoint, ApiError>> {
        async move {
            let message = SignCheckpointRequest { seq: head.seq, hash: head.hash.clone() };
            let request = self.credentials.request(&tenant.name, message).await;
            let request = request.map_err(|status| upstream_error(&status))?;
            match CheckpointServiceClient::new(self.access.clone()).sign_checkpoint(request).await {
                Ok(signed) => Ok(signed.into_inner()),
                Err(status) if status.code() == Code::FailedPrecondition => {
                    Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, status.message()))
                }
                Err(status) => Err(upstream_error(&status)),
            }
        }
        .boxed()
    }
}

#[derive(Debug, Error)]
enum CheckpointError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("access-control did not sign the audit log of {tenant}: {code:?}: {message}")]
    Signer { tenant: String, code: Code, message: String },
}

/// Has the log of one service signed.
pub struct Checkpointer {
    database: Database,
    clock: MachineClock,
    policy: PolicyHandle,
    signer: Arc<dyn CheckpointSigner>,
}

impl Checkpointer {
    /// A checkpointer of a log, for the tenants of the policy.
    pub fn new(
        database: Database,
        clock: MachineClock,
        policy: PolicyHandle,
        signer: Arc<dyn CheckpointSigner>,
    ) -> Self {
        Self { database, clock, policy, signer }
    }

    /// Runs until the process stops.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let pause = match self.sign_due().await {
                Ok(()) => POLL,
                // A refusal says that the log is not the one that was signed before: somebody has to look.
                Err(error @ CheckpointError::Signer { code: Code::FailedPrecondition, .. }) => {
                    tracing::error!(%error, "the audit log does not go on from its last checkpoint");
                    RETRY_AFTER
                }
                Err(error) => {
                    tracing::warn!(%error, "no checkpoint of the audit log; trying again");
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wait_for_true(&mut stop) => {}
            }
        }
    }

    /// Has every tenant's log signed that is due.
    async fn sign_due(&self) -> Result<(), CheckpointError> {
        let Some(policy) = self.policy.last() else { return Ok(()) };
        let mut first_error = Ok(());
        for standing in audit::standings(self.database.reader()).await? {
            let tenant = policy.tenants.values().find(|tenant| tenant.id == standing.tenant);
            let Some(tenant) = tenant.filter(|_| is_due(&standing, self.clock.now())) else { continue };
            // One tenant's trouble is not another's.
            if let Err(error) = self.sign_one(tenant, &standing.head).await {
                first_error = first_error.and(Err(error));
            }
        }
        first_error
    }

    async fn sign_one(&self, tenant: &Tenant, head: &Head) -> Result<(), CheckpointError> {
        let signed = self.signer.sign(tenant, head).await.map_err(|error| CheckpointError::Signer {
            tenant: tenant.name.clone(),
            code: error.code(),
            message: error.message().to_owned(),
        })?;
        let checkpoint = Checkpoint {
            seq: head.seq,
            hash: head.hash.clone(),
            at: convert::sent_instant(signed.time.as_ref()).unwrap_or_default(),
            kid: signed.kid,
            public_x: signed.public_x,
            signature: signed.signature,
        };
        audit::keep_checkpoint(&self.database, tenant.id, checkpoint, self.clock.now()).await?;
        tracing::debug!(tenant = tenant.name, seq = head.seq, "the audit log is signed");
        Ok(())
    }
}

fn is_due(standing: &Standing, now: Instant) -> bool {
    let new = standing.head.seq - standing.checkpoint_seq;
    let age = now.micros().saturating_sub(standing.checkpoint_at.micros());
    new >= EVERY_ENTRIES || (new > 0 && age >= EVERY_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::ids::TenantId;

    #[test]
    fn a_log_is_due_after_a_thousand_entries_or_a_minute_with_any() {
        for (seq, checkpoint_seq, age, due) in [
            (0, 0, i64::MAX, false),
            (1, 0, EVERY_MICROS, true),
            (1, 0, EVERY_MICROS - 1, false),
            (5, 5, 10 * EVERY_MICROS, false),
            (1_005, 5, 0, true),
            (1_004, 5, 0, false),
        ] {
            let standing = Standing {
                tenant: TenantId(1),
                head: Head { seq, hash: Vec::new() },
                checkpoint_seq,
                checkpoint_at: Instant::from_micros(0),
            };
            assert_eq!(is_due(&standing, Instant::from_micros(age)), due, "{seq} {checkpoint_seq} {age}");
        }
    }
}
