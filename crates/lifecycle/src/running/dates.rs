//! Going through days that begin runs: birthdays and days of the calendar, each at its instant, a part of the customers at a time.
//!
//! How far a playbook's days are gone through stands in a row that moves in the transaction that begins the runs: none begins twice, and none is
//! missed.

use super::{CALL_TIMEOUT, CUSTOMERS_PER_PART, Playbooks};
use crate::playbooks::dates::{Occurrence, next};
use crate::playbooks::{Customer, Run, permits};
use crate::store::playbooks::{self, Stored};
use crate::store::runs::{self, Triggered};
use quintile_chain::context::WorkError;
use quintile_chain::feed;
use quintile_chain::progress::Watermark;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::ListBirthdaysRequest;
use quintile_proto::lifecycle::{DateTrigger, Playbook, RunRefusal, trigger};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_store::follower::{self, Place};
use quintile_store::records::{self, Record};
use quintile_store::{StoreError, Transaction, failpoint};
use std::collections::{BTreeMap, BTreeSet};

/// The row of a playbook's days.
pub(super) fn feed(number: i64) -> String {
    format!("dates/{number}")
}

/// The days that begin runs of a playbook.
pub(super) fn trigger_of(playbook: &Playbook) -> Option<&DateTrigger> {
    match playbook.trigger.as_ref()?.kind.as_ref()? {
        trigger::Kind::Date(trigger) => Some(trigger),
        _ => None,
    }
}

/// When there is something to do again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// When time has gone on.
    Nothing,
    /// When another service has caught up.
    Soon,
    /// At once.
    More,
}

/// The days of all playbooks that run.
#[derive(Default)]
pub struct Calendars<'a>(Vec<Calendar<'a>>);

impl<'a> Calendars<'a> {
    /// Those of the playbooks as they are since a change, as far as they are gone through.
    pub async fn of(
        playbooks: &'a Playbooks,
        tenant: &'a Tenant,
        revision: i64,
        all: &[Stored],
    ) -> Result<Self, StoreError> {
        let mut calendars = Vec::new();
        for stored in all.iter().filter(|stored| stored.is_running() && trigger_of(&stored.playbook).is_some()) {
            let place = follower::place(playbooks.runtime.database.reader(), tenant.id, &feed(stored.number)).await?;
            let quiet_up_to = Instant::from_micros(place.time_micros);
            let stored = stored.clone();
            calendars.push(Calendar { playbooks, tenant, revision, stored, place, quiet_up_to, asked: None });
        }
        Ok(Self(calendars))
    }

    /// Begins the runs of a part of the next instants that have come. Returns when to go on, and up to when all days are gone through: behind it no run that
    /// a day has begun may go on, or a jump of time would not come to the same as time that goes by. `None`: up to the watermark.
    pub async fn step(&mut self, watermark: Watermark) -> Result<(Next, Option<Instant>), WorkError> {
        let (mut next, mut up_to) = (Next::Nothing, None);
        for calendar in &mut self.0 {
            let (own, at) = calendar.step(watermark).await?;
            next = next.max(own);
            up_to = up_to.into_iter().chain(at).min();
        }
        Ok((next, up_to))
    }
}

/// A part of an occurrence's customers.
struct Part {
    /// Their rows, by number.
    rows: Vec<Record>,
    /// The place behind them. `None`: they were the last.
    cursor: Option<String>,
}

/// The days of one playbook.
struct Calendar<'a> {
    playbooks: &'a Playbooks,
    tenant: &'a Tenant,
    /// Since which change the playbooks are as they are.
    revision: i64,
    stored: Stored,
    /// Up to when they are gone through; the cursor says how far the next instant is.
    place: Place,
    /// Up to when there is nothing to go through, so that nobody looks again.
    quiet_up_to: Instant,
    /// What segmentation has yet to reach before the present part is gone through: the next watermark would always be ahead of it.
    asked: Option<Watermark>,
}

impl Calendar<'_> {
    /// Begins the runs of a part of the next instant that has come. Returns when to go on, and which instant that is.
    async fn step(&mut self, watermark: Watermark) -> Result<(Next, Option<Instant>), WorkError> {
        let (Some(now), Some(trigger)) = (watermark.time, trigger_of(&self.stored.playbook)) else {
            return Ok((Next::Nothing, None));
        };
        let Some(occurrence) = next(trigger, &self.tenant.zone, self.quiet_up_to, now) else {
            self.quiet_up_to = self.quiet_up_to.max(now);
            return Ok((Next::Nothing, None));
        };
        let at = Some(occurrence.at);
        let Some(part) = self.part(&occurrence).await? else { return Ok((Next::Soon, at)) };
        let asked = *self.asked.get_or_insert(watermark);
        let Some(meant) = self.meant(&part.rows, occurrence.at, asked).await? else { return Ok((Next::Soon, at)) };
        let is_done = self.begin_runs(occurrence.at, part.cursor, meant).await?;
        self.asked = None;
        Ok((if is_done { Next::More } else { Next::Soon }, at))
    }

    /// The part of an occurrence's customers behind the cursor. `None`: ingestion does not tell them now.
    async fn part(&self, occurrence: &Occurrence) -> Result<Option<Part>, WorkError> {
        let Some(days) = &occurrence.born_on else { return self.part_of_everybody().await.map(Some) };
        let (place, page_token) = self.place.cursor.split_once(' ').unwrap_or(("0", ""));
        let place: usize = place.parse().unwrap_or_default();
        let Some((month, day)) = days.get(place).copied() else {
            return Ok(Some(Part { rows: Vec::new(), cursor: None }));
        };
        let page_size = CUSTOMERS_PER_PART as i32;
        let message = ListBirthdaysRequest { month, day, page_size, page_token: page_token.to_owned() };
        let mut request = self.playbooks.credentials.request(&self.tenant.name, message).await?;
        request.set_timeout(CALL_TIMEOUT);
        let page = match self.playbooks.customers().list_birthdays(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                tracing::warn!(code = ?status.code(), "ingestion did not tell birthdays and is asked again");
                return Ok(None);
            }
        };
        let customers: Vec<_> = page.customers.iter().filter_map(|name| CustomerId::from_name(name, None)).collect();
        let rows = records::load(self.playbooks.runtime.database.reader(), self.tenant.id, &customers).await?;
        let cursor = match page.next_page_token.as_str() {
            "" if place + 1 < days.len() => Some(format!("{} ", place + 1)),
            "" => None,
            token => Some(format!("{place} {token}")),
        };
        Ok(Some(Part { rows, cursor }))
    }

    async fn part_of_everybody(&self) -> Result<Part, WorkError> {
        let behind: u32 = self.place.cursor.parse().unwrap_or_default();
        let database = self.playbooks.runtime.database.reader();
        let rows = records::scan(database, self.tenant.id, behind, CUSTOMERS_PER_PART).await?;
        let last = rows.last().filter(|_| rows.len() as u64 == CUSTOMERS_PER_PART);
        let cursor = last.map(|row| row.customer.as_i64().to_string());
        Ok(Part { rows, cursor })
    }

    /// Those customers who are there and whom a run would not be refused for at an instant. `None`: that is not known yet.
    async fn meant(
        &self,
        rows: &[Record],
        at: Instant,
        watermark: Watermark,
    ) -> Result<Option<BTreeSet<CustomerId>>, WorkError> {
        let playbook = &self.stored.playbook;
        let mut present: BTreeMap<CustomerId, CustomerRecord> = BTreeMap::new();
        for row in rows.iter().filter(|row| !row.is_tombstone()) {
            let record: CustomerRecord = feed::decode(row)?;
            // Others need not be asked about.
            if permits(&record.attributes.clone().unwrap_or_default(), playbook.purpose()) {
                present.insert(row.customer, record);
            }
        }
        let customers: BTreeSet<CustomerId> = present.keys().copied().collect();
        let segments = [&playbook.audience, &playbook.excluded].into_iter().filter(|segment| !segment.is_empty());
        let asked = segments.map(|segment| (segment.clone(), customers.clone())).collect();
        let Some(members) = self.playbooks.members_of_all(self.tenant, &asked, watermark).await else {
            return Ok(None);
        };
        let is_meant = |(customer, record): (CustomerId, CustomerRecord)| {
            let number = customer.as_i64();
            let is_member = |segment: &str| Some(members.get(segment)?.as_ref()?.contains(&number));
            let known = Customer { number: number.unsigned_abs(), record: Some(&record), is_member: &is_member };
            (Run::triggered(at).refusal_of(playbook, &known, &[]) == RunRefusal::Unspecified).then_some(customer)
        };
        Ok(Some(present.into_iter().filter_map(is_meant).collect()))
    }

    /// Begins runs, and is behind those whom they are for, in one transaction. Without a cursor, the instant is gone through. Returns whether it did: where the
    /// playbooks are others meanwhile, their days are read anew.
    async fn begin_runs(
        &mut self,
        at: Instant,
        cursor: Option<String>,
        mut meant: BTreeSet<CustomerId>,
    ) -> Result<bool, WorkError> {
        let (tenant, feed) = (self.tenant.id, feed(self.stored.number));
        let is_through = cursor.is_none();
        let time_micros = if is_through { at.micros() } else { self.place.time_micros };
        let place = Place { cursor: cursor.unwrap_or_default(), time_micros, ..self.place.clone() };
        let transaction = self.playbooks.runtime.database.begin().await?;
        if playbooks::revision(&transaction, tenant).await? != self.revision {
            return Ok(false);
        }
        match follower::advance(&transaction, tenant, &feed, &self.place, &place).await {
            Err(StoreError::Fenced) => return Ok(false),
            advanced => advanced?,
        }
        // Whoever was erased meanwhile has no run.
        let customers: Vec<CustomerId> = meant.iter().copied().collect();
        for row in records::load(&transaction, tenant, &customers).await?.iter().filter(|row| row.is_tombstone()) {
            meant.remove(&row.customer);
        }
        let (playbook, version) = (self.stored.number, self.stored.playbook.version);
        let triggered = meant.into_iter().map(|customer| Triggered { customer, playbook, version, at });
        runs::begin(&transaction, tenant, triggered.collect()).await?;
        failpoint::reach("dates", "before_part").await;
        transaction.commit().await.map_err(StoreError::from)?;
        self.place = place;
        if is_through {
            self.quiet_up_to = at;
        }
        Ok(true)
    }
}

/// Goes on from an instant with the days of the playbooks that run: what lies before it begins nothing.
pub async fn skip(transaction: &Transaction, tenant: TenantId, now: Instant) -> Result<(), StoreError> {
    for stored in playbooks::running(transaction, tenant).await? {
        if trigger_of(&stored.playbook).is_some() {
            let feed = feed(stored.number);
            let old = follower::place(transaction, tenant, &feed).await?;
            let new = Place { cursor: String::new(), time_micros: old.time_micros.max(now.micros()), ..old.clone() };
            follower::advance(transaction, tenant, &feed, &old, &new).await?;
        }
    }
    Ok(())
}
