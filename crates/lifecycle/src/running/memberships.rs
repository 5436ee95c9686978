//! Following segmentation: who enters and leaves the segments that begin runs.

use super::{LOOK, Playbooks};
use crate::playbooks::triggers::Happening;
use crate::store::playbooks::{self, Stored};
use crate::store::runs::{self, Triggered};
use quintile_chain::context::WorkError;
use quintile_chain::progress::Watermark;
use quintile_domain::ids::CustomerId;
use quintile_proto::lifecycle::{Playbook, trigger};
use quintile_proto::segmentation::{
    MembershipCause, MembershipChange, WatchMembershipsRequest, WatchMembershipsResponse,
};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::follower::{self, Place};
use quintile_store::{StoreError, Transaction};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;
use tonic::{Code, Status, Streaming};

/// The follower's row.
const FEED: &str = "memberships";
/// How often a cursor that came without anything to do is written down.
const WRITE_CURSOR: Duration = Duration::from_secs(5);

/// The segment that begins runs of a playbook.
fn segment_of(playbook: &Playbook) -> Option<&str> {
    match playbook.trigger.as_ref()?.kind.as_ref()? {
        trigger::Kind::Segment(trigger) => Some(&trigger.segment),
        _ => None,
    }
}

/// Follows without end.
pub async fn follow(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut known = None;
    let mut running = Vec::new();
    loop {
        if let Some((revision, all)) = playbooks.changed_since(tenant, known).await? {
            known = Some(revision);
            running = all;
            running.retain(|stored| stored.is_running() && segment_of(&stored.playbook).is_some());
        }
        if running.is_empty() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let place = follower::place(playbooks.runtime.database.reader(), tenant.id, FEED).await?;
        let mut following = Following { playbooks, tenant, running: &running, place, written: MachineInstant::now() };
        match following.follow(known).await {
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

/// A stream of the memberships that begin runs of the playbooks that run.
struct Following<'a> {
    playbooks: &'a Playbooks,
    tenant: &'a Tenant,
    running: &'a [Stored],
    place: Place,
    written: MachineInstant,
}

impl Following<'_> {
    /// Follows until other playbooks run, or the stream ends.
    async fn follow(&mut self, revision: Option<i64>) -> Result<(), WorkError> {
        let mut stream = watch(self.playbooks, self.tenant, self.running, self.place.cursor.clone()).await?;
        let mut looked = MachineInstant::now();
        let mut cursor = String::new();
        loop {
            match tokio::time::timeout(LOOK, stream.message()).await {
                Ok(message) => {
                    let Some(message) = message? else { return Ok(()) };
                    cursor.clone_from(&message.cursor);
                    self.take(message).await?;
                }
                Err(_)
                    if self.written.elapsed() >= WRITE_CURSOR && !cursor.is_empty() && cursor != self.place.cursor =>
                {
                    self.advance(std::mem::take(&mut cursor), Vec::new()).await?;
                }
                Err(_) => {}
            }
            if looked.elapsed() >= LOOK {
                looked = MachineInstant::now();
                if self.playbooks.changed_since(self.tenant, revision).await?.is_some() {
                    return Ok(());
                }
            }
        }
    }

    async fn take(&mut self, message: WatchMembershipsResponse) -> Result<(), WorkError> {
        let triggered: Vec<_> = message.changes.iter().flat_map(|change| self.triggered(change)).collect();
        if triggered.is_empty() {
            return Ok(());
        }
        // While everything stands still, nothing begins, also afterwards.
        let triggered = if self.playbooks.is_paused(self.tenant).await? { Vec::new() } else { triggered };
        self.advance(message.cursor, triggered).await
    }

    /// The runs that a change begins.
    fn triggered(&self, change: &MembershipChange) -> Vec<Triggered> {
        let is_own = matches!(change.cause(), MembershipCause::Record | MembershipCause::Time);
        let customer = CustomerId::from_name(&change.customer, None);
        let at = convert::sent_instant(change.valid_time.as_ref());
        let Some((customer, at)) = customer.zip(at).filter(|_| is_own) else { return Vec::new() };
        let happening = Happening::Segment { name: &change.parent, entered: change.entered };
        let begun = self.running.iter().filter(|stored| {
            let started = convert::sent_instant(stored.playbook.start_time.as_ref());
            started.is_some_and(|started| at >= started) && happening.begins(&stored.playbook)
        });
        begun
            .map(|stored| Triggered { customer, playbook: stored.number, version: stored.playbook.version, at })
            .collect()
    }

    /// Begins runs, and is behind what began them, in one transaction.
    async fn advance(&mut self, cursor: String, mut triggered: Vec<Triggered>) -> Result<(), WorkError> {
        let place = Place { cursor, ..self.place.clone() };
        let runtime = &self.playbooks.runtime;
        let transaction = runtime.database.begin().await?;
        if !triggered.is_empty() {
            // What runs was read a moment ago.
            let running = playbooks::running(&transaction, self.tenant.id).await?;
            triggered.retain(|triggered| {
                let same = |stored: &Stored| {
                    (stored.number, stored.playbook.version) == (triggered.playbook, triggered.version)
                };
                running.iter().any(same)
            });
        }
        runs::begin(&transaction, self.tenant.id, triggered).await?;
        follower::advance(&transaction, self.tenant.id, FEED, &self.place, &place).await?;
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
    running: &[Stored],
    cursor: String,
) -> Result<Streaming<WatchMembershipsResponse>, Status> {
    let parents: BTreeSet<&str> = running.iter().filter_map(|stored| segment_of(&stored.playbook)).collect();
    let parents = parents.into_iter().map(str::to_owned).collect();
    let request = playbooks.credentials.request(&tenant.name, WatchMembershipsRequest { cursor, parents }).await?;
    Ok(playbooks.segments().watch_memberships(request).await?.into_inner())
}

/// Where memberships stand now, for a playbook that is about to be started: `None` where it is not one that they begin.
pub async fn begin_following(
    playbooks: &Playbooks,
    tenant: &Tenant,
    stored: &Stored,
) -> Result<Option<Beginning>, Status> {
    if segment_of(&stored.playbook).is_none() {
        return Ok(None);
    }
    let mut stream = watch(playbooks, tenant, std::slice::from_ref(stored), String::new()).await?;
    let first = tokio::time::timeout(Duration::from_secs(10), stream.message()).await;
    let first = first.map_err(|_| Status::unavailable("segmentation told nothing"))??;
    Ok(first.map(|first| Beginning(first.cursor)))
}

/// A place in the memberships.
pub struct Beginning(String);

impl Beginning {
    /// Has the follower begin here, unless it follows already.
    pub async fn write(self, transaction: &Transaction, tenant: &Tenant) -> Result<(), StoreError> {
        let running = playbooks::running(transaction, tenant.id).await?;
        if running.iter().any(|stored| segment_of(&stored.playbook).is_some()) {
            return Ok(());
        }
        let old = follower::place(transaction, tenant.id, FEED).await?;
        let new = Place { cursor: self.0, ..old.clone() };
        follower::advance(transaction, tenant.id, FEED, &old, &new).await
    }
}
