//! Checking orders.

use super::customer::Identity;
use super::{MAX_AHEAD_MICROS, Terms};
use prost::Message;
use quintile_domain::money::MoneyError;
use quintile_domain::names::{MAX_NAME_BYTES, optional_text, required_text};
use quintile_domain::time::Instant;
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{Order, OrderLine};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{ApiError, convert};
use quintile_store::idempotency::body_hash;

/// The most minor units of an order or a line: thousands of the largest still add up without overflow.
const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000_000;
/// The most lines of an order.
const MAX_LINES: usize = 200;

/// An order that is fit to be taken in.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    /// Who bought.
    pub customer: Identity,
    /// The purchase's id in the source.
    pub event_id: String,
    /// When.
    pub at: Instant,
    /// Where. Empty: not known.
    pub channel: String,
    /// How much, in minor units of the base currency.
    pub amount_minor: i64,
    /// The encoded lines. Empty: none.
    pub lines: Vec<u8>,
    /// What tells this order from another with the same id.
    pub body_hash: Vec<u8>,
}

impl OrderRow {
    /// Checks an order.
    pub fn check(order: &Order, terms: &Terms) -> Result<Self, ApiError> {
        let body_hash = body_hash(&order.encode_to_vec());
        let customer = Identity::check(order.customer.as_ref(), "customer")?;
        required_text(&order.event_id, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("event_id", error))?;
        optional_text(&order.channel, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("channel", error))?;
        let at =
            convert::instant(order.order_time.as_ref()).map_err(|error| ApiError::invalid_time("order_time", error))?;
        if at > terms.now.plus_micros(MAX_AHEAD_MICROS) {
            return Err(ApiError::invalid("order_time", ErrorReason::InvalidTime, "must be at most 5 minutes ahead"));
        }
        let amount_minor = amount(order.amount.as_ref(), "amount", terms)?;
        if order.lines.len() > MAX_LINES {
            return Err(ApiError::invalid_field("lines", format!("must have at most {MAX_LINES} lines")));
        }
        let mut lines = Vec::new();
        for (index, line) in order.lines.iter().enumerate() {
            check_line(line, terms).map_err(|error| error.within(&format!("lines[{index}]")))?;
            line.encode_length_delimited(&mut lines).map_err(|_| ApiError::internal("a line does not encode"))?;
        }
        let (event_id, channel) = (order.event_id.clone(), order.channel.clone());
        Ok(Self { customer, event_id, at, channel, amount_minor, lines, body_hash })
    }
}

fn check_line(line: &OrderLine, terms: &Terms) -> Result<(), ApiError> {
    required_text(&line.product, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("product", error))?;
    optional_text(&line.category, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("category", error))?;
    if line.quantity < 0 {
        return Err(ApiError::invalid_field("quantity", "must not be negative"));
    }
    if line.amount.is_some() {
        amount(line.amount.as_ref(), "amount", terms)?;
    }
    Ok(())
}

fn amount(money: Option<&Money>, field: &str, terms: &Terms) -> Result<i64, ApiError> {
    match convert::minor(money, terms.currency) {
        Ok(minor) if minor < 0 => Err(ApiError::invalid_money(field, MoneyError::Negative)),
        Ok(minor) if minor > MAX_AMOUNT_MINOR => Err(ApiError::invalid_money(field, MoneyError::Overflow)),
        Ok(minor) => Ok(minor),
        Err(error) => Err(ApiError::invalid_money(field, error)),
    }
}
