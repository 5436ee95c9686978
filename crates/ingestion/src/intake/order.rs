//! Checking orders.

use super::Terms;
use super::amount::Amount;
use super::event::{Event, check_name};
use prost::Message;
use quintile_domain::names::{MAX_NAME_BYTES, required_text};
use quintile_proto::ingestion::{Order, OrderLine};
use quintile_rpc::ApiError;

/// The most lines of an order.
const MAX_LINES: usize = 200;

/// An order that is fit to be taken in.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    /// Whose it is, and when it was bought.
    pub event: Event,
    /// Where. Empty: not known.
    pub channel: String,
    /// How much.
    pub amount: Amount,
    /// What was earned, in minor units of the same currency. `None`: not known.
    pub profit_minor: Option<i64>,
    /// The encoded lines. Empty: none.
    pub lines: Vec<u8>,
}

impl OrderRow {
    /// Checks an order.
    pub fn check(order: &Order, terms: &Terms) -> Result<Self, ApiError> {
        let time = ("order_time", order.order_time.as_ref());
        let event = Event::check(order, order.customer.as_ref(), &order.event_id, time, terms)?;
        check_name("channel", &order.channel)?;
        let amount = Amount::check(order.amount.as_ref(), "amount", terms)?;
        if order.lines.len() > MAX_LINES {
            return Err(ApiError::invalid_field("lines", format!("must have at most {MAX_LINES} lines")));
        }
        let mut lines = Vec::new();
        // Known while every line says its cost.
        let mut cost = (!order.lines.is_empty()).then_some(0_i64);
        for (index, line) in order.lines.iter().enumerate() {
            let line_cost =
                check_line(line, amount, terms).map_err(|error| error.within(&format!("lines[{index}]")))?;
            cost = cost.zip(line_cost).map(|(sum, cost)| sum.saturating_add(cost));
            line.encode_length_delimited(&mut lines).map_err(|_| ApiError::internal("a line does not encode"))?;
        }
        let stated = order.profit.as_ref().map(|profit| amount.check_alike(profit, "profit", terms)).transpose()?;
        let profit_minor = stated.or_else(|| cost.map(|cost| amount.minor.saturating_sub(cost)));
        Ok(Self { event, channel: order.channel.clone(), amount, profit_minor, lines })
    }
}

/// Checks a line. Returns what it cost the company, if it says so.
fn check_line(line: &OrderLine, order: Amount, terms: &Terms) -> Result<Option<i64>, ApiError> {
    required_text(&line.product, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("product", error))?;
    check_name("category", &line.category)?;
    if line.quantity < 0 {
        return Err(ApiError::invalid_field("quantity", "must not be negative"));
    }
    if let Some(amount) = &line.amount {
        order.check_alike_positive(amount, "amount", terms)?;
    }
    line.cost.as_ref().map(|cost| order.check_alike_positive(cost, "cost", terms)).transpose()
}
