//! Files into facts, through the crate's public face.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod control_totals;
mod formats;
mod lines;
mod order_of_rows;

use quintile_import::report::Report;
use quintile_import::{ImportError, Input, Mapping, Prepared, Preparing, prepare};
use quintile_proto::ingestion::row::Fact;
use std::path::Path;

/// Reads a file or folder, with so much memory for sorting.
pub fn read(path: &Path, mapping: &str, memory_bytes: usize) -> Result<Prepared, ImportError> {
    let mapping = Mapping::parse(mapping)?;
    let temporary = tempfile::tempdir().unwrap();
    let options = Preparing {
        temporary: temporary.path(),
        memory_bytes,
        count_repeated: true,
        rejects: None,
        strict: false,
        progress: &mut |_| {},
    };
    prepare(&Input::find(path, &mapping)?, &mapping, options)
}

/// The facts of a file of this content, the line that each came from, and the report.
pub fn facts_of(content: &[u8], mapping: &str) -> (Vec<(u64, Fact)>, Report) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file.csv");
    std::fs::write(&file, content).unwrap();
    let mut prepared = read(&file, mapping, 4096).unwrap();
    let facts = prepared.rows.by_ref().map(|row| match row.unwrap() {
        (place, Ok(row)) => (place.line, row.fact.unwrap()),
        (place, Err(problem)) => panic!("line {}: {problem:?}", place.line),
    });
    let facts = facts.collect();
    prepared.report.facts = prepared.rows.into_facts();
    (facts, prepared.report)
}

/// The fault of a mapping with a file of this content.
pub fn fault_of(content: &[u8], mapping: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file.csv");
    std::fs::write(&file, content).unwrap();
    read(&file, mapping, 4096).err().unwrap().to_string()
}
