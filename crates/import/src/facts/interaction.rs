//! Interactions.

use super::{Word, needed, needed_text, one_line, text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Text, Time};
use crate::reject::{Problem, required};
use quintile_proto::ingestion::{CaseState, Interaction, InteractionKind, SourceIdentity};
use quintile_rpc::convert;

/// Where the fields of an interaction come from.
#[derive(Clone, Debug)]
pub struct Fields {
    event_id: Text,
    interaction_time: Time,
    kind: Word,
    channel: Option<Text>,
    about: Option<Text>,
    case_state: Option<Word>,
    text: Option<Text>,
}

impl Fields {
    /// Reads them.
    pub fn read(keys: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let event_id = Text::read(keys, "event_id", context)?;
        let interaction_time = Time::read(keys, "interaction_time", context)?;
        let kind = |name: &str| InteractionKind::from_str_name(name).map(i32::from);
        let kind = Word::read(keys, "kind", context, "INTERACTION_KIND_", kind)?;
        let state = |name: &str| CaseState::from_str_name(name).map(i32::from);
        Ok(Self {
            event_id: needed(keys, "event_id", event_id)?,
            interaction_time: needed(keys, "interaction_time", interaction_time)?,
            kind: needed(keys, "kind", kind)?,
            channel: Text::read(keys, "channel", context)?,
            about: Text::read(keys, "about", context)?,
            case_state: Word::read(keys, "case_state", context, "CASE_STATE_", state)?,
            text: Text::read(keys, "text", context)?,
        })
    }

    /// The interaction of a line.
    pub fn row(&self, line: Line, customer: SourceIdentity) -> Result<Interaction, Problem> {
        let at = required("interaction.interaction_time", self.interaction_time.instant_of(line))?;
        let missing = Problem::new("interaction.kind", "is missing");
        let state = self.case_state.as_ref().map(|state| state.of("interaction.case_state", line)).transpose()?;
        Ok(Interaction {
            customer: Some(customer),
            event_id: needed_text("interaction.event_id", &self.event_id, line)?,
            interaction_time: Some(convert::timestamp(at)),
            kind: self.kind.of("interaction.kind", line)?.ok_or(missing)?,
            channel: text("interaction.channel", self.channel.as_ref(), line)?.unwrap_or_default(),
            about: text("interaction.about", self.about.as_ref(), line)?.unwrap_or_default(),
            case_state: state.flatten().unwrap_or_default(),
            text: one_line("interaction.text", self.text.as_ref(), line)?,
        })
    }
}
