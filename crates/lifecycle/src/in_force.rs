//! The stage policies that decide about a tenant's customers now.

use crate::stages::StagePolicy;
use crate::store::stage_policies;
use parking_lot::RwLock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::{Database, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// How long reads go by what was asked last.
const MOMENT: Duration = Duration::from_millis(250);

/// The policy of a tenant, as it was read.
#[derive(Clone)]
struct Read {
    policy: Arc<StagePolicy>,
    /// The business time from which it holds. `None`: from the start.
    from: Option<Instant>,
    /// Which change of the tenant's policy it holds.
    revision: i64,
    /// When that was last asked.
    asked: MachineInstant,
}

/// The policies in force of every tenant, as last read.
#[derive(Clone)]
pub struct PoliciesInForce {
    database: Database,
    read: Arc<RwLock<HashMap<TenantId, Read>>>,
}

impl PoliciesInForce {
    /// The policies in a database.
    pub fn new(database: Database) -> Self {
        Self { database, read: Arc::default() }
    }

    /// The policy as last read: that of the first version before anybody has.
    pub fn last_read(&self, tenant: TenantId) -> Arc<StagePolicy> {
        self.read.read().get(&tenant).map(|read| read.policy.clone()).unwrap_or_default()
    }

    /// The business time from which the policy as last read holds. `None`: from the start.
    pub fn in_force_from(&self, tenant: TenantId) -> Option<Instant> {
        self.read.read().get(&tenant).and_then(|read| read.from)
    }

    /// The policy as of a moment ago at most: what reads go by, since one replica hears of what another has published only by asking.
    pub async fn recent(&self, tenant: TenantId) -> Result<Arc<StagePolicy>, StoreError> {
        let known = self.read.read().get(&tenant).cloned();
        match known {
            Some(known) if known.asked.elapsed() < MOMENT => Ok(known.policy),
            _ => self.of(tenant).await,
        }
    }

    /// The policy as of now. Whether something changed is asked every time.
    pub async fn of(&self, tenant: TenantId) -> Result<Arc<StagePolicy>, StoreError> {
        let asked = MachineInstant::now();
        let revision = stage_policies::revision(self.database.reader(), tenant).await?;
        let known = self.read.read().get(&tenant).cloned();
        let (policy, from) = match known {
            Some(known) if known.revision == revision => (known.policy, known.from),
            // Read after its number: it is at least as new as that says.
            _ => {
                let published = stage_policies::published(self.database.reader(), tenant).await?;
                (Arc::new(published.policy), published.in_force_from)
            }
        };
        let read = Read { policy, from, revision, asked };
        let mut all = self.read.write();
        let latest = all.entry(tenant).or_insert_with(|| read.clone());
        // Somebody may have read later and been faster.
        if latest.revision <= revision {
            *latest = read;
        }
        Ok(latest.policy.clone())
    }
}
