//! New keys of external issuers: a token that names an unknown one has access-control look, once for all who wait, and once a minute at
//! the most: whoever makes key ids up causes no more.

use crate::issuer_keys::IssuerKeys;
use crate::policy_handle::PolicyHandle;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often an issuer's keys may be asked for anew.
const EVERY: Duration = Duration::from_mins(1);
/// How long a call waits for them.
const PATIENCE: Duration = Duration::from_secs(3);
/// Issuers that are remembered; a policy has fewer.
const MAX_ISSUERS: usize = 10_000;

/// Asks for new keys.
pub(super) struct NewKeys {
    source: Arc<dyn IssuerKeys>,
    policy: PolicyHandle,
    asked: Mutex<HashMap<String, Instant>>,
}

impl NewKeys {
    pub(super) fn new(source: Arc<dyn IssuerKeys>, policy: PolicyHandle) -> Self {
        Self { source, policy, asked: Mutex::default() }
    }

    /// Has access-control look for new keys. Returns whether a new policy came of it.
    pub(super) async fn come(&self, issuer: &str, tenant: &str) -> bool {
        let mut versions = self.policy.versions();
        let before = *versions.borrow_and_update();
        // Whoever comes while another asks waits here, and finds that it was asked.
        let mut asked = self.asked.lock().await;
        if *versions.borrow_and_update() != before {
            return true;
        }
        if asked.len() >= MAX_ISSUERS || asked.get(issuer).is_some_and(|at| at.elapsed() < EVERY) {
            return false;
        }
        asked.insert(issuer.to_owned(), Instant::now());
        let news = async {
            self.source.look(issuer, tenant).await;
            versions.changed().await.is_ok()
        };
        tokio::time::timeout(PATIENCE, news).await.unwrap_or(false)
    }
}
