//! How many are in segments, and how many come and go, for whoever scrapes it.

use crate::Service;
use crate::population::{Change, Movement};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use parking_lot::Mutex;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::metrics::{self, MAX_TENANTS};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How often members are counted.
const COUNT: Duration = Duration::from_secs(15);
/// The most segments and labels of a tenant that are told one by one.
const MAX_SEGMENTS: usize = 100;

/// The sizes of a tenant's segments and labels, the largest first, and how many there are.
struct Sizes {
    largest: Vec<(String, u64)>,
    all: usize,
}

/// Counts members, now and then and without end. A scrape reads what was counted last: it holds up nobody who changes the population.
pub async fn count_members(service: Service) -> Infallible {
    let counted: Arc<Mutex<BTreeMap<String, Sizes>>> = Arc::default();
    let told = counted.clone();
    metrics::SEGMENTS.observe(move |tell| {
        for (tenant, sizes) in told.lock().iter() {
            tell(sizes.all as f64, &[KeyValue::new("tenant", tenant.clone())]);
        }
    });
    let told = counted.clone();
    metrics::SEGMENT_MEMBERS.observe(move |tell| {
        for (tenant, sizes) in told.lock().iter() {
            for (segment, members) in &sizes.largest {
                let attributes = [KeyValue::new("tenant", tenant.clone()), KeyValue::new("segment", segment.clone())];
                tell(*members as f64, &attributes);
            }
        }
    });
    loop {
        let service = service.clone();
        // Whoever counts first evaluates rules over everybody.
        if let Ok(sizes) = tokio::task::spawn_blocking(move || sizes(&service)).await {
            *counted.lock() = sizes;
        }
        tokio::time::sleep(COUNT).await;
    }
}

fn sizes(service: &Service) -> BTreeMap<String, Sizes> {
    let policy = service.runtime.policy.last();
    let mut tenants: Vec<_> = policy.iter().flat_map(|policy| policy.tenants.values()).collect();
    tenants.sort_unstable_by_key(|tenant| tenant.id);
    let of = |tenant: &Arc<Tenant>| {
        let loaded = service.populations.of(tenant.id)?;
        let sizes = loaded.population.read().sizes();
        let mut largest: Vec<_> = sizes.into_iter().map(|(name, members, _)| (name, members)).collect();
        let all = largest.len();
        largest.sort_unstable_by_key(|(_, members)| Reverse(*members));
        largest.truncate(MAX_SEGMENTS);
        Some((tenant.name.clone(), Sizes { largest, all }))
    };
    tenants.into_iter().take(MAX_TENANTS).filter_map(of).collect()
}

/// Counts enters and exits that are committed.
pub fn count_changes(tenant: &Tenant, changes: &[Change], movements: &[Movement]) {
    static CHANGES: LazyLock<Counter<u64>> = LazyLock::new(|| metrics::MEMBERSHIP_CHANGES.counter());
    let single = changes.iter().filter(|change| !change.parent.is_empty()).map(|change| (change.entered, 1));
    let many = movements.iter().map(|movement| (movement.entered, movement.customers.count()));
    let mut counted = [0; 2];
    for (entered, customers) in single.chain(many) {
        counted[usize::from(entered)] += customers;
    }
    for (change, customers) in ["exit", "enter"].into_iter().zip(counted) {
        if customers > 0 {
            CHANGES.add(customers, &[KeyValue::new("tenant", tenant.name.clone()), KeyValue::new("change", change)]);
        }
    }
}
