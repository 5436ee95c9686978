//! Checking feedback.

use super::Terms;
use super::event::{Event, check_name, check_text};
use quintile_proto::ingestion::{Feedback, FeedbackKind};
use quintile_rpc::ApiError;
use std::ops::RangeInclusive;

/// Feedback that is fit to be taken in.
#[derive(Clone, PartialEq)]
pub struct FeedbackRow {
    /// Whose it is, and when it was given.
    pub event: Event,
    /// The scale.
    pub kind: FeedbackKind,
    /// The score. `None`: not applicable.
    pub score: Option<i32>,
    /// Where. Empty: not known.
    pub channel: String,
    /// About what. Empty: the company.
    pub about: String,
    /// What was said.
    pub text: Option<String>,
}

impl std::fmt::Debug for FeedbackRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedbackRow").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl FeedbackRow {
    /// Checks feedback.
    pub fn check(feedback: &Feedback, terms: &Terms) -> Result<Self, ApiError> {
        let time = ("feedback_time", feedback.feedback_time.as_ref());
        let told_by = Feedback { text: None, ..feedback.clone() };
        let event = Event::check(&told_by, feedback.customer.as_ref(), &feedback.event_id, time, terms)?;
        // A number that no kind has reads as unspecified, and is refused like it.
        let kind = FeedbackKind::try_from(feedback.kind).unwrap_or_default();
        if kind == FeedbackKind::Unspecified {
            return Err(ApiError::invalid_field("kind", "must be one of the kinds"));
        }
        check_score(kind, feedback.score)?;
        check_name("channel", &feedback.channel)?;
        check_name("about", &feedback.about)?;
        check_text(feedback.text.as_deref())?;
        if kind == FeedbackKind::Comment && feedback.text.is_none() {
            return Err(ApiError::invalid_field("text", "is required of a comment"));
        }
        let (channel, about) = (feedback.channel.clone(), feedback.about.clone());
        Ok(Self { event, kind, score: feedback.score, channel, about, text: feedback.text.clone() })
    }
}

fn check_score(kind: FeedbackKind, score: Option<i32>) -> Result<(), ApiError> {
    let Some(score) = score else { return Ok(()) };
    let scale: RangeInclusive<i32> = match kind {
        FeedbackKind::Csat | FeedbackKind::Stars => 1..=5,
        FeedbackKind::Nps => 0..=10,
        FeedbackKind::Ces => 1..=7,
        FeedbackKind::Comment | FeedbackKind::Unspecified => {
            return Err(ApiError::invalid_field("score", "is not for comments"));
        }
    };
    if scale.contains(&score) {
        Ok(())
    } else {
        Err(ApiError::invalid_field("score", format!("must be {} to {}", scale.start(), scale.end())))
    }
}
