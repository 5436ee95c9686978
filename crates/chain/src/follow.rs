//! Following: a worker reads the feed before it and keeps up with time, one commit after the other.

use crate::context::{Runtime, WorkError};
use crate::feed::Removed;
use crate::progress::Watermark;
use futures::FutureExt;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::types::{CustomerRecord, WatchRecordsResponse};
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::traces::TracedStep;
use quintile_store::follower::{self, Place};
use quintile_store::{StoreError, Transaction};
use std::time::Duration;
use tokio::time::Instant as MachineInstant;
use tonic::{Code, Status, Streaming};

/// How often a watermark that came without records is written down, for replicas and restarts.
const WRITE_WATERMARK: Duration = Duration::from_secs(1);
/// How often other work is looked for, while there is none.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait before a stream that ended is begun again.
const RECONNECT_AFTER: Duration = Duration::from_millis(20);

/// What a service does with what it follows.
pub trait Worker: Send {
    /// Takes in records and removals, in one transaction that ends by [`Step::commit`].
    fn take(
        &mut self,
        records: Vec<CustomerRecord>,
        removed: Vec<Removed>,
        step: &mut Step<'_>,
    ) -> impl Future<Output = Result<(), WorkError>> + Send;

    /// Takes in that business time has reached `to`: some of what changes by then. Returns whether there may be more.
    fn tick(&mut self, to: Instant, step: &mut Step<'_>) -> impl Future<Output = Result<bool, WorkError>> + Send;

    /// The next part of work that neither records nor time ask for, behind both. Returns whether there may be more of it.
    fn go_through(
        &mut self,
        _runtime: &Runtime,
        _step: &mut Step<'_>,
    ) -> impl Future<Output = Result<bool, WorkError>> + Send {
        async { Ok(false) }
    }
}

/// One step of a worker, from the place that is written down to the next.
pub struct Step<'a> {
    runtime: &'a Runtime,
    tenant: TenantId,
    feed: &'a str,
    old: Place,
    new: Place,
    traced: TracedStep,
}

impl Step<'_> {
    /// The traces that go on with what the step publishes.
    pub fn traces(&self) -> Vec<String> {
        self.traced.traces()
    }

    /// Begins the step's transaction, holding the worker's place.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let transaction = self.runtime.database.begin().await?;
        follower::hold(&transaction, self.tenant, self.feed, &self.old).await?;
        Ok(transaction)
    }

    /// The business time that the worker has gone through, be it not written down yet.
    pub fn reached(&self) -> Instant {
        let told = self.runtime.progress.of(self.tenant).watermark().time;
        Instant::from_micros(self.old.time_micros).max(told.unwrap_or_default())
    }

    /// The business time that the worker had gone through when the step began, as it is written down.
    pub fn began(&self) -> Instant {
        Instant::from_micros(self.old.time_micros)
    }

    /// Says that the step reaches this business time, which is written down with it.
    pub fn reach(&mut self, time: Instant) {
        self.new.time_micros = self.new.time_micros.max(time.micros());
    }

    /// Commits the step: the cursor moves with it, and if another worker has moved it, nothing of the step is kept.
    pub async fn commit(&mut self, transaction: Transaction) -> Result<(), StoreError> {
        if self.old != self.new {
            follower::advance(&transaction, self.tenant, self.feed, &self.old, &self.new).await?;
        }
        transaction.commit().await?;
        let is_told = self.old.facts_position != self.new.facts_position;
        self.old = self.new.clone();
        // Those who wait are woken once, with the facts that are in now, which whoever takes the step tells.
        if !is_told {
            self.wake();
        }
        Ok(())
    }

    /// Commits part of a step without moving the cursor: for work that is the same however often it is done.
    pub async fn commit_part(&self, transaction: Transaction) -> Result<(), StoreError> {
        transaction.commit().await?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        self.runtime.progress.of(self.tenant).raise(Watermark::default());
    }
}

/// Follows the service before it without end, from `place`. `feed` names the follower's row. A stream that ends, as it does when its
/// token expires, is begun again behind its cursor.
pub async fn follow<W, C, Fut>(
    runtime: &Runtime,
    tenant: &Tenant,
    feed: &'static str,
    connect: C,
    mut place: Place,
    worker: &mut W,
) -> Result<(), WorkError>
where
    W: Worker,
    C: Fn(String) -> Fut,
    Fut: Future<Output = Result<Streaming<WatchRecordsResponse>, Status>> + Send,
{
    loop {
        let ended = match connect(place.cursor.clone()).await {
            Ok(upstream) => follow_stream(runtime, tenant, feed, upstream, &mut place, worker).await,
            Err(status) => Err(status.into()),
        };
        match ended {
            // The stream knows no cursor like ours, or the work failed: begin anew from what is written down.
            Err(WorkError::Upstream { code: Code::InvalidArgument | Code::OutOfRange }) => return ended,
            Ok(()) | Err(WorkError::Upstream { .. }) => tracing::debug!(feed, "the upstream ended; connecting again"),
            Err(_) => return ended,
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

async fn follow_stream<W: Worker>(
    runtime: &Runtime,
    tenant: &Tenant,
    feed: &'static str,
    mut upstream: Streaming<WatchRecordsResponse>,
    place: &mut Place,
    worker: &mut W,
) -> Result<(), WorkError> {
    let mut following = Following {
        runtime,
        tenant,
        feed,
        cursor: place.cursor.clone(),
        place,
        worker,
        ahead: None,
        more: false,
        looked: MachineInstant::now(),
        written: MachineInstant::now(),
        unwritten: None,
    };
    loop {
        // In turns: neither what comes nor a midnight, at which many are due at once, nor other work holds the others up.
        let message = if following.ahead.is_some() || following.more {
            upstream.message().now_or_never().transpose()?
        } else {
            tokio::time::timeout_at(following.looked + LOOK, upstream.message()).await.ok().transpose()?
        };
        match message {
            Some(Some(message)) => following.take(message).await?,
            Some(None) => return Ok(()),
            None => {}
        }
        if let Some(time) = following.ahead {
            following.tick(time).await?;
        }
        if following.more || following.looked.elapsed() >= LOOK {
            following.go_through().await?;
        }
    }
}

/// A worker on one stream.
struct Following<'a, W> {
    runtime: &'a Runtime,
    tenant: &'a Tenant,
    feed: &'static str,
    /// Behind the last message.
    cursor: String,
    /// What is written down.
    place: &'a mut Place,
    worker: &'a mut W,
    /// The business time that upstream has reached, if the worker is not through with what changes by then.
    ahead: Option<Instant>,
    /// Whether there may be more of other work, and when it was last looked for.
    more: bool,
    looked: MachineInstant,
    written: MachineInstant,
    /// The business time that the worker has gone through since, and that is not written down yet.
    unwritten: Option<Instant>,
}

impl<'a, W: Worker> Following<'a, W> {
    /// A step from what is written down to behind the last message.
    fn step(&self) -> Step<'a> {
        let new = Place { cursor: self.cursor.clone(), ..self.place.clone() };
        let (runtime, tenant, feed, old) = (self.runtime, self.tenant.id, self.feed, self.place.clone());
        Step { runtime, tenant, feed, old, new, traced: TracedStep::default() }
    }

    /// Takes a message in, and tells that the facts up to its position are.
    async fn take(&mut self, message: WatchRecordsResponse) -> Result<(), WorkError> {
        self.cursor = message.cursor;
        let mut step = self.step();
        let watermark = message.watermark.as_ref().map(Watermark::from_message);
        if let Some(watermark) = watermark {
            step.new.facts_position = watermark.facts_position;
        }
        let removed = removals(&message.removed_customer_ids, &message.erased_customer_ids)?;
        if !message.records.is_empty() || !removed.is_empty() {
            let (service, traces) = (self.runtime.service, &message.trace_parents);
            step.traced = TracedStep::begin("take records", service, &self.tenant.name, traces);
            step.traced.count("quintile.records", message.records.len());
            self.worker.take(message.records, removed, &mut step).await?;
            std::mem::take(&mut step.traced).done();
        }
        if let Some(watermark) = watermark {
            if step.new.facts_position != step.old.facts_position {
                let transaction = step.begin().await?;
                step.commit(transaction).await?;
            }
            self.runtime.progress.of(self.tenant.id).raise(Watermark { time: None, ..watermark });
            if let Some(time) = watermark.time {
                self.runtime.business.advance_to(time);
                self.ahead = Some(time);
            }
        }
        *self.place = step.old;
        Ok(())
    }

    /// Does a part of other work, if there is any.
    async fn go_through(&mut self) -> Result<(), WorkError> {
        // Where time stands, no later tick writes it down.
        self.write_time().await?;
        let mut step = self.step();
        self.more = self.worker.go_through(self.runtime, &mut step).await?;
        self.looked = MachineInstant::now();
        *self.place = step.old;
        Ok(())
    }

    /// Goes through a part of what changes by `time`, and tells of it with the last one.
    async fn tick(&mut self, time: Instant) -> Result<(), WorkError> {
        let mut step = self.step();
        step.reach(time);
        if !self.worker.tick(time, &mut step).await? {
            self.ahead = None;
            self.unwritten = Some(time);
            let watermark = Watermark { facts_position: step.old.facts_position, time: Some(time) };
            self.runtime.progress.of(self.tenant.id).raise(watermark);
        }
        *self.place = step.old;
        self.write_time().await
    }

    /// Writes down the time that the worker has gone through. Now and then is enough: it can always be gone through again.
    async fn write_time(&mut self) -> Result<(), WorkError> {
        let Some(time) = self.unwritten.filter(|_| self.written.elapsed() >= WRITE_WATERMARK) else { return Ok(()) };
        let mut step = self.step();
        step.reach(time);
        let transaction = step.begin().await?;
        step.commit(transaction).await?;
        (self.written, self.unwritten) = (MachineInstant::now(), None);
        *self.place = step.old;
        Ok(())
    }
}

/// Who a message says is no more.
fn removals(removed: &[i64], erased: &[i64]) -> Result<Vec<Removed>, WorkError> {
    let removed = removed.iter().map(|number| (*number, false)).chain(erased.iter().map(|number| (*number, true)));
    removed
        .map(|(number, erased)| {
            let customer = CustomerId::try_from(number).map_err(|_| WorkError::Malformed)?;
            Ok(Removed { customer, erased })
        })
        .collect()
}
