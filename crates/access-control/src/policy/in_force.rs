//! The snapshot in force: one for the edge of this server, for its handlers, and for everybody who watches it.

use crate::signing::{KeyRing, SigningKey};
use crate::store::Store;
use arc_swap::ArcSwap;
use quintile_domain::time::Instant;
use quintile_proto::access::PolicySnapshot;
use quintile_rpc::policy::{Policy, PolicyError};
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_store::StoreError;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often the database is asked whether another process has changed something.
const POLL: Duration = Duration::from_secs(1);
/// How long the policy of a process that can't read its database any more decides.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Why the snapshot could not be had.
#[derive(Debug, Error)]
pub enum InForceError {
    /// The database did not give it.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It can't be used.
    #[error("{0}")]
    Policy(#[from] PolicyError),
}

/// The snapshot in force.
pub struct InForce {
    store: Store,
    issuer: String,
    handle: PolicyHandle,
    snapshot: watch::Sender<Arc<PolicySnapshot>>,
    keys: ArcSwap<KeyRing>,
    /// Beats whenever the snapshot was found to be the database's.
    pulse: watch::Sender<()>,
}

impl InForce {
    /// Loads the snapshot, and puts it in force.
    pub async fn load(store: Store, issuer: String) -> Result<Self, InForceError> {
        let (snapshot, _) = watch::channel(Arc::default());
        let (pulse, _) = watch::channel(());
        let keys = ArcSwap::from_pointee(KeyRing::new(Vec::new()));
        let in_force = Self { store, issuer, handle: PolicyHandle::new(MAX_AGE), snapshot, keys, pulse };
        in_force.refresh().await?;
        Ok(in_force)
    }

    /// Where the snapshot comes from, for those who change it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The policy that the server's edge decides by.
    pub fn handle(&self) -> PolicyHandle {
        self.handle.clone()
    }

    /// The present snapshot.
    pub fn snapshot(&self) -> Arc<PolicySnapshot> {
        self.snapshot.borrow().clone()
    }

    /// Beats at once, then whenever the snapshot was found to be what the database holds: with every change, and with every poll that
    /// finds none. A process that is cut off from its database has no pulse.
    pub fn pulse(&self) -> watch::Receiver<()> {
        self.pulse.subscribe()
    }

    /// The key that signs at an instant.
    pub fn signing_key(&self, now: Instant) -> Option<Arc<SigningKey>> {
        self.keys.load().signing(now).cloned()
    }

    /// Puts what the database holds in force, if it is newer. Whoever changed something calls it before answering, so that the
    /// change holds for the next call.
    pub async fn refresh(&self) -> Result<(), InForceError> {
        let version = self.store.version().await?;
        if version <= self.snapshot.borrow().version {
            self.handle.confirm(version);
            self.pulse.send_replace(());
            return Ok(());
        }
        let snapshot = self.store.snapshot(&self.issuer).await?;
        let policy = Arc::new(Policy::from_snapshot(&snapshot)?);
        // They may be newer than the snapshot: one that it does not publish does not sign for longer than the next poll takes.
        let keys = Arc::new(self.store.key_ring().await?);
        self.snapshot.send_if_modified(|present| {
            // Two may have loaded at once; the older must not come after the newer.
            if snapshot.version <= present.version {
                return false;
            }
            tracing::info!(version = snapshot.version, "policy in force");
            // Under the channel's lock, so that edge and watchers go on in one order.
            self.handle.replace(policy);
            self.keys.store(keys);
            *present = Arc::new(snapshot);
            true
        });
        self.pulse.send_replace(());
        Ok(())
    }

    /// Follows, without end, what other processes change.
    pub async fn follow(&self) -> Infallible {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the policy could not be read again; the last one stays in force");
            }
        }
    }
}
