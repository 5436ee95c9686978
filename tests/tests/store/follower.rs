//! The fence: a worker's transaction moves its cursor from where the worker found it, or is void.

use quintile_domain::ids::CustomerId;
use quintile_store::follower::{self, Place};
use quintile_store::{Database, Result, StoreError, records};
use quintile_tests::{FEED, TENANT, TestStore, on_both_databases, record};
use std::sync::Arc;
use tokio::sync::Barrier;

on_both_databases! {
    a_worker_begins_at_the_default_place_and_moves_from_there,
    a_place_moves_only_from_where_it_was_found,
    of_two_workers_at_one_place_exactly_one_keeps_its_work,
    a_leader_that_slept_finds_its_work_void,
    a_place_that_is_rolled_back_is_where_it_was,
    a_place_is_held_only_where_it_was_found,
    a_worker_that_holds_its_place_keeps_others_waiting,
    workers_of_other_feeds_go_their_own_way,
}

fn place(cursor: &str, facts_position: i64, time_micros: i64) -> Place {
    Place { cursor: cursor.to_owned(), facts_position, time_micros }
}

async fn found(database: &Database) -> Place {
    follower::place(database.reader(), TENANT, FEED).await.unwrap()
}

/// A worker's step: a row of its own, and then the fence.
async fn step(database: &Database, customer: u32, old: &Place, new: &Place) -> Result<()> {
    let transaction = database.begin().await?;
    records::write(&transaction, TENANT, vec![record(customer, 1, b"work")]).await?;
    follower::advance(&transaction, TENANT, FEED, old, new).await?;
    transaction.commit().await?;
    Ok(())
}

async fn has_record(database: &Database, customer: u32) -> bool {
    records::get(database, TENANT, CustomerId(customer)).await.unwrap().is_some()
}

async fn a_worker_begins_at_the_default_place_and_moves_from_there(store: TestStore) {
    let mut old = found(&store.database).await;
    assert_eq!(old, Place::default());
    // The second has an empty cursor, as a worker has that was told of time before any record.
    let places =
        [place("", 0, 5), place("", 3, 5), place("a", 3, 5), place("b", 3, 5), place("ü ' \\", i64::MAX, i64::MAX)];
    for (customer, new) in (1..).zip(places) {
        step(&store.database, customer, &old, &new).await.unwrap();
        assert_eq!(found(&store.open_again().await).await, new);
        old = new;
    }
}

async fn a_place_moves_only_from_where_it_was_found(store: TestStore) {
    let present = place("here", 10, 100);
    step(&store.database, 1, &Place::default(), &present).await.unwrap();
    let elsewhere = [
        Place::default(),
        place("there", 10, 100),
        place("HERE", 10, 100),
        place("", 10, 100),
        place("here", 9, 100),
        place("here", 11, 100),
        place("here", 10, 99),
        place("here", 10, 101),
        place("here", 0, 0),
    ];
    for old in elsewhere {
        let outcome = step(&store.database, 2, &old, &place("new", 11, 111)).await;
        assert!(matches!(outcome, Err(StoreError::Fenced)), "from {old:?}: {outcome:?}");
        assert_eq!(found(&store.database).await, present);
        assert!(!has_record(&store.database, 2).await, "the work of {old:?} is void");
    }
    step(&store.database, 2, &present, &place("new", 11, 111)).await.unwrap();
    assert!(has_record(&store.database, 2).await);
}

async fn of_two_workers_at_one_place_exactly_one_keeps_its_work(store: TestStore) {
    let replicas = [store.open_again().await, store.open_again().await];
    // The first round is the race for the first row.
    for round in 0..15_u32 {
        let found_both = Arc::new(Barrier::new(2));
        let workers = [0, 1].map(|worker: u32| {
            let (database, found_both) = (replicas[worker as usize].clone(), found_both.clone());
            tokio::spawn(async move {
                let old = found(&database).await;
                found_both.wait().await;
                let new = place(&format!("{round} by {worker}"), i64::from(round) + 1, 0);
                step(&database, 2 * round + worker + 1, &old, &new).await.map(|()| new)
            })
        });
        let mut winners = Vec::new();
        for (worker, ended) in (0..).zip(workers) {
            let customer = 2 * round + worker + 1;
            match ended.await.unwrap() {
                Ok(new) => {
                    assert!(has_record(&store.database, customer).await);
                    winners.push(new);
                }
                Err(StoreError::Fenced) => assert!(!has_record(&store.database, customer).await),
                Err(other) => panic!("the loser is told that it lost, not {other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(found(&store.database).await, winners[0]);
    }
}

async fn a_leader_that_slept_finds_its_work_void(store: TestStore) {
    let (old, new) = (place("old", 1, 1), place("new", 2, 2));
    step(&store.database, 1, &Place::default(), &old).await.unwrap();
    let slept = found(&store.database).await;
    step(&store.open_again().await, 2, &old, &new).await.unwrap();
    let outcome = step(&store.database, 3, &slept, &place("mine", 3, 3)).await;
    assert!(matches!(outcome, Err(StoreError::Fenced)), "{outcome:?}");
    assert_eq!(found(&store.database).await, new);
    assert!(!has_record(&store.database, 3).await);
}

async fn a_place_that_is_rolled_back_is_where_it_was(store: TestStore) {
    let transaction = store.database.begin().await.unwrap();
    let new = place("new", 1, 1);
    follower::advance(&transaction, TENANT, FEED, &Place::default(), &new).await.unwrap();
    assert_eq!(follower::place(&transaction, TENANT, FEED).await.unwrap(), new);
    transaction.rollback().await.unwrap();
    assert_eq!(found(&store.database).await, Place::default());
}

async fn a_place_is_held_only_where_it_was_found(store: TestStore) {
    let present = place("here", 10, 100);
    let hold = async |found: Place| {
        let transaction = store.database.begin().await.unwrap();
        follower::hold(&transaction, TENANT, FEED, &found).await
    };
    hold(Place::default()).await.unwrap();
    assert_eq!(found(&store.database).await, Place::default(), "who has not begun holds nothing");
    step(&store.database, 1, &Place::default(), &present).await.unwrap();
    for old in [place("there", 10, 100), place("here", 9, 100), place("here", 10, 101), place("", 10, 100)] {
        let outcome = hold(old.clone()).await;
        assert!(matches!(outcome, Err(StoreError::Fenced)), "{old:?}: {outcome:?}");
    }
    hold(present.clone()).await.unwrap();
    assert_eq!(found(&store.database).await, present);
}

async fn a_worker_that_holds_its_place_keeps_others_waiting(store: TestStore) {
    let (present, next) = (place("here", 10, 100), place("next", 11, 110));
    step(&store.database, 1, &Place::default(), &present).await.unwrap();
    let transaction = store.database.begin().await.unwrap();
    follower::hold(&transaction, TENANT, FEED, &present).await.unwrap();
    let (database, old, new) = (store.open_again().await, present.clone(), next.clone());
    let other = tokio::spawn(async move { step(&database, 2, &old, &new).await });
    for customer in 10..60 {
        records::write(&transaction, TENANT, vec![record(customer, 1, b"held")]).await.unwrap();
        assert_eq!(found(&store.database).await, present);
        assert!(!other.is_finished(), "nobody moves a place that is held");
    }
    // Part of a step: the place has not moved, so the other is right to go on from it.
    transaction.commit().await.unwrap();
    other.await.unwrap().unwrap();
    assert_eq!(found(&store.database).await, next);
    assert!(has_record(&store.database, 10).await && has_record(&store.database, 2).await);
}

async fn workers_of_other_feeds_go_their_own_way(store: TestStore) {
    step(&store.database, 1, &Place::default(), &place("same", 1, 1)).await.unwrap();
    let transaction = store.database.begin().await.unwrap();
    follower::advance(&transaction, TENANT, "others", &Place::default(), &place("same", 1, 1)).await.unwrap();
    follower::advance(&transaction, TENANT, "others", &place("same", 1, 1), &place("on", 2, 2)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(found(&store.database).await, place("same", 1, 1));
    assert_eq!(follower::place(store.database.reader(), TENANT, "others").await.unwrap(), place("on", 2, 2));
}
