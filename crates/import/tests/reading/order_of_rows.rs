//! The order of rows and the bounds of batches, on which going on after an interruption depends.

use crate::read;
use prost::Message;
use quintile_import::{
    Batches, Input, MAX_BATCH_BYTES, MAX_ROWS_PER_BATCH, Mapping, ROWS_PER_BATCH, bundled, stream_id,
};
use quintile_proto::ingestion::Row;
use quintile_proto::ingestion::row::Fact;
use std::collections::HashSet;
use std::path::PathBuf;

/// The CDNOW log of the repository.
fn cdnow() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/cdnow/CDNOW_master.txt")
}

/// The id of an order's customer.
fn customer(row: &Row) -> String {
    let Some(Fact::Order(order)) = &row.fact else { panic!("{row:?}") };
    order.customer.as_ref().unwrap().id.clone().unwrap()
}

#[test]
fn batches_are_the_same_whatever_fits_into_memory() {
    let batches = |memory_bytes| {
        let prepared = read(&cdnow(), bundled("cdnow").unwrap(), memory_bytes).unwrap();
        let batches = Batches::new(prepared.rows).map(|batch| batch.unwrap());
        batches.map(|batch| (batch.offset, batch.rows)).collect::<Vec<_>>()
    };
    let in_memory = batches(usize::MAX);
    assert_eq!(in_memory.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 69_659);
    assert!(in_memory.iter().zip(0..).all(|((offset, _), expected)| *offset == expected));
    for (_, rows) in &in_memory {
        let bytes: usize = rows.iter().map(Message::encoded_len).sum();
        assert!(rows.len() <= MAX_ROWS_PER_BATCH && bytes <= MAX_BATCH_BYTES);
    }
    let customers = in_memory.iter().map(|(_, rows)| rows.iter().map(customer).collect::<HashSet<_>>());
    let customers: Vec<_> = customers.collect();
    assert!(customers.is_sorted_by(HashSet::is_disjoint), "a history is cut in two");
    assert!(in_memory.len() > 20 && in_memory.iter().rev().skip(1).all(|(_, rows)| rows.len() >= ROWS_PER_BATCH));
    assert!(in_memory == batches(100_000), "sorted runs come to another order");
}

#[test]
fn every_line_of_cdnow_is_a_purchase_of_its_own_known_by_its_line() {
    let text = std::fs::read_to_string(cdnow()).unwrap();
    // By hand: customer, then line.
    let mut expected: Vec<_> = text
        .lines()
        .enumerate()
        .skip(1)
        .map(|(index, line)| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let (units, cents) = fields[3].split_once('.').unwrap();
            let cents = units.parse::<i64>().unwrap() * 100 + format!("{cents:0<2}").parse::<i64>().unwrap();
            (fields[0].to_owned(), index + 1, fields[2].parse::<i64>().unwrap(), cents)
        })
        .collect();
    expected.sort();
    let prepared = read(&cdnow(), bundled("cdnow").unwrap(), usize::MAX).unwrap();
    let orders = Batches::new(prepared.rows).flat_map(|batch| batch.unwrap().rows).map(|row| match row.fact.unwrap() {
        Fact::Order(order) => order,
        other => panic!("{other:?}"),
    });
    let mut count = 0;
    for (order, (customer, line, discs, cents)) in orders.zip(&expected) {
        let amount = order.amount.clone().unwrap();
        assert_eq!(order.customer.unwrap().id.as_ref(), Some(customer));
        assert_eq!(order.event_id, format!("line-{line}"));
        assert_eq!(amount.units * 100 + i64::from(amount.nanos / 10_000_000), *cents);
        assert_eq!((order.channel.as_str(), order.lines.len()), ("online", 1));
        let only = &order.lines[0];
        assert_eq!((only.product.as_str(), only.category.as_str(), only.quantity), ("CD", "music", *discs));
        assert_eq!(only.amount.as_ref(), Some(&amount));
        count += 1;
    }
    assert_eq!((count, expected.len()), (69_659, 69_659));
}

#[test]
fn large_rows_end_a_batch_before_it_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.csv");
    let text = "x".repeat(900_000);
    let lines: Vec<_> = (0..12).map(|id| format!("{id},{text}")).collect();
    std::fs::write(&file, format!("id,name\n{}\n", lines.join("\n"))).unwrap();
    let mapping = "source = \"s\"\n[[table]]\ncustomer_id = \"id\"\n[[table.customer]]\ndisplay_name = \"name\"\n";
    let prepared = read(&file, mapping, 1_000_000).unwrap();
    let sizes: Vec<_> = Batches::new(prepared.rows).map(|batch| batch.unwrap().rows.len()).collect();
    assert_eq!(sizes, [4, 4, 4]);
}

#[test]
fn a_stream_is_known_by_the_content_and_the_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.csv");
    let id = |content: &str, mapping: &str| {
        std::fs::write(&file, content).unwrap();
        let mapping = Mapping::parse(mapping).unwrap();
        stream_id(&Input::find(&file, &mapping).unwrap(), &mapping).unwrap()
    };
    let mapping = bundled("online-retail").unwrap();
    let first = id("a,b\n", mapping);
    assert_eq!(first, id("a,b\n", mapping));
    assert_ne!(first, id("a,c\n", mapping));
    assert_ne!(first, id("a,b\n", bundled("cdnow").unwrap()));
}
