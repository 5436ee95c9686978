//! Rows into batches. Where a batch ends depends on the rows alone, so that an offset means the same after an interruption.

use crate::combine::{Place, Rows};
use crate::error::ImportError;
use crate::reject::Problem;
use prost::Message;
use quintile_proto::ingestion::Row;

/// The rows of a batch: few enough that an interruption costs little, enough that the server has no need to hurry. A batch goes on to the end of a
/// customer, so that nobody is seen with half of a history.
pub const ROWS_PER_BATCH: usize = 2_000;
/// The most rows of a batch: whoever has more is in several.
pub const MAX_ROWS_PER_BATCH: usize = 5 * ROWS_PER_BATCH;
/// The most encoded bytes of a batch's rows; half of what the contract allows.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// What a row costs in a batch besides itself.
const FRAMING_BYTES: usize = 8;

/// A batch of a stream.
#[derive(Debug, Default)]
pub struct Batch {
    /// Its number in the stream, from 0.
    pub offset: i64,
    /// Its rows.
    pub rows: Vec<Row>,
    /// Where each row came from.
    pub places: Vec<Place>,
    /// Lines on the way to this batch that are no row.
    pub rejected: Vec<(Place, Problem)>,
    /// How many of the sorted facts are done with this batch.
    pub done: u64,
}

/// The batches of rows.
pub struct Batches {
    rows: Rows,
    held: Option<(Place, Row)>,
    next_offset: i64,
}

impl Batches {
    /// The batches of rows.
    pub fn new(rows: Rows) -> Self {
        Self { rows, held: None, next_offset: 0 }
    }

    /// The rows that are left.
    pub fn into_rows(self) -> Rows {
        self.rows
    }

    fn advance(&mut self) -> Result<Option<Batch>, ImportError> {
        let (mut batch, mut bytes) = (Batch { offset: self.next_offset, ..Batch::default() }, 0);
        loop {
            let (place, row) = match self.held.take() {
                Some(held) => held,
                None => match self.rows.next().transpose()? {
                    None => break,
                    Some((place, Ok(row))) => (place, row),
                    Some((place, Err(problem))) => {
                        batch.rejected.push((place, problem));
                        continue;
                    }
                },
            };
            let row_bytes = row.encoded_len() + FRAMING_BYTES;
            let is_full = batch.rows.len() >= ROWS_PER_BATCH && self.rows.begins_customer();
            if is_full
                || batch.rows.len() == MAX_ROWS_PER_BATCH
                || (bytes + row_bytes > MAX_BATCH_BYTES && !batch.rows.is_empty())
            {
                self.held = Some((place, row));
                break;
            }
            bytes += row_bytes;
            batch.rows.push(row);
            batch.places.push(place);
        }
        batch.done = self.rows.progress().0;
        if batch.rows.is_empty() && batch.rejected.is_empty() {
            return Ok(None);
        }
        self.next_offset += i64::from(!batch.rows.is_empty());
        Ok(Some(batch))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
