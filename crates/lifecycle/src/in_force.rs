//! What decides about a tenant's customers now: the stage policy, the churn model.

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

/// A definition of which one of a tenant is in force, or none.
pub trait Defined: Clone + Default + Send + Sync + 'static {
    /// The number of the last change of what is in force.
    fn revision(database: &Database, tenant: TenantId) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// What is in force, and the business time from which it is. `None`: from the start.
    fn read(
        database: &Database,
        tenant: TenantId,
    ) -> impl Future<Output = Result<(Self, Option<Instant>), StoreError>> + Send;
}

/// What is in force of a tenant, as it was read.
#[derive(Clone)]
struct Read<D> {
    definition: D,
    from: Option<Instant>,
    /// Which change it holds.
    revision: i64,
    /// When that was last asked.
    asked: MachineInstant,
}

/// What is in force of every tenant, as last read.
#[derive(Clone)]
pub struct InForce<D> {
    database: Database,
    read: Arc<RwLock<HashMap<TenantId, Read<D>>>>,
}

/// The stage policies in force.
pub type PoliciesInForce = InForce<Arc<StagePolicy>>;

impl<D: Defined> InForce<D> {
    /// What is in force by a database.
    pub fn new(database: Database) -> Self {
        Self { database, read: Arc::default() }
    }

    /// What was in force when it was last read: that which is there from the start before anybody has.
    pub fn last_read(&self, tenant: TenantId) -> D {
        self.read.read().get(&tenant).map(|read| read.definition.clone()).unwrap_or_default()
    }

    /// The business time from which what was last read is in force. `None`: from the start.
    pub fn in_force_from(&self, tenant: TenantId) -> Option<Instant> {
        self.read.read().get(&tenant).and_then(|read| read.from)
    }

    /// As of a moment ago at most: what reads go by, since one replica hears of what another has published only by asking.
    pub async fn recent(&self, tenant: TenantId) -> Result<D, StoreError> {
        let known = self.read.read().get(&tenant).cloned();
        match known {
            Some(known) if known.asked.elapsed() < MOMENT => Ok(known.definition),
            _ => self.of(tenant).await,
        }
    }

    /// As of now. Whether something changed is asked every time.
    pub async fn of(&self, tenant: TenantId) -> Result<D, StoreError> {
        let asked = MachineInstant::now();
        let revision = D::revision(&self.database, tenant).await?;
        let known = self.read.read().get(&tenant).cloned();
        let (definition, from) = match known {
            Some(known) if known.revision == revision => (known.definition, known.from),
            // Read after its number: it is at least as new as that says.
            _ => D::read(&self.database, tenant).await?,
        };
        let read = Read { definition, from, revision, asked };
        let mut all = self.read.write();
        let latest = all.entry(tenant).or_insert_with(|| read.clone());
        // Somebody may have read later and been faster.
        if latest.revision <= revision {
            *latest = read;
        }
        Ok(latest.definition.clone())
    }
}

impl Defined for Arc<StagePolicy> {
    async fn revision(database: &Database, tenant: TenantId) -> Result<i64, StoreError> {
        stage_policies::revision(database.reader(), tenant).await
    }

    async fn read(database: &Database, tenant: TenantId) -> Result<(Self, Option<Instant>), StoreError> {
        let published = stage_policies::published(database.reader(), tenant).await?;
        Ok((Self::new(published.policy), published.in_force_from))
    }
}
