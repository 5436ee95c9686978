//! Checking interactions.

use super::Terms;
use super::event::{Event, check_name, check_text};
use quintile_domain::names::{MAX_NAME_BYTES, required_text};
use quintile_proto::ingestion::{CaseState, Interaction, InteractionKind};
use quintile_rpc::ApiError;

/// An interaction that is fit to be taken in.
#[derive(Clone, PartialEq)]
pub struct InteractionRow {
    /// Whose it is, and when it was.
    pub event: Event,
    /// What.
    pub kind: InteractionKind,
    /// Where. Empty: not known.
    pub channel: String,
    /// About what. Empty: not said.
    pub about: String,
    /// Where the ticket or the complaint stands. Unspecified of the others.
    pub case_state: CaseState,
    /// What was said.
    pub text: Option<String>,
}

impl std::fmt::Debug for InteractionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InteractionRow").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl InteractionRow {
    /// Checks an interaction.
    pub fn check(interaction: &Interaction, terms: &Terms) -> Result<Self, ApiError> {
        let time = ("interaction_time", interaction.interaction_time.as_ref());
        let told_by = Interaction { text: None, ..interaction.clone() };
        let event = Event::check(&told_by, interaction.customer.as_ref(), &interaction.event_id, time, terms)?;
        // A number that no kind has reads as unspecified, and is refused like it.
        let kind = InteractionKind::try_from(interaction.kind).unwrap_or_default();
        if kind == InteractionKind::Unspecified {
            return Err(ApiError::invalid_field("kind", "must be one of the kinds"));
        }
        check_name("channel", &interaction.channel)?;
        check_name("about", &interaction.about)?;
        check_text(interaction.text.as_deref())?;
        let case_state = check_case(kind, interaction)?;
        let (channel, about) = (interaction.channel.clone(), interaction.about.clone());
        Ok(Self { event, kind, channel, about, case_state, text: interaction.text.clone() })
    }
}

/// Tickets and complaints are known by what they are about, and open or resolved; nothing else is.
fn check_case(kind: InteractionKind, interaction: &Interaction) -> Result<CaseState, ApiError> {
    let is_case = matches!(kind, InteractionKind::SupportTicket | InteractionKind::Complaint);
    let state = CaseState::try_from(interaction.case_state).ok();
    match (is_case, state) {
        (true, Some(CaseState::Opened | CaseState::Resolved)) => {
            required_text(&interaction.about, MAX_NAME_BYTES)
                .map_err(|error| ApiError::invalid_text("about", error))?;
        }
        (false, Some(CaseState::Unspecified)) => {}
        (true, _) => return Err(ApiError::invalid_field("case_state", "must be opened or resolved")),
        (false, _) => return Err(ApiError::invalid_field("case_state", "is for tickets and complaints alone")),
    }
    Ok(state.unwrap_or_default())
}
