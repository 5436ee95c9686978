//! What became of the rows of one batch.

use crate::intake;
use crate::store::facts::Written;
use quintile_proto::ingestion::Reject;
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;

/// What became of the rows of a batch so far.
#[derive(Default)]
pub struct Tally {
    /// Rows that were new.
    pub applied: usize,
    /// Rows that were there, the same.
    pub duplicates: usize,
    /// Rows that were refused.
    pub rejects: Vec<Reject>,
}

impl Tally {
    /// Adds what became of facts of one kind that came in these rows.
    pub fn add(&mut self, written: Written, rows: &[usize], kind: &str) {
        self.applied += written.applied;
        self.duplicates += written.duplicates;
        let conflict =
            ApiError::failed_precondition(ErrorReason::BodyConflict, "the event id came before with another body");
        let conflict = conflict.within(&format!("{kind}.event_id"));
        self.rejects.extend(written.conflicts.into_iter().map(|place| intake::reject(rows[place], &conflict)));
    }
}
