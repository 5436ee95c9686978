//! Keeps a service's copy of the policy up to date by the stream from access-control. While the stream is cut, the last copy serves.

use crate::client::{Channel, Credentials};
use crate::policy::Policy;
use crate::policy_handle::PolicyHandle;
use quintile_proto::access::policy_service_client::PolicyServiceClient;
use quintile_proto::access::{PolicySnapshot, WatchPolicyRequest};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Status, Streaming};

/// The tenant in whose name services read the policy, which is one for all tenants.
const TENANT: &str = "default";
/// How long access-control may say nothing: it says every 2 seconds that nothing has changed.
const SILENCE: Duration = Duration::from_secs(8);
/// The most bytes of a snapshot: that of a thousand tenants with a hundred thousand revocations is smaller.
const MAX_SNAPSHOT_BYTES: usize = 64 * 1024 * 1024;
/// How long to wait before the next attempt.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Follows the policy without end.
pub async fn follow(credentials: Credentials, access: Channel, policy: PolicyHandle) {
    loop {
        if let Err(status) = follow_once(&credentials, &access, &policy).await {
            tracing::debug!(code = ?status.code(), "the policy stream ended; trying again");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn follow_once(credentials: &Credentials, access: &Channel, policy: &PolicyHandle) -> Result<(), Status> {
    let request = credentials.request(TENANT, WatchPolicyRequest {}).await?;
    let mut client = PolicyServiceClient::new(access.clone()).max_decoding_message_size(MAX_SNAPSHOT_BYTES);
    let mut snapshots = client.watch_policy(request).await?.into_inner();
    while let Some(snapshot) = next(&mut snapshots).await? {
        if snapshot.unchanged {
            policy.confirm(snapshot.version);
            continue;
        }
        match Policy::from_snapshot(&snapshot) {
            Ok(told) => {
                let version = told.version;
                // A replica that lags behind does not take back what another has published.
                policy.replace(Arc::new(told));
                tracing::info!(version, "policy from access-control");
            }
            Err(error) => tracing::error!(%error, "a policy snapshot is not usable; the last one stays in force"),
        }
    }
    Ok(())
}

/// The next word of access-control. Silence is a cut connection that nobody has told us of.
async fn next(snapshots: &mut Streaming<PolicySnapshot>) -> Result<Option<PolicySnapshot>, Status> {
    match tokio::time::timeout(SILENCE, snapshots.message()).await {
        Ok(message) => message,
        Err(_) => Err(Status::deadline_exceeded("access-control is silent")),
    }
}
