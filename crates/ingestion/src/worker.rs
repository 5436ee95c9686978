//! The head of the chain: turns facts into features, when facts come and when time alone changes what they amount to.

use crate::backfill;
use crate::bulk::Bulk;
use crate::dropping;
use crate::feature_records::derived;
use crate::heavy::{Computed, Heavy, is_heavy};
use crate::store::customers;
use crate::store::facts;
use crate::{FACTS, FEATURES, SERVICE, Service};
use futures::stream::{self, Stream, StreamExt};
use quintile_chain::context::WorkError;
use quintile_chain::feed::{self, Changes, Derived, Removed};
use quintile_chain::progress::Watermark;
use quintile_chain::vitals::Reading;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::traces::{TracedStep, are_sent, merge};
use quintile_store::follower::{self, Place};
use quintile_store::{StoreError, Transaction, failpoint, feed as facts_feed, records};
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// Customers of one part, which one transaction writes.
pub const CUSTOMERS_PER_PART: usize = 2_500;
/// Parts that are read and computed while the one before them is written.
const PARTS_AHEAD: usize = 4;
/// For how long a step of work that is not live begins parts: what is live waits no longer than that and until they are written.
pub const STEP: Duration = Duration::from_millis(250);
/// The most customers that were touched in bulk of one step: more than it has time for.
const CUSTOMERS_PER_STEP: usize = 40 * CUSTOMERS_PER_PART;
/// How often time is looked at: what it changes is seen well within a second.
const TICK: Duration = Duration::from_millis(250);
/// How often the watermark is written down while nothing but time moves.
const WRITE_WATERMARK: Duration = Duration::from_secs(1);

/// Keeps the features of one tenant true, without end.
pub async fn run(service: Service, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    let place = claim(&service, &tenant).await?;
    service.runtime.resume(&tenant, &place);
    let mut worker = FeatureWorker::new(service, tenant, place);
    loop {
        // In turns, a part each: neither facts that keep coming nor long work hold the others up.
        let mut is_busy = worker.catch_up().await?;
        is_busy |= worker.drain_bulk().await?;
        if !worker.heavy.is_running() {
            is_busy |= backfill::step(&worker).await?;
            is_busy |= dropping::step(&worker).await?;
            worker.begin_heavy();
        }
        if is_busy {
            continue;
        }
        let wake = worker.service.wake.clone();
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Moves the worker's place without going on from it: whoever worked from there before, and was stopped for a while, is fenced from now on,
/// also from writes that leave the place.
async fn claim(service: &Service, tenant: &Tenant) -> Result<Place, WorkError> {
    let found = follower::place(service.runtime.database.reader(), tenant.id, FEATURES).await?;
    let claimed = Place { cursor: format!("{FACTS} {}", service.clock.now().micros()), ..found.clone() };
    let transaction = service.runtime.database.begin().await?;
    follower::hold(&transaction, tenant.id, FEATURES, &found).await?;
    follower::advance(&transaction, tenant.id, FEATURES, &found, &claimed).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(claimed)
}

/// How far time has been followed.
enum Ticked {
    All,
    /// All but customers who are computed at the moment.
    AllButHeavy,
    MayBeMore,
}

/// The worker of one tenant.
pub struct FeatureWorker {
    pub service: Service,
    pub tenant: Arc<Tenant>,
    place: Place,
    /// The facts that were looked at; the place stays behind them while customers wait.
    seen: i64,
    heavy: Heavy,
    bulk: Bulk,
    /// The business time that is being followed up to. A later one is begun when it is reached, or it might never be.
    ticking: Option<Instant>,
    written: MachineInstant,
    /// When it last told how far time has been followed.
    raised: MachineInstant,
    /// When it last looked for facts.
    looked: MachineInstant,
    /// The traces of facts of heavy customers who wait, and of customers of bulk.
    waiting_traces: [Vec<String>; 2],
    /// For whoever looks at how far facts are in.
    reading: Reading,
}

impl FeatureWorker {
    fn new(service: Service, tenant: Arc<Tenant>, place: Place) -> Self {
        let (now, seen) = (MachineInstant::now(), place.facts_position);
        let (heavy, bulk) = (Heavy::default(), Bulk::default());
        let (written, raised, looked) = (now, now, now);
        let reading = service.runtime.vitals.read(FACTS, FEATURES, &tenant, seen);
        let waiting_traces = [Vec::new(), Vec::new()];
        let ticking = None;
        Self { service, tenant, place, seen, heavy, bulk, ticking, written, raised, looked, waiting_traces, reading }
    }

    /// Begins a transaction, holding the worker's place.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let transaction = self.service.runtime.database.begin().await?;
        follower::hold(&transaction, self.tenant.id, FEATURES, &self.place).await?;
        Ok(transaction)
    }

    /// Takes in the facts that are there and a part of what time has changed. Returns whether there may be more.
    async fn catch_up(&mut self) -> Result<bool, WorkError> {
        let runtime = self.service.runtime.clone();
        // Read before the facts: what is acknowledged later may be later than this.
        let now = runtime.business.now();
        self.looked = MachineInstant::now();
        self.publish_heavy().await?;
        let touched = facts_feed::touched_after(runtime.database.reader(), self.tenant.id, FACTS, self.seen).await?;
        let has_live = !touched.live.is_empty();
        if touched.last != self.seen {
            let [traces, in_bulk] = touched.traces;
            merge(&mut self.waiting_traces[1], in_bulk);
            let everybody = touched.live.len();
            let light = self.heavy.without(touched.live.iter().map(CustomerId).collect(), self.seen);
            if (light.len() as u64) < everybody {
                merge(&mut self.waiting_traces[0], traces.clone());
            }
            self.bulk.add(touched.in_bulk - touched.live, self.seen, self.looked);
            self.bulk.remove(&light.iter().map(|customer| customer.0).collect());
            self.seen = touched.last;
            self.recompute_all(light, now, &traces).await?;
        }
        let progress = runtime.progress.of(self.tenant.id);
        if progress.watermark().facts_position < self.place.facts_position {
            progress.raise(Watermark { facts_position: self.place.facts_position, time: None });
        }
        let until = *self.ticking.get_or_insert(now);
        match self.tick(until, now).await? {
            Ticked::MayBeMore => return Ok(true),
            // Time has not passed for them yet.
            Ticked::AllButHeavy => return Ok(has_live),
            Ticked::All => {}
        }
        self.ticking = None;
        self.write_watermark(until).await?;
        let watermark = Watermark { facts_position: self.place.facts_position, time: Some(until) };
        // Whoever follows hears of time alone once a tick, however often batches come.
        let is_news = progress.watermark().facts_position != watermark.facts_position || self.raised.elapsed() >= TICK;
        if is_news && progress.watermark() != watermark {
            progress.raise(watermark);
            self.raised = MachineInstant::now();
        }
        Ok(has_live)
    }

    /// Recomputes some of those who were touched in bulk, if it is their turn. Returns whether it was.
    async fn drain_bulk(&mut self) -> Result<bool, WorkError> {
        let begun = MachineInstant::now();
        let Some((due, position)) = self.bulk.due(CUSTOMERS_PER_STEP, self.looked) else { return Ok(false) };
        failpoint::reach(FEATURES, "before_bulk").await;
        // Read before the facts of these customers.
        let now = self.service.runtime.business.now();
        let light = self.heavy.without(due.clone(), position);
        let parts: Vec<_> = light.chunks(CUSTOMERS_PER_PART).map(<[CustomerId]>::to_vec).collect();
        let in_time = parts.into_iter().take_while(move |_| begun.elapsed() < STEP);
        let mut computed = pin!(self.computed(in_time, now));
        let mut written = 0;
        let traces = std::mem::take(&mut self.waiting_traces[1]);
        let step = self.traced(&traces);
        while let Some(computed) = computed.next().await {
            let Computed { changes, heavy } = computed?;
            self.heavy.note(&heavy);
            self.publish(Changes { traces: step.traces(), ..changes }, None).await?;
            written += 1;
        }
        step.done();
        let left: HashSet<_> = light.iter().skip(written * CUSTOMERS_PER_PART).collect();
        let done: Vec<_> = due.into_iter().filter(|customer| !left.contains(customer)).collect();
        self.bulk.done(&done, begun.elapsed(), MachineInstant::now());
        // With the last of them their facts are in, whether or not time has been followed.
        let settled = self.settled().filter(|settled| *settled > self.place.facts_position);
        if settled.is_some() {
            self.publish(Changes::default(), settled).await?;
        }
        Ok(true)
    }

    /// The facts up to which everybody is right. `None`: heavy customers wait for theirs.
    fn settled(&self) -> Option<i64> {
        let settled = self.bulk.position().unwrap_or(self.seen);
        self.heavy.is_idle().then_some(settled.max(self.place.facts_position))
    }

    /// Recomputes customers, and notes with the last of them how far the facts that were seen are in.
    async fn recompute_all(
        &mut self,
        customers: Vec<CustomerId>,
        now: Instant,
        traces: &[String],
    ) -> Result<(), WorkError> {
        let step = self.traced(traces);
        step.count("quintile.customers", customers.len());
        let parts = customers.chunks(CUSTOMERS_PER_PART).map(<[CustomerId]>::to_vec);
        let last = parts.len().saturating_sub(1);
        let mut computed = pin!(self.computed(parts, now).enumerate());
        while let Some((part, computed)) = computed.next().await {
            let Computed { changes, heavy } = computed?;
            self.heavy.note(&heavy);
            let position = if part == last { self.settled() } else { None };
            self.publish(Changes { traces: step.traces(), ..changes }, position).await?;
        }
        step.done();
        Ok(())
    }

    /// The traces of facts that came while these changes were computed, and may be in them: when it is their turn, they find nothing to change any more.
    async fn later_traces(&self, changes: &Changes) -> Result<Vec<String>, StoreError> {
        if changes.changed.is_empty() || !are_sent() {
            return Ok(Vec::new());
        }
        let reader = self.service.runtime.database.reader();
        let later = facts_feed::touched_after(reader, self.tenant.id, FACTS, self.seen).await?;
        let customers = changes.changed.iter().filter_map(|it| u32::try_from(it.record.customer_id).ok());
        let mut again = customers.filter(|id| later.live.contains(*id) || later.in_bulk.contains(*id));
        Ok(if again.next().is_some() { later.traces.concat() } else { Vec::new() })
    }

    /// The worker's step in some traces.
    fn traced(&self, traces: &[String]) -> TracedStep {
        TracedStep::begin("compute features", SERVICE, &self.tenant.name, traces)
    }

    /// Publishes changes, and notes with them that the facts up to `position` are in.
    async fn publish(&mut self, mut changes: Changes, position: Option<i64>) -> Result<(), WorkError> {
        let later = self.traced(&self.later_traces(&changes).await?);
        merge(&mut changes.traces, later.traces());
        failpoint::reach(FEATURES, "before_begin").await;
        let transaction = self.begin().await?;
        feed::publish(&transaction, self.tenant.id, FEATURES, &changes).await?;
        failpoint::reach(FEATURES, "before_commit").await;
        let facts_position = position.unwrap_or(self.place.facts_position);
        let place = Place { facts_position, ..self.place.clone() };
        if place != self.place {
            follower::advance(&transaction, self.tenant.id, FEATURES, &self.place, &place).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        later.done();
        self.place = place;
        self.reading.is_at(self.place.facts_position);
        failpoint::reach(FEATURES, "after_commit").await;
        let watermark = Watermark { facts_position: self.place.facts_position, time: None };
        self.service.runtime.progress.of(self.tenant.id).raise(watermark);
        Ok(())
    }

    /// Begins to compute the heavy customers who wait.
    fn begin_heavy(&mut self) {
        let Some(customers) = self.heavy.next() else { return };
        let (service, tenant, own) = (self.service.clone(), self.tenant.clone(), customers.clone());
        let computed = tokio::spawn(async move {
            let now = service.runtime.business.now();
            let computed = recompute(&service, &tenant, &own, now).await;
            service.wake.notify_one();
            computed
        });
        self.heavy.begin(customers, self.seen, computed);
    }

    /// Publishes what was computed of heavy customers, if it is ready: then the facts are in that were seen when it was begun.
    async fn publish_heavy(&mut self) -> Result<(), WorkError> {
        let Some((computed, position)) = self.heavy.finished().await else { return Ok(()) };
        let Computed { changes, heavy } = computed?;
        self.heavy.note(&heavy);
        // What time has changed since is not in: who is due by now is computed again, and brings the facts in.
        let followed = self.service.runtime.progress.of(self.tenant.id).watermark().time;
        let followed = followed.max(Some(Instant::from_micros(self.place.time_micros)));
        let is_true = changes.changed.iter().all(|it| it.next_change.is_none_or(|next| Some(next) > followed));
        let position = self.bulk.position().map_or(position, |settled| settled.min(position));
        if !is_true {
            // They still wait for these facts.
            let ids = changes.changed.iter().filter_map(|it| CustomerId::try_from(it.record.customer_id).ok());
            self.heavy.without(ids.collect(), self.place.facts_position);
        }
        let position = is_true.then_some(position.max(self.place.facts_position));
        let traces = std::mem::take(&mut self.waiting_traces[0]);
        let step = self.traced(&traces);
        self.publish(Changes { traces: step.traces(), ..changes }, position).await?;
        step.done();
        Ok(())
    }

    /// What is different of customers, part by part and in order. While one part is written, those behind it are read and computed.
    pub fn computed<Parts: Iterator<Item = Vec<CustomerId>>>(
        &self,
        parts: Parts,
        now: Instant,
    ) -> impl Stream<Item = Result<Computed, StoreError>> + use<Parts> {
        let (service, tenant) = (self.service.clone(), self.tenant.clone());
        let begin = move |customers: Vec<CustomerId>| {
            let (service, tenant) = (service.clone(), tenant.clone());
            let reading = tokio::spawn(async move { recompute(&service, &tenant, &customers, now).await });
            async move { reading.await.unwrap_or(Err(StoreError::Stopped)) }
        };
        stream::iter(parts).map(begin).buffered(PARTS_AHEAD)
    }

    /// Recomputes some of what time has changed by `until`.
    async fn tick(&mut self, until: Instant, now: Instant) -> Result<Ticked, WorkError> {
        let runtime = self.service.runtime.clone();
        let due = records::due(runtime.database.reader(), self.tenant.id, until, CUSTOMERS_PER_PART as u64).await?;
        if due.is_empty() {
            return Ok(Ticked::All);
        }
        let mut customers: Vec<_> = due.iter().map(|record| record.customer).collect();
        customers.retain(|customer| !self.heavy.computes(*customer));
        let mut customers = self.heavy.without(customers, self.seen);
        if customers.is_empty() {
            return Ok(Ticked::AllButHeavy);
        }
        customers.sort_unstable();
        let Computed { changes, heavy } = recompute(&self.service, &self.tenant, &customers, now).await?;
        self.heavy.note(&heavy);
        let transaction = self.begin().await?;
        feed::publish(&transaction, self.tenant.id, FEATURES, &changes).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        runtime.progress.of(self.tenant.id).raise(Watermark::default());
        Ok(Ticked::MayBeMore)
    }

    async fn write_watermark(&mut self, now: Instant) -> Result<(), StoreError> {
        let facts_position = self.settled().unwrap_or(self.place.facts_position);
        let place = Place { facts_position, time_micros: now.micros(), ..self.place.clone() };
        // Frozen time moves seldom, and a restart must not find it where it was before it was moved.
        let soon = self.service.runtime.business.is_frozen()
            || self.place.time_micros == 0
            || facts_position != self.place.facts_position;
        if place == self.place || (self.written.elapsed() < WRITE_WATERMARK && !soon) {
            return Ok(());
        }
        let transaction = self.begin().await?;
        follower::advance(&transaction, self.tenant.id, FEATURES, &self.place, &place).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        (self.place, self.written) = (place, MachineInstant::now());
        self.reading.is_at(self.place.facts_position);
        Ok(())
    }
}

/// Computes customers anew, and keeps those that are different. It reads outside the transaction that will write, which holds up
/// everybody who brings facts: facts that come meanwhile have a later position and are computed with then, and that nobody else
/// has written these records meanwhile is what the worker's place says.
async fn recompute(
    service: &Service,
    tenant: &Tenant,
    customers: &[CustomerId],
    now: Instant,
) -> Result<Computed, StoreError> {
    let reader = service.runtime.database.reader();
    let traits = service.traits.of(tenant).await?;
    let known = records::load(reader, tenant.id, customers).await?;
    let known: HashMap<CustomerId, _> = known.into_iter().map(|record| (record.customer, record)).collect();
    let mut changed = Vec::with_capacity(customers.len());
    let mut absent: HashSet<CustomerId> = customers.iter().copied().collect();
    let processed = customers::processed(reader, tenant.id, customers).await?;
    let facts = facts::of_customers(reader, tenant, customers).await?;
    let heavy = facts.iter().filter(|(_, facts)| is_heavy(facts)).map(|(customer, _)| *customer).collect();
    for derived in derived(tenant, &traits, processed, facts, &[now]) {
        let customer = CustomerId::try_from(derived.record.customer_id).ok();
        if let Some(customer) = customer {
            absent.remove(&customer);
        }
        let before = customer.and_then(|customer| known.get(&customer)).filter(|known| !known.is_tombstone());
        let before = before.map(feed::decode).transpose()?;
        let is_new = customer.is_none_or(|customer| !known.contains_key(&customer));
        if before.is_none_or(|mut before| feed::is_change(&mut before, &derived.record)) {
            changed.push(Derived { is_new, ..derived });
        }
    }
    let mut absent: Vec<_> = absent.into_iter().collect();
    absent.sort_unstable();
    let erased = customers::erased(reader, tenant.id, &absent).await?;
    let removed = absent.into_iter().map(|customer| Removed { customer, erased: erased.contains(&customer) });
    let removed = removed.filter(|removed| removed.is_news(known.get(&removed.customer))).collect();
    Ok(Computed { changes: Changes { changed, removed, ..Changes::default() }, heavy })
}
