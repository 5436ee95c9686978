//! Intake: what comes in, checked row by row. A bad row is refused by itself, with the field and the reason, never with its value.

pub mod custom;
mod customer;
mod order;

pub use custom::Declared;
pub use customer::{CustomerPatch, Identity, Person, check_kind, normal_email, normal_phone};
pub use order::OrderRow;

use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Reject, Row, row};
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
}

impl Fact {
    /// Checks a row.
    pub fn check(row: &Row, terms: &Terms) -> Result<Self, ApiError> {
        match &row.fact {
            Some(row::Fact::Customer(customer)) => CustomerPatch::check(customer, terms)
                .map(|patch| Self::Customer(Box::new(patch)))
                .map_err(|e| e.within("customer")),
            Some(row::Fact::Order(order)) => {
                OrderRow::check(order, terms).map(Self::Order).map_err(|error| error.within("order"))
            }
            None => Err(ApiError::invalid_field("fact", "is required: a customer or an order")),
        }
    }

    /// The identity of the customer that the fact is about.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Customer(patch) => patch.first_identity(),
            Self::Order(order) => &order.customer,
        }
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
