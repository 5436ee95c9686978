//! Receipts: a service of the chain says that nothing of an erased customer is left in it, once it has looked.

use crate::context::Runtime;
use crate::store_error;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_proto::types::{ErasureReceipt, ErrorReason};
use quintile_rpc::{ApiError, convert};
use quintile_store::{Database, StoreError, follower, records};

/// The customer and the position that a receipt is asked for.
pub fn check_request(name: &str, facts_position: i64) -> Result<CustomerId, ApiError> {
    if facts_position < 1 {
        return Err(ApiError::invalid_field("facts_position", "must be 1 or more"));
    }
    convert::customer("name", name, None)
}

/// Looks whether the erasure at `facts_position` has arrived at the follower of `feed` and the customer's record is gone. Returns how
/// many records are left; an error says that it has to be asked again.
pub async fn records_left(
    runtime: &Runtime,
    tenant: TenantId,
    feed: &str,
    customer: CustomerId,
    facts_position: i64,
) -> Result<i64, ApiError> {
    let look = async {
        // Read before the record: what the place says is in is then certainly seen.
        let place = follower::place(runtime.database.reader(), tenant, feed).await?;
        Ok::<_, StoreError>((place, records::get(&runtime.database, tenant, customer).await?))
    };
    let (place, record) = look.await.map_err(|error| store_error(&error))?;
    if place.facts_position < facts_position {
        return Err(not_yet());
    }
    Ok(i64::from(record.is_some_and(|record| !record.is_tombstone() || !record.erased)))
}

/// The receipt of a service in which this many rows about the customer are left: there is none as long as there is one, or one may lie in
/// the database's log.
pub async fn receipt(
    service: &str,
    database: &Database,
    clock: &MachineClock,
    remaining: i64,
) -> Result<ErasureReceipt, ApiError> {
    if remaining != 0 || !database.empty_log().await.map_err(|error| store_error(&error))? {
        return Err(not_yet());
    }
    let time = Some(convert::timestamp(clock.now()));
    Ok(ErasureReceipt { service: service.to_owned(), time, ..ErasureReceipt::default() })
}

fn not_yet() -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, "the customer's erasure is not through here yet")
}
