//! What runs playbooks: on one replica at a time for each tenant, runs are gone on with, memberships followed that begin runs, and messages sent.
//!
//! It is the only part of lifecycle that asks segmentation, which is behind it: nothing that it does comes back into records.

mod deliveries;
mod memberships;
mod runs;

pub use memberships::{begin_following, forget as forget_following};

use crate::store::{contact_policies, playbooks};
use crate::webhooks::Endpoints;
use crate::worker::StageLink;
use futures::future::try_join3;
use quintile_chain::context::{Runtime, ServiceContext, WorkError};
use quintile_chain::derive::Link;
use quintile_chain::progress::Watermark;
use quintile_domain::clock::MachineClock;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_rpc::client::Credentials;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, follower};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// How often each part looks for something to do by itself.
const LOOK: Duration = Duration::from_millis(250);

/// What the parts share.
#[derive(Clone)]
pub struct Playbooks {
    /// The service's runtime.
    pub runtime: Runtime,
    /// For deliveries.
    pub clock: MachineClock,
    /// The endpoints of webhooks.
    pub endpoints: Endpoints,
    /// For calls to segmentation.
    pub credentials: Credentials,
    segmentation: Channel,
}

impl Playbooks {
    /// What a service runs playbooks with.
    pub fn new(runtime: &Runtime, context: &ServiceContext, endpoints: Endpoints) -> Self {
        Self {
            runtime: runtime.clone(),
            clock: context.shared.clock.clone(),
            endpoints,
            credentials: context.credentials.clone(),
            segmentation: context.peers.segmentation.clone(),
        }
    }

    /// A client of segmentation.
    pub fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.segmentation.clone())
    }

    /// Runs a tenant's playbooks without end.
    pub async fn run(self: Arc<Self>, tenant: Arc<Tenant>) -> Result<(), WorkError> {
        let (runs, memberships, deliveries) =
            (runs::go_on(&self, &tenant), memberships::follow(&self, &tenant), deliveries::send(&self, &tenant));
        try_join3(runs, memberships, deliveries).await.map(drop)
    }

    /// How far stages are true: on this replica, or as another one has written it down.
    async fn watermark(&self, tenant: &Tenant) -> Result<Watermark, StoreError> {
        let place = follower::place(self.runtime.database.reader(), tenant.id, StageLink::FEED).await?;
        let written = Watermark::from_place(&place);
        let told = self.runtime.progress.of(tenant.id).watermark();
        Ok(Watermark {
            facts_position: told.facts_position.max(written.facts_position),
            time: told.time.max(written.time),
        })
    }

    /// Whether everything stands still.
    async fn is_paused(&self, tenant: &Tenant) -> Result<bool, StoreError> {
        Ok(contact_policies::get(self.runtime.database.reader(), tenant.id).await?.paused)
    }

    /// The tenant's playbooks, if they are others than those of a revision, and their own.
    async fn changed_since(
        &self,
        tenant: &Tenant,
        revision: Option<i64>,
    ) -> Result<Option<(i64, Vec<playbooks::Stored>)>, StoreError> {
        let database = self.runtime.database.reader();
        let present = playbooks::revision(database, tenant.id).await?;
        if revision == Some(present) {
            return Ok(None);
        }
        // Read after its number: they are at least as new as that says.
        Ok(Some((present, playbooks::all(database, tenant.id).await?)))
    }
}
