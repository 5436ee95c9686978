//! Erasures.

use crate::Service;
use crate::store::customers::{self, StoredCustomer};
use crate::store::erasures::{self, StoredErasure};
use crate::store::keys::TenantKeys;
use crate::store::privacy::{self, Hold};
use crate::store::referrals;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_proto::ingestion::{EraseCustomerRequest, Erasure, ListErasuresRequest, ListErasuresResponse};
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::idempotency::{self, Request};
use quintile_store::{StoreError, feed};

/// The query that page tokens of erasures belong to.
const LIST_ERASURES: &str = "ListErasures";

/// Erases a customer, or finds what the same request did before.
pub async fn erase(service: &Service, caller: &Caller, request: &EraseCustomerRequest) -> Result<Erasure, ApiError> {
    let id = convert::customer("name", &request.name, None)?;
    caller.is_about(id.to_string());
    if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
        return Err(ApiError::invalid_field("request_id", "must be a UUID"));
    }
    let erased = erase_once(service, caller, id, &request.request_id).await.map_err(|error| store_error(&error))?;
    let erasure = erased.ok_or_else(ApiError::not_found)?;
    Ok(erasure.message())
}

async fn erase_once(
    service: &Service,
    caller: &Caller,
    id: CustomerId,
    request_id: &str,
) -> Result<Option<StoredErasure>, StoreError> {
    let (tenant, database) = (caller.tenant().id, &service.runtime.database);
    let keys = service.keys.of(tenant).await?;
    let name = id.to_string();
    let request = Request { tenant, method: "EraseCustomer", id: request_id, body: name.as_bytes() };
    // Asked for before anything is taken away, too: what is refused leaves everything as it was.
    if let Some(earlier) = erasures::done_before(database.reader(), request).await? {
        return Ok(Some(earlier));
    }
    // Rejects are many and sealed: they are looked through before anybody has to wait. So may those be whom the customer has sent.
    let reached = |customer: &StoredCustomer| caller.reaches(&customer.attributes);
    let rejects = match customers::get(database.reader(), tenant, &keys, id).await?.filter(reached) {
        Some(customer) => {
            while forget_referrer(service, caller, &keys, &customer).await? {}
            erasures::rejects_naming(database.reader(), tenant, &keys, &customer, 0).await?
        }
        None => (Vec::new(), 0),
    };
    let transaction = database.begin().await?;
    privacy::hold(&transaction, tenant, Hold::Alone).await?;
    if let Some(earlier) = erasures::done_before(&transaction, request).await? {
        return Ok(Some(earlier));
    }
    let Some(customer) = customers::get(&transaction, tenant, &keys, id).await?.filter(reached) else {
        return Ok(None);
    };
    let now = service.clock.now();
    let erasure = erasures::erase(&transaction, tenant, &keys, &customer, rejects, now).await?;
    if !request_id.is_empty() {
        idempotency::remember(&transaction, request, &erasure.name(), now).await?;
    }
    transaction.commit().await?;
    service.wake.notify_one();
    service.erased.notify_one();
    Ok(Some(erasure))
}

/// Takes a customer who is to be erased out of some of those whom it has sent. Returns whether there may be more.
async fn forget_referrer(
    service: &Service,
    caller: &Caller,
    keys: &TenantKeys,
    customer: &StoredCustomer,
) -> Result<bool, StoreError> {
    let tenant = caller.tenant().id;
    let transaction = service.runtime.database.begin().await?;
    privacy::hold(&transaction, tenant, Hold::Alone).await?;
    let renamed = erasures::forget_referrer(&transaction, tenant, keys, customer, service.clock.now()).await?;
    let Some(renamed) = renamed else { return Ok(false) };
    let seq = feed::next_seq(&transaction, tenant, crate::FACTS).await?;
    let mut touched = referrals::of_buyers(&transaction, tenant, renamed).await?;
    // Should nothing come of the erasure, it has sent fewer all the same.
    touched.insert(customer.id.0);
    feed::publish(&transaction, tenant, crate::FACTS, seq, &touched).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Gets an erasure.
pub async fn get(service: &Service, caller: &Caller, name: &str) -> Result<Erasure, ApiError> {
    let id = erasures::erasure_id(name).ok_or_else(|| ApiError::invalid_field("name", "must be erasures/{number}"))?;
    let found = erasures::get(service.runtime.database.reader(), caller.tenant().id, id).await;
    Ok(found.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)?.message())
}

/// A page of erasures.
pub async fn list(
    service: &Service,
    caller: &Caller,
    request: &ListErasuresRequest,
) -> Result<ListErasuresResponse, ApiError> {
    let tenant = caller.tenant().id;
    let size = convert::page_size(request.page_size, 100, 1_000)?;
    let sealer = &service.runtime.sealer;
    let after = page::begin_behind(sealer, tenant, LIST_ERASURES, &request.page_token)?;
    let listed = erasures::page(service.runtime.database.reader(), tenant, after, size).await;
    let listed = listed.map_err(|error| store_error(&error))?;
    let (full, last) = (listed.len() as u64 == size, listed.last().map(|erasure| erasure.id));
    let next_page_token = page::next_behind(sealer, tenant, LIST_ERASURES, full, last);
    Ok(ListErasuresResponse { erasures: listed.iter().map(StoredErasure::message).collect(), next_page_token })
}
