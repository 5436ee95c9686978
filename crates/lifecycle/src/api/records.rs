//! The records of customers as of the present business time: one's, and everybody's a part at a time for those who count.

use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::derive::{self, Current, Link};
use quintile_chain::{feed, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::{ApiError, Caller};
use quintile_store::{Transaction, records};
use std::ops::RangeInclusive;

/// Records that are read at once.
const SCAN_RECORDS: u64 = 5_000;

/// The records of everybody whom a caller reaches, by number, as of an instant.
pub struct Everybody<'a> {
    runtime: &'a Runtime,
    link: &'a StageLink,
    caller: &'a Caller,
    as_of: Instant,
    after: u32,
}

/// Records, and the numbers of customers that they are all of.
pub struct Part {
    /// The records.
    pub records: Vec<CustomerRecord>,
    /// From the lowest to the highest number.
    pub numbers: RangeInclusive<i64>,
}

impl<'a> Everybody<'a> {
    /// Everybody as of the present business time, by what is in force.
    pub async fn now(runtime: &'a Runtime, link: &'a StageLink, caller: &'a Caller) -> Result<Self, ApiError> {
        link.know_recent(caller.tenant().id).await?;
        Ok(Self { runtime, link, caller, as_of: runtime.business.now(), after: 0 })
    }

    /// As of when.
    pub fn as_of(&self) -> Instant {
        self.as_of
    }

    /// The next part. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<Part>, ApiError> {
        let tenant = self.caller.tenant();
        let read = records::scan(self.runtime.database.reader(), tenant.id, self.after, SCAN_RECORDS).await;
        let read = read.map_err(|error| store_error(&error))?;
        let Some(last) = read.last() else { return Ok(None) };
        let numbers = i64::from(self.after) + 1..=last.customer.as_i64();
        self.after = last.customer.0;
        let mut records = Vec::with_capacity(read.len());
        for row in read.iter().filter(|row| !row.is_tombstone()) {
            let mut record = feed::decode(row).map_err(|error| store_error(&error))?;
            if self.caller.reaches(record.attributes.get_or_insert_default()) {
                let is_outdated = self.link.outdated(tenant, &record).is_some();
                if is_outdated || row.next_change.is_some_and(|instant| instant <= self.as_of) {
                    self.link.derive(tenant, &mut record, self.as_of);
                }
                records.push(record);
            }
        }
        Ok(Some(Part { records, numbers }))
    }
}

/// A customer's record by what is in force, for a caller that reaches it.
pub async fn current(
    runtime: &Runtime,
    link: &StageLink,
    caller: &Caller,
    customer: CustomerId,
) -> Result<Current, ApiError> {
    link.know_recent(caller.tenant().id).await?;
    derive::current(runtime, link, caller, customer).await
}

/// Has a customer stay as it is until the transaction ends. `NOT_FOUND` where it is no more.
pub async fn hold(transaction: &Transaction, caller: &Caller, customer: CustomerId) -> Result<(), ApiError> {
    let held = records::hold(transaction, caller.tenant().id, customer).await.map_err(|error| store_error(&error))?;
    if held.is_some_and(|record| !record.is_tombstone()) { Ok(()) } else { Err(ApiError::not_found()) }
}
