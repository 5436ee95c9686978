//! How a service of the chain is: who works for which tenant, how far its answers are true, and how far those who follow it are behind. It is held in
//! memory, for whoever scrapes it: a scrape asks no database.

use crate::progress::ProgressOfTenants;
use opentelemetry::KeyValue;
use parking_lot::Mutex;
use quintile_domain::clock::BusinessClock;
use quintile_domain::ids::TenantId;
use quintile_rpc::Caller;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::metrics::{self, MAX_TENANTS};
use quintile_store::{Database, feed};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The workers that a tenant's watermark in a service is of: where one of these does not work, the watermark is another replica's.
const FOLLOWING: [&str; 4] = ["features", "scores", "stages", "segments"];
/// How often the heads of feeds are looked up that somebody reads.
const LOOK: Duration = Duration::from_secs(5);

/// The state of a service in this process.
#[derive(Clone)]
pub struct Vitals(Arc<State>);

struct State {
    service: &'static str,
    /// By worker and tenant, whether the process holds the lease.
    leases: Mutex<BTreeMap<(&'static str, TenantId), Lease>>,
    readings: Mutex<HashMap<u64, Place>>,
    next_reading: AtomicU64,
    /// The last known positions of feeds.
    heads: Mutex<HashMap<(TenantId, &'static str), i64>>,
}

struct Lease {
    tenant: String,
    is_held: bool,
}

/// Where a reader of a feed stands.
struct Place {
    tenant: Arc<Tenant>,
    feed: &'static str,
    consumer: String,
    position: Arc<AtomicI64>,
}

/// A reader of a feed, until it is dropped.
pub struct Reading {
    vitals: Vitals,
    number: u64,
    position: Arc<AtomicI64>,
}

impl Reading {
    /// Says that the reader has come to a position.
    pub fn is_at(&self, position: i64) {
        self.position.store(position, Ordering::Relaxed);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.vitals.0.readings.lock().remove(&self.number);
    }
}

/// Who reads a feed, as metrics name it: a service of the suite, or somebody else.
pub fn consumer(caller: &Caller) -> &str {
    caller.suite_service().unwrap_or("other")
}

impl Vitals {
    /// Those of a service, which are told from now on.
    pub fn of(service: &'static str, progress: &ProgressOfTenants, business: &BusinessClock) -> Self {
        let vitals = Self(Arc::new(State {
            service,
            leases: Mutex::default(),
            readings: Mutex::default(),
            next_reading: AtomicU64::default(),
            heads: Mutex::default(),
        }));
        let own = vitals.clone();
        metrics::LEASE_HELD.observe(move |tell| own.tell_leases(tell));
        let own = vitals.clone();
        metrics::FEED_LAG.observe(move |tell| own.tell_lags(tell));
        let (own, of, clock) = (vitals.clone(), progress.clone(), business.clone());
        metrics::WATERMARK_AGE.observe(move |tell| {
            let now = clock.now();
            for (tenant, attributes) in own.followed() {
                if let Some(time) = of.of(tenant).watermark().time {
                    tell((now.micros() - time.micros()).max(0) as f64 / 1e6, &attributes);
                }
            }
        });
        let (own, of) = (vitals.clone(), progress.clone());
        metrics::WATERMARK_POSITION.observe(move |tell| {
            for (tenant, attributes) in own.followed() {
                tell(of.of(tenant).watermark().facts_position as f64, &attributes);
            }
        });
        vitals
    }

    /// Notes whether the process holds the lease of a tenant's worker.
    pub fn holds(&self, worker: &'static str, tenant: &Tenant, is_held: bool) {
        let lease = Lease { tenant: tenant.name.clone(), is_held };
        self.0.leases.lock().insert((worker, tenant.id), lease);
    }

    /// A reader of a feed that begins at a position.
    pub fn read(&self, feed: &'static str, consumer: &str, tenant: &Arc<Tenant>, position: i64) -> Reading {
        let number = self.0.next_reading.fetch_add(1, Ordering::Relaxed);
        let position = Arc::new(AtomicI64::new(position));
        let place = Place { tenant: tenant.clone(), feed, consumer: consumer.to_owned(), position: position.clone() };
        self.0.readings.lock().insert(number, place);
        Reading { vitals: self.clone(), number, position }
    }

    /// Looks up the heads of feeds that are read, now and then and without end.
    pub async fn look(self, database: Database) -> Infallible {
        loop {
            let read: HashSet<_> = self.0.readings.lock().values().map(|place| (place.tenant.id, place.feed)).collect();
            let mut heads = HashMap::with_capacity(read.len());
            for (tenant, name) in read {
                // Where the database is away, the lag stays as it was.
                if let Ok(head) = feed::head(database.reader(), tenant, name).await {
                    heads.insert((tenant, name), head);
                }
            }
            self.0.heads.lock().extend(heads);
            tokio::time::sleep(LOOK).await;
        }
    }

    fn tell_leases(&self, tell: &dyn Fn(f64, &[KeyValue])) {
        let leases = self.0.leases.lock();
        let first = first(leases.keys().map(|(_, tenant)| *tenant));
        for ((worker, tenant), Lease { tenant: name, is_held }) in leases.iter() {
            if first.contains(tenant) {
                let attributes = [KeyValue::new("worker", *worker), KeyValue::new("tenant", name.clone())];
                tell(f64::from(u8::from(*is_held)), &attributes);
            }
        }
    }

    fn tell_lags(&self, tell: &dyn Fn(f64, &[KeyValue])) {
        let mut furthest: BTreeMap<(&str, String, TenantId), (String, i64)> = BTreeMap::new();
        let heads = self.0.heads.lock().clone();
        for Place { tenant, feed, consumer, position } in self.0.readings.lock().values() {
            let head = heads.get(&(tenant.id, *feed)).copied().unwrap_or_default();
            let lag = (head - position.load(Ordering::Relaxed)).max(0);
            let entry = furthest.entry((*feed, consumer.clone(), tenant.id));
            let (_, most) = entry.or_insert_with(|| (tenant.name.clone(), lag));
            *most = (*most).max(lag);
        }
        let first = first(furthest.keys().map(|(_, _, tenant)| *tenant));
        for ((feed, consumer, tenant), (name, lag)) in furthest {
            if first.contains(&tenant) {
                let attributes = [
                    KeyValue::new("feed", feed.to_owned()),
                    KeyValue::new("consumer", consumer),
                    KeyValue::new("tenant", name),
                ];
                tell(lag as f64, &attributes);
            }
        }
    }

    /// The tenants whose watermark is this process's, with what their series are told by.
    fn followed(&self) -> Vec<(TenantId, [KeyValue; 2])> {
        let leases = self.0.leases.lock();
        let held = leases.iter().filter(|((worker, _), lease)| lease.is_held && FOLLOWING.contains(worker));
        let attributes = |lease: &Lease| {
            [KeyValue::new("quintile.service", self.0.service), KeyValue::new("tenant", lease.tenant.clone())]
        };
        held.map(|((_, tenant), lease)| (*tenant, attributes(lease))).take(MAX_TENANTS).collect()
    }
}

/// The first of these tenants: as many as are told one by one.
fn first(tenants: impl Iterator<Item = TenantId>) -> BTreeSet<TenantId> {
    tenants.collect::<BTreeSet<_>>().into_iter().take(MAX_TENANTS).collect()
}
