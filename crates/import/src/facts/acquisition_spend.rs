//! What was spent to win customers.

use super::{needed, needed_text, text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Money, Text, Time};
use crate::reject::{Problem, required};
use quintile_proto::ingestion::AcquisitionSpend;

/// Where the fields of a spend come from.
#[derive(Clone, Debug)]
pub struct Fields {
    event_id: Text,
    start_date: Time,
    end_date: Time,
    channel: Text,
    campaign: Option<Text>,
    amount: Money,
}

impl Fields {
    /// Reads them.
    pub fn read(keys: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let event_id = Text::read(keys, "event_id", context)?;
        let (start, end) = (Time::read(keys, "start_date", context)?, Time::read(keys, "end_date", context)?);
        let (channel, amount) = (Text::read(keys, "channel", context)?, Money::read(keys, "amount", context)?);
        Ok(Self {
            event_id: needed(keys, "event_id", event_id)?,
            start_date: needed(keys, "start_date", start)?,
            end_date: needed(keys, "end_date", end)?,
            channel: needed(keys, "channel", channel)?,
            campaign: Text::read(keys, "campaign", context)?,
            amount: needed(keys, "amount", amount)?,
        })
    }

    /// The spend of a line.
    pub fn row(&self, line: Line, source: &str) -> Result<AcquisitionSpend, Problem> {
        Ok(AcquisitionSpend {
            source: source.to_owned(),
            event_id: needed_text("acquisition_spend.event_id", &self.event_id, line)?,
            start_date: Some(required("acquisition_spend.start_date", self.start_date.date_of(line))?),
            end_date: Some(required("acquisition_spend.end_date", self.end_date.date_of(line))?),
            channel: needed_text("acquisition_spend.channel", &self.channel, line)?,
            campaign: text("acquisition_spend.campaign", self.campaign.as_ref(), line)?.unwrap_or_default(),
            amount: Some(required("acquisition_spend.amount", self.amount.of(line))?),
        })
    }
}
