//! The score models that score a tenant's customers now.

use crate::models::presets::{PRESETS, RETAIL};
use crate::models::{Definition, RFM};
use crate::store::fits;
use crate::store::models::{self, Version};
use crate::value::ValueModel;
use crate::value::encoding::model_of;
use parking_lot::RwLock;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_proto::scoring::{self as sent, ScoreModelState};
use quintile_proto::types::ScoreValues;
use quintile_rpc::policy::Tenant;
use quintile_store::{Database, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// How long reads go by what was asked last.
const MOMENT: Duration = Duration::from_millis(250);

/// A published version.
#[derive(Clone, Debug)]
pub struct Live {
    /// The model's id.
    pub model: String,
    /// The version's resource name, as records carry it.
    pub name: String,
    /// What it defines.
    pub definition: Definition,
}

/// The published model of lifetime value.
#[derive(Clone, Debug)]
pub struct LiveValueModel {
    /// The resource name, as records carry it.
    pub name: String,
    /// What it says.
    pub model: ValueModel,
}

/// The published versions of a tenant.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// Of the RFM model. `None`: it has not been read yet, and nobody is scored by it.
    pub rfm: Option<Arc<Live>>,
    /// Of the others, by model.
    pub others: Arc<[Live]>,
    /// What says what customers will be worth. `None`: nothing does.
    pub value_model: Option<LiveValueModel>,
    /// Which change of the tenant's models it holds.
    revision: i64,
    /// When that was last asked. `None`: never.
    asked: Option<MachineInstant>,
}

impl InForce {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Live> {
        self.rfm.as_deref().into_iter().chain(self.others.iter())
    }

    /// What says what customers will be worth.
    pub fn valuing(&self) -> Option<&ValueModel> {
        self.value_model.as_ref().map(|live| &live.model)
    }

    /// Its resource name. Empty: nothing does.
    pub fn value_model_name(&self) -> &str {
        self.value_model.as_ref().map(|live| live.name.as_str()).unwrap_or_default()
    }

    /// Whether they are those that made scores, be it that others would have made the same.
    pub fn made(&self, scores: &ScoreValues) -> bool {
        let rfm = self.rfm.as_ref().is_none_or(|rfm| rfm.name == scores.model_version);
        let others = self.others.iter().map(|live| &live.name);
        let valued = self.value_model_name() == scores.value_model;
        rfm && valued && others.eq(scores.models.iter().map(|score| &score.model_version))
    }

    /// The version of a model, if one is in force.
    pub fn of(&self, model: &str) -> Option<&Live> {
        self.all().find(|live| live.model == model)
    }
}

/// The models in force of every tenant, as last read.
#[derive(Clone)]
pub struct ModelsInForce {
    database: Database,
    clock: MachineClock,
    read: Arc<RwLock<HashMap<TenantId, Arc<InForce>>>>,
}

impl ModelsInForce {
    /// The models in a database.
    pub fn new(database: Database, clock: MachineClock) -> Self {
        Self { database, clock, read: Arc::default() }
    }

    /// The models as last read.
    pub fn last_read(&self, tenant: TenantId) -> Arc<InForce> {
        self.read.read().get(&tenant).cloned().unwrap_or_default()
    }

    /// The models as of a moment ago at most: what reads go by, since one replica hears of what another has published only by asking.
    pub async fn recent(&self, tenant: &Tenant) -> Result<Arc<InForce>, StoreError> {
        let known = self.last_read(tenant.id);
        if known.asked.is_some_and(|asked| asked.elapsed() < MOMENT) {
            return Ok(known);
        }
        self.of(tenant).await
    }

    /// The models as of now. Whether something changed is asked every time; reading definitions anew is what is saved.
    pub async fn of(&self, tenant: &Tenant) -> Result<Arc<InForce>, StoreError> {
        let asked = Some(MachineInstant::now());
        let revision = models::revision(self.database.reader(), tenant.id).await?;
        let known = self.last_read(tenant.id);
        if known.revision == revision && known.rfm.is_some() {
            let known = Arc::new(InForce { asked, ..(*known).clone() });
            self.keep(tenant.id, known.clone());
            return Ok(known);
        }
        // Read after its number: it is at least as new as that says.
        let mut published = models::published(self.database.reader(), tenant.id).await?;
        if !published.iter().any(|version| version.model == RFM) {
            published = self.publish_preset(tenant).await?;
        }
        let (rfm, others): (Vec<_>, Vec<_>) = published.into_iter().map(live).partition(|live| live.model == RFM);
        let (rfm, others) = (rfm.into_iter().next().map(Arc::new), others.into());
        let value_model = fits::in_force::<sent::ValueModel>(self.database.reader(), tenant.id).await?;
        let valued = |stored: fits::Stored<sent::ValueModel>| {
            Some(LiveValueModel { name: stored.name(), model: model_of(&stored.body)? })
        };
        let value_model = value_model.and_then(valued);
        Ok(self.keep(tenant.id, Arc::new(InForce { rfm, others, value_model, revision, asked })))
    }

    /// Has this process's reads go by what was just written. It is written whether or not that succeeds now: they come to it in a moment.
    pub async fn apply(&self, tenant: &Tenant) {
        if let Err(error) = self.of(tenant).await {
            tracing::debug!(%error, "models in force are read a moment later");
        }
    }

    /// Keeps what was read, unless somebody has read later and been faster. Returns what is kept.
    fn keep(&self, tenant: TenantId, read: Arc<InForce>) -> Arc<InForce> {
        let mut all = self.read.write();
        let latest = all.entry(tenant).or_default();
        if latest.revision <= read.revision {
            *latest = read;
        }
        latest.clone()
    }

    /// Gives a tenant without an RFM model the retail preset as version 1.
    async fn publish_preset(&self, tenant: &Tenant) -> Result<Vec<Version>, StoreError> {
        let transaction = self.database.begin().await?;
        let revision = models::begin_change(&transaction, tenant.id).await?;
        // Another replica may have been faster.
        let published = models::published(&transaction, tenant.id).await?;
        if published.iter().any(|version| version.model == RFM) {
            return Ok(published);
        }
        let now = self.clock.now();
        let preset = PRESETS.iter().find(|preset| preset.id == RETAIL);
        let definition = preset.map(|preset| (preset.definition)(tenant.currency.minor_digits()));
        let version = Version {
            model: RFM.to_owned(),
            number: 1,
            state: ScoreModelState::Published,
            definition: definition.ok_or(StoreError::Sealed("the preset of RFM"))?,
            preview: None,
            created_at: now,
            published_at: Some(now),
            retired_at: None,
            revision,
            changed: 0,
        };
        models::write(&transaction, tenant, &version).await?;
        transaction.commit().await?;
        Ok([published, vec![version]].concat())
    }
}

fn live(version: Version) -> Live {
    Live { name: version.name(), model: version.model, definition: version.definition }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_clv::{BgNbd, Dropout, Fitted, Nbd};

    fn valued_by(name: &str) -> InForce {
        let purchases = Fitted {
            model: BgNbd { dropout: Dropout::AfterRepeats, r: 1.0, alpha: 2.0, a: 1.0, b: 2.0 },
            log_likelihood: -90.0,
            never_leaving: Nbd { r: 1.0, alpha: 2.0 },
            never_leaving_log_likelihood: -100.0,
        };
        let model = ValueModel { purchases, spend: None, gross_margin: 1.0, monthly_discount: 0.01, months: 12 };
        InForce { value_model: Some(LiveValueModel { name: name.to_owned(), model }), ..InForce::default() }
    }

    #[test]
    fn scores_by_another_value_model_or_one_that_was_retired_are_of_others() {
        let scored = |value_model: &str| ScoreValues { value_model: value_model.to_owned(), ..ScoreValues::default() };
        let (in_force, none) = (valued_by("valueModels/2"), InForce::default());
        assert!(in_force.made(&scored("valueModels/2")) && none.made(&scored("")));
        assert!(!in_force.made(&scored("valueModels/1")) && !in_force.made(&scored("")));
        assert!(!none.made(&scored("valueModels/2")));
    }
}
