//! The link of the chain that adds stages: it follows scoring, and decides for every customer that changes, and for every
//! customer that time alone changes.

use crate::stages::{Rational, Stage, StageInput, StagePolicy};
use crate::store::transitions::{self, Transition};
use quintile_chain::context::ServiceContext;
use quintile_chain::derive::{self, Cause, Link};
use quintile_chain::feed::Removed;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::StageTransitionCause;
use quintile_proto::scoring::WatchScoresRequest;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::types::{CustomerRecord, Features, StageValues, WatchRecordsResponse};
use quintile_rpc::client::Credentials;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// The largest message of the feed.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Orders that are older when they come in are a history that is taken in, and nothing that the customer has just done: nightly and monthly files are no
/// history.
const HISTORY_MICROS: i64 = 90 * 86_400_000_000;
/// The window in which a decline of orders shows, in days.
const DECLINE_DAYS: i32 = 90;

/// Puts customers into stages.
pub struct StageLink {
    /// What decides.
    pub policy: StagePolicy,
    credentials: Credentials,
    scoring: Channel,
}

impl StageLink {
    /// A link that decides by the default policy and follows scoring.
    pub fn new(context: &ServiceContext) -> Self {
        Self {
            policy: StagePolicy::default(),
            credentials: context.credentials.clone(),
            scoring: context.peers.scoring.clone(),
        }
    }
}

/// What is decided upon, of the features of a customer.
pub fn stage_input(features: &Features) -> StageInput<'_> {
    let decline = features.windows.iter().find(|window| window.days == DECLINE_DAYS);
    StageInput {
        first_order: convert::sent_instant(features.first_order_time.as_ref()),
        last_order: convert::sent_instant(features.last_order_time.as_ref()),
        orders: features.orders,
        gap_days: &features.gap_days,
        orders_90: decline.map_or(0, |window| window.orders),
        previous_orders_90: decline.map_or(0, |window| window.previous_orders),
        interactions_90: decline.map_or(0, |window| window.interactions),
        previous_interactions_90: decline.map_or(0, |window| window.previous_interactions),
        open_complaints: features.open_complaints,
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

impl Link for StageLink {
    const FEED: &'static str = "stages";
    type Transition = Transition;

    fn derive(&self, tenant: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant> {
        let nothing = Features::default();
        let input = stage_input(record.features.as_ref().unwrap_or(&nothing));
        let decision = self.policy.evaluate(&input, as_of, &tenant.zone);
        record.stage = Some(StageValues {
            policy_version: format!("stagePolicies/default/versions/{}", self.policy.version),
            as_of: Some(convert::timestamp(as_of)),
            // The numbers are those of the contract.
            stage: decision.stage as i32,
            silent_days: decision.silent_days,
            rhythm_p80_days: decision.rhythm_p80.map(Rational::to_f64),
            reason: decision.reason,
            next_change_time: decision.next_change.map(convert::timestamp),
        });
        decision.next_change
    }

    fn transition(
        &self,
        before: &CustomerRecord,
        after: &CustomerRecord,
        valid_at: Instant,
        cause: Cause,
    ) -> Option<Transition> {
        let customer = CustomerId::try_from(after.customer_id).ok()?;
        let (from, to) = (before.stage.as_ref()?.stage, after.stage.as_ref()?);
        if from == to.stage || is_history(before, after, from, valid_at) {
            return None;
        }
        // A window that ends upstream arrives like an event.
        let due = match (cause, &before.features, &after.features) {
            (Cause::Upstream, Some(before), Some(after)) => derive::by_time(before, after),
            _ => None,
        };
        let cause = match cause {
            Cause::Upstream | Cause::Definition if due.is_none() => StageTransitionCause::Event,
            _ => StageTransitionCause::Time,
        };
        Some(Transition { customer, valid_at: due.unwrap_or(valid_at), cause, from, to: to.clone() })
    }

    async fn remember(
        &self,
        transaction: &Transaction,
        tenant: &Tenant,
        seq: i64,
        transitions: Vec<Transition>,
        removed: &[Removed],
    ) -> Result<(), StoreError> {
        transitions::append(transaction, tenant.id, seq, transitions).await?;
        transitions::erase(transaction, tenant.id, removed).await
    }

    async fn upstream(&self, tenant: &Tenant, cursor: String) -> Result<Streaming<WatchRecordsResponse>, Status> {
        let request = self.credentials.request(&tenant.name, WatchScoresRequest { cursor }).await?;
        let mut client = ScoreServiceClient::new(self.scoring.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.watch_scores(request).await?.into_inner())
    }
}
