//! Requests that are known again by an id that the client gave them.

use crate::tables::idempotent_request;
use crate::{Result, StoreError, Transaction};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use sha2::{Digest, Sha256};

/// Resources whose requests are forgotten by one query: under the parameter limits of both databases.
const RESOURCES_PER_QUERY: usize = 500;

/// A request that can be repeated.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose it is.
    pub tenant: TenantId,
    /// The RPC, such as `CreateCustomer`.
    pub method: &'a str,
    /// The client's id.
    pub id: &'a str,
    /// The encoded body, without the id.
    pub body: &'a [u8],
}

/// The resource that the request made when it came before. `None`: it is new.
pub async fn earlier_result(connection: &impl ConnectionTrait, request: Request<'_>) -> Result<Option<String>> {
    let key = (request.tenant.0, request.method.to_owned(), request.id.to_owned());
    match idempotent_request::Entity::find_by_id(key).one(connection).await? {
        None => Ok(None),
        Some(row) if row.body_hash == body_hash(request.body) => Ok(Some(row.resource)),
        Some(_) => Err(StoreError::RequestConflict),
    }
}

/// Remembers what a request made, in the transaction that made it.
pub async fn remember(
    transaction: &Transaction,
    request: Request<'_>,
    resource: &str,
    machine_now: Instant,
) -> Result<()> {
    let row = idempotent_request::ActiveModel {
        tenant_id: Set(request.tenant.0),
        method: Set(request.method.to_owned()),
        request_id: Set(request.id.to_owned()),
        body_hash: Set(body_hash(request.body)),
        resource: Set(resource.to_owned()),
        created_at: Set(machine_now.micros()),
    };
    idempotent_request::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Forgets the requests that made some resources, as part of the transaction that erases these, and tells how many.
pub async fn forget(transaction: &Transaction, tenant: TenantId, resources: &[String]) -> Result<u64> {
    let mut forgotten = 0;
    for resources in resources.chunks(RESOURCES_PER_QUERY) {
        let of_resources = idempotent_request::Entity::delete_many()
            .filter(idempotent_request::Column::TenantId.eq(tenant.0))
            .filter(idempotent_request::Column::Resource.is_in(resources.iter().map(String::as_str)));
        forgotten += of_resources.exec(transaction).await?.rows_affected;
    }
    Ok(forgotten)
}

/// The hash by which two bodies are told apart: SHA-256, its first 16 bytes.
pub fn body_hash(body: &[u8]) -> Vec<u8> {
    Sha256::digest(body)[..16].to_vec()
}
