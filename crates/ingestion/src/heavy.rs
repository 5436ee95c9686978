//! Customers with so many facts that one of them takes as long to compute as thousands of others: they are computed beside the others, who
//! do not wait for them.
//!
//! While they are, the worker's place stays behind the facts that they were touched by: a worker that goes on from there computes them
//! again. Nobody else may write their records meanwhile, or what was read earlier would be written later.

use crate::features::CustomerFacts;
use quintile_chain::feed::Changes;
use quintile_domain::ids::CustomerId;
use quintile_store::StoreError;
use std::collections::{HashMap, HashSet};
use tokio::task::JoinHandle;

/// Facts from which on a customer is heavy, everybody who names it as one of them, and their orders: a few milliseconds' worth.
const HEAVY_FACTS: i64 = 5_000;
/// How many are computed at once: all their facts are in memory meanwhile.
const AT_ONCE: usize = 8;

/// What was computed of customers.
#[derive(Default)]
pub struct Computed {
    /// What is different.
    pub changes: Changes,
    /// Those of them who have turned out to be heavy.
    pub heavy: Vec<CustomerId>,
}

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
    computed: JoinHandle<Result<Computed, StoreError>>,
}

impl Heavy {
    /// Notes who has turned out to be heavy.
    pub fn note(&mut self, heavy: &[CustomerId]) {
        self.known.extend(heavy);
    }

    /// Has those of these customers wait who are heavy, and returns the others. Up to the facts of `position` all of them were right.
    pub fn without(&mut self, mut customers: Vec<CustomerId>, position: i64) -> Vec<CustomerId> {
        customers.retain(|customer| {
            let is_heavy = self.known.contains(customer);
            if is_heavy {
                self.waiting.entry(*customer).and_modify(|first| *first = position.min(*first)).or_insert(position);
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
        computed: JoinHandle<Result<Computed, StoreError>>,
    ) {
        self.running = Some(Running { customers: customers.into_iter().collect(), position, computed });
    }

    /// What was computed, and the facts that are in with it, of everybody. `None`: nothing, or not yet.
    pub async fn finished(&mut self) -> Option<(Result<Computed, StoreError>, i64)> {
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

/// Whether the customer with these facts is heavy.
pub fn is_heavy(facts: &CustomerFacts) -> bool {
    facts.read() >= HEAVY_FACTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heavy customers with the numbers from 1 on.
    fn heavy(customers: u32) -> Heavy {
        let mut heavy = Heavy::default();
        heavy.note(&ids(1..=customers));
        heavy
    }

    fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<CustomerId> {
        numbers.into_iter().map(CustomerId).collect()
    }

    /// Computes who is next by the facts up to `position`, and returns the position that is then in.
    async fn compute(heavy: &mut Heavy, position: i64) -> i64 {
        let customers = heavy.next().unwrap();
        let computed = tokio::spawn(async { Ok(Computed::default()) });
        heavy.begin(customers, position, computed);
        loop {
            if let Some((_, position)) = heavy.finished().await {
                return position;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn facts_are_in_when_nobody_waits_who_was_touched_by_them() {
        let mut heavy = heavy(AT_ONCE as u32 + 1);
        let light = AT_ONCE as u32 + 2;
        assert_eq!(heavy.without(ids([1, light]), 10), ids([light]));
        assert_eq!(heavy.without(ids(2..light), 11), []);
        assert!(!heavy.is_idle());
        // One more waits than are computed at once: it was right up to what it had not been touched by.
        assert_eq!(compute(&mut heavy, 12).await, 11);
        assert_eq!(heavy.without(ids([1]), 12), []);
        assert_eq!(compute(&mut heavy, 13).await, 13);
        assert!(heavy.is_idle());
        assert_eq!(heavy.next(), None);
    }

    #[tokio::test]
    async fn whoever_has_waited_longest_is_next_and_nobody_beside_a_computation() {
        let mut heavy = heavy(AT_ONCE as u32 + 1);
        heavy.without(ids(2..=AT_ONCE as u32 + 1), 20);
        heavy.without(ids([1]), 19);
        heavy.without(ids([1]), 21);
        let first = heavy.next().unwrap();
        assert_eq!(first, ids(1..=AT_ONCE as u32));
        heavy.begin(first, 22, tokio::spawn(std::future::pending()));
        assert!(heavy.computes(CustomerId(1)) && !heavy.computes(CustomerId(AT_ONCE as u32 + 1)));
        assert_eq!(heavy.next(), None);
        assert!(heavy.finished().await.is_none());
    }

    #[test]
    fn a_customer_with_fewer_facts_is_not_heavy() {
        let facts =
            |without_rate, behind_referred| CustomerFacts { behind_referred, without_rate, ..Default::default() };
        assert!(is_heavy(&facts(0, HEAVY_FACTS)) && is_heavy(&facts(1, HEAVY_FACTS - 1)));
        assert!(!is_heavy(&facts(0, HEAVY_FACTS - 1)));
    }
}
