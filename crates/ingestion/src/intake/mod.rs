//! Intake: what comes in, checked row by row. A bad row is refused by itself, with the field and the reason, never with its value.

mod amount;
mod company;
pub mod custom;
mod customer;
mod event;
mod feedback;
mod interaction;
mod order;
mod refund;

pub use amount::Amount;
pub use company::{RateRow, SpendRow};
pub use custom::Declared;
pub use customer::{CustomerPatch, Identity, Person, check_kind, normal_email, normal_phone, referrer_of};
pub use event::Event;
pub use feedback::FeedbackRow;
pub use interaction::InteractionRow;
pub use order::OrderRow;
pub use refund::RefundRow;

use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Reject, Row, SourceIdentity, row};
use quintile_rpc::ApiError;
use std::sync::Arc;

/// The most rows of a batch.
pub const MAX_ROWS: usize = 10_000;
/// The most encoded bytes of a batch.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How far ahead of business time a fact may be: clocks differ.
const MAX_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

/// What rows are checked against.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The currency that money has to be in.
    pub currency: Currency,
    /// Business time.
    pub now: Instant,
    /// The custom attributes that are declared.
    pub declared: Arc<Declared>,
}

/// A row that is fit to be taken in.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A customer.
    Customer(Box<CustomerPatch>),
    /// An order.
    Order(OrderRow),
    /// A refund.
    Refund(RefundRow),
    /// An interaction.
    Interaction(InteractionRow),
    /// Feedback.
    Feedback(FeedbackRow),
    /// What was spent to win customers.
    Spend(SpendRow),
    /// An exchange rate.
    Rate(RateRow),
}

impl Fact {
    /// Checks a row.
    pub fn check(row: &Row, terms: &Terms) -> Result<Self, ApiError> {
        let fact = row.fact.as_ref().ok_or_else(|| ApiError::invalid_field("fact", "is required"))?;
        let (kind, checked) = match fact {
            row::Fact::Customer(it) => {
                ("customer", CustomerPatch::check(it, terms).map(|patch| Self::Customer(Box::new(patch))))
            }
            row::Fact::Order(it) => ("order", OrderRow::check(it, terms).map(Self::Order)),
            row::Fact::Refund(it) => ("refund", RefundRow::check(it, terms).map(Self::Refund)),
            row::Fact::Interaction(it) => ("interaction", InteractionRow::check(it, terms).map(Self::Interaction)),
            row::Fact::Feedback(it) => ("feedback", FeedbackRow::check(it, terms).map(Self::Feedback)),
            row::Fact::AcquisitionSpend(it) => ("acquisition_spend", SpendRow::check(it, terms).map(Self::Spend)),
            row::Fact::ExchangeRate(it) => ("exchange_rate", RateRow::check(it, terms).map(Self::Rate)),
        };
        checked.map_err(|error| error.within(kind))
    }

    /// The identity by which the customer that the fact is about is found. `None`: it is about nobody in particular.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Customer(patch) => Some(patch.first_identity()),
            Self::Order(order) => Some(&order.event.customer),
            Self::Refund(refund) => Some(&refund.event.customer),
            Self::Interaction(interaction) => Some(&interaction.event.customer),
            Self::Feedback(feedback) => Some(&feedback.event.customer),
            Self::Spend(_) | Self::Rate(_) => None,
        }
    }
}

/// The identities of customers that a row names, as they came.
pub fn identities_of(row: &Row) -> &[SourceIdentity] {
    match &row.fact {
        Some(row::Fact::Customer(customer)) => &customer.identities,
        Some(row::Fact::Order(order)) => order.customer.as_slice(),
        Some(row::Fact::Refund(refund)) => refund.customer.as_slice(),
        Some(row::Fact::Interaction(interaction)) => interaction.customer.as_slice(),
        Some(row::Fact::Feedback(feedback)) => feedback.customer.as_slice(),
        Some(row::Fact::AcquisitionSpend(_) | row::Fact::ExchangeRate(_)) | None => &[],
    }
}

/// The keys of the custom attributes that rows come with.
pub fn custom_keys(rows: &[Row]) -> Vec<&str> {
    let customers = rows.iter().filter_map(|row| match &row.fact {
        Some(row::Fact::Customer(customer)) => Some(customer),
        _ => None,
    });
    customers.flat_map(|customer| &customer.custom_attributes).map(|attribute| attribute.key.as_str()).collect()
}

/// The reject of a row.
pub fn reject(row: usize, error: &ApiError) -> Reject {
    Reject {
        row: row as i32,
        reason: error.reason().into(),
        field: error.field().unwrap_or_default().to_owned(),
        message: error.message().to_owned(),
    }
}
