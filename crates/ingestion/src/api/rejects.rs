//! Rows that were refused: listed, shown, and dropped. They are replayed where batches are taken in.

use crate::Service;
use crate::intake::{Identity, identities_of};
use crate::store::customers::{self, StoredCustomer};
use crate::store::entities::reject;
use crate::store::keys::TenantKeys;
use crate::store::{identities, rejects};
use quintile_chain::{page, store_error};
use quintile_domain::ids::TenantId;
use quintile_domain::masking::{Masked, Sensitivity};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{
    ListRejectsRequest, ListRejectsResponse, Reject, RejectedRow, Row, SourceIdentity, StoredReject, row,
};
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::StoreError;
use tonic::Response;

/// The query that page tokens of rejects belong to.
const LIST_REJECTS: &str = "ListRejects";

/// The number of the reject that a name names.
pub fn number(name: &str) -> Result<i64, ApiError> {
    let number = name.strip_prefix("rejects/").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| ApiError::invalid_field("name", "must be rejects/{number}"))
}

/// A page of rejects.
pub async fn list(
    service: &Service,
    caller: &Caller,
    request: &ListRejectsRequest,
) -> Result<Response<Masked<ListRejectsResponse>>, ApiError> {
    let tenant = caller.tenant().id;
    let size = convert::page_size(request.page_size, 100, 1_000)?;
    let sealer = &service.runtime.sealer;
    let after = page::begin_behind(sealer, tenant, LIST_REJECTS, &request.page_token)?;
    let rows = rejects::page(service.runtime.database.reader(), tenant, after, size).await;
    let rows = rows.map_err(|error| store_error(&error))?;
    let (full, last) = (rows.len() as u64 == size, rows.last().map(|row| row.reject_id));
    let next_page_token = page::next_behind(sealer, tenant, LIST_REJECTS, full, last);
    let rejects = rows.into_iter().map(stored_reject).collect();
    Ok(caller.respond(ListRejectsResponse { rejects, next_page_token }))
}

/// A reject with its row.
pub async fn get(service: &Service, caller: &Caller, name: &str) -> Result<Response<Masked<RejectedRow>>, ApiError> {
    let (tenant, reject_id) = (caller.tenant().id, number(name)?);
    caller.is_about(name);
    let find = async {
        let keys = service.keys.of(tenant).await?;
        let Some(reject) = rejects::get(service.runtime.database.reader(), tenant, reject_id).await? else {
            return Ok(None);
        };
        let row = rejects::open(tenant, &keys, &reject)?;
        let customer = named_customer(service, tenant, &keys, &row).await?;
        let declared = service.declarations.of(tenant).await?;
        Ok::<_, StoreError>(Some((reject, row, customer, declared)))
    };
    let found = find.await.map_err(|error| store_error(&error))?;
    let (reject, mut row, customer, declared) = found.ok_or_else(ApiError::not_found)?;
    // Whom an identity belongs to is for those alone who read identities.
    let may_know = caller.reads_in_clear(Sensitivity::Pseudonym);
    let known_customer = customer.as_ref().filter(|_| may_know).map(|customer| customer.id.to_string());
    let known_customer = known_customer.unwrap_or_default();
    if let Some(row::Fact::Customer(given)) = &mut row.fact {
        declared.confirm_classes(given);
        // Masked as the customer that it is about.
        given.name.clone_from(&known_customer);
    }
    let view = match &customer {
        Some(customer) => caller.view_of(customer.id, &customer.attributes)?,
        None => caller.view_of_reached([]),
    };
    Ok(view.respond(rejected_row(stored_reject(reject), known_customer, row)))
}

/// The one customer that the identities of a row name, if there is one.
async fn named_customer(
    service: &Service,
    tenant: TenantId,
    keys: &TenantKeys,
    row: &Row,
) -> Result<Option<StoredCustomer>, StoreError> {
    let identity =
        |given: &SourceIdentity| Identity { source: given.source.clone(), id: given.id.clone().unwrap_or_default() };
    let given: Vec<Identity> = identities_of(row).iter().map(identity).collect();
    let asked: Vec<_> = given.iter().collect();
    let connection = service.runtime.database.reader();
    let owners = identities::resolve(connection, tenant, keys, &asked).await?;
    let mut owners: Vec<_> = owners.into_values().map(|owner| owner.customer).collect();
    owners.sort_unstable();
    owners.dedup();
    match owners.as_slice() {
        [owner] => customers::get(connection, tenant, keys, *owner).await,
        _ => Ok(None),
    }
}

/// The row of a reject, as it came.
pub async fn row(service: &Service, caller: &Caller, reject_id: i64) -> Result<Row, ApiError> {
    let tenant = caller.tenant().id;
    let find = async {
        let keys = service.keys.of(tenant).await?;
        let reject = rejects::get(service.runtime.database.reader(), tenant, reject_id).await?;
        reject.map(|reject| rejects::open(tenant, &keys, &reject)).transpose()
    };
    find.await.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)
}

/// Drops a reject.
pub async fn delete(service: &Service, caller: &Caller, name: &str) -> Result<(), ApiError> {
    let reject_id = number(name)?;
    caller.is_about(name);
    let drop = async {
        let transaction = service.runtime.database.begin().await?;
        let deleted = rejects::delete(&transaction, caller.tenant().id, reject_id).await?;
        transaction.commit().await?;
        Ok::<_, StoreError>(deleted)
    };
    let deleted = drop.await.map_err(|error| store_error(&error))?;
    if deleted { Ok(()) } else { Err(ApiError::not_found()) }
}

fn stored_reject(row: reject::Model) -> StoredReject {
    StoredReject {
        stream_id: row.stream_id,
        offset: row.batch_offset,
        reject: Some(Reject { row: row.row_index, reason: row.reason, field: row.field, message: row.message }),
        name: format!("rejects/{}", row.reject_id),
        record_time: Some(convert::timestamp(Instant::from_micros(row.recorded_at))),
    }
}

fn rejected_row(reject: StoredReject, known_customer: String, row: Row) -> RejectedRow {
    let mut rejected = RejectedRow { reject: Some(reject), known_customer, ..RejectedRow::default() };
    match row.fact {
        Some(row::Fact::Customer(customer)) => rejected.customer = Some(customer),
        Some(row::Fact::Order(order)) => rejected.order = Some(order),
        Some(row::Fact::Refund(refund)) => rejected.refund = Some(refund),
        Some(row::Fact::Interaction(interaction)) => rejected.interaction = Some(interaction),
        Some(row::Fact::Feedback(feedback)) => rejected.feedback = Some(feedback),
        Some(row::Fact::AcquisitionSpend(spend)) => rejected.acquisition_spend = Some(spend),
        Some(row::Fact::ExchangeRate(rate)) => rejected.exchange_rate = Some(rate),
        None => {}
    }
    rejected
}
