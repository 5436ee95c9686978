//! The stage policies that decide about a tenant's customers now.

use crate::stages::StagePolicy;
use crate::store::stage_policies;
use parking_lot::RwLock;
use quintile_domain::ids::TenantId;
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
        let policy = match known {
            Some(known) if known.revision == revision => known.policy,
            // Read after its number: it is at least as new as that says.
            _ => Arc::new(stage_policies::published(self.database.reader(), tenant).await?.policy),
        };
        let mut all = self.read.write();
        let latest = all.entry(tenant).or_insert_with(|| Read { policy: policy.clone(), revision, asked });
        // Somebody may have read later and been faster.
        if latest.revision <= revision {
            *latest = Read { policy, revision, asked };
        }
        Ok(latest.policy.clone())
    }
}
