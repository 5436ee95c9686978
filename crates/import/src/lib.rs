//! Files into facts: a file and a mapping in, sorted [`Row`](quintile_proto::ingestion::Row)s and a report out.
//!
//! Nothing is sent from here, and no more than a bounded part of a file is ever in memory. It does not judge what the server judges:
//! a row that parses may still be refused.
//!
//! To add a fact kind: a file in `facts/`, a variant of [`facts::Fact`], its section in `IMPORTING.md`. To add a way to write a file:
//! a reader in `source/` and a variant of [`mapping::Format`]. To add a mapping to the binary: a file in `mappings/` and a line in
//! `mapping/bundled.rs`.

mod batch;
mod combine;
mod content;
mod error;
mod facts;
mod join;
pub mod mapping;
mod prepare;
mod record;
pub mod reject;
pub mod report;
mod sort;
mod source;
mod values;

pub use batch::{Batch, Batches, MAX_BATCH_BYTES, MAX_ROWS_PER_BATCH, ROWS_PER_BATCH};
pub use combine::{Combined, Place, Rows};
pub use content::stream_id;
pub use error::ImportError;
pub use mapping::{Mapping, bundled};
pub use prepare::{Input, Prepared, Preparing, Reading, lines_again, prepare};
pub use sort::{Entry, Sorted, Sorter};
