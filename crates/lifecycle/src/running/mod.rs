//! What runs playbooks: on one replica at a time for each tenant, days are gone through and memberships followed that begin runs, runs are gone on with,
//! messages sent, and facts told that came of tasks.
//!
//! It is the only part of lifecycle that asks segmentation, which is behind it: nothing of what it is told comes back into records. What does is what a person
//! did, a call that answered feedback, and that as a fact like any other.

mod dates;
mod deliveries;
mod follow_ups;
mod granted;
mod memberships;
mod runs;

pub use dates::skip as skip_dates;
pub use memberships::begin_following;

use crate::endpoints::Endpoints;
use crate::store::{contact_policies, playbooks};
use futures::future::try_join4;
use quintile_chain::context::{Runtime, ServiceContext, WorkError};
use quintile_chain::progress::Watermark;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::GetAsOfRequest;
use quintile_proto::ingestion::clock_service_client::ClockServiceClient;
use quintile_proto::ingestion::customer_service_client::CustomerServiceClient;
use quintile_proto::segmentation::CheckMembersRequest;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_rpc::client::{Channel, Credentials};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction, follower};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// How often each part looks for something to do by itself.
const LOOK: Duration = Duration::from_millis(250);
/// How soon segmentation is asked again that was behind.
const SOON: Duration = Duration::from_millis(50);
/// How long a call to another service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Customers of a part; as many at most as memberships can be asked of at once.
const CUSTOMERS_PER_PART: u64 = 500;

/// Who is a member of which segments. `None`: there is no such segment.
type Members = HashMap<String, Option<HashSet<i64>>>;

/// What the parts share.
#[derive(Clone)]
pub struct Playbooks {
    /// The service's runtime.
    pub runtime: Runtime,
    /// For deliveries.
    pub clock: MachineClock,
    /// The endpoints that messages go to.
    pub endpoints: Endpoints,
    /// For calls to other services.
    pub credentials: Credentials,
    ingestion: Channel,
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
            ingestion: context.peers.ingestion.clone(),
            segmentation: context.peers.segmentation.clone(),
        }
    }

    /// A client of segmentation.
    pub fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.segmentation.clone())
    }

    /// The business time of a tenant as ingestion has it, which is ahead of what has come to lifecycle: days that are gone by then begin nothing.
    pub async fn now(&self, tenant: &Tenant) -> Result<Instant, Status> {
        let mut request = self.credentials.request(&tenant.name, GetAsOfRequest {}).await?;
        request.set_timeout(CALL_TIMEOUT);
        let answer = ClockServiceClient::new(self.ingestion.clone()).get_as_of(request).await?.into_inner();
        let told = convert::sent_instant(answer.as_of.as_ref()).unwrap_or_default();
        Ok(told.max(self.runtime.business.now()))
    }

    /// A client of ingestion.
    fn customers(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::new(self.ingestion.clone())
    }

    /// Runs a tenant's playbooks without end.
    pub async fn run(self: Arc<Self>, tenant: Arc<Tenant>) -> Result<(), WorkError> {
        let (memberships, deliveries) = (memberships::follow(&self, &tenant), deliveries::send(&self, &tenant));
        let (runs, follow_ups) = (Box::pin(runs::go_on(&self, &tenant)), follow_ups::tell(&self, &tenant));
        try_join4(runs, memberships, deliveries, follow_ups).await.map(drop)
    }

    /// Whether everything stands still.
    async fn is_paused(&self, tenant: &Tenant) -> Result<bool, StoreError> {
        Ok(contact_policies::get(self.runtime.database.reader(), tenant.id).await?.paused)
    }

    /// Which of some customers are members of a segment, by everything up to a watermark. `None`: there is no such segment.
    async fn members(
        &self,
        tenant: &Tenant,
        segment: &str,
        customers: &BTreeSet<CustomerId>,
        watermark: Watermark,
    ) -> Result<Option<HashSet<i64>>, Code> {
        if customers.is_empty() {
            // That is no question.
            return Ok(Some(HashSet::new()));
        }
        let customers = customers.iter().map(CustomerId::to_string).collect();
        let message = CheckMembersRequest { parent: segment.to_owned(), customers };
        let request = self.credentials.request(&tenant.name, message).await;
        let mut request = request.map_err(|status| status.code())?;
        request.set_timeout(CALL_TIMEOUT);
        let answer = match self.segments().check_members(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status.code()),
        };
        let reached = answer.watermark.as_ref().map(Watermark::from_message).unwrap_or_default();
        if reached.facts_position < watermark.facts_position || reached.time < watermark.time {
            return Err(Code::Aborted);
        }
        let members = answer.members.iter().filter_map(|name| CustomerId::from_name(name, None));
        Ok(Some(members.map(CustomerId::as_i64).collect()))
    }

    /// The same of several segments, each for customers of its own. `None`: that is not known yet.
    async fn members_of_all(
        &self,
        tenant: &Tenant,
        asked: &HashMap<String, BTreeSet<CustomerId>>,
        watermark: Watermark,
    ) -> Option<Members> {
        let mut members = Members::new();
        for (segment, customers) in asked {
            match self.members(tenant, segment, customers, watermark).await {
                Ok(found) => members.insert(segment.clone(), found),
                Err(code) => {
                    tracing::debug!(?code, "segmentation is asked again for members");
                    return None;
                }
            };
        }
        Some(members)
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

/// Forgets how far what begins a playbook's runs was followed.
pub async fn forget_following(transaction: &Transaction, tenant: TenantId, number: i64) -> Result<(), StoreError> {
    follower::forget(transaction, tenant, &memberships::feed(number)).await?;
    follower::forget(transaction, tenant, &dates::feed(number)).await
}
