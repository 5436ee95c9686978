//! What all facts of a customer have in common.

use super::customer::Identity;
use super::{MAX_AHEAD_MICROS, Terms};
use prost::Message;
use prost_types::Timestamp;
use quintile_domain::names::{MAX_NAME_BYTES, optional_text, required_text};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::SourceIdentity;
use quintile_proto::types::ErrorReason;
use quintile_rpc::{ApiError, convert};
use quintile_store::idempotency::body_hash;

/// The most bytes of what was said.
const MAX_TEXT_BYTES: usize = 4_096;

/// Whose a fact is, how it is known again, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The customer.
    pub customer: Identity,
    /// The fact's id in the source.
    pub event_id: String,
    /// When.
    pub at: Instant,
    /// What tells this fact from another with the same id.
    pub body_hash: Vec<u8>,
}

impl Event {
    /// Checks what all facts have in common. `time` comes with the name of its field; `message` is what tells the fact from another with
    /// the same id: without what its caller may not read, or sending it again would be a question whether a guess is right.
    pub fn check(
        message: &impl Message,
        customer: Option<&SourceIdentity>,
        event_id: &str,
        (field, time): (&str, Option<&Timestamp>),
        terms: &Terms,
    ) -> Result<Self, ApiError> {
        let customer = Identity::check(customer, "customer")?;
        required_text(event_id, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("event_id", error))?;
        let at = convert::instant(time).map_err(|error| ApiError::invalid_time(field, error))?;
        if at > terms.now.plus_micros(MAX_AHEAD_MICROS) {
            return Err(ApiError::invalid(field, ErrorReason::InvalidTime, "must be at most 5 minutes ahead"));
        }
        let body_hash = body_hash(&message.encode_to_vec());
        Ok(Self { customer, event_id: event_id.to_owned(), at, body_hash })
    }
}

/// Checks a name of the source's own that may be left out.
pub fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    optional_text(name, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text(field, error))
}

/// Checks what was said: lines of text, if anything.
pub fn check_text(text: Option<&str>) -> Result<(), ApiError> {
    let Some(text) = text else { return Ok(()) };
    // People write over several lines, which names do not.
    let one_line = text.replace(['\n', '\r', '\t'], " ");
    required_text(&one_line, MAX_TEXT_BYTES).map_err(|error| ApiError::invalid_text("text", error))
}
