//! The links of the chain whose part of a record is a pure function of the rest of it.

#[cfg(test)]
mod tests;

use crate::context::{Runtime, WorkError};
use crate::feed::{self, Changes, Derived, Kept, Removed};
use crate::follow::{Step, Worker, follow};
use crate::progress::Watermark;
use crate::store_error;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::types::{CustomerRecord, Features, WatchRecordsResponse};
use quintile_rpc::caller::View;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::records::Record;
use quintile_store::{StoreError, Transaction, failpoint, follower, records};
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Status, Streaming};

/// Records of one transaction, where deriving one is a matter of a microsecond: those of a page of the feed.
pub const RECORDS_AT_ONCE: usize = 5_000;
/// How long after its instant a change is computed where time goes on as it does.
const AT_ONCE_MICROS: i64 = 60_000_000;

/// A service whose part of a record derives from the rest of it and the instant, and from nothing else.
pub trait Link: Send + Sync + 'static {
    /// The name of its feed.
    const FEED: &'static str;
    /// What is remembered of a change.
    type Transition: Send;

    /// Writes the service's part of a record as of an instant, and tells the earliest later instant at which time alone
    /// changes it.
    fn derive(&self, tenant: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant>;

    /// How many records are derived in one transaction, which holds others up meanwhile: at least one.
    fn at_once(&self, _tenant: &Tenant) -> usize {
        RECORDS_AT_ONCE
    }

    /// The instant that the service's part of a record was written for.
    fn derived_at(&self, record: &CustomerRecord) -> Option<Instant>;

    /// The same, where other definitions wrote it than are in force. `None`: those did.
    fn outdated(&self, _tenant: &Tenant, _record: &CustomerRecord) -> Option<Instant> {
        None
    }

    /// The business time from which the definitions in force hold. `None`: it is not known, and they are told to hold from when they come to a customer.
    fn in_force_from(&self, _tenant: &Tenant) -> Option<Instant> {
        None
    }

    /// Follows the service before it, from behind `cursor`.
    fn upstream(
        &self,
        tenant: &Tenant,
        cursor: String,
    ) -> impl Future<Output = Result<Streaming<WatchRecordsResponse>, Status>> + Send;

    /// What is remembered of a change of a record. `None`: nothing. `valid_at` is the business time from which it holds.
    fn transition(
        &self,
        tenant: &Tenant,
        before: Before<'_>,
        after: &CustomerRecord,
        valid_at: Instant,
        cause: Cause,
    ) -> Option<Self::Transition>;

    /// Writes down what a commit is remembered by, in its transaction.
    fn remember(
        &self,
        transaction: &Transaction,
        tenant: &Tenant,
        remembered: Remembered<'_, Self::Transition>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The next part of work that goes through all records, while nothing newer waits. Returns whether there may be more of it.
    fn go_through(
        &self,
        _runtime: &Runtime,
        _tenant: &Tenant,
        _step: &mut Step<'_>,
    ) -> impl Future<Output = Result<bool, WorkError>> + Send {
        async { Ok(false) }
    }
}

/// What a customer was before a change.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// Nothing was known of it.
    Unknown,
    /// It had been removed, and comes back.
    Removed,
    /// Its record.
    Was(&'a CustomerRecord),
}

impl<'a> Before<'a> {
    /// The record, if there was one.
    pub const fn record(self) -> Option<&'a CustomerRecord> {
        match self {
            Self::Was(record) => Some(record),
            Self::Unknown | Self::Removed => None,
        }
    }
}

/// What a commit is remembered by.
pub struct Remembered<'a, T> {
    /// Where it publishes.
    pub seq: i64,
    /// What changed, of each customer in the order in which one led to the next.
    pub transitions: Vec<T>,
    /// Who is no more.
    pub removed: &'a [Removed],
}

/// Why a record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What is upstream changed.
    Upstream,
    /// Time alone.
    Time,
    /// What the link derives by: a definition.
    Definition,
}

/// Runs a link for one tenant, without end.
pub async fn run<L: Link>(runtime: Runtime, link: Arc<L>, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    let place = follower::place(runtime.database.reader(), tenant.id, L::FEED).await?;
    runtime.resume(&tenant, &place);
    let connect = |cursor| link.upstream(&tenant, cursor);
    let mut worker = Deriver { link: link.clone(), tenant: tenant.clone() };
    follow(&runtime, &tenant, L::FEED, connect, place, &mut worker).await
}

struct Deriver<L> {
    link: Arc<L>,
    tenant: Arc<Tenant>,
}

impl<L: Link> Deriver<L> {
    /// Takes in records and removals in a transaction of their own.
    async fn take_part(
        &self,
        records: Vec<CustomerRecord>,
        removed: Vec<Removed>,
        step: &Step<'_>,
    ) -> Result<Transaction, WorkError> {
        let customers: Result<Vec<_>, _> =
            records.iter().map(|record| CustomerId::try_from(record.customer_id)).collect();
        let mut customers = customers.map_err(|_| WorkError::Malformed)?;
        customers.extend(removed.iter().map(|removed| removed.customer));
        let transaction = step.begin().await?;
        let known = records::load(&transaction, self.tenant.id, &customers).await?;
        let known: HashMap<i64, _> = known.into_iter().map(|record| (record.customer.as_i64(), record)).collect();
        let mut commit = Commit::new(self.link.as_ref(), Cause::Upstream);
        commit.changes.traces = step.traces();
        for mut record in records {
            let computed = record.features.as_ref().and_then(|features| convert::sent_instant(features.as_of.as_ref()));
            let as_of = step.reached().max(computed.unwrap_or_default());
            let next_change = self.link.derive(&self.tenant, &mut record, as_of);
            let derived = Derived { record, next_change, is_new: false };
            commit.replace(&self.tenant, known.get(&derived.record.customer_id), derived, as_of)?;
        }
        let removed = removed.into_iter();
        commit.changes.removed =
            removed.filter(|removed| removed.is_news(known.get(&removed.customer.as_i64()))).collect();
        commit.write(&transaction, &self.tenant).await?;
        failpoint::reach(L::FEED, "before_commit").await;
        Ok(transaction)
    }
}

impl<L: Link> Worker for Deriver<L> {
    async fn take(
        &mut self,
        mut records: Vec<CustomerRecord>,
        removed: Vec<Removed>,
        step: &mut Step<'_>,
    ) -> Result<(), WorkError> {
        let at_once = self.link.at_once(&self.tenant);
        while records.len() > at_once {
            // Those that are taken in twice after a kill say what they said.
            let others = records.split_off(at_once);
            let transaction = self.take_part(records, Vec::new(), step).await?;
            step.commit_part(transaction).await?;
            records = others;
        }
        let transaction = self.take_part(records, removed, step).await?;
        step.commit(transaction).await?;
        failpoint::reach(L::FEED, "after_commit").await;
        Ok(())
    }

    async fn tick(&mut self, to: Instant, step: &mut Step<'_>) -> Result<bool, WorkError> {
        let transaction = step.begin().await?;
        let at_once = self.link.at_once(&self.tenant) as u64;
        let due = records::due(&transaction, self.tenant.id, to, at_once).await?;
        if due.is_empty() {
            return Ok(false);
        }
        // Behind what time has done so far, definitions come first.
        let reached = step.began();
        let mut commit = Commit::new(self.link.as_ref(), Cause::Time);
        for row in &due {
            let mut record = feed::decode(row)?;
            let redefinition = commit.redefinition(&self.tenant, &record, reached, to);
            let due = match &redefinition {
                Some(redefinition) => commit.redefine(&self.tenant, &mut record, redefinition),
                None => row.next_change,
            };
            commit.pass_time(&self.tenant, &mut record, due, to);
            let next_change = self.link.derive(&self.tenant, &mut record, to);
            commit.changes.changed.push(Derived { record, next_change, is_new: false });
        }
        commit.write(&transaction, &self.tenant).await?;
        step.commit_part(transaction).await?;
        Ok(true)
    }

    async fn go_through(&mut self, runtime: &Runtime, step: &mut Step<'_>) -> Result<bool, WorkError> {
        self.link.go_through(runtime, &self.tenant, step).await
    }
}

/// Where a part of everybody ends.
pub struct PartEnd {
    /// The last customer's number. `None`: the part is empty.
    pub last: Option<i64>,
    /// Whether nobody is behind it.
    pub is_end: bool,
}

impl PartEnd {
    /// How far work of `total` customers is behind this part, that was `done` before it. It goes to the last record that there is, not to the last there
    /// was: one of a newcomer may have been on its way, derived by what was in force.
    pub fn done(&self, done: i64, total: i64) -> i64 {
        let last = self.last.unwrap_or(done);
        if self.is_end { last.max(total) } else { last }
    }
}

/// What a transaction of a link writes.
pub struct Commit<'a, L: Link> {
    link: &'a L,
    cause: Cause,
    changes: Changes,
    transitions: Vec<L::Transition>,
    redefined: usize,
}

/// How definitions come to a record.
struct Redefinition {
    /// As of when it is derived by them.
    as_of: Instant,
    /// From when they are told to hold.
    valid_at: Instant,
}

impl<'a, L: Link> Commit<'a, L> {
    /// Nothing yet, for one cause.
    pub fn new(link: &'a L, cause: Cause) -> Self {
        Self { link, cause, changes: Changes::default(), transitions: Vec::new(), redefined: 0 }
    }

    /// Takes a record, which holds from `valid_at` on, in the place of the stored one, if it says something else.
    pub fn replace(
        &mut self,
        tenant: &Tenant,
        stored: Option<&Record>,
        derived: Derived,
        valid_at: Instant,
    ) -> Result<(), StoreError> {
        if let Some(stored) = stored.filter(|stored| !stored.is_tombstone()) {
            let mut before = feed::decode(stored)?;
            let told = self.transitions.len();
            let redefined = self
                .redefinition(tenant, &before, valid_at, valid_at)
                .map(|redefinition| (before.clone(), redefinition));
            let mut next_change = stored.next_change;
            if let Some((_, redefinition)) = &redefined {
                next_change = self.redefine(tenant, &mut before, redefinition);
            }
            // Time may have passed by since, before what is upstream changed.
            let passes = self.cause == Cause::Upstream || redefined.is_some();
            let due = next_change.filter(|due| *due <= valid_at && passes);
            self.pass_time(tenant, &mut before, due, valid_at);
            let is_redefined = redefined.is_some();
            let is_change = if let Some((mut written, _)) = redefined {
                feed::is_change(&mut written, &derived.record)
            } else {
                // Comparing takes over what says how a record came about.
                let scores = before.scores.clone();
                let is_change = feed::is_change(&mut before, &derived.record);
                before.scores = scores;
                is_change
            };
            if !is_change && due.is_none() && self.transitions.len() == told {
                // When time changes it next is not all in the record.
                if is_redefined && stored.next_change != derived.next_change {
                    self.changes.kept.push(Kept { derived, seq: stored.seq });
                }
                return Ok(());
            }
            let changed = self.link.transition(tenant, Before::Was(&before), &derived.record, valid_at, self.cause);
            self.redefined += usize::from(changed.is_some() && self.cause == Cause::Definition);
            self.transitions.extend(changed);
        } else {
            let before = if stored.is_some() { Before::Removed } else { Before::Unknown };
            self.transitions.extend(self.link.transition(tenant, before, &derived.record, valid_at, self.cause));
        }
        self.changes.changed.push(Derived { is_new: stored.is_none(), ..derived });
        Ok(())
    }

    /// How the definitions in force come to a record that others wrote, before anything else changes it. `None`: those in force wrote it, or they come to it
    /// by what the commit writes. Told from `told_at` on where it is not known from when they hold, and otherwise from `latest` on at the latest.
    fn redefinition(
        &self,
        tenant: &Tenant,
        record: &CustomerRecord,
        told_at: Instant,
        latest: Instant,
    ) -> Option<Redefinition> {
        let written = self.link.outdated(tenant, record)?;
        match self.link.in_force_from(tenant) {
            Some(from) => {
                let as_of = from.min(latest).max(written);
                Some(Redefinition { as_of, valid_at: as_of })
            }
            None if self.cause == Cause::Definition => None,
            None => Some(Redefinition { as_of: written, valid_at: told_at }),
        }
    }

    /// Has a record follow the definitions in force. Returns when time alone changes it next.
    fn redefine(
        &mut self,
        tenant: &Tenant,
        record: &mut CustomerRecord,
        redefinition: &Redefinition,
    ) -> Option<Instant> {
        let before = record.clone();
        let next_change = self.link.derive(tenant, record, redefinition.as_of);
        let before = Before::Was(&before);
        let changed = self.link.transition(tenant, before, record, redefinition.valid_at, Cause::Definition);
        self.redefined += usize::from(changed.is_some());
        self.transitions.extend(changed);
        next_change
    }

    /// Has a record pass the instants up to `to` at which time alone changes it, each for itself.
    fn pass_time(&mut self, tenant: &Tenant, record: &mut CustomerRecord, due: Option<Instant>, to: Instant) {
        let mut due = due.filter(|due| *due <= to);
        while let Some(at) = due {
            let before = record.clone();
            due = self.link.derive(tenant, record, at).filter(|next| at < *next && *next <= to);
            self.transitions.extend(self.link.transition(tenant, Before::Was(&before), record, at, Cause::Time));
        }
    }

    /// Derives the records of up to `limit` customers behind `after` anew, by the definitions in force, as of a business time or later where they were
    /// derived so: and where they end.
    pub async fn derive_again(
        &mut self,
        transaction: &Transaction,
        tenant: &Tenant,
        after: u32,
        limit: u64,
        reached: Instant,
    ) -> Result<PartEnd, StoreError> {
        let rows = records::scan(transaction, tenant.id, after, limit).await?;
        for row in rows.iter().filter(|row| !row.is_tombstone()) {
            let mut record = feed::decode(row)?;
            // Part of a midnight may be behind it already.
            let as_of = reached.max(self.link.derived_at(&record).unwrap_or_default());
            let next_change = self.link.derive(tenant, &mut record, as_of);
            self.replace(tenant, Some(row), Derived { record, next_change, is_new: false }, as_of)?;
        }
        let last = rows.last().map(|row| row.customer.as_i64());
        Ok(PartEnd { last, is_end: (rows.len() as u64) < limit })
    }

    /// How many records definitions have changed.
    pub fn redefined(&self) -> usize {
        self.redefined
    }

    /// Writes and publishes the records, and has the link remember them.
    pub async fn write(self, transaction: &Transaction, tenant: &Tenant) -> Result<(), StoreError> {
        if let Some(seq) = feed::publish(transaction, tenant.id, L::FEED, &self.changes).await? {
            let removed = &self.changes.removed;
            let remembered = Remembered { seq, transitions: self.transitions, removed };
            self.link.remember(transaction, tenant, remembered).await?;
        }
        Ok(())
    }
}

/// The instant from which time alone has made these features of those before, as far as can be told. `None`: facts did.
pub fn by_time(before: &Features, after: &Features) -> Option<Instant> {
    let [due, now] = [before.next_change_time.as_ref(), after.as_of.as_ref()].map(convert::sent_instant);
    let (due, now) = (due?, now?);
    if due > now {
        return None;
    }
    let due = told_at(due, now);
    // All that time moves: what is left is what facts say.
    let moved = Features {
        as_of: after.as_of,
        next_change_time: after.next_change_time,
        windows: after.windows.clone(),
        primary_channel: after.primary_channel.clone(),
        channels: after.channels.clone(),
        traits: after.traits.clone(),
        ..before.clone()
    };
    (moved == *after).then_some(due)
}

/// The instant from which time alone has made these scores of those before, of the same features, as far as can be told. `None`: something else did.
pub fn scored_by_time(before: &CustomerRecord, after: &CustomerRecord) -> Option<Instant> {
    let (earlier, later) = (before.scores.as_ref()?, after.scores.as_ref()?);
    let [due, now] = [earlier.next_change_time.as_ref(), later.as_of.as_ref()].map(convert::sent_instant);
    let (due, now) = (due?, now?);
    let unmoved = before.attributes == after.attributes && before.features == after.features;
    (due <= now && unmoved).then(|| told_at(due, now))
}

/// When something is told that was due at an instant. Time that has jumped may have passed several such, of which what was between is not known.
fn told_at(due: Instant, now: Instant) -> Instant {
    if now.micros() - due.micros() <= AT_ONCE_MICROS { due } else { now }
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
