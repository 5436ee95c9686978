//! Keeps a service's copy of the policy up to date by the stream from access-control. While the stream is cut, the last copy serves.

use crate::client::Credentials;
use crate::edge::PolicyHandle;
use crate::policy::Policy;
use quintile_proto::access::WatchPolicyRequest;
use quintile_proto::access::policy_service_client::PolicyServiceClient;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// The tenant in whose name services read the policy, which is one for all tenants.
const TENANT: &str = "default";
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
    let mut snapshots = PolicyServiceClient::new(access.clone()).watch_policy(request).await?.into_inner();
    while let Some(snapshot) = snapshots.message().await? {
        match Policy::from_snapshot(&snapshot) {
            // A replica that lags behind must not take back what another has published.
            Ok(older) if policy.load().as_ref().is_some_and(|present| present.version >= older.version) => {}
            Ok(newer) => {
                tracing::info!(version = newer.version, "policy in force");
                policy.store(Some(Arc::new(newer)));
            }
            Err(error) => tracing::error!(%error, "a policy snapshot is not usable; the last one stays in force"),
        }
    }
    Ok(())
}
