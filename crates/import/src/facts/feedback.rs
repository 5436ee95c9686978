//! Feedback.

use super::{Word, needed, needed_text, one_line, text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Number, Text, Time};
use crate::reject::{Problem, optional, required};
use quintile_proto::ingestion::{Feedback, FeedbackKind, SourceIdentity};
use quintile_rpc::convert;

/// Where the fields of feedback come from.
#[derive(Clone, Debug)]
pub struct Fields {
    event_id: Text,
    feedback_time: Time,
    kind: Word,
    score: Option<Number>,
    channel: Option<Text>,
    about: Option<Text>,
    text: Option<Text>,
}

impl Fields {
    /// Reads them.
    pub fn read(keys: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let event_id = Text::read(keys, "event_id", context)?;
        let feedback_time = Time::read(keys, "feedback_time", context)?;
        let kind = |name: &str| FeedbackKind::from_str_name(name).map(i32::from);
        let kind = Word::read(keys, "kind", context, "FEEDBACK_KIND_", kind)?;
        Ok(Self {
            event_id: needed(keys, "event_id", event_id)?,
            feedback_time: needed(keys, "feedback_time", feedback_time)?,
            kind: needed(keys, "kind", kind)?,
            score: Number::read(keys, "score", context)?,
            channel: Text::read(keys, "channel", context)?,
            about: Text::read(keys, "about", context)?,
            text: Text::read(keys, "text", context)?,
        })
    }

    /// The feedback of a line.
    pub fn row(&self, line: Line, customer: SourceIdentity) -> Result<Feedback, Problem> {
        let at = required("feedback.feedback_time", self.feedback_time.instant_of(line))?;
        let missing = Problem::new("feedback.kind", "is missing");
        let score = self.score.as_ref().map(|score| optional("feedback.score", score.integer_of(line))).transpose()?;
        let too_large = |_| Problem::new("feedback.score", "is too large");
        Ok(Feedback {
            customer: Some(customer),
            event_id: needed_text("feedback.event_id", &self.event_id, line)?,
            feedback_time: Some(convert::timestamp(at)),
            kind: self.kind.of("feedback.kind", line)?.ok_or(missing)?,
            score: score.flatten().map(i32::try_from).transpose().map_err(too_large)?,
            channel: text("feedback.channel", self.channel.as_ref(), line)?.unwrap_or_default(),
            about: text("feedback.about", self.about.as_ref(), line)?.unwrap_or_default(),
            text: one_line("feedback.text", self.text.as_ref(), line)?,
        })
    }
}
