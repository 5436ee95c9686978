//! A batch: what came, how it is known again, and what becomes of it.

use crate::intake::Fact;
use quintile_proto::ingestion::{IngestResponse, Reject, Row};

/// How a batch is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchId {
    /// By its place in a stream.
    Stream {
        /// The client's name for the stream.
        stream_id: String,
        /// The batch's number in it.
        offset: i64,
    },
    /// By a request id.
    Request {
        /// The client's id.
        request_id: String,
        /// The encoded rows.
        body: Vec<u8>,
    },
    /// By the reject that its one row was.
    Reject {
        /// The reject's number.
        reject_id: i64,
    },
}

impl BatchId {
    /// The number of the batch that comes next. Only batches of streams have one behind them.
    pub fn next_offset(&self) -> i64 {
        match self {
            Self::Stream { offset, .. } => offset + 1,
            Self::Request { .. } | Self::Reject { .. } => 1,
        }
    }
}

/// A checked batch.
pub struct Batch {
    /// How it is known again.
    pub id: BatchId,
    /// All its rows, as they came.
    pub rows: Vec<Row>,
    /// What the rows say that are fit, with their places.
    pub facts: Vec<(usize, Fact)>,
    /// Why the others are not.
    pub rejects: Vec<Reject>,
    /// Whoever brings them does not read in clear what they say of people, and so is not told whether that was known: a batch would else
    /// be a question whether a guess is right.
    pub blind: bool,
    /// The trace of the call that brings them. `None`: it is not sampled.
    pub trace: Option<String>,
}

impl Batch {
    /// How many rows it has.
    pub fn size(&self) -> usize {
        self.rows.len()
    }
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It is on disk, now or since long.
    Acknowledged(IngestResponse),
    /// It skips ahead in its stream: nothing of it was taken in.
    Gap {
        /// The batch that the stream expects.
        expected: i64,
    },
    /// Its request id came before with another body.
    Conflict,
    /// It is a reject that is not there any more.
    Gone,
}

/// Whether a batch came before.
pub enum Seen {
    /// It did not.
    Never,
    /// It did; taking it in again tells what it is answered.
    Before,
    /// It is not to be taken in.
    Settled(Outcome),
}
