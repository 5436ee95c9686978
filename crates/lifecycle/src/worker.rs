//! The link of the chain that adds stages: it follows scoring, and decides for every customer that changes, and for every
//! customer that time alone changes.

use crate::stages::{Rational, StageInput, StagePolicy};
use quintile_chain::context::ServiceContext;
use quintile_chain::derive::{Cause, Link};
use quintile_chain::feed::Removed;
use quintile_domain::time::Instant;
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
/// The window in which a decline of orders shows, in days.
const DECLINE_DAYS: i32 = 90;

/// Puts customers into stages.
pub struct StageLink {
    policy: StagePolicy,
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

fn stage_input(features: &Features) -> StageInput<'_> {
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

impl Link for StageLink {
    const FEED: &'static str = "stages";
    type Transition = ();

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

    fn transition(&self, _: &CustomerRecord, _: &CustomerRecord, _: Instant, _: Cause) -> Option<()> {
        None
    }

    async fn remember(&self, _: &Transaction, _: &Tenant, _: i64, _: Vec<()>, _: &[Removed]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn upstream(&self, tenant: &Tenant, cursor: String) -> Result<Streaming<WatchRecordsResponse>, Status> {
        let request = self.credentials.request(&tenant.name, WatchScoresRequest { cursor }).await?;
        let mut client = ScoreServiceClient::new(self.scoring.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.watch_scores(request).await?.into_inner())
    }
}
