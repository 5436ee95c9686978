//! Who goes through all facts of a tenant: one at a time, so that those who ask again and again hold up nobody else.

use parking_lot::Mutex;
use quintile_domain::ids::TenantId;
use quintile_rpc::ApiError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::timeout;

/// How long somebody waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose turn it is, by tenant.
#[derive(Clone, Default)]
pub struct Walks(Arc<Mutex<HashMap<TenantId, Arc<Turn<()>>>>>);

impl Walks {
    /// Waits for a turn, which ends with what is returned. Whoever would wait for long is refused.
    pub async fn begin(&self, tenant: TenantId) -> Result<OwnedMutexGuard<()>, ApiError> {
        let turn = self.0.lock().entry(tenant).or_default().clone();
        let begun = timeout(PATIENCE, turn.lock_owned()).await;
        begun.map_err(|_| ApiError::overloaded("others go through the facts of this tenant: try again in a moment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[tokio::test(start_paused = true)]
    async fn a_tenant_has_one_turn_at_a_time_and_others_have_theirs() {
        let (walks, one, other) = (Walks::default(), TenantId(1), TenantId(2));
        let first = walks.begin(one).await.unwrap();
        let second = walks.begin(one).await.unwrap_err();
        assert_eq!(tonic::Status::from(second).code(), Code::ResourceExhausted);
        assert!(walks.begin(other).await.is_ok());
        let ((), waited) = tokio::join!(async move { drop(first) }, walks.begin(one));
        assert!(waited.is_ok(), "it was waited for");
    }
}
