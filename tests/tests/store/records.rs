//! Customer records: what is written is read, and the bounds of what is asked for.

use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_store::Database;
use quintile_store::records::{self, Record};
use quintile_tests::{TENANT, TestStore, on_both_databases, record};

on_both_databases! {
    a_record_comes_back_as_it_was_written,
    a_record_that_is_written_again_is_replaced_as_a_whole,
    the_records_asked_for_come_in_the_order_of_customers_without_those_that_are_not_there,
    a_scan_goes_on_behind_a_customer_and_takes_no_more_than_its_limit,
    a_record_is_due_from_its_instant_on,
    those_that_were_due_first_come_first,
    a_count_is_of_the_rows_that_are_there,
}

async fn write(database: &Database, records: Vec<Record>) {
    let transaction = database.begin().await.unwrap();
    records::write(&transaction, TENANT, records).await.unwrap();
    transaction.commit().await.unwrap();
}

fn due_at(customer: u32, micros: i64) -> Record {
    Record { next_change: Some(Instant::from_micros(micros)), ..record(customer, 1, b"due") }
}

fn customers(records: &[Record]) -> Vec<u32> {
    records.iter().map(|record| record.customer.0).collect()
}

async fn a_record_comes_back_as_it_was_written(store: TestStore) {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let records = [
        record(1, 0, b""),
        Record { next_change: Some(Instant::from_micros(0)), ..record(2, i64::MAX, &every_byte) },
        Record { next_change: Some(Instant::from_micros(i64::MAX)), ..record(3, 1, &every_byte.repeat(300)) },
        Record { next_change: Some(Instant::from_micros(-1)), ..record(u32::MAX, 1, b"the last") },
    ];
    // Written in the wrong order on purpose: sorting them is the chassis' business.
    write(&store.database, records.iter().rev().cloned().collect()).await;
    for expected in &records {
        let read = records::get(&store.database, TENANT, expected.customer).await.unwrap();
        assert_eq!(read.as_ref(), Some(expected));
    }
    assert_eq!(records::scan(store.database.reader(), TENANT, 0, 10).await.unwrap(), records);
    assert_eq!(records::get(&store.database, TENANT, CustomerId(4)).await.unwrap(), None);
}

async fn a_record_that_is_written_again_is_replaced_as_a_whole(store: TestStore) {
    write(&store.database, vec![due_at(1, 5), due_at(2, 5)]).await;
    let replaced = record(1, 9, b"");
    write(&store.database, vec![replaced.clone(), record(3, 9, b"new")]).await;
    write(&store.database, vec![]).await;
    let expected = [replaced, due_at(2, 5), record(3, 9, b"new")];
    assert_eq!(records::scan(store.database.reader(), TENANT, 0, 10).await.unwrap(), expected);
}

async fn the_records_asked_for_come_in_the_order_of_customers_without_those_that_are_not_there(store: TestStore) {
    write(
        &store.database,
        (1..=1_300).filter(|number| number % 7 != 0).map(|number| record(number, 1, b"x")).collect(),
    )
    .await;
    for asked in [0, 1, 499, 500, 501, 1_000, 1_001, 1_300] {
        let keys: Vec<_> = (1..=asked).map(CustomerId).collect();
        let found = records::load(store.database.reader(), TENANT, &keys).await.unwrap();
        assert_eq!(customers(&found), (1..=asked).filter(|number| number % 7 != 0).collect::<Vec<_>>(), "{asked} keys");
    }
    let found = records::load(store.database.reader(), TENANT, &[9, 7, 3, u32::MAX].map(CustomerId)).await.unwrap();
    assert_eq!(customers(&found), [3, 9]);
}

async fn a_scan_goes_on_behind_a_customer_and_takes_no_more_than_its_limit(store: TestStore) {
    write(&store.database, [2, 4, 6, u32::MAX].map(|customer| record(customer, 1, b"")).to_vec()).await;
    let table: [(u32, u64, &[u32]); 8] = [
        (0, 10, &[2, 4, 6, u32::MAX]),
        (1, 10, &[2, 4, 6, u32::MAX]),
        (2, 10, &[4, 6, u32::MAX]),
        (3, 2, &[4, 6]),
        (0, 3, &[2, 4, 6]),
        (6, 1, &[u32::MAX]),
        (u32::MAX - 1, 10, &[u32::MAX]),
        (u32::MAX, 10, &[]),
    ];
    for (after, limit, expected) in table {
        let found = records::scan(store.database.reader(), TENANT, after, limit).await.unwrap();
        assert_eq!(customers(&found), expected, "behind {after}, at most {limit}");
    }
}

async fn a_record_is_due_from_its_instant_on(store: TestStore) {
    write(&store.database, vec![due_at(1, 1_000), record(2, 1, b"never"), due_at(3, 0), due_at(4, -1)]).await;
    let table: [(i64, &[u32]); 7] = [
        (i64::MIN, &[]),
        (-2, &[]),
        (-1, &[4]),
        (0, &[4, 3]),
        (999, &[4, 3]),
        (1_000, &[4, 3, 1]),
        (i64::MAX, &[4, 3, 1]),
    ];
    for (now, expected) in table {
        let due = records::due(store.database.reader(), TENANT, Instant::from_micros(now), 10).await.unwrap();
        assert_eq!(customers(&due), expected, "at {now}");
    }
}

async fn those_that_were_due_first_come_first(store: TestStore) {
    write(&store.database, (1..=50).map(|customer| due_at(customer, 1_000 - i64::from(customer))).collect()).await;
    let now = Instant::from_micros(2_000);
    let due = records::due(store.database.reader(), TENANT, now, 3).await.unwrap();
    assert_eq!(customers(&due), [50, 49, 48]);
    // A worker goes through all of them by settling what it is given.
    let mut rounds = 0;
    loop {
        let transaction = store.database.begin().await.unwrap();
        let due = records::due(&transaction, TENANT, now, 20).await.unwrap();
        if due.is_empty() {
            break;
        }
        let settled = due.into_iter().map(|record| Record { next_change: None, ..record }).collect();
        records::write(&transaction, TENANT, settled).await.unwrap();
        transaction.commit().await.unwrap();
        rounds += 1;
    }
    assert_eq!(rounds, 3);
}

async fn a_count_is_of_the_rows_that_are_there(store: TestStore) {
    assert_eq!(records::count(&store.database, TENANT).await.unwrap(), 0);
    write(&store.database, (1..=300).map(|customer| record(customer, 1, b"x")).collect()).await;
    assert_eq!(records::count(&store.database, TENANT).await.unwrap(), 300);
    write(&store.database, (250..=301).map(|customer| record(customer, 2, b"y")).collect()).await;
    assert_eq!(records::count(&store.database, TENANT).await.unwrap(), 301);
}
