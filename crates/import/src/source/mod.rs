//! Readers of files: each makes [`Record`]s of lines, and holds one line or one page at a time; [`Ahead`] holds some thousand.

mod ahead;
mod blanks;
mod delimited;
mod parquet;

pub use ahead::Ahead;

use crate::error::ImportError;
use crate::mapping::{Format, Layout};
use crate::record::Record;
use std::path::Path;

/// The most bytes of a line.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How far a reader is, in units of its own: bytes or rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub done: u64,
    /// What there is in all.
    pub total: u64,
}

/// A file being read.
pub trait Source {
    /// The names of the columns, in the order of a record's fields.
    fn columns(&self) -> &[String];
    /// Reads the next line. `false`: there is none.
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError>;
    /// How far it is.
    fn progress(&self) -> Progress;
}

/// Opens a file by its layout. Without a format in the mapping, its name's end decides.
pub fn open(file: &Path, layout: &Layout) -> Result<Box<dyn Source + Send>, ImportError> {
    let by_name = || match file.extension() {
        Some(end) if end.eq_ignore_ascii_case("parquet") => Format::Parquet,
        _ => Format::Csv,
    };
    match layout.format.unwrap_or_else(by_name) {
        Format::Csv => Ok(Box::new(delimited::Delimited::open(file, layout)?)),
        Format::Blanks => Ok(Box::new(blanks::Blanks::open(file, layout)?)),
        Format::Parquet => Ok(Box::new(parquet::Parquet::open(file)?)),
    }
}

/// Adds text fields to a record; one that is not UTF-8 is the line's fault.
fn push_text(record: &mut Record, field: &[u8]) {
    let text = std::str::from_utf8(field).ok();
    if text.is_none() {
        record.fault = Some("is not UTF-8 text");
    }
    record.push(text);
}

/// Checks that a line has as many fields as there are columns.
fn check_width(record: &mut Record, columns: usize) {
    if record.fault.is_none() && record.len() != columns {
        record.fault = Some("has another number of fields than there are columns");
    }
}
