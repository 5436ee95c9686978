//! Orders.

use super::{needed, needed_text, text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Money, Number, Text, Time};
use crate::reject::{Problem, optional, required};
use quintile_proto::ingestion::{Order, OrderLine, SourceIdentity};
use quintile_rpc::convert;

/// Where the fields of an order come from.
#[derive(Clone, Debug)]
pub struct Fields {
    event_id: Text,
    order_time: Time,
    channel: Option<Text>,
    amount: Option<Money>,
    profit: Option<Money>,
    line: Option<LineFields>,
}

#[derive(Clone, Debug)]
struct LineFields {
    product: Text,
    category: Option<Text>,
    quantity: Option<Number>,
    amount: Option<Money>,
    cost: Option<Money>,
}

impl Fields {
    /// Reads them. Only what is combined can have its amount from the lines of other rows.
    pub fn read(keys: &mut Keys, context: &mut Context, combine: bool) -> Result<Self, ImportError> {
        let event_id = Text::read(keys, "event_id", context)?;
        let order_time = Time::read(keys, "order_time", context)?;
        let (channel, amount) = (Text::read(keys, "channel", context)?, Money::read(keys, "amount", context)?);
        let profit = Money::read(keys, "profit", context)?;
        let line = if keys.has("line") { Some(LineFields::read(keys.table("line")?, context)?) } else { None };
        let has_amount = amount.is_some() || line.as_ref().is_some_and(|line| line.amount.is_some());
        if !combine && !has_amount {
            return Err(keys.fault("amount", "is needed, or `line.amount`"));
        }
        Ok(Self {
            event_id: needed(keys, "event_id", event_id)?,
            order_time: needed(keys, "order_time", order_time)?,
            channel,
            amount,
            profit,
            line,
        })
    }

    /// The order of a line. Without an amount of its own it costs what its line costs.
    pub fn row(&self, line: Line, customer: SourceIdentity) -> Result<Order, Problem> {
        let at = required("order.order_time", self.order_time.instant_of(line))?;
        let amount = self.amount.as_ref().map(|amount| required("order.amount", amount.of(line))).transpose()?;
        let profit = self.profit.as_ref().map(|profit| optional("order.profit", profit.of(line))).transpose()?;
        let lines: Vec<_> = self.line.as_ref().map(|fields| fields.row(line)).transpose()?.into_iter().collect();
        Ok(Order {
            customer: Some(customer),
            event_id: needed_text("order.event_id", &self.event_id, line)?,
            order_time: Some(convert::timestamp(at)),
            channel: text("order.channel", self.channel.as_ref(), line)?.unwrap_or_default(),
            amount,
            lines,
            profit: profit.flatten(),
        })
    }
}

impl LineFields {
    fn read(mut keys: Keys, context: &mut Context) -> Result<Self, ImportError> {
        let product = Text::read(&mut keys, "product", context)?;
        let fields = Self {
            product: needed(&keys, "product", product)?,
            category: Text::read(&mut keys, "category", context)?,
            quantity: Number::read(&mut keys, "quantity", context)?,
            amount: Money::read(&mut keys, "amount", context)?,
            cost: Money::read(&mut keys, "cost", context)?,
        };
        keys.finish()?;
        Ok(fields)
    }

    fn row(&self, line: Line) -> Result<OrderLine, Problem> {
        let quantity = self.quantity.as_ref().map(|quantity| quantity.integer_of(line));
        let quantity = quantity.map(|quantity| required("order.line.quantity", quantity)).transpose()?;
        let amount = self.amount.as_ref().map(|amount| required("order.line.amount", amount.of(line))).transpose()?;
        let cost = self.cost.as_ref().map(|cost| optional("order.line.cost", cost.of(line))).transpose()?;
        Ok(OrderLine {
            product: needed_text("order.line.product", &self.product, line)?,
            category: text("order.line.category", self.category.as_ref(), line)?.unwrap_or_default(),
            // A line is about one piece unless it says otherwise.
            quantity: quantity.unwrap_or(1),
            amount,
            cost: cost.flatten(),
        })
    }
}
