//! The witness of the audit logs: signs how far they have come, and never two that contradict each other.

use crate::api::store_error;
use crate::policy::in_force::InForce;
use crate::store::checkpoints::Signed;
use futures::FutureExt;
use futures::future::BoxFuture;
use quintile_audit::{CheckpointSigner, signed_text};
use quintile_domain::clock::MachineClock;
use quintile_proto::audit::AuditCheckpoint;
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::audit::Head;
use std::sync::Arc;

/// Signs checkpoints, and keeps a copy of each.
#[derive(Clone)]
pub struct Witness {
    /// Where the copies are, and the key that signs.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
}

impl Witness {
    /// Signs the head of a service's log of a tenant, if it does not contradict what was signed before.
    pub async fn sign(&self, service: &str, tenant: &Tenant, head: &Head) -> Result<AuditCheckpoint, ApiError> {
        let now = self.clock.now();
        let key = self.in_force.signing_key(now).ok_or_else(|| ApiError::unavailable("no key signs"))?;
        let mut checkpoint = AuditCheckpoint {
            service: service.to_owned(),
            tenant: tenant.name.clone(),
            seq: head.seq,
            hash: head.hash.clone(),
            time: Some(convert::timestamp(now)),
            kid: key.kid().to_owned(),
            public_x: key.public_x().to_owned(),
            signature: Vec::new(),
        };
        checkpoint.signature = key.sign_bytes(signed_text(&checkpoint).as_bytes());
        match self.in_force.store().keep_signed(tenant, checkpoint).await.map_err(store_error)? {
            Signed::Kept(checkpoint) => Ok(checkpoint),
            Signed::Behind => Err(contradicts("a later entry of this log was signed before")),
            Signed::Forked => Err(contradicts("this entry was signed before, with another hash")),
        }
    }
}

fn contradicts(how: &str) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, how)
}

/// The signer of access-control's own log, which needs no call.
pub struct OwnSigner(pub Witness);

impl CheckpointSigner for OwnSigner {
    fn sign<'a>(&'a self, tenant: &'a Tenant, head: &'a Head) -> BoxFuture<'a, Result<AuditCheckpoint, ApiError>> {
        self.0.sign(crate::SERVICE, tenant, head).boxed()
    }
}
