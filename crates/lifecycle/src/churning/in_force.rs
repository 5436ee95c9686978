//! The churn models that tell risks of a tenant's customers now.

use super::Target;
use super::features::{self, OfDays, Seen};
use super::labels::Label;
use crate::churn::{ChurnError, ChurnModel, Explanation, Moving, RiskProfile, Turns, Value};
use crate::in_force::{self, Defined};
use crate::store::churn_models::{self, Stored, malformed};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{Database, StoreError};
use serde::{Deserialize, Serialize};
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
    /// By what it is known who has left. `None`: by orders.
    pub label: Option<Label>,
    /// What it has learnt.
    pub learnt: Learnt,
    /// For each of its features the place among those that are known now. `None`: it is known no more.
    places: Vec<Option<usize>>,
    /// The places of its features that are others every day, and what they are.
    of_every_day: Vec<(usize, OfDays)>,
    turns: Turns,
}

/// What a step of risk spans, in hundredths.
const STEP_PERCENT: i32 = 5;

/// The step of a customer's risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// In hundredths, rounded down to a multiple of 5.
    pub percent: i32,
    /// The first later local day on which it is at another one, or at none, if nothing happens until then.
    pub turns_on: i32,
}

/// The step that a risk of 0 to 1 is at.
fn percent(risk: f64) -> i32 {
    let steps = 100 / STEP_PERCENT;
    ((risk * f64::from(steps)) as i32).clamp(0, steps) * STEP_PERCENT
}

/// The risk of a customer.
pub struct Risk {
    /// 0 to 1.
    pub risk: f64,
    /// What makes it up.
    pub explanation: Option<Explanation>,
}

impl Risk {
    /// The step that it is at: in hundredths, rounded down to a multiple of 5.
    pub fn percent(&self) -> i32 {
        percent(self.risk)
    }
}

impl InForce {
    fn new(stored: &Stored, bytes: &[u8]) -> Result<Self, StoreError> {
        let learnt = Learnt::from_bytes(bytes)?;
        let known = features::all();
        let place = |name: &str| known.iter().position(|feature| feature.name == name);
        let encoded = &learnt.model.model.encoding().features;
        let places = encoded.iter().map(|encoded| place(&encoded.name)).collect();
        let own = |(name, of)| Some((encoded.iter().position(|encoded| encoded.name == name)?, (name, of)));
        let of_every_day = features::of_every_day().filter_map(own).collect();
        let turns = Turns::of(&learnt.model);
        let (name, horizon_days) = (stored.name(), stored.body.horizon_days);
        // Without its label it would be taken for one of orders.
        let label = match Target::of(&stored.body).ok_or_else(malformed)? {
            Target::Label(label) => Some(label),
            Target::Horizon(_) => None,
        };
        Ok(Self { name, horizon_days, label, learnt, places, of_every_day, turns })
    }

    /// The risk of a customer at an instant that its record tells of: see [`told_of`]. `None`: it has left already, or never bought; or the model is of a
    /// label, of which records tell nothing.
    pub fn risk(
        &self,
        record: &CustomerRecord,
        as_of: Instant,
        tenant: &Tenant,
        explained: bool,
    ) -> Result<Option<Risk>, ChurnError> {
        if self.label.is_some() {
            return Ok(None);
        }
        let Some(seen) = Seen::active(record, as_of, &tenant.zone, tenant.currency) else { return Ok(None) };
        let row = self.row(&seen);
        let risk = self.learnt.model.risk(&row)?;
        let explanation = explained.then(|| self.learnt.model.explain(&row)).transpose()?;
        Ok(Some(Risk { risk, explanation }))
    }

    /// The step of a customer's risk at an instant that its record tells of. `None`: it has no risk that a record tells of, as above.
    pub fn step(&self, record: &CustomerRecord, as_of: Instant, tenant: &Tenant) -> Result<Option<Step>, ChurnError> {
        if self.label.is_some() {
            return Ok(None);
        }
        let Some(seen) = Seen::active(record, as_of, &tenant.zone, tenant.currency) else { return Ok(None) };
        let row = self.row(&seen);
        let mut moving = Moving::new(&self.learnt.model, &self.turns, &row)?;
        let now = percent(moving.risk());
        // It ends, as nobody has a risk for ever.
        let mut days = 1;
        loop {
            let later = seen.later(days);
            let mut may_differ = !later.is_active();
            for (feature, (_, of)) in &self.of_every_day {
                may_differ |= of(&later).is_some_and(|number| moving.set(*feature, number));
            }
            if may_differ && (!later.is_active() || percent(moving.risk()) != now) {
                return Ok(Some(Step { percent: now, turns_on: later.today() }));
            }
            days += 1;
        }
    }

    /// A value for each feature of the model.
    fn row<'r>(&self, seen: &Seen<'r>) -> Vec<Value<'r>> {
        let known = seen.row();
        let value = |place: &Option<usize>| place.and_then(|place| known.get(place).copied());
        self.places.iter().map(|place| value(place).unwrap_or(Value::Missing)).collect()
    }
}

/// The instant that a record tells of, where it is now: features are ahead of a service that has not heard yet that time has moved.
pub fn told_of(record: &CustomerRecord, now: Instant) -> Instant {
    let of = record.features.as_ref().and_then(|features| convert::sent_instant(features.as_of.as_ref()));
    of.map_or(now, |of| of.max(now))
}

/// The model in force as it is stored. `None`: none is.
pub async fn stored(database: &Database, tenant: TenantId) -> Result<Option<Arc<InForce>>, StoreError> {
    let connection = database.reader();
    let Some(stored) = churn_models::in_force(connection, tenant).await? else { return Ok(None) };
    let learnt = churn_models::learnt(connection, tenant, stored.number).await?;
    Ok(Some(Arc::new(InForce::new(&stored, &learnt)?)))
}

/// The same for stages and records, to which a model that can't be read is none: they go on without risks.
fn readable(
    tenant: TenantId,
    model: Result<Option<Arc<InForce>>, StoreError>,
) -> Result<Option<Arc<InForce>>, StoreError> {
    match model {
        Err(StoreError::Sealed(problem)) => {
            tracing::error!(tenant = tenant.0, problem, "the churn model in force can't be read: nobody has a risk");
            Ok(None)
        }
        read => read,
    }
}

/// The models in force of every tenant, but for those that can't be read: see [`stored`].
pub type ModelsInForce = in_force::InForce<Option<Arc<InForce>>>;

impl Defined for Option<Arc<InForce>> {
    async fn revision(database: &Database, tenant: TenantId) -> Result<i64, StoreError> {
        churn_models::revision(database.reader(), tenant).await
    }

    async fn read(database: &Database, tenant: TenantId) -> Result<(Self, Option<Instant>), StoreError> {
        let from = churn_models::in_force_from(database.reader(), tenant).await?;
        // It is read once for each change, and so is told once.
        Ok((readable(tenant, stored(database, tenant).await)?, from))
    }
}

#[cfg(test)]
mod tests;
