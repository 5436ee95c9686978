//! Refunds.

use super::{needed, needed_text, text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Money, Text, Time};
use crate::reject::{Problem, required};
use quintile_proto::ingestion::{Refund, SourceIdentity};
use quintile_rpc::convert;

/// Where the fields of a refund come from.
#[derive(Clone, Debug)]
pub struct Fields {
    event_id: Text,
    refund_time: Time,
    amount: Money,
    order_event_id: Option<Text>,
}

impl Fields {
    /// Reads them.
    pub fn read(keys: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let event_id = Text::read(keys, "event_id", context)?;
        let refund_time = Time::read(keys, "refund_time", context)?;
        let amount = Money::read(keys, "amount", context)?;
        Ok(Self {
            event_id: needed(keys, "event_id", event_id)?,
            refund_time: needed(keys, "refund_time", refund_time)?,
            amount: needed(keys, "amount", amount)?,
            order_event_id: Text::read(keys, "order_event_id", context)?,
        })
    }

    /// The refund of a line.
    pub fn row(&self, line: Line, customer: SourceIdentity) -> Result<Refund, Problem> {
        Ok(Refund {
            customer: Some(customer),
            event_id: needed_text("refund.event_id", &self.event_id, line)?,
            refund_time: Some(convert::timestamp(required("refund.refund_time", self.refund_time.instant_of(line))?)),
            amount: Some(required("refund.amount", self.amount.of(line))?),
            order_event_id: text("refund.order_event_id", self.order_event_id.as_ref(), line)?.unwrap_or_default(),
        })
    }
}
