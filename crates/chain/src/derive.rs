//! The links of the chain whose part of a record is a pure function of the rest of it.

use crate::context::{Runtime, WorkError};
use crate::feed::{self, Changes, Derived, Removed};
use crate::follow::{Step, Worker, follow};
use crate::progress::Watermark;
use crate::store_error;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::types::{CustomerRecord, WatchRecordsResponse};
use quintile_rpc::caller::View;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::{failpoint, follower, records};
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Status, Streaming};

/// Records that a tick takes at once.
const TICK_RECORDS: u64 = 5_000;

/// A service whose part of a record derives from the rest of it and the instant, and from nothing else.
pub trait Link: Send + Sync + 'static {
    /// The name of its feed.
    const FEED: &'static str;

    /// Writes the service's part of a record as of an instant, and tells the earliest later instant at which time alone
    /// changes it.
    fn derive(&self, tenant: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant>;

    /// Follows the service before it, from behind `cursor`.
    fn upstream(
        &self,
        tenant: &Tenant,
        cursor: String,
    ) -> impl Future<Output = Result<Streaming<WatchRecordsResponse>, Status>> + Send;
}

/// Runs a link for one tenant, without end.
pub async fn run<L: Link>(runtime: Runtime, link: Arc<L>, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    let place = follower::place(runtime.database.reader(), tenant.id, L::FEED).await?;
    runtime.resume(&tenant, &place);
    let connect = |cursor| link.upstream(&tenant, cursor);
    let mut worker = Deriver { link: link.clone(), tenant: tenant.clone() };
    follow(&runtime, tenant.id, L::FEED, connect, place, &mut worker).await
}

struct Deriver<L> {
    link: Arc<L>,
    tenant: Arc<Tenant>,
}

impl<L: Link> Worker for Deriver<L> {
    async fn take(
        &mut self,
        records: Vec<CustomerRecord>,
        removed: Vec<Removed>,
        step: &mut Step<'_>,
    ) -> Result<(), WorkError> {
        let customers: Result<Vec<_>, _> =
            records.iter().map(|record| CustomerId::try_from(record.customer_id)).collect();
        let mut customers = customers.map_err(|_| WorkError::Malformed)?;
        customers.extend(removed.iter().map(|removed| removed.customer));
        let transaction = step.begin().await?;
        let known = records::load(&transaction, self.tenant.id, &customers).await?;
        let known: HashMap<i64, _> = known.into_iter().map(|record| (record.customer.as_i64(), record)).collect();
        let mut changed = Vec::with_capacity(records.len());
        for mut record in records {
            let computed = record.features.as_ref().and_then(|features| convert::sent_instant(features.as_of.as_ref()));
            let as_of = step.reached().max(computed.unwrap_or_default());
            let next_change = self.link.derive(&self.tenant, &mut record, as_of);
            let stored = known.get(&record.customer_id);
            let before = stored.filter(|stored| !stored.is_tombstone()).map(feed::decode).transpose()?;
            if before.is_none_or(|before| feed::is_change(before, &record)) {
                changed.push(Derived { record, next_change, is_new: stored.is_none() });
            }
        }
        let removed = removed.into_iter();
        let removed = removed.filter(|removed| removed.is_news(known.get(&removed.customer.as_i64()))).collect();
        feed::publish(&transaction, self.tenant.id, L::FEED, Changes { changed, removed }).await?;
        failpoint::reach(L::FEED, "before_commit").await;
        step.commit(transaction).await?;
        failpoint::reach(L::FEED, "after_commit").await;
        Ok(())
    }

    async fn tick(&mut self, to: Instant, step: &mut Step<'_>) -> Result<bool, WorkError> {
        let transaction = step.begin().await?;
        let due = records::due(&transaction, self.tenant.id, to, TICK_RECORDS).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let mut changed = Vec::with_capacity(due.len());
        for row in &due {
            let mut record = feed::decode(row)?;
            let next_change = self.link.derive(&self.tenant, &mut record, to);
            changed.push(Derived { record, next_change, is_new: false });
        }
        feed::publish(&transaction, self.tenant.id, L::FEED, Changes { changed, ..Changes::default() }).await?;
        step.commit_part(transaction).await?;
        Ok(true)
    }
}

/// A customer's record as of the present business time, and who reads it.
pub struct Current {
    /// The record.
    pub record: CustomerRecord,
    /// How far it is true.
    pub watermark: Watermark,
    /// The caller's view of the customer, to answer through.
    pub view: View,
}

/// A customer's record for a caller that reaches it: a read past a boundary computes, it never serves a stale row.
pub async fn current<L: Link>(
    runtime: &Runtime,
    link: &L,
    caller: &Caller,
    customer: CustomerId,
) -> Result<Current, ApiError> {
    let tenant = caller.tenant();
    let watermark = runtime.progress.of(tenant.id).watermark();
    let row = records::get(&runtime.database, tenant.id, customer).await.map_err(|error| store_error(&error))?;
    let row = row.filter(|row| !row.is_tombstone()).ok_or_else(ApiError::not_found)?;
    let mut record = feed::decode(&row).map_err(|error| store_error(&error))?;
    let view = caller.view_of(customer, record.attributes.get_or_insert_default())?;
    link.derive(tenant, &mut record, runtime.business.now());
    Ok(Current { record, watermark, view })
}
