//! Checking refunds.

use super::Terms;
use super::amount::Amount;
use super::event::{Event, check_name};
use quintile_proto::ingestion::Refund;
use quintile_rpc::ApiError;

/// A refund that is fit to be taken in.
#[derive(Clone, Debug, PartialEq)]
pub struct RefundRow {
    /// Whose it is, and when it was given.
    pub event: Event,
    /// How much.
    pub amount: Amount,
    /// The purchase's id in the same source. Empty: not known.
    pub order_event_id: String,
}

impl RefundRow {
    /// Checks a refund. Whether its purchase is there is not asked: that may come later.
    pub fn check(refund: &Refund, terms: &Terms) -> Result<Self, ApiError> {
        let time = ("refund_time", refund.refund_time.as_ref());
        let event = Event::check(refund, refund.customer.as_ref(), &refund.event_id, time, terms)?;
        let amount = Amount::check(refund.amount.as_ref(), "amount", terms)?;
        check_name("order_event_id", &refund.order_event_id)?;
        Ok(Self { event, amount, order_event_id: refund.order_event_id.clone() })
    }
}
