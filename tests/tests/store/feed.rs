//! Feeds: numbers without gaps, in the order of commits, and pages that can be gone on from.

use crate::readers::{Follower, drain};
use futures::future::join_all;
use quintile_domain::ids::CustomerId;
use quintile_store::feed::{self, Cursor, News, Touched};
use quintile_store::records::{self, Record};
use quintile_tests::{FEED, TENANT, TestStore, commit, logged, on_both_databases, publish, record};
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

on_both_databases! {
    concurrent_commits_are_numbered_without_gaps,
    whoever_sees_a_number_sees_all_before_it,
    a_transaction_that_is_rolled_back_publishes_nothing,
    the_head_is_the_last_commit_and_feeds_count_apart,
    who_was_touched_in_bulk_is_told_apart_and_is_read_as_everybody_is,
    a_page_has_the_traces_of_what_its_records_say_already,
    a_reader_of_nothing_new_stays_where_it_is,
    customers_that_are_no_more_are_read_with_empty_bodies,
    a_reader_who_knows_nothing_is_told_of_nobody_who_is_no_more,
    a_cursor_goes_on_exactly_where_its_page_ended,
    pages_are_bounded_and_never_split_a_commit,
    a_page_is_the_last_where_nothing_is_behind_it,
    a_reader_waits_for_rows_that_are_older_than_the_log,
}

/// Concurrent transactions.
const WRITERS: u32 = 8;
/// Commits of each.
const COMMITS: u32 = 12;

/// Commits from eight tasks of two processes at once, a customer each. Returns the numbers as they were given.
async fn write_concurrently(store: &TestStore) -> Vec<i64> {
    let processes = [store.open_again().await, store.open_again().await];
    let writers = (0..WRITERS).map(|writer| {
        let database = processes[writer as usize % 2].clone();
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            for number in 0..COMMITS {
                let customer = 1 + writer * COMMITS + number;
                seqs.push(commit(&database, &[(customer, b"new".to_vec())]).await.unwrap());
            }
            seqs
        })
    });
    join_all(writers).await.into_iter().flat_map(|seqs| seqs.unwrap()).collect()
}

async fn concurrent_commits_are_numbered_without_gaps(store: TestStore) {
    let mut seqs = write_concurrently(&store).await;
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=i64::from(WRITERS * COMMITS)).collect::<Vec<_>>());
    let touched = feed::touched_after(store.database.reader(), TENANT, FEED, 0).await.unwrap();
    assert_eq!((touched.live, touched.last), ((1..=WRITERS * COMMITS).collect(), i64::from(WRITERS * COMMITS)));
}

async fn whoever_sees_a_number_sees_all_before_it(store: TestStore) {
    let done = Arc::new(AtomicBool::new(false));
    let (database, writers_done) = (store.database.clone(), done.clone());
    let observer = tokio::spawn(async move {
        let mut seen = 0;
        loop {
            let last_look = writers_done.load(Ordering::Acquire);
            let head = feed::head(database.reader(), TENANT, FEED).await.unwrap();
            let Touched { live, last, .. } = feed::touched_after(database.reader(), TENANT, FEED, seen).await.unwrap();
            // Every commit touches one customer of its own: fewer customers than numbers is a commit that came late.
            assert_eq!(live.len() as i64, last - seen, "between {seen} and {last}");
            assert!(last >= head, "the head was {head} before the log ended at {last}");
            seen = last;
            if last_look {
                return seen;
            }
        }
    });
    write_concurrently(&store).await;
    done.store(true, Ordering::Release);
    assert_eq!(observer.await.unwrap(), i64::from(WRITERS * COMMITS));
}

async fn a_transaction_that_is_rolled_back_publishes_nothing(store: TestStore) {
    let start = Cursor::Tail(0);
    let transaction = store.database.begin().await.unwrap();
    assert_eq!(publish(&transaction, TENANT, &[(1, b"never".to_vec())]).await.unwrap(), 1);
    transaction.rollback().await.unwrap();
    assert_eq!(feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), 0);
    assert_eq!(drain(&store.database, start).await, (Vec::new(), start));
    assert_eq!(commit(&store.database, &[(2, b"real".to_vec())]).await.unwrap(), 1, "the number is given anew");
    assert_eq!(drain(&store.database, start).await, (vec![record(2, 1, b"real")], Cursor::Tail(1)));
}

async fn the_head_is_the_last_commit_and_feeds_count_apart(store: TestStore) {
    assert_eq!(feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), 0);
    for number in 1..=3 {
        assert_eq!(commit(&store.database, &[(1, Vec::new())]).await.unwrap(), number);
        assert_eq!(feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), number);
    }
    let transaction = store.database.begin().await.unwrap();
    assert_eq!(feed::next_seq(&transaction, TENANT, "others").await.unwrap(), 1);
    feed::publish(&transaction, TENANT, "others", 1, &RoaringBitmap::from([9])).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(feed::head(store.database.reader(), TENANT, "others").await.unwrap(), 1);
    let touched = feed::touched_after(store.database.reader(), TENANT, FEED, 0).await.unwrap();
    assert_eq!(touched, Touched { live: RoaringBitmap::from([1]), last: 3, ..Touched::default() });
}

async fn who_was_touched_in_bulk_is_told_apart_and_is_read_as_everybody_is(store: TestStore) {
    commit(&store.database, &[(1, b"live".to_vec())]).await.unwrap();
    let transaction = store.database.begin().await.unwrap();
    let seq = feed::next_seq(&transaction, TENANT, FEED).await.unwrap();
    records::write(&transaction, TENANT, vec![record(2, seq, b"bulk")]).await.unwrap();
    let (customers, traces) = (RoaringBitmap::from([2]), ["one".to_owned(), "another".to_owned()]);
    let news = News { customers: &customers, in_bulk: true, traces: &traces };
    feed::tell(&transaction, TENANT, FEED, seq, news).await.unwrap();
    transaction.commit().await.unwrap();
    let touched = feed::touched_after(store.database.reader(), TENANT, FEED, 0).await.unwrap();
    let (live, in_bulk) = (RoaringBitmap::from([1]), RoaringBitmap::from([2]));
    assert_eq!(touched, Touched { live, in_bulk, last: seq, traces: [Vec::new(), traces.to_vec()] });
    let page = feed::read(&store.database, TENANT, FEED, Cursor::Tail(0)).await.unwrap();
    assert_eq!(page.traces, traces);
    let all = [record(1, 1, b"live"), record(2, seq, b"bulk")];
    assert_eq!(drain(&store.database, Cursor::Tail(0)).await.0, all);
}

async fn a_page_has_the_traces_of_what_its_records_say_already(store: TestStore) {
    // More than go on a page with what is behind them.
    let everybody: Vec<_> = (1..=5_000).map(|customer| (customer, b"first".to_vec())).collect();
    let first = commit(&store.database, &everybody).await.unwrap();
    for (customer, trace) in [(9, "of-nine"), (7_777, "of-somebody-else")] {
        let transaction = store.database.begin().await.unwrap();
        let seq = feed::next_seq(&transaction, TENANT, FEED).await.unwrap();
        records::write(&transaction, TENANT, vec![record(customer, seq, b"then")]).await.unwrap();
        let (customers, traces) = (RoaringBitmap::from([customer]), [trace.to_owned()]);
        let news = News { customers: &customers, in_bulk: false, traces: &traces };
        feed::tell(&transaction, TENANT, FEED, seq, news).await.unwrap();
        transaction.commit().await.unwrap();
        let page = feed::read(&store.database, TENANT, FEED, Cursor::Tail(0)).await.unwrap();
        assert_eq!((page.records.len(), page.cursor), (5_000, Cursor::Tail(first)));
        assert!(page.traces.contains(&"of-nine".to_owned()), "{:?}", page.traces);
        let next = feed::read(&store.database, TENANT, FEED, page.cursor).await.unwrap();
        assert!(next.traces.contains(&trace.to_owned()), "{:?}", next.traces);
    }
}

async fn a_reader_of_nothing_new_stays_where_it_is(store: TestStore) {
    let empty = feed::begin(&store.database, TENANT, FEED).await.unwrap();
    assert_eq!(empty, Cursor::Snapshot { from: 0, after: 0 });
    assert_eq!(drain(&store.database, empty).await, (Vec::new(), Cursor::Tail(0)));
    let seq = commit(&store.database, &[(1, b"x".to_vec())]).await.unwrap();
    for _ in 0..3 {
        let page = feed::read(&store.database, TENANT, FEED, Cursor::Tail(seq)).await.unwrap();
        assert_eq!((page.records, page.cursor), (Vec::new(), Cursor::Tail(seq)));
    }
}

async fn customers_that_are_no_more_are_read_with_empty_bodies(store: TestStore) {
    commit(&store.database, &[(1, b"here".to_vec()), (2, b"gone soon".to_vec())]).await.unwrap();
    let before = feed::begin(&store.database, TENANT, FEED).await.unwrap();
    commit(&store.database, &[(2, Vec::new())]).await.unwrap();
    assert_eq!(drain(&store.database, Cursor::Tail(1)).await.0, [record(2, 2, b"")]);
    // A snapshot that is under way may have told of the customer: the removal must come in it or behind it.
    let mut follower = Follower::at(before);
    follower.follow(&store.database).await;
    assert_eq!(follower.known(), [record(1, 1, b"here"), record(2, 2, b"")]);
}

async fn a_reader_who_knows_nothing_is_told_of_nobody_who_is_no_more(store: TestStore) {
    let erased = Record::tombstone(CustomerId(3), 2, true);
    commit(&store.database, &[(1, b"here".to_vec()), (2, b"gone".to_vec()), (3, b"gone".to_vec())]).await.unwrap();
    let transaction = store.database.begin().await.unwrap();
    let seq = feed::next_seq(&transaction, TENANT, FEED).await.unwrap();
    let tombstones = vec![Record::tombstone(CustomerId(2), seq, false), erased.clone()];
    records::write(&transaction, TENANT, tombstones).await.unwrap();
    feed::publish(&transaction, TENANT, FEED, seq, &RoaringBitmap::from([2, 3])).await.unwrap();
    transaction.commit().await.unwrap();
    let start = feed::begin(&store.database, TENANT, FEED).await.unwrap();
    assert_eq!(drain(&store.database, start).await, (vec![record(1, 1, b"here")], Cursor::Tail(2)));
    // A reader who was told of them hears it, and which of them may come back.
    assert_eq!(drain(&store.database, Cursor::Tail(1)).await.0, [record(2, 2, b""), erased]);
    commit(&store.database, &[(2, b"here again".to_vec())]).await.unwrap();
    let start = feed::begin(&store.database, TENANT, FEED).await.unwrap();
    assert_eq!(drain(&store.database, start).await.0, [record(1, 1, b"here"), record(2, 3, b"here again")]);
}

/// Every page from a cursor to the end, each with the cursor behind it.
async fn pages(store: &TestStore, mut cursor: Cursor) -> Vec<(Vec<Record>, Cursor)> {
    let mut pages = Vec::new();
    loop {
        let page = feed::read(&store.database, TENANT, FEED, cursor).await.unwrap();
        if page.cursor == cursor {
            return pages;
        }
        cursor = page.cursor;
        pages.push((page.records, cursor));
    }
}

/// Commits `commits` times `size` customers of their own in one transaction.
async fn fill(store: &TestStore, first: u32, commits: u32, size: u32) {
    let transaction = store.database.begin().await.unwrap();
    for start in (0..commits).map(|number| first + number * size) {
        let customers: Vec<_> = (start..start + size).map(|customer| (customer, b"filled".to_vec())).collect();
        publish(&transaction, TENANT, &customers).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn a_cursor_goes_on_exactly_where_its_page_ended(store: TestStore) {
    fill(&store, 1, 6, 2_000).await;
    let begin = feed::begin(&store.database, TENANT, FEED).await.unwrap();
    fill(&store, 20_001, 300, 1).await;
    let whole = pages(&store, begin).await;
    assert!(whole.len() >= 6, "a snapshot and a tail of several pages each, not {} pages in all", whole.len());
    for (index, (_, cursor)) in whole.iter().enumerate() {
        assert_eq!(pages(&store, *cursor).await, whole[index + 1..]);
    }
    let snapshot = whole.iter().filter(|(_, cursor)| matches!(cursor, Cursor::Snapshot { .. }));
    let scanned: Vec<_> = snapshot.flat_map(|(records, _)| records.iter().map(|record| record.customer.0)).collect();
    let all: Vec<_> = (1..=12_000).chain(20_001..=20_300).collect();
    assert_eq!(scanned, all, "the snapshot has every customer once, in order");
    let tail = whole.iter().filter(|(_, cursor)| matches!(cursor, Cursor::Tail(_)));
    let told: Vec<_> = tail.flat_map(|(records, _)| records.iter().map(|record| record.customer.0)).collect();
    assert_eq!(told, (20_001..=20_300).collect::<Vec<_>>(), "the tail has what came behind the snapshot's place");
}

async fn pages_are_bounded_and_never_split_a_commit(store: TestStore) {
    fill(&store, 1, 5, 3_000).await;
    fill(&store, 20_001, 1, 7_000).await;
    fill(&store, 30_001, 600, 1).await;
    let mut told = RoaringBitmap::new();
    for (records, cursor) in pages(&store, Cursor::Tail(0)).await {
        assert!(records.len() < 5_000 + 7_000, "a page of {}", records.len());
        told.extend(records.iter().map(|record| record.customer.0));
        let Cursor::Tail(seq) = cursor else { panic!("a tail stays a tail") };
        let (rest, _) = logged(&store.database, seq)
            .await
            .unwrap()
            .into_iter()
            .fold((RoaringBitmap::new(), 0), |(all, n), page| (all | page, n + 1));
        assert!(
            told.is_disjoint(&rest) && told.len() + rest.len() == 22_600,
            "the page behind which {seq} is is whole"
        );
    }
    assert_eq!(told.len(), 22_600);
}

async fn a_page_is_the_last_where_nothing_is_behind_it(store: TestStore) {
    // Two pages end for their customers, and two for their commits.
    fill(&store, 1, 3, 3_000).await;
    fill(&store, 30_001, 600, 1).await;
    let (mut cursor, mut pages) = (Cursor::Tail(0), 0);
    loop {
        let page = feed::read(&store.database, TENANT, FEED, cursor).await.unwrap();
        let Cursor::Tail(seq) = page.cursor else { panic!("a tail stays a tail") };
        let is_behind = !logged(&store.database, seq).await.unwrap().is_empty();
        assert_eq!(page.is_last, !is_behind, "behind {seq}");
        (cursor, pages) = (page.cursor, pages + 1);
        if page.is_last {
            break;
        }
    }
    assert!(pages > 2, "{pages} pages");
    let snapshot = feed::begin(&store.database, TENANT, FEED).await.unwrap();
    assert!(!feed::read(&store.database, TENANT, FEED, snapshot).await.unwrap().is_last, "the tail is behind it");
}

async fn write(store: &TestStore, rows: Vec<Record>) {
    let transaction = store.database.begin().await.unwrap();
    records::write(&transaction, TENANT, rows).await.unwrap();
    transaction.commit().await.unwrap();
}

/// On a distributed database the log can be seen before the rows that it tells of.
async fn a_reader_waits_for_rows_that_are_older_than_the_log(store: TestStore) {
    let start = Cursor::Tail(1);
    commit(&store.database, &[(1, b"old".to_vec())]).await.unwrap();
    let transaction = store.database.begin().await.unwrap();
    let seq = feed::next_seq(&transaction, TENANT, FEED).await.unwrap();
    feed::publish(&transaction, TENANT, FEED, seq, &RoaringBitmap::from([1, 2])).await.unwrap();
    transaction.commit().await.unwrap();
    let (first, second) = (record(1, seq, b"new"), record(2, seq, b"first"));
    // One row is old and one is not there; then one is old; at last both are as new as the log.
    assert_eq!(drain(&store.database, start).await, (Vec::new(), start));
    write(&store, vec![second.clone()]).await;
    assert_eq!(drain(&store.database, start).await, (Vec::new(), start));
    write(&store, vec![first.clone()]).await;
    assert_eq!(drain(&store.database, start).await, (vec![first, second], Cursor::Tail(seq)));

    // One row is not there, and nothing is old.
    let transaction = store.database.begin().await.unwrap();
    let seq = feed::next_seq(&transaction, TENANT, FEED).await.unwrap();
    feed::publish(&transaction, TENANT, FEED, seq, &RoaringBitmap::from([3])).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(drain(&store.database, Cursor::Tail(seq - 1)).await, (Vec::new(), Cursor::Tail(seq - 1)));
    write(&store, vec![record(3, seq, b"late")]).await;
    assert_eq!(drain(&store.database, Cursor::Tail(seq - 1)).await.0, [record(3, seq, b"late")]);
}
