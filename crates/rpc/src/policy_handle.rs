//! The policy in force, as everybody in a process shares it: read with every call, replaced when access-control says so, and not
//! trusted for ever without a word from it.

use crate::policy::Policy;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The policy in force.
#[derive(Clone, Debug)]
pub struct PolicyHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: ArcSwapOption<Policy>,
    version: watch::Sender<i64>,
    /// When access-control last said that this is the policy.
    confirmed: Mutex<Option<Instant>>,
    max_age: Duration,
}

impl PolicyHandle {
    /// No policy yet. One that was not confirmed for `max_age` decides nothing.
    pub fn new(max_age: Duration) -> Self {
        Self(Arc::new(Inner {
            policy: ArcSwapOption::empty(),
            version: watch::Sender::new(0),
            confirmed: Mutex::new(None),
            max_age,
        }))
    }

    /// The last policy, whatever its age: for what decides about nobody's rights.
    pub fn last(&self) -> Option<Arc<Policy>> {
        self.0.policy.load_full()
    }

    /// The policy by which to decide. `None`: there is none, or it is too old to be trusted.
    pub fn in_force(&self) -> Option<Arc<Policy>> {
        let confirmed = (*self.0.confirmed.lock())?;
        if confirmed.elapsed() > self.0.max_age { None } else { self.last() }
    }

    /// Puts a policy in force, unless one as new is.
    pub fn replace(&self, policy: Arc<Policy>) {
        let version = policy.version;
        // Under the channel's lock: of two that come at once, the newer stays.
        self.0.version.send_if_modified(|present| {
            let newer = version > *present || self.0.policy.load().is_none();
            if newer {
                self.0.policy.store(Some(policy));
                *present = version;
            }
            newer
        });
        self.confirm(version);
    }

    /// Notes that access-control still says what it said. Returns whether this version is the one in force.
    pub fn confirm(&self, version: i64) -> bool {
        let is_present = self.last().is_some_and(|policy| policy.version == version);
        if is_present {
            *self.0.confirmed.lock() = Some(Instant::now());
        }
        is_present
    }

    /// The version in force, and every later one.
    pub fn versions(&self) -> watch::Receiver<i64> {
        self.0.version.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::access::{Jwks, PolicySnapshot};

    fn policy(version: i64) -> Arc<Policy> {
        let snapshot = PolicySnapshot { version, jwks: Some(Jwks::default()), ..PolicySnapshot::default() };
        Arc::new(Policy::from_snapshot(&snapshot).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_without_a_word_from_its_source_decides_nothing_after_a_while() {
        let handle = PolicyHandle::new(Duration::from_mins(1));
        assert!(handle.in_force().is_none());
        handle.replace(policy(7));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(handle.in_force().unwrap().version, 7);
        assert!(handle.confirm(7));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(handle.in_force().is_none());
        assert!(handle.last().is_some());
        assert!(!handle.confirm(8), "another version is not the one in force");
        assert!(handle.in_force().is_none());
        assert!(handle.confirm(7));
        assert!(handle.in_force().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_policy_takes_nothing_back() {
        let handle = PolicyHandle::new(Duration::from_mins(1));
        let mut versions = handle.versions();
        handle.replace(policy(2));
        handle.replace(policy(1));
        assert_eq!(handle.in_force().unwrap().version, 2);
        assert_eq!(*versions.borrow_and_update(), 2);
        assert!(!versions.has_changed().unwrap());
    }
}
