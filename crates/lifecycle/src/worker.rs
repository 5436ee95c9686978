//! The link of the chain that adds stages: it follows scoring, and decides for every customer that changes, and for every
//! customer that time alone changes.

use crate::YEAR_DAYS;
use crate::churning::features::is_active;
use crate::churning::{InForce, ModelsInForce};
use crate::in_force::PoliciesInForce;
use crate::restaging;
use crate::stages::{Rational, Stage, StageInput, StagePolicy};
use crate::store::stage_policies::version_name;
use crate::store::transitions::{self, Transition};
use crate::store::{deliveries, grants, loyalty, runs, tasks, warning_policies, warnings};
use crate::triggering::{Newcomer, begin_runs, newcomer};
use crate::warnings::{Worth, purchase_days, showing};
use quintile_chain::context::{Runtime, ServiceContext, WorkError};
use quintile_chain::derive::{self, Before, Cause, Link, Remembered};
use quintile_chain::follow::Step;
use quintile_chain::progress::Watermark;
use quintile_chain::store_error;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::midnight::begin_of_later_day;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{StageTransitionCause, WarningEvidence, WarningState};
use quintile_proto::scoring::WatchScoresRequest;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::types::{ChurnValues, CustomerRecord, StageValues, WarningKind, WatchRecordsResponse};
use quintile_rpc::client::{Channel, Credentials};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert, scope};
use quintile_store::{StoreError, Transaction, follower};
use tonic::{Status, Streaming};

/// The largest message of the feed.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Orders that are older when they come in are a history that is taken in, and nothing that the customer has just done: nightly and monthly files are no
/// history.
const HISTORY_MICROS: i64 = 90 * 86_400_000_000;
/// Warnings that expire at once.
const WARNINGS_PER_PART: u64 = 1_000;
/// The window in which a decline of orders shows, in days.
const DECLINE_DAYS: i32 = 90;
/// The shortest window that rules may ask for, in days.
const MONTH_DAYS: i32 = 30;
/// The numbers of attributes in [`scope::FIELDS`].
const KIND: u16 = 6;
const LANGUAGE: u16 = 10;
const ACQUISITION_CHANNEL: u16 = 11;

/// Puts customers into stages, and says how likely they are to leave.
pub struct StageLink {
    /// What decides.
    pub policies: PoliciesInForce,
    /// What foretells.
    pub models: ModelsInForce,
    /// For when operations went on.
    pub clock: MachineClock,
    credentials: Credentials,
    scoring: Channel,
}

impl StageLink {
    /// A link that decides and foretells by what is in force and follows scoring.
    pub fn new(policies: PoliciesInForce, models: ModelsInForce, context: &ServiceContext) -> Self {
        Self {
            policies,
            models,
            clock: context.shared.clock.clone(),
            credentials: context.credentials.clone(),
            scoring: context.peers.scoring.clone(),
        }
    }
}

impl StageLink {
    /// Reads what is in force where it has changed: before anybody is put into a stage.
    pub async fn know_in_force(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.policies.of(tenant).await?;
        self.models.of(tenant).await?;
        Ok(())
    }

    /// The same as of a moment ago at most: before a read derives.
    pub async fn know_recent(&self, tenant: TenantId) -> Result<(), ApiError> {
        self.policies.recent(tenant).await.map_err(|error| store_error(&error))?;
        self.models.recent(tenant).await.map_err(|error| store_error(&error))?;
        Ok(())
    }
}

/// How likely a customer is to leave by a model, and when time alone changes that. `None`: there is none, or one of a label, or the customer has left
/// already or never bought.
pub fn churn_values(
    model: Option<&InForce>,
    tenant: &Tenant,
    record: &CustomerRecord,
    as_of: Instant,
) -> Option<(ChurnValues, Option<Instant>)> {
    let model = model?;
    // What a record holds of a customer is finite, and so is a model that was read.
    let step = model.step(record, as_of, tenant).ok().flatten()?;
    Some((told(model, step.percent, as_of), begin_of_later_day(&tenant.zone, i64::from(step.turns_on), as_of)))
}

/// The same for whoever looks but once.
pub fn churn_values_now(
    model: Option<&InForce>,
    tenant: &Tenant,
    record: &CustomerRecord,
    as_of: Instant,
) -> Option<ChurnValues> {
    let model = model?;
    let risk = model.risk(record, as_of, tenant, false).ok().flatten()?;
    Some(told(model, risk.percent(), as_of))
}

fn told(model: &InForce, risk_percent: i32, as_of: Instant) -> ChurnValues {
    ChurnValues { model: model.name.clone(), as_of: Some(convert::timestamp(as_of)), risk_percent }
}

/// Where a customer stands by a policy, and when time alone changes that or what it shows: by the risk that the record holds.
pub fn stage_values(
    policy: &StagePolicy,
    tenant: &Tenant,
    record: &CustomerRecord,
    as_of: Instant,
) -> (StageValues, Option<Instant>) {
    let input = stage_input(record);
    let decision = policy.evaluate(&input, as_of, &tenant.zone);
    let showing = showing(policy, &input, &decision, as_of, &tenant.zone);
    let values = StageValues {
        policy_version: version_name(policy.version),
        as_of: Some(convert::timestamp(as_of)),
        // The numbers are those of the contract.
        stage: decision.stage as i32,
        silent_days: decision.silent_days,
        rhythm_p80_days: decision.rhythm_p80.map(Rational::to_f64),
        reason: decision.reason,
        next_change_time: decision.next_change.map(convert::timestamp),
        warnings: showing.kinds.into_iter().map(i32::from).collect(),
    };
    (values, [decision.next_change, showing.next_change].into_iter().flatten().min())
}

/// What is decided upon, of a customer's record. The risk of leaving is that which the record has.
pub fn stage_input(record: &CustomerRecord) -> StageInput<'_> {
    // Of whom no facts are known, nothing is: it has no order.
    let Some(features) = &record.features else { return StageInput::default() };
    let window = |days: i32| features.windows.iter().find(|window| window.days == days);
    let decline = window(DECLINE_DAYS);
    let orders = |days: i32| window(days).map_or(0, |window| window.orders);
    let scores = record.scores.as_ref();
    let attributes = record.attributes.as_ref();
    let attribute =
        |field: u16| attributes.and_then(|attributes| scope::attribute(attributes, field)).unwrap_or_default();
    StageInput {
        first_order: convert::sent_instant(features.first_order_time.as_ref()),
        last_order: convert::sent_instant(features.last_order_time.as_ref()),
        orders: features.orders,
        gap_days: &features.gap_days,
        orders_90: decline.map_or(0, |window| window.orders),
        previous_orders_90: decline.map_or(0, |window| window.previous_orders),
        interactions_90: decline.map_or(0, |window| window.interactions),
        previous_interactions_90: decline.map_or(0, |window| window.previous_interactions),
        last_interaction: convert::sent_instant(features.last_interaction_time.as_ref()),
        open_complaints: features.open_complaints,
        alive_percent: scores.and_then(|scores| scores.alive_percent),
        risk_percent: record.churn.as_ref().map(|churn| churn.risk_percent),
        rfm: scores.map_or([0; 3], |scores| [scores.recency, scores.frequency, scores.monetary]),
        purchase_days: features.purchase_days,
        orders_30: orders(MONTH_DAYS),
        orders_365: orders(YEAR_DAYS),
        interactions: features.interactions,
        last_nps: features.last_nps,
        last_low_score: convert::sent_instant(features.last_low_score_time.as_ref()),
        open_tickets: features.open_tickets,
        acquired_day: attributes.and_then(|attributes| attributes.acquisition_date).and_then(convert::day_number),
        kind: attribute(KIND),
        language: attribute(LANGUAGE),
        acquisition_channel: attribute(ACQUISITION_CHANNEL),
        channel: &features.primary_channel,
    }
}

/// Whether orders of long ago have come in: the customer has done nothing now, but was something else than was known. Of a lead the first order says
/// so, since it has been none from then on; of others the last.
fn is_history(before: &CustomerRecord, after: &CustomerRecord, from: i32, valid_at: Instant) -> bool {
    let (Some(before), Some(after)) = (&before.features, &after.features) else { return false };
    let first = if from == Stage::Lead as i32 { &after.first_order_time } else { &after.last_order_time };
    let is_old = |at: Instant| at < valid_at.plus_micros(-HISTORY_MICROS);
    before.orders != after.orders && convert::sent_instant(first.as_ref()).is_some_and(is_old)
}

/// A customer's way from one stage to another. `None`: it stays, or its history has come in.
fn stage_transition(
    customer: CustomerId,
    before: &CustomerRecord,
    after: &CustomerRecord,
    valid_at: Instant,
    cause: StageTransitionCause,
) -> Option<Transition> {
    let (from, to) = (before.stage.as_ref()?.stage, after.stage.as_ref()?);
    if from == to.stage || is_history(before, after, from, valid_at) {
        return None;
    }
    Some(Transition { customer, valid_at, cause, from, to: to.clone() })
}

/// The instant at which time alone has done upstream what makes a record of the one before: a window that ends, or a day that goes by in scores, arrives like
/// an event. `None`: something else did.
fn due_upstream(before: &CustomerRecord, after: &CustomerRecord) -> Option<Instant> {
    let features = before.features.as_ref().zip(after.features.as_ref());
    let due = features.and_then(|(before, after)| derive::by_time(before, after));
    due.or_else(|| derive::scored_by_time(before, after))
}

/// Whether another model of scoring has made what a record says otherwise, and nothing that the customer did.
fn is_by_another_model(before: &CustomerRecord, after: &CustomerRecord) -> bool {
    let models = |record: &CustomerRecord| {
        let scores = record.scores.as_ref();
        scores.map(|scores| (scores.model_version.clone(), scores.value_model.clone()))
    };
    before.attributes == after.attributes && before.features == after.features && models(before) != models(after)
}

/// The signs that a customer begins to show, and those that it shows no more. `None`: they are the same.
fn warning_change(
    policy: &StagePolicy,
    tenant: &Tenant,
    customer: CustomerId,
    before: Before<'_>,
    after: &CustomerRecord,
    valid_at: Instant,
) -> Option<warnings::Change> {
    let stage = after.stage.as_ref()?;
    let (earlier, shown) = (shown_by(before.record()), shown_by(Some(after)));
    let without = |kinds: &[WarningKind], others: &[WarningKind]| -> Vec<WarningKind> {
        kinds.iter().filter(|kind| !others.contains(kind)).copied().collect()
    };
    let returns = matches!(before, Before::Removed);
    let (begun, ended) = (without(&shown, &earlier), without(&earlier, &shown));
    let both = |kind: &WarningKind| earlier.contains(kind) && shown.contains(kind);
    let again = Some(WarningKind::LowScore).filter(|kind| both(kind) && is_scored_low_again(before.record(), after));
    if begun.is_empty() && ended.is_empty() && again.is_none() && !returns {
        return None;
    }
    let is_churned = stage.stage == Stage::Churned as i32;
    let ended_as = if is_churned { WarningState::Expired } else { WarningState::Cleared };
    let worth = Worth::of(after, tenant.currency);
    let input = stage_input(after);
    let purchases = purchase_days(policy, &input, valid_at, &tenant.zone);
    let evidence = WarningEvidence {
        stage: Some(stage.clone()),
        purchase_days: purchases.now,
        previous_purchase_days: purchases.before,
        interactions: input.interactions_90,
        previous_interactions: input.previous_interactions_90,
        open_complaints: input.open_complaints,
        risk_percent: after.churn.as_ref().map(|churn| churn.risk_percent),
        last_low_score_time: input.last_low_score.map(convert::timestamp),
    };
    Some(warnings::Change { customer, valid_at, returns, begun, again, ended, ended_as, evidence, worth })
}

/// Whether a customer has given a low score after the last one that was known of it.
fn is_scored_low_again(before: Option<&CustomerRecord>, after: &CustomerRecord) -> bool {
    let last = |record: &CustomerRecord| {
        let features = record.features.as_ref()?;
        convert::sent_instant(features.last_low_score_time.as_ref())
    };
    last(after) > before.and_then(last)
}

fn shown_by(record: Option<&CustomerRecord>) -> Vec<WarningKind> {
    let stage = record.and_then(|record| record.stage.as_ref());
    stage.map(|stage| stage.warnings().collect()).unwrap_or_default()
}

/// What is remembered of a change.
pub struct Turn {
    newcomer: Option<Newcomer>,
    stage: Option<Transition>,
    warnings: Option<warnings::Change>,
}

impl Link for StageLink {
    const FEED: &'static str = "stages";
    type Transition = Turn;

    fn derive(&self, tenant: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant> {
        let model = self.models.last_read(tenant.id);
        let (churn, turns_at) = churn_values(model.as_deref(), tenant, record, as_of).unzip();
        record.churn = churn;
        let (values, next_change) = stage_values(&self.policies.last_read(tenant.id), tenant, record, as_of);
        record.stage = Some(values);
        [next_change, turns_at.flatten()].into_iter().flatten().min()
    }

    fn derived_at(&self, record: &CustomerRecord) -> Option<Instant> {
        convert::sent_instant(record.stage.as_ref()?.as_of.as_ref())
    }

    fn outdated(&self, tenant: &Tenant, record: &CustomerRecord) -> Option<Instant> {
        let derived_at = self.derived_at(record)?;
        let version = version_name(self.policies.last_read(tenant.id).version);
        let by_another_policy = record.stage.as_ref().is_some_and(|stage| stage.policy_version != version);
        let by_another_model = match (self.models.last_read(tenant.id), &record.churn) {
            (Some(model), Some(churn)) => model.name != churn.model,
            // By a model of a label no record has a risk.
            (Some(model), None) => model.label.is_none() && is_active(record, derived_at, tenant),
            (None, foretold) => foretold.is_some(),
        };
        (by_another_policy || by_another_model).then_some(derived_at)
    }

    /// From when both hold.
    fn in_force_from(&self, tenant: &Tenant) -> Option<Instant> {
        let (policy, model) = (self.policies.in_force_from(tenant.id), self.models.in_force_from(tenant.id));
        policy.max(model)
    }

    fn transition(
        &self,
        tenant: &Tenant,
        before: Before<'_>,
        after: &CustomerRecord,
        valid_at: Instant,
        cause: Cause,
    ) -> Option<Turn> {
        let customer = CustomerId::try_from(after.customer_id).ok()?;
        let upstream = before.record().filter(|_| cause == Cause::Upstream);
        // A record may get to know of another model when time changes it that this model had left as it was: time did it.
        let due = upstream.and_then(|before| due_upstream(before, after));
        let by_another_model = due.is_none() && upstream.is_some_and(|before| is_by_another_model(before, after));
        let cause = match cause {
            Cause::Definition => StageTransitionCause::Policy,
            Cause::Upstream if by_another_model => StageTransitionCause::Policy,
            Cause::Upstream if due.is_none() => StageTransitionCause::Event,
            Cause::Upstream | Cause::Time => StageTransitionCause::Time,
        };
        let turn = Turn {
            newcomer: newcomer(customer, before, after, valid_at),
            stage: before
                .record()
                .and_then(|before| stage_transition(customer, before, after, due.unwrap_or(valid_at), cause)),
            warnings: warning_change(
                &self.policies.last_read(tenant.id),
                tenant,
                customer,
                before,
                after,
                due.unwrap_or(valid_at),
            ),
        };
        let is_any = turn.newcomer.is_some() || turn.stage.is_some() || turn.warnings.is_some();
        is_any.then_some(turn)
    }

    async fn remember(
        &self,
        transaction: &Transaction,
        tenant: &Tenant,
        remembered: Remembered<'_, Turn>,
    ) -> Result<(), StoreError> {
        let Remembered { seq, transitions, removed } = remembered;
        let (mut newcomers, mut stages, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for turn in transitions {
            newcomers.extend(turn.newcomer);
            stages.extend(turn.stage);
            changes.extend(turn.warnings);
        }
        transitions::append(transaction, tenant.id, seq, stages.clone()).await?;
        let mut raised = Vec::new();
        if !changes.is_empty() || !removed.is_empty() {
            let policy = warning_policies::get(transaction, tenant.id, tenant.currency).await?;
            raised = warnings::apply(transaction, tenant, policy.thresholds, changes, removed).await?;
        }
        begin_runs(transaction, tenant, &newcomers, &stages, &raised).await?;
        transitions::erase(transaction, tenant.id, removed).await?;
        runs::remove(transaction, tenant.id, removed).await?;
        tasks::erase(transaction, tenant.id, removed).await?;
        grants::erase(transaction, tenant.id, removed).await?;
        loyalty::erase(transaction, tenant.id, removed).await?;
        deliveries::remove(transaction, tenant.id, removed).await
    }

    async fn go_through(&self, runtime: &Runtime, tenant: &Tenant, step: &mut Step<'_>) -> Result<bool, WorkError> {
        let restaged = restaging::step(self, runtime, tenant, step).await?;
        Ok(restaged || expire_warnings(runtime, tenant, step).await?)
    }

    async fn upstream(&self, tenant: &Tenant, cursor: String) -> Result<Streaming<WatchRecordsResponse>, Status> {
        let request = self.credentials.request(&tenant.name, WatchScoresRequest { cursor }).await?;
        let mut client = ScoreServiceClient::new(self.scoring.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.watch_scores(request).await?.into_inner())
    }
}

/// How far stages are true: on this replica, or as another one has written it down.
pub async fn watermark(runtime: &Runtime, tenant: TenantId) -> Result<Watermark, StoreError> {
    let place = follower::place(runtime.database.reader(), tenant, StageLink::FEED).await?;
    let written = Watermark::from_place(&place);
    let told = runtime.progress.of(tenant).watermark();
    Ok(Watermark { facts_position: told.facts_position.max(written.facts_position), time: told.time.max(written.time) })
}

/// Ends a part of the warnings that have gone on for too long. Returns whether there may be more.
async fn expire_warnings(runtime: &Runtime, tenant: &Tenant, step: &Step<'_>) -> Result<bool, WorkError> {
    let now = step.reached();
    if !warnings::is_any_expired(runtime.database.reader(), tenant.id, now).await? {
        return Ok(false);
    }
    let transaction = step.begin().await?;
    let expired = warnings::expire(&transaction, tenant.id, now, WARNINGS_PER_PART).await?;
    step.commit_part(transaction).await?;
    Ok(expired as u64 == WARNINGS_PER_PART)
}
