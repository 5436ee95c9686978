//! The link of the chain that adds scores: it follows ingestion's features and scores every customer that changes, and every
//! customer that time alone changes.

use crate::MAX_MESSAGE_BYTES;
use crate::encoding;
use crate::in_force::{InForce, Live, ModelsInForce};
use crate::models::feature::Conventions;
use crate::models::{At, Scored};
use crate::population::Populations;
use crate::rescoring;
use crate::store::changes::{self, Change};
use crate::value::alive::alive;
use crate::value::lifetime::lifetime;
use quintile_chain::context::{Runtime, ServiceContext, WorkError};
use quintile_chain::derive::{self, Before, Cause, Link, RECORDS_AT_ONCE, Remembered};
use quintile_chain::feed::same_model;
use quintile_chain::follow::Step;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::WatchFeaturesRequest;
use quintile_proto::ingestion::feature_service_client::FeatureServiceClient;
use quintile_proto::types::{CustomerRecord, ModelScore, ScoreValues, WatchRecordsResponse};
use quintile_rpc::client::{Channel, Credentials};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction};
use tonic::{Status, Streaming};

/// Scores records.
pub struct ScoreLink {
    /// The models that do.
    pub models: ModelsInForce,
    populations: Populations,
    pub(crate) clock: MachineClock,
    credentials: Credentials,
    ingestion: Channel,
}

/// Customers of whom it is foretold in some ten milliseconds what each will be worth in a year, and when that will have fallen.
const FORETOLD_AT_ONCE: u32 = 250;
/// The months of that year.
const YEAR_MONTHS: u32 = 12;

impl ScoreLink {
    /// A link that scores by the models in force and follows ingestion.
    pub fn new(models: ModelsInForce, populations: Populations, context: &ServiceContext) -> Self {
        Self {
            models,
            populations,
            clock: context.shared.clock.clone(),
            credentials: context.credentials.clone(),
            ingestion: context.peers.ingestion.clone(),
        }
    }
}

/// What a tenant's days and money are counted in.
pub fn conventions(tenant: &Tenant) -> Conventions<'_> {
    Conventions { currency: tenant.currency, zone: &tenant.zone }
}

/// The scores of a record under the models in force, as of an instant.
pub fn scores(in_force: &InForce, tenant: &Tenant, record: &CustomerRecord, as_of: Instant) -> ScoreValues {
    let at = At::new(as_of, conventions(tenant)).valued_by(in_force.valuing());
    let rfm = in_force.rfm.as_ref().map(|rfm| rfm.definition.score(record, &at));
    let of_rfm = |place: usize| rfm.as_ref().and_then(|rfm| rfm.scores.get(place)).map_or(0, |score| i32::from(*score));
    let mut next_change = rfm.as_ref().and_then(|rfm| rfm.next_change);
    let others = in_force.others.iter().map(|live| {
        let scored = live.definition.score(record, &at);
        next_change = [next_change, scored.next_change].into_iter().flatten().min();
        model_score(live, &scored)
    });
    let models = others.collect();
    let features = record.features.as_ref();
    let valued = in_force.valuing().zip(features);
    let alive = valued.and_then(|(model, features)| alive(model, features, as_of, conventions(tenant)));
    let lifetime = valued.and_then(|(model, features)| lifetime(model, features, as_of, conventions(tenant)));
    let falls = [alive.and_then(|alive| alive.next_change), lifetime.and_then(|lifetime| lifetime.next_change)];
    next_change = [next_change].into_iter().chain(falls).flatten().min();
    ScoreValues {
        model_version: in_force.rfm.as_ref().map(|rfm| rfm.name.clone()).unwrap_or_default(),
        as_of: Some(convert::timestamp(as_of)),
        recency: of_rfm(0),
        frequency: of_rfm(1),
        monetary: of_rfm(2),
        next_change_time: next_change.map(convert::timestamp),
        models,
        alive_percent: alive.map(|alive| alive.percent),
        value_model: in_force.value_model_name().to_owned(),
        lifetime_value: lifetime.map(|lifetime| convert::money(tenant.currency, lifetime.minor)),
    }
}

fn model_score(live: &Live, scored: &Scored) -> ModelScore {
    ModelScore {
        model_version: live.name.clone(),
        scores: scored.scores.iter().map(|score| i32::from(*score)).collect(),
        grade: encoding::grade(&live.definition, scored),
    }
}

/// What differs between two sets of scores: the scores of the models that changed, before and after. `None`: none did.
fn difference(before: &ScoreValues, after: &ScoreValues) -> Option<(ScoreValues, ScoreValues)> {
    let only = |scores: &ScoreValues, other: &ScoreValues| {
        let of_other = |score: &ModelScore| {
            let same = |found: &&ModelScore| same_model(&found.model_version, &score.model_version);
            other.models.iter().find(same)
        };
        let differs = |score: &&ModelScore| {
            of_other(score).is_none_or(|other| (&other.scores, &other.grade) != (&score.scores, &score.grade))
        };
        let rfm = |scores: &ScoreValues| (scores.recency, scores.frequency, scores.monetary);
        let models = scores.models.iter().filter(differs).cloned().collect();
        // How likely the customer still buys, and what it will be worth, is no score: it is told as it is now alone.
        let changed = ScoreValues {
            model_version: scores.model_version.clone(),
            recency: scores.recency,
            frequency: scores.frequency,
            monetary: scores.monetary,
            models,
            ..ScoreValues::default()
        };
        if rfm(scores) == rfm(other) {
            ScoreValues { models: changed.models, ..ScoreValues::default() }
        } else {
            changed
        }
    };
    let told = (only(before, after), only(after, before));
    (told != (ScoreValues::default(), ScoreValues::default())).then_some(told)
}

/// Whether a customer has had no score yet, under any model: the first ones are no change.
fn is_unscored(scores: &ScoreValues) -> bool {
    let by_models = scores.models.iter().flat_map(|model| &model.scores);
    [scores.recency, scores.frequency, scores.monetary].iter().chain(by_models).all(|score| *score == 0)
}

impl Link for ScoreLink {
    const FEED: &'static str = "scores";
    type Transition = Change;

    fn derive(&self, tenant: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant> {
        let scores = scores(&self.models.last_read(tenant.id), tenant, record, as_of);
        let next_change = convert::sent_instant(scores.next_change_time.as_ref());
        record.scores = Some(scores);
        next_change
    }

    fn at_once(&self, tenant: &Tenant) -> usize {
        let in_force = self.models.last_read(tenant.id);
        match in_force.valuing().filter(|model| model.spend.is_some()) {
            Some(model) => (FORETOLD_AT_ONCE * YEAR_MONTHS / model.months.max(YEAR_MONTHS)) as usize,
            None => RECORDS_AT_ONCE,
        }
    }

    fn derived_at(&self, record: &CustomerRecord) -> Option<Instant> {
        convert::sent_instant(record.scores.as_ref()?.as_of.as_ref())
    }

    fn outdated(&self, tenant: &Tenant, record: &CustomerRecord) -> Option<Instant> {
        let scores = record.scores.as_ref()?;
        if self.models.last_read(tenant.id).made(scores) { None } else { self.derived_at(record) }
    }

    fn transition(
        &self,
        _: &Tenant,
        before: Before<'_>,
        after: &CustomerRecord,
        valid_at: Instant,
        cause: Cause,
    ) -> Option<Change> {
        let before = before.record()?;
        let customer = CustomerId::try_from(after.customer_id).ok()?;
        let (scores, after_scores) = (before.scores.as_ref()?, after.scores.as_ref()?);
        if cause == Cause::Upstream && is_unscored(scores) {
            return None;
        }
        let (scores, told) = difference(scores, after_scores)?;
        // A window that ends upstream arrives like an event.
        let due = match (cause, &before.features, &after.features) {
            (Cause::Upstream, Some(before), Some(after)) => derive::by_time(before, after),
            _ => None,
        };
        let cause = changes::cause(if due.is_some() { Cause::Time } else { cause });
        Some(Change { customer, valid_at: due.unwrap_or(valid_at), cause, before: scores, after: told })
    }

    async fn remember(
        &self,
        transaction: &Transaction,
        tenant: &Tenant,
        remembered: Remembered<'_, Change>,
    ) -> Result<(), StoreError> {
        let Remembered { seq, transitions, removed } = remembered;
        if removed.iter().any(|removed| removed.erased) {
            // A text that only the erased had would stay in its column.
            self.populations.forget(tenant.id);
        }
        changes::append(transaction, tenant.id, seq, transitions).await?;
        changes::erase(transaction, tenant.id, removed).await
    }

    async fn go_through(&self, runtime: &Runtime, tenant: &Tenant, step: &mut Step<'_>) -> Result<bool, WorkError> {
        rescoring::step(self, runtime, tenant, step).await
    }

    async fn upstream(&self, tenant: &Tenant, cursor: String) -> Result<Streaming<WatchRecordsResponse>, Status> {
        let request = self.credentials.request(&tenant.name, WatchFeaturesRequest { cursor }).await?;
        let mut client = FeatureServiceClient::new(self.ingestion.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.watch_features(request).await?.into_inner())
    }
}
