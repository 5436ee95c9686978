//! Leases: one holder at a time, for as long as it renews.

use futures::future::join_all;
use quintile_store::Database;
use quintile_store::lease::{acquire, release};
use quintile_tests::{TestStore, eventually, on_both_databases};
use std::time::Duration;
use tokio::time::Instant;

on_both_databases! {
    a_lease_has_one_holder_who_can_renew_it,
    a_lease_ends_with_its_time_and_not_before,
    a_renewed_lease_lasts_from_its_renewal,
    a_holder_that_was_late_does_not_get_its_lease_back,
    a_released_lease_is_free_at_once_and_only_its_holder_releases_it,
    of_many_contenders_exactly_one_gets_a_lease,
}

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(200);
/// SQLite's clock has milliseconds.
const CLOCK_STEP: Duration = Duration::from_millis(2);

async fn take(database: &Database, holder: &str, ttl: Duration) -> bool {
    acquire(database, "worker", holder, ttl).await.unwrap()
}

async fn a_lease_has_one_holder_who_can_renew_it(store: TestStore) {
    let other = store.open_again().await;
    assert!(take(&store.database, "first", LONG).await);
    for _ in 0..3 {
        assert!(!take(&other, "second", LONG).await);
        assert!(take(&store.database, "first", LONG).await);
    }
    assert!(acquire(&other, "another worker", "second", LONG).await.unwrap(), "leases have names");
    assert!(!acquire(&store.database, "another worker", "first", LONG).await.unwrap());
}

async fn a_lease_ends_with_its_time_and_not_before(store: TestStore) {
    let begun = Instant::now();
    assert!(take(&store.database, "first", SHORT).await);
    eventually("a lease ends", || take(&store.database, "second", LONG)).await;
    let lasted = begun.elapsed();
    assert!(lasted + CLOCK_STEP >= SHORT, "it lasted {lasted:?} of {SHORT:?}");
    assert!(!take(&store.database, "first", LONG).await, "it has gone over to the second");
}

async fn a_renewed_lease_lasts_from_its_renewal(store: TestStore) {
    assert!(take(&store.database, "first", SHORT).await);
    assert!(take(&store.database, "first", LONG).await);
    // Another lease tells when the first time is over.
    assert!(acquire(&store.database, "hourglass", "first", SHORT).await.unwrap());
    eventually("the hourglass runs out", || async {
        acquire(&store.database, "hourglass", "second", LONG).await.unwrap()
    })
    .await;
    assert!(!take(&store.database, "second", LONG).await);
}

async fn a_holder_that_was_late_does_not_get_its_lease_back(store: TestStore) {
    assert!(take(&store.database, "first", Duration::ZERO).await);
    eventually("a lease of no time ends", || take(&store.database, "second", LONG)).await;
    assert!(!take(&store.database, "first", LONG).await);
    release(&store.database, "worker", "first").await.unwrap();
    assert!(!take(&store.database, "third", LONG).await, "who has lost a lease has nothing to release");
}

async fn a_released_lease_is_free_at_once_and_only_its_holder_releases_it(store: TestStore) {
    assert!(take(&store.database, "first", LONG).await);
    release(&store.database, "worker", "second").await.unwrap();
    release(&store.database, "another worker", "first").await.unwrap();
    assert!(!take(&store.database, "second", LONG).await);
    release(&store.database, "worker", "first").await.unwrap();
    assert!(take(&store.database, "second", LONG).await);
    release(&store.database, "no such worker", "nobody").await.unwrap();
}

async fn contend(store: &TestStore, replicas: &[Database]) -> Vec<usize> {
    let contenders = replicas.iter().cycle().take(8).cloned().enumerate().map(|(number, database)| {
        tokio::spawn(async move { take(&database, &format!("contender {number}"), LONG).await.then_some(number) })
    });
    let winners = join_all(contenders).await.into_iter().filter_map(|ended| ended.unwrap()).collect();
    // Free for the next round, whoever has it.
    for number in 0..8 {
        release(&store.database, "worker", &format!("contender {number}")).await.unwrap();
    }
    winners
}

async fn of_many_contenders_exactly_one_gets_a_lease(store: TestStore) {
    let replicas = [store.open_again().await, store.open_again().await];
    for round in 0..10 {
        if round % 2 == 1 {
            // A lease that is over is raced for as well.
            assert!(take(&store.database, "gone", Duration::ZERO).await);
            let over = Instant::now();
            eventually("a moment passes", || async { over.elapsed() > CLOCK_STEP }).await;
        }
        let winners = contend(&store, &replicas).await;
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
    }
}
