//! Readers of a feed beside its writers: whatever the interleaving, they end up with every customer's last state.

use quintile_store::Database;
use quintile_store::feed::{self, Cursor};
use quintile_store::records::{self, Record};
use quintile_tests::{FEED, TENANT, TestStore, commit, on_both_databases};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

on_both_databases! {
    readers_that_run_beside_a_writer_end_with_every_last_state,
    readers_in_any_interleaving_end_with_every_last_state,
}

/// Customers at the beginning: a snapshot of three pages.
const POPULATION: u32 = 11_000;
/// Customers that there may be at the end.
const AT_MOST: u32 = 12_000;

/// A reader that keeps what it was told, as the next service of the chain does.
pub struct Follower {
    cursor: Cursor,
    known: BTreeMap<u32, Record>,
}

impl Follower {
    pub fn at(cursor: Cursor) -> Self {
        Self { cursor, known: BTreeMap::new() }
    }

    pub async fn begin(database: &Database) -> Self {
        Self::at(feed::begin(database, TENANT, FEED).await.unwrap())
    }

    pub fn known(&self) -> Vec<Record> {
        self.known.values().cloned().collect()
    }

    /// Reads one page. Returns whether there was something new.
    pub async fn read(&mut self, database: &Database) -> bool {
        let page = feed::read(database, TENANT, FEED, self.cursor).await.unwrap();
        for record in page.records {
            let before = self.known.insert(record.customer.0, record.clone());
            assert!(before.is_none_or(|before| before.seq <= record.seq), "{record:?} came behind what follows it");
        }
        let moved = page.cursor != self.cursor;
        self.cursor = page.cursor;
        moved
    }

    /// Reads to the end.
    pub async fn follow(&mut self, database: &Database) {
        while self.read(database).await {}
    }
}

/// All records from a cursor to the end, as they come, and the cursor at the end.
pub async fn drain(database: &Database, mut cursor: Cursor) -> (Vec<Record>, Cursor) {
    let mut told = Vec::new();
    loop {
        let page = feed::read(database, TENANT, FEED, cursor).await.unwrap();
        told.extend(page.records);
        if page.cursor == cursor {
            return (told, cursor);
        }
        cursor = page.cursor;
    }
}

/// The records of all customers who are there.
async fn all(database: &Database) -> Vec<Record> {
    let records = records::scan(database.reader(), TENANT, 0, u64::from(AT_MOST) + 1).await.unwrap();
    assert!(records.len() as u32 <= AT_MOST);
    assert!(records.iter().any(Record::is_tombstone), "nobody was removed: this run tells less than it should");
    present(records)
}

/// Those who are there. Whether a reader was told that somebody else is not depends on when it began.
fn present(records: Vec<Record>) -> Vec<Record> {
    records.into_iter().filter(|record| !record.is_tombstone()).collect()
}

async fn populate(database: &Database) {
    let customers: Vec<_> = (1..=POPULATION).map(|customer| (customer, b"at the beginning".to_vec())).collect();
    commit(database, &customers).await.unwrap();
}

/// Changes some customers, adds some, removes some.
async fn change(database: &Database, rng: &mut StdRng) {
    let many = rng.random_range(1..200);
    let changed: BTreeMap<_, _> = (0..many)
        .map(|_| {
            let body = if rng.random_ratio(1, 10) { Vec::new() } else { rng.random::<[u8; 8]>().to_vec() };
            (rng.random_range(1..=AT_MOST), body)
        })
        .collect();
    commit(database, &changed.into_iter().collect::<Vec<_>>()).await.unwrap();
}

async fn readers_that_run_beside_a_writer_end_with_every_last_state(store: TestStore) {
    populate(&store.database).await;
    let writer_done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    let mut rng = StdRng::seed_from_u64(1);
    for number in 0..120 {
        if number % 30 == 0 {
            let (database, done) = (store.open_again().await, writer_done.clone());
            readers.push(tokio::spawn(async move {
                let mut follower = Follower::begin(&database).await;
                loop {
                    let last_round = done.load(Ordering::Acquire);
                    follower.follow(&database).await;
                    if last_round {
                        return present(follower.known());
                    }
                }
            }));
        }
        change(&store.database, &mut rng).await;
    }
    writer_done.store(true, Ordering::Release);
    let expected = all(&store.database).await;
    for reader in readers {
        assert!(reader.await.unwrap() == expected, "a reader's customers are not those that are there");
    }
}

/// The same, one step after the other: every run takes the same steps, and a failure can be gone through again.
async fn readers_in_any_interleaving_end_with_every_last_state(store: TestStore) {
    populate(&store.database).await;
    let mut rng = StdRng::seed_from_u64(2);
    let mut followers = Vec::new();
    for _ in 0..4 {
        followers.push(Follower::begin(&store.database).await);
    }
    let mut begun_anew = 0;
    for _ in 0..120 {
        match rng.random_range(0..=followers.len()) {
            0 => change(&store.database, &mut rng).await,
            chosen => {
                let follower = &mut followers[chosen - 1];
                if !follower.read(&store.database).await && rng.random_ratio(1, 2) {
                    assert!(
                        present(follower.known()) == all(&store.database).await,
                        "a reader that is at the end knows all"
                    );
                    *follower = Follower::begin(&store.database).await;
                    begun_anew += 1;
                }
            }
        }
    }
    assert!(begun_anew > 0, "the steps cover readers that come to the end between changes");
    let expected = all(&store.database).await;
    for mut follower in followers {
        follower.follow(&store.database).await;
        assert!(present(follower.known()) == expected, "a reader's customers are not those that are there");
    }
}
