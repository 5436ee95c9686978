//! Transactions: whole or not at all, whatever becomes of those who began them.

use futures::future::join_all;
use quintile_domain::ids::CustomerId;
use quintile_store::{StoreError, feed, records};
use quintile_tests::{FEED, TENANT, TestStore, commit, cut_off_after, logged, on_both_databases, publish};
use roaring::RoaringBitmap;
use sea_orm::ConnectionTrait;

/// How often work is cut off: each time one poll later, until it ends by itself, and again from the first.
const ROUNDS: u32 = 100;

on_both_databases! {
    what_was_committed_is_there_after_closing_and_opening_again,
    a_transaction_that_is_dropped_leaves_nothing_and_the_next_one_goes_through,
    a_failed_statement_fails_its_transaction_and_no_other,
    behind_a_failed_statement_nothing_is_done,
    work_that_is_cut_off_anywhere_is_there_whole_or_not_at_all,
    transactions_that_read_before_they_write_wait_for_each_other,
    a_transaction_sees_its_own_writes_and_others_do_not_before_it_commits,
}

async fn what_was_committed_is_there_after_closing_and_opening_again(store: TestStore) {
    let first = store.open_again().await;
    commit(&first, &[(1, b"durable".to_vec())]).await.unwrap();
    first.close().await.unwrap();
    let second = store.open_again().await;
    let record = records::get(&second, TENANT, CustomerId(1)).await.unwrap().unwrap();
    assert_eq!(record.body, b"durable");
}

async fn a_transaction_that_is_dropped_leaves_nothing_and_the_next_one_goes_through(store: TestStore) {
    for round in 1..=20 {
        let transaction = store.database.begin().await.unwrap();
        publish(&transaction, TENANT, &[(round, b"dropped".to_vec()), (1_000, Vec::new())]).await.unwrap();
        drop(transaction);
        let seq = commit(&store.database, &[(2_000 + round, b"kept".to_vec())]).await.unwrap();
        assert_eq!(seq, i64::from(round));
    }
    assert_eq!(records::count(&store.database, TENANT).await.unwrap(), 20);
}

async fn a_failed_statement_fails_its_transaction_and_no_other(store: TestStore) {
    let transaction = store.database.begin().await.unwrap();
    let seq = publish(&transaction, TENANT, &[(1, b"lost".to_vec())]).await.unwrap();
    let twice = feed::publish(&transaction, TENANT, FEED, seq, &[1].into_iter().collect()).await;
    assert!(twice.is_err(), "a sequence number names one commit");
    transaction.rollback().await.unwrap();
    assert_eq!(commit(&store.database, &[(2, Vec::new())]).await.unwrap(), 1);
    assert_eq!(records::get(&store.database, TENANT, CustomerId(1)).await.unwrap(), None);
}

async fn behind_a_failed_statement_nothing_is_done(store: TestStore) {
    let transaction = store.database.begin().await.unwrap();
    let seq = publish(&transaction, TENANT, &[(1, b"lost".to_vec())]).await.unwrap();
    let twice = feed::publish(&transaction, TENANT, FEED, seq, &[1].into_iter().collect()).await.unwrap_err();
    let written = publish(&transaction, TENANT, &[(2, b"lost".to_vec())]).await.unwrap_err();
    let read = records::load(&transaction, TENANT, &[CustomerId(1)]).await.unwrap_err();
    let committed = StoreError::from(transaction.commit().await.unwrap_err());
    // Why is told each time, so that whoever notices first can tell.
    for later in [written, read, committed] {
        assert_eq!(later.to_string(), twice.to_string());
    }
    assert_eq!(commit(&store.database, &[(3, Vec::new())]).await.unwrap(), 1);
    assert_eq!(records::count(&store.database, TENANT).await.unwrap(), 1);
}

/// SQLite ends a transaction by itself when there is no room, in whole or in part, and its driver does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_committed_after_the_disk_was_full_is_there() {
    quintile_tests::on(quintile_tests::Backend::Sqlite, async |store: TestStore| {
        let witness = store.open_again().await;
        for round in 1..=6 {
            // No page more than there are: as on a full disk.
            store.database.writer().execute_unprepared("PRAGMA max_page_count = 1").await.unwrap();
            let rows: Vec<_> = (0..round).map(|row| (100 + row, vec![1; 1 << 20])).collect();
            let refused = commit(&store.database, &rows).await;
            assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
            store.database.writer().execute_unprepared("PRAGMA max_page_count = 1000000").await.unwrap();
            let seq = commit(&store.database, &[(round, b"acknowledged".to_vec())]).await.unwrap();
            assert_eq!(feed::head(witness.reader(), TENANT, FEED).await.unwrap(), seq);
            assert_eq!(records::count(&witness, TENANT).await.unwrap(), u64::from(round));
        }
    })
    .await;
}

/// Guards against a connection that goes back to its pool in the middle of a transaction: the next one would end in it, answer
/// that it has committed, and be lost with it.
async fn work_that_is_cut_off_anywhere_is_there_whole_or_not_at_all(store: TestStore) {
    let witness = store.open_again().await;
    let (mut commits, mut cut_offs, mut polls) = (0, 0, 0);
    for round in 1..=ROUNDS {
        polls += 1;
        let work = [(round, b"cut off".to_vec()), (10_000 + round, Vec::new())];
        let ended = cut_off_after(polls, commit(&store.database, &work)).await;

        let seq = commit(&store.database, &[(20_000 + round, b"whole".to_vec())]).await.unwrap();
        assert_eq!(feed::head(witness.reader(), TENANT, FEED).await.unwrap(), seq, "cut off after {polls} polls");
        // One number for what came behind, and one for what was cut off if it got through.
        let expected = if seq - commits == 1 { 1 } else { 3 };
        assert!(seq - commits <= 2, "{} commits of two, cut off after {polls} polls", seq - commits);
        let keys = [round, 10_000 + round, 20_000 + round].map(CustomerId);
        let there = records::load(witness.reader(), TENANT, &keys).await.unwrap();
        assert_eq!(there.len(), expected, "cut off after {polls} polls");
        let told: u64 = logged(&witness, commits).await.unwrap().iter().map(RoaringBitmap::len).sum();
        assert_eq!(told, expected as u64, "cut off after {polls} polls");
        commits = seq;
        if let Some(outcome) = ended {
            outcome.unwrap();
            assert_eq!(expected, 3, "what has ended is there");
            polls = 0;
        } else {
            cut_offs += 1;
        }
    }
    assert!(cut_offs > ROUNDS / 4, "{cut_offs} were cut off");
}

/// A transaction that begins by reading and finds at its first write that somebody else has written can't go on on SQLite.
async fn transactions_that_read_before_they_write_wait_for_each_other(store: TestStore) {
    let processes = [store.open_again().await, store.open_again().await];
    let writers = (1..=8_u32).map(|writer| {
        let database = processes[writer as usize % 2].clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                let transaction = database.begin().await.unwrap();
                records::load(&transaction, TENANT, &[CustomerId(writer)]).await.unwrap();
                tokio::task::yield_now().await;
                publish(&transaction, TENANT, &[(writer, b"read before".to_vec())]).await.unwrap();
                transaction.commit().await.unwrap();
            }
        })
    });
    for ended in join_all(writers).await {
        ended.unwrap();
    }
    assert_eq!(feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), 40);
}

async fn a_transaction_sees_its_own_writes_and_others_do_not_before_it_commits(store: TestStore) {
    commit(&store.database, &[(1, b"old".to_vec())]).await.unwrap();
    let transaction = store.database.begin().await.unwrap();
    publish(&transaction, TENANT, &[(1, b"new".to_vec())]).await.unwrap();
    let body = |records: Vec<records::Record>| records[0].body.clone();
    let key = [CustomerId(1)];
    assert_eq!(body(records::load(&transaction, TENANT, &key).await.unwrap()), b"new");
    assert_eq!(body(records::load(store.database.reader(), TENANT, &key).await.unwrap()), b"old");
    assert_eq!(feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(body(records::load(store.database.reader(), TENANT, &key).await.unwrap()), b"new");
}
