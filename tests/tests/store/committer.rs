//! Group commit: in order, together up to a size, and an answer for everybody.

use futures::FutureExt;
use futures::future::join_all;
use quintile_domain::ids::CustomerId;
use quintile_store::committer::{Committer, Pending};
use quintile_store::{Result, StoreError, records};
use quintile_tests::{LIMIT, TENANT, TestStore, eventually, on_both_databases, publish};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

on_both_databases! {
    an_outcome_comes_when_the_work_is_there,
    a_group_that_fails_leaves_nothing_of_anybody,
}

/// Work of some rows. One of no rows makes its group fail.
type Rows = usize;
/// Work that makes its group panic.
const PANICS: Rows = 13;
/// Work for which the disk has no room.
const FILLS: Rows = 14;

/// A committer that waits for a permit before every group, and what it has committed.
struct Gated {
    committer: Committer<Rows, Rows>,
    gate: Arc<Semaphore>,
    groups: Arc<Mutex<Vec<Vec<Rows>>>>,
}

impl Gated {
    fn start(max_rows: usize) -> Self {
        let (gate, groups) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::<Vec<Rows>>::new())));
        let (gate_of_commit, seen) = (gate.clone(), groups.clone());
        let committer = Committer::start(
            max_rows,
            |rows| *rows,
            move |group: Vec<Rows>| {
                let (gate, seen) = (gate_of_commit.clone(), seen.clone());
                async move {
                    seen.lock().unwrap().push(group.clone());
                    gate.acquire().await.unwrap().forget();
                    if group.contains(&0) {
                        return Err(StoreError::Configuration("as the test has it".to_owned()));
                    }
                    assert!(!group.contains(&PANICS), "as the test has it");
                    if group.contains(&FILLS) { Err(StoreError::Full) } else { Ok(group) }
                }
            },
        );
        Self { committer, gate, groups }
    }

    /// Submits work of one row, and waits until its group of one stands at the gate: what comes now waits for its end.
    async fn occupy(&self) -> Pending<Rows> {
        let pending = self.committer.submit(1).await.unwrap();
        eventually("the first group begins", || async { !self.groups.lock().unwrap().is_empty() }).await;
        pending
    }

    async fn submit_all(&self, work: &[Rows]) -> Vec<Pending<Rows>> {
        let mut pending = Vec::new();
        for rows in work {
            pending.push(self.committer.submit(*rows).await.unwrap());
        }
        pending
    }

    fn open(&self) {
        self.gate.add_permits(1_000);
    }
}

async fn outcomes<T>(pending: Vec<Pending<T>>) -> Vec<Result<T>> {
    tokio::time::timeout(LIMIT, join_all(pending.into_iter().map(Pending::outcome))).await.unwrap()
}

#[tokio::test]
async fn work_that_waits_is_grouped_in_order_up_to_the_size() {
    let table: [(&[Rows], &[&[Rows]]); 6] = [
        (&[3, 3, 3, 3], &[&[3, 3, 3], &[3]]),
        (&[5, 5, 5], &[&[5, 5], &[5]]),
        (&[9, 2, 8, 1], &[&[9], &[2, 8], &[1]]),
        (&[1, 11, 1], &[&[1], &[11], &[1]]),
        (&[25, 1, 9], &[&[25], &[1, 9]]),
        (&[10, 1, 2, 3, 4], &[&[10], &[1, 2, 3, 4]]),
    ];
    for (work, expected) in table {
        let gated = Gated::start(10);
        let first = gated.occupy().await;
        let pending = gated.submit_all(work).await;
        gated.open();
        assert_eq!(first.outcome().await.unwrap(), 1);
        let outcomes: Vec<_> = outcomes(pending).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        assert_eq!(outcomes, work, "everybody gets their own outcome");
        assert_eq!(gated.groups.lock().unwrap()[1..], *expected, "{work:?}");
    }
}

#[tokio::test]
async fn an_error_reaches_everybody_of_the_group_and_later_work_goes_on() {
    let gated = Gated::start(10);
    let first = gated.occupy().await;
    let failing = gated.submit_all(&[4, 0, 5]).await;
    let next = gated.submit_all(&[6]).await;
    gated.open();
    assert_eq!(first.outcome().await.unwrap(), 1);
    for outcome in outcomes(failing).await {
        assert!(outcome.as_ref().is_err_and(|error| error.to_string().contains("as the test has it")), "{outcome:?}");
    }
    assert!(outcomes(next).await.iter().all(Result::is_ok));
    assert_eq!(gated.committer.submit(7).await.unwrap().outcome().await.unwrap(), 7);
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_committed_all_the_same() {
    let gated = Gated::start(10);
    drop(gated.occupy().await);
    drop(gated.submit_all(&[2, 3]).await);
    let groups = gated.groups.clone();
    gated.open();
    // Shutting down: who handed work over need not be there any more, nor the committer's owner.
    drop(gated);
    eventually("all work is taken", || async { groups.lock().unwrap().concat() == [1, 2, 3] }).await;
}

#[tokio::test]
async fn whoever_brings_work_to_a_full_queue_waits() {
    let gated = Gated::start(1);
    let mut pending = vec![gated.occupy().await];
    while let Some(accepted) = gated.committer.submit(1).now_or_never() {
        pending.push(accepted.unwrap());
        assert!(pending.len() < 1_000, "the queue has a bound");
    }
    assert!(pending.len() > 8, "the queue holds more than {}", pending.len());
    gated.open();
    pending.push(tokio::time::timeout(LIMIT, gated.committer.submit(1)).await.unwrap().unwrap());
    assert!(outcomes(pending).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_commit_that_panics_fails_those_who_share_it_and_later_work_goes_on() {
    let gated = Gated::start(100);
    let first = gated.occupy().await;
    let sharing = gated.submit_all(&[4, PANICS, 5]).await;
    gated.open();
    assert_eq!(first.outcome().await.unwrap(), 1);
    // Nobody knows which of them it was: each is to come again.
    for outcome in outcomes(sharing).await {
        assert!(matches!(outcome, Err(StoreError::Configuration(_))), "{outcome:?}");
    }
    let alone = outcomes(gated.submit_all(&[PANICS]).await).await;
    assert!(matches!(alone[..], [Err(StoreError::Panicked)]), "{alone:?}");
    assert!(outcomes(gated.submit_all(&[4, 5]).await).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_full_disk_is_told_to_everybody_of_the_group() {
    let gated = Gated::start(100);
    let first = gated.occupy().await;
    let sharing = gated.submit_all(&[4, FILLS]).await;
    gated.open();
    assert_eq!(first.outcome().await.unwrap(), 1);
    for outcome in outcomes(sharing).await {
        assert!(matches!(outcome, Err(StoreError::Full)), "{outcome:?}");
    }
}

/// A committer of customers into the store. The customer 0 makes its group fail, at its end.
fn of_customers(store: &TestStore) -> Arc<Committer<u32, i64>> {
    let database = store.database.clone();
    Arc::new(Committer::start(
        10,
        |_| 1,
        move |group: Vec<u32>| {
            let database = database.clone();
            async move {
                let transaction = database.begin().await?;
                let customers: Vec<_> = group.iter().map(|customer| (*customer, b"committed".to_vec())).collect();
                let seq = publish(&transaction, TENANT, &customers).await?;
                if group.contains(&0) {
                    return Err(StoreError::Fenced);
                }
                transaction.commit().await?;
                Ok(vec![seq; group.len()])
            }
        },
    ))
}

async fn an_outcome_comes_when_the_work_is_there(store: TestStore) {
    let committer = of_customers(&store);
    let witness = store.open_again().await;
    let callers = (1..=60).map(|customer| {
        let (committer, witness) = (committer.clone(), witness.clone());
        tokio::spawn(async move {
            let seq = committer.submit(customer).await.unwrap().outcome().await.unwrap();
            let record = records::get(&witness, TENANT, CustomerId(customer)).await.unwrap();
            assert_eq!(record.map(|record| record.seq), Some(seq));
            seq
        })
    });
    let mut seqs: Vec<_> = join_all(callers).await.into_iter().map(|seq| seq.unwrap()).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert!((6..=60).contains(&seqs.len()), "60 pieces in {} commits of at most ten", seqs.len());
}

async fn a_group_that_fails_leaves_nothing_of_anybody(store: TestStore) {
    let committer = of_customers(&store);
    let mut pending = Vec::new();
    for customer in [1, 2, 0, 3, 4] {
        pending.push((customer, committer.submit(customer).await.unwrap()));
    }
    for (customer, pending) in pending {
        let outcome = pending.outcome().await;
        let there = records::get(&store.database, TENANT, CustomerId(customer)).await.unwrap().is_some();
        assert_eq!(outcome.is_ok(), there, "customer {customer}: {outcome:?}");
        assert!(customer != 0 || outcome.is_err());
    }
    assert!(committer.submit(9).await.unwrap().outcome().await.is_ok());
}
