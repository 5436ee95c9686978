//! The facts of one batch, and what became of them.

use crate::intake::{self, FeedbackRow, InteractionRow, OrderRow, RateRow, RefundRow, SpendRow};
use crate::store::facts::Written;
use crate::store::identities::Owner;
use quintile_proto::ingestion::Reject;
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;

/// The facts of a batch by kind, with their rows.
#[derive(Default)]
pub struct Kinds {
    /// The orders, with their owners.
    pub orders: Vec<(usize, (Owner, OrderRow))>,
    /// The refunds.
    pub refunds: Vec<(usize, (Owner, RefundRow))>,
    /// The interactions.
    pub interactions: Vec<(usize, (Owner, InteractionRow))>,
    /// The feedback.
    pub feedback: Vec<(usize, (Owner, FeedbackRow))>,
    /// The spend.
    pub spend: Vec<(usize, SpendRow)>,
    /// The exchange rates.
    pub rates: Vec<RateRow>,
}

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
