//! Following segmentation: who enters and leaves the segments that begin runs.
//!
//! Each playbook follows by itself, from where memberships stood when it was started: so what moved before does not begin its runs, and everything
//! behind does, whatever other playbooks are started meanwhile.

use super::{LOOK, Playbooks, dates};
use crate::playbooks::triggers::Happening;
use crate::store::playbooks::{self, Stored};
use crate::store::runs::{self, Triggered};
use futures::future::{Either, select, try_join_all};
use quintile_chain::context::WorkError;
use quintile_chain::progress::Watermark;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Playbook, trigger};
use quintile_proto::segmentation::{
    MembershipCause, MembershipChange, WatchMembershipsRequest, WatchMembershipsResponse,
};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::follower::{self, Place};
use quintile_store::{StoreError, Transaction};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;
use tonic::{Code, Status, Streaming};

/// How often a cursor that came without anything to do is written down.
const WRITE_CURSOR: Duration = Duration::from_secs(5);

/// The row of a playbook's follower.
pub(super) fn feed(number: i64) -> String {
    format!("memberships/{number}")
}

/// The segment that begins runs of a playbook.
fn segment_of(playbook: &Playbook) -> Option<&str> {
    match playbook.trigger.as_ref()?.kind.as_ref()? {
        trigger::Kind::Segment(trigger) => Some(&trigger.segment),
        _ => None,
    }
}

/// Follows without end: for the playbooks that run, until others do.
pub async fn follow(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut known = None;
    let mut running = Vec::new();
    loop {
        if let Some((revision, all)) = playbooks.changed_since(tenant, known).await? {
            known = Some(revision);
            running = all;
            running.retain(|stored| stored.is_running() && segment_of(&stored.playbook).is_some());
        }
        let others = pin!(until_others(playbooks, tenant, known));
        let following = pin!(try_join_all(running.iter().map(|stored| follow_one(playbooks, tenant, stored))));
        match select(others, following).await {
            Either::Left((changed, _)) => changed?,
            Either::Right((ended, others)) => {
                // None run.
                ended?;
                others.await?;
            }
        }
    }
}

/// Waits until the playbooks are others than those of a revision.
async fn until_others(playbooks: &Playbooks, tenant: &Tenant, revision: Option<i64>) -> Result<(), StoreError> {
    while playbooks.changed_since(tenant, revision).await?.is_none() {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Follows for one playbook, without end.
async fn follow_one(playbooks: &Playbooks, tenant: &Tenant, stored: &Stored) -> Result<(), WorkError> {
    loop {
        let place = follower::place(playbooks.runtime.database.reader(), tenant.id, &feed(stored.number)).await?;
        let mut following = Following { playbooks, tenant, stored, place, written: MachineInstant::now() };
        match following.follow().await {
            Ok(()) => {}
            Err(WorkError::Upstream { code }) => {
                tracing::debug!(?code, "memberships are followed again in a moment");
                if matches!(code, Code::FailedPrecondition | Code::InvalidArgument | Code::OutOfRange) {
                    following.begin_anew().await?;
                }
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A stream of the memberships that begin runs of a playbook.
struct Following<'a> {
    playbooks: &'a Playbooks,
    tenant: &'a Tenant,
    stored: &'a Stored,
    place: Place,
    written: MachineInstant,
}

impl Following<'_> {
    /// Follows until the stream ends.
    async fn follow(&mut self) -> Result<(), WorkError> {
        let mut stream = watch(self.playbooks, self.tenant, self.stored, self.place.cursor.clone()).await?;
        let mut cursor = String::new();
        loop {
            match tokio::time::timeout(LOOK, stream.message()).await {
                Ok(message) => {
                    let Some(message) = message? else { return Ok(()) };
                    cursor.clone_from(&message.cursor);
                    self.take(message).await?;
                }
                Err(_) if self.written.elapsed() >= WRITE_CURSOR && !cursor.is_empty() => {
                    self.advance(std::mem::take(&mut cursor), Vec::new()).await?;
                }
                Err(_) => {}
            }
        }
    }

    async fn take(&mut self, message: WatchMembershipsResponse) -> Result<(), WorkError> {
        let triggered: Vec<_> = message.changes.iter().filter_map(|change| self.triggered(change)).collect();
        if triggered.is_empty() {
            return Ok(());
        }
        // While everything stands still, nothing begins, also afterwards.
        let triggered = if self.playbooks.is_paused(self.tenant).await? { Vec::new() } else { triggered };
        self.advance(message.cursor, triggered).await
    }

    /// The run that a change begins.
    fn triggered(&self, change: &MembershipChange) -> Option<Triggered> {
        let is_own = matches!(change.cause(), MembershipCause::Record | MembershipCause::Time);
        let happening = Happening::Segment { name: &change.parent, entered: change.entered };
        let begins = is_own && happening.begins(&self.stored.playbook);
        begins.then_some(Triggered {
            customer: CustomerId::from_name(&change.customer, None)?,
            playbook: self.stored.number,
            version: self.stored.playbook.version,
            at: convert::sent_instant(change.valid_time.as_ref())?,
        })
    }

    /// Begins runs, and is behind what began them, in one transaction.
    async fn advance(&mut self, cursor: String, mut triggered: Vec<Triggered>) -> Result<(), WorkError> {
        let place = Place { cursor, ..self.place.clone() };
        let runtime = &self.playbooks.runtime;
        let transaction = runtime.database.begin().await?;
        if !triggered.is_empty() {
            // It may have been stopped, or started again, since it was read.
            let running = playbooks::running(&transaction, self.tenant.id).await?;
            let is_same = |other: &Stored| other.number == self.stored.number && other.playbook == self.stored.playbook;
            if !running.iter().any(is_same) {
                triggered.clear();
            }
        }
        runs::begin(&transaction, self.tenant.id, triggered).await?;
        follower::advance(&transaction, self.tenant.id, &feed(self.stored.number), &self.place, &place).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.place = place;
        self.written = MachineInstant::now();
        runtime.progress.of(self.tenant.id).raise(Watermark::default());
        Ok(())
    }

    /// Goes on from now, where what was followed is not kept any more.
    async fn begin_anew(&mut self) -> Result<(), WorkError> {
        tracing::warn!(tenant = self.tenant.name, "memberships were followed too late: some have begun no run");
        self.advance(String::new(), Vec::new()).await
    }
}

async fn watch(
    playbooks: &Playbooks,
    tenant: &Tenant,
    stored: &Stored,
    cursor: String,
) -> Result<Streaming<WatchMembershipsResponse>, Status> {
    let parents = segment_of(&stored.playbook).into_iter().map(str::to_owned).collect();
    let request = playbooks.credentials.request(&tenant.name, WatchMembershipsRequest { cursor, parents }).await?;
    Ok(playbooks.segments().watch_memberships(request).await?.into_inner())
}

/// Where what begins a playbook's runs stands at an instant at which it is about to be started. `None`: nothing that has to be followed begins them.
pub async fn begin_following(
    playbooks: &Playbooks,
    tenant: &Tenant,
    stored: &Stored,
    now: Instant,
) -> Result<Option<Beginning>, Status> {
    let number = stored.number;
    if dates::trigger_of(&stored.playbook).is_some() {
        let place = Place { time_micros: now.micros(), ..Place::default() };
        return Ok(Some(Beginning { feed: dates::feed(number), place }));
    }
    if segment_of(&stored.playbook).is_none() {
        return Ok(None);
    }
    let mut stream = watch(playbooks, tenant, stored, String::new()).await?;
    let first = tokio::time::timeout(Duration::from_secs(10), stream.message()).await;
    let first = first.map_err(|_| Status::unavailable("segmentation told nothing"))??;
    let beginning = |cursor| Beginning { feed: feed(number), place: Place { cursor, ..Place::default() } };
    Ok(first.map(|first| beginning(first.cursor)))
}

/// From where what begins a playbook's runs is followed.
pub struct Beginning {
    feed: String,
    place: Place,
}

impl Beginning {
    /// Has the playbook's follower begin here.
    pub async fn write(self, transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
        let old = follower::place(transaction, tenant, &self.feed).await?;
        follower::advance(transaction, tenant, &self.feed, &old, &self.place).await
    }
}
