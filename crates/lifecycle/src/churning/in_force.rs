//! The churn models that tell risks of a tenant's customers now.

use super::features::{self, Seen};
use crate::churn::{ChurnError, ChurnModel, Explanation, RiskProfile, Value};
use crate::store::churn_models::{self, Stored, malformed};
use parking_lot::RwLock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{Database, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// What is kept of a model beside what is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// What gives risks.
    pub model: ChurnModel,
    /// How risks were spread when it was judged.
    pub profile: RiskProfile,
}

impl Learnt {
    /// Its stored form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|_| malformed())
    }

    /// What a stored form tells, if it holds together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let learnt: Self = serde_json::from_slice(bytes).map_err(|_| malformed())?;
        learnt.model.check().map_err(|_| malformed())?;
        Ok(learnt)
    }
}

/// A model in force.
#[derive(Debug)]
pub struct InForce {
    /// `churnModels/{number}`.
    pub name: String,
    /// Whoever does not order in so many days has left.
    pub horizon_days: i32,
    /// What it has learnt.
    pub learnt: Learnt,
    /// For each of its features the place among those that are known now. `None`: it is known no more.
    places: Vec<Option<usize>>,
}

/// The risk of a customer.
pub struct Risk {
    /// 0 to 1.
    pub risk: f64,
    /// What makes it up.
    pub explanation: Option<Explanation>,
}

impl InForce {
    fn new(stored: &Stored, bytes: &[u8]) -> Result<Self, StoreError> {
        let learnt = Learnt::from_bytes(bytes)?;
        let known = features::all();
        let place = |name: &str| known.iter().position(|feature| feature.name == name);
        let places = learnt.model.model.encoding().features.iter().map(|encoded| place(&encoded.name)).collect();
        Ok(Self { name: stored.name(), horizon_days: stored.body.horizon_days, learnt, places })
    }

    /// The risk of a customer at an instant that its record tells of: see [`told_of`]. `None`: it has left already, or never bought.
    pub fn risk(
        &self,
        record: &CustomerRecord,
        as_of: Instant,
        tenant: &Tenant,
        explained: bool,
    ) -> Result<Option<Risk>, ChurnError> {
        let Some(seen) = Seen::active(record, as_of, &tenant.zone, tenant.currency) else { return Ok(None) };
        let known = seen.row();
        let value = |place: &Option<usize>| place.and_then(|place| known.get(place).copied());
        let row: Vec<_> = self.places.iter().map(|place| value(place).unwrap_or(Value::Missing)).collect();
        let risk = self.learnt.model.risk(&row)?;
        let explanation = explained.then(|| self.learnt.model.explain(&row)).transpose()?;
        Ok(Some(Risk { risk, explanation }))
    }
}

/// The instant that a record tells of, where it is now: features are ahead of a service that has not heard yet that time has moved.
pub fn told_of(record: &CustomerRecord, now: Instant) -> Instant {
    let of = record.features.as_ref().and_then(|features| convert::sent_instant(features.as_of.as_ref()));
    of.map_or(now, |of| of.max(now))
}

/// The model of a tenant, as it was read: which change of the tenant's models it holds, and what is in force by it.
type Read = (i64, Option<Arc<InForce>>);

/// The models in force of every tenant, as last read.
pub struct ModelsInForce {
    database: Database,
    read: RwLock<HashMap<TenantId, Read>>,
}

impl ModelsInForce {
    /// The models in a database.
    pub fn new(database: Database) -> Self {
        Self { database, read: RwLock::default() }
    }

    /// The model in force. Whether something changed is asked every time.
    pub async fn of(&self, tenant: TenantId) -> Result<Option<Arc<InForce>>, StoreError> {
        let connection = self.database.reader();
        let revision = churn_models::revision(connection, tenant).await?;
        if let Some((read, model)) = self.read.read().get(&tenant)
            && *read == revision
        {
            return Ok(model.clone());
        }
        // Read after its number: it is at least as new as that says.
        let model = match churn_models::in_force(connection, tenant).await? {
            Some(stored) => {
                let learnt = churn_models::learnt(connection, tenant, stored.number).await?;
                Some(Arc::new(InForce::new(&stored, &learnt)?))
            }
            None => None,
        };
        let mut all = self.read.write();
        let latest = all.entry(tenant).or_insert_with(|| (revision, model.clone()));
        // Somebody may have read later and been faster.
        if latest.0 <= revision {
            *latest = (revision, model);
        }
        Ok(latest.1.clone())
    }
}
