//! Bulk writes: every type, every size of batch, and what becomes of rows that are there.

use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{Database, Result};
use quintile_tests::{OPTIMISTIC_FUNCTION, TestStore, VARIETY, on_both_databases};
use sea_orm::{ConnectionTrait, Statement};

on_both_databases! {
    every_value_comes_back_as_it_was_in_batches_of_every_size,
    an_empty_batch_writes_nothing,
    a_batch_that_keeps_adds_the_new_rows_and_leaves_the_others,
    of_two_rows_with_one_key_the_first_is_kept,
    a_batch_that_replaces_takes_the_named_columns_alone,
    a_batch_that_breaks_a_rule_writes_nothing_at_all,
    a_batch_that_expects_nobody_adds_its_rows_or_none,
}

/// Both ways of keeping what is there.
const KEEPING: [Target; 2] =
    [VARIETY, Target { on_conflict: OnConflict::KeepOptimistically(OPTIMISTIC_FUNCTION), ..VARIETY }];
const EXPECTING_NOBODY: Target = Target { on_conflict: OnConflict::Never, ..VARIETY };
const REPLACING: Target = Target { on_conflict: OnConflict::Replace(&["plain_text", "nullable_big_int"]), ..VARIETY };

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    tenant: i32,
    id: i64,
    nullable_big_int: Option<i64>,
    plain_text: String,
    plain_bytes: Vec<u8>,
    plain_int: i32,
    plain_big_int: i64,
}

/// A row whose values go through all the awkward ones, in another combination for every number.
fn awkward(number: usize) -> Row {
    let big_ints = [i64::MAX, 0, i64::MIN, -1, 1 << 53, (1 << 53) + 1];
    let nullable = [Some(i64::MAX), None, Some(0), Some(i64::MIN), Some(-1)];
    let texts = [
        "",
        "plain",
        "Zoë Ünïcödé",
        "深圳市 顺丰",
        "😀🏳️‍🌈",
        "quote ' \" \\ {a,b} NULL",
        "tab\tnew\nline\r ",
        "NULL",
        "%_$1?",
    ];
    let bytes: [&[u8]; 7] = [b"", &[0], &[0, 0xff, 0], b"\\x00", &[0x80, 0xfe], "ü".as_bytes(), &[b'\''; 300]];
    let ints = [i32::MIN, -1, 0, 1, i32::MAX];
    Row {
        tenant: 1,
        id: [i64::MIN, i64::MAX].get(number).copied().unwrap_or(number as i64),
        nullable_big_int: nullable[number % nullable.len()],
        plain_text: texts[number % texts.len()].to_owned(),
        plain_bytes: bytes[number % bytes.len()].to_vec(),
        plain_int: ints[number / 2 % ints.len()],
        plain_big_int: big_ints[number % big_ints.len()],
    }
}

fn columns(rows: &[Row]) -> Vec<Column> {
    vec![
        Column::Int(rows.iter().map(|row| row.tenant).collect()),
        Column::BigInt(rows.iter().map(|row| row.id).collect()),
        Column::NullableBigInt(rows.iter().map(|row| row.nullable_big_int).collect()),
        Column::Text(rows.iter().map(|row| row.plain_text.clone()).collect()),
        Column::Bytes(rows.iter().map(|row| row.plain_bytes.clone()).collect()),
        Column::Int(rows.iter().map(|row| row.plain_int).collect()),
        Column::BigInt(rows.iter().map(|row| row.plain_big_int).collect()),
    ]
}

async fn write(database: &Database, target: Target, rows: &[Row]) -> Result<u64> {
    let transaction = database.begin().await?;
    let written = target.write(&transaction, columns(rows)).await?;
    transaction.commit().await?;
    Ok(written)
}

async fn all(database: &Database) -> Vec<Row> {
    let query = Statement::from_string(database.backend(), "SELECT * FROM variety ORDER BY tenant_id, id");
    let rows = database.reader().query_all_raw(query).await.unwrap();
    let read = rows.iter().map(|row| Row {
        tenant: row.try_get("", "tenant_id").unwrap(),
        id: row.try_get("", "id").unwrap(),
        nullable_big_int: row.try_get("", "nullable_big_int").unwrap(),
        plain_text: row.try_get("", "plain_text").unwrap(),
        plain_bytes: row.try_get("", "plain_bytes").unwrap(),
        plain_int: row.try_get("", "plain_int").unwrap(),
        plain_big_int: row.try_get("", "plain_big_int").unwrap(),
    });
    read.collect()
}

async fn clear(database: &Database) {
    database.writer().execute_unprepared("DELETE FROM variety").await.unwrap();
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable_by_key(|row| (row.tenant, row.id));
    rows
}

async fn every_value_comes_back_as_it_was_in_batches_of_every_size(store: TestStore) {
    for target in [KEEPING[0], KEEPING[1], EXPECTING_NOBODY] {
        clear(&store.database).await;
        let mut expected = Vec::new();
        for (tenant, size) in (1..).zip([1, 2, 127, 128, 129, 255, 256, 257, 499, 500, 1000]) {
            let rows: Vec<_> = (0..size).map(|number| Row { tenant, ..awkward(number) }).collect();
            assert_eq!(write(&store.database, target, &rows).await.unwrap(), size as u64, "{size} rows");
            expected.extend(rows);
            assert_eq!(all(&store.database).await, sorted(expected.clone()), "{size} rows");
        }
    }
}

async fn an_empty_batch_writes_nothing(store: TestStore) {
    for target in [KEEPING[0], KEEPING[1], REPLACING] {
        assert_eq!(write(&store.database, target, &[]).await.unwrap(), 0);
    }
    assert_eq!(all(&store.database).await, []);
}

async fn a_batch_that_keeps_adds_the_new_rows_and_leaves_the_others(store: TestStore) {
    let before: Vec<_> =
        (0..200).map(|number| Row { plain_text: "before".to_owned(), ..awkward(number * 2) }).collect();
    let after: Vec<_> = (0..300).map(awkward).collect();
    let known: Vec<_> = before.iter().map(|row| row.id).collect();
    let new: Vec<_> = after.iter().filter(|row| !known.contains(&row.id)).cloned().collect();
    for target in KEEPING {
        clear(&store.database).await;
        assert_eq!(write(&store.database, target, &before).await.unwrap(), 200);
        assert_eq!(write(&store.database, target, &after).await.unwrap(), new.len() as u64);
        assert_eq!(all(&store.database).await, sorted([before.clone(), new.clone()].concat()));
        assert_eq!(write(&store.database, target, &after).await.unwrap(), 0);
    }
}

async fn of_two_rows_with_one_key_the_first_is_kept(store: TestStore) {
    let first = awkward(5);
    let second = Row { plain_text: "second".to_owned(), ..first.clone() };
    let many = [vec![first.clone()], vec![second; 200]].concat();
    for target in KEEPING {
        clear(&store.database).await;
        assert_eq!(write(&store.database, target, &many).await.unwrap(), 1);
        assert_eq!(all(&store.database).await, std::slice::from_ref(&first));
    }
}

async fn a_batch_that_replaces_takes_the_named_columns_alone(store: TestStore) {
    let before: Vec<_> = (0..150).map(awkward).collect();
    let after: Vec<_> = (0..300).map(|number| Row { id: awkward(number).id, ..awkward(number + 1_001) }).collect();
    assert_eq!(write(&store.database, REPLACING, &before).await.unwrap(), 150);
    assert_eq!(write(&store.database, REPLACING, &after).await.unwrap(), 300);
    let merged = before.iter().zip(&after).map(|(before, after)| Row {
        plain_text: after.plain_text.clone(),
        nullable_big_int: after.nullable_big_int,
        ..before.clone()
    });
    let expected: Vec<_> = merged.chain(after[150..].iter().cloned()).collect();
    assert_eq!(all(&store.database).await, sorted(expected));
}

async fn a_batch_that_breaks_a_rule_writes_nothing_at_all(store: TestStore) {
    let rows: Vec<_> = (0..200).map(awkward).collect();
    let mut broken = columns(&rows);
    // The last row alone breaks the table's rule that there is a number.
    let numbers = rows.iter().map(|row| (row.id != 199).then_some(1));
    broken[6] = Column::NullableBigInt(numbers.collect());
    let transaction = store.database.begin().await.unwrap();
    assert!(VARIETY.write(&transaction, broken).await.is_err());
    drop(transaction);
    assert_eq!(all(&store.database).await, []);
}

async fn a_batch_that_expects_nobody_adds_its_rows_or_none(store: TestStore) {
    for count in [100, 1_000] {
        clear(&store.database).await;
        let rows: Vec<_> = (0..2 * count).map(awkward).collect();
        let (first, second) = rows.split_at(count);
        assert_eq!(write(&store.database, EXPECTING_NOBODY, first).await.unwrap(), count as u64);
        assert!(write(&store.database, EXPECTING_NOBODY, &rows[count - 1..]).await.is_err());
        assert_eq!(all(&store.database).await, sorted(first.to_vec()));
        assert_eq!(write(&store.database, EXPECTING_NOBODY, second).await.unwrap(), count as u64);
        assert_eq!(all(&store.database).await, sorted(rows));
    }
}
