//! Customers with so many facts that one of them takes as long to compute as thousands of others: they are computed beside the others, who
//! do not wait for them.
//!
//! While they are, the worker's place stays behind the facts that they were touched by: a worker that goes on from there computes them
//! again. Nobody else may write their records meanwhile, or what was read earlier would be written later.

use quintile_chain::feed::Changes;
use quintile_domain::ids::CustomerId;
use quintile_proto::types::CustomerRecord;
use quintile_store::StoreError;
use std::collections::{HashMap, HashSet};
use tokio::task::JoinHandle;

/// Facts from which on a customer is heavy: a few milliseconds' worth.
const HEAVY_FACTS: i64 = 5_000;
/// How many are computed at once: all their facts are in memory meanwhile.
const AT_ONCE: usize = 8;

/// The heavy customers of one tenant.
#[derive(Default)]
pub struct Heavy {
    known: HashSet<CustomerId>,
    /// Who was touched since its computation was begun last, and the facts up to which it was right before.
    waiting: HashMap<CustomerId, i64>,
    running: Option<Running>,
}

/// A computation of heavy customers.
struct Running {
    customers: HashSet<CustomerId>,
    /// The facts up to which it computes.
    position: i64,
    computed: JoinHandle<Result<Changes, StoreError>>,
}

impl Heavy {
    /// Notes who of these has turned out to be heavy.
    pub fn note(&mut self, changes: &Changes) {
        let heavy = changes.changed.iter().filter(|derived| facts_of(&derived.record) >= HEAVY_FACTS);
        self.known.extend(heavy.filter_map(|derived| CustomerId::try_from(derived.record.customer_id).ok()));
    }

    /// Has those of these customers wait who are heavy, and returns the others. Up to the facts of `position` all of them were right.
    pub fn without(&mut self, mut customers: Vec<CustomerId>, position: i64) -> Vec<CustomerId> {
        customers.retain(|customer| {
            let is_heavy = self.known.contains(customer);
            if is_heavy {
                self.waiting.entry(*customer).or_insert(position);
            }
            !is_heavy
        });
        customers
    }

    /// Whether nobody waits and nothing is computed.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_none()
    }

    /// Whether something is computed.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a customer is computed at the moment.
    pub fn computes(&self, customer: CustomerId) -> bool {
        self.running.as_ref().is_some_and(|running| running.customers.contains(&customer))
    }

    /// Who is to be computed now, as long as nobody is: those who have waited longest.
    pub fn next(&mut self) -> Option<Vec<CustomerId>> {
        if self.is_running() || self.waiting.is_empty() {
            return None;
        }
        let mut waiting: Vec<_> = self.waiting.iter().map(|(customer, position)| (*position, *customer)).collect();
        waiting.sort_unstable();
        let mut customers: Vec<_> = waiting.into_iter().take(AT_ONCE).map(|(_, customer)| customer).collect();
        customers.sort_unstable();
        for customer in &customers {
            self.waiting.remove(customer);
        }
        Some(customers)
    }

    /// Takes note of a computation of customers, by the facts up to `position`.
    pub fn begin(
        &mut self,
        customers: Vec<CustomerId>,
        position: i64,
        computed: JoinHandle<Result<Changes, StoreError>>,
    ) {
        self.running = Some(Running { customers: customers.into_iter().collect(), position, computed });
    }

    /// What was computed, and the facts that are in with it, of everybody. `None`: nothing, or not yet.
    pub async fn finished(&mut self) -> Option<(Result<Changes, StoreError>, i64)> {
        let running = self.running.take_if(|running| running.computed.is_finished())?;
        let position = self.waiting.values().copied().fold(running.position, i64::min);
        // A computation that panicked ends the worker, as one in its own task does.
        Some((running.computed.await.unwrap_or(Err(StoreError::Stopped)), position))
    }
}

impl Drop for Heavy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.computed.abort();
        }
    }
}

fn facts_of(record: &CustomerRecord) -> i64 {
    let features = record.features.as_ref();
    features.map_or(0, |it| it.orders + it.refunds + it.interactions + it.feedback_count)
}
