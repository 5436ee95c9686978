//! Rows that were refused, sealed, until they are corrected or dropped.

use super::entities::reject;
use super::identities;
use super::keys::TenantKeys;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Reject, Row};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// Rows of one insert: under the parameter limits of both databases.
const ROWS_PER_INSERT: usize = 100;

/// Writes the rejects of a batch, each with its row as it came.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    (stream_id, offset): (&str, i64),
    rows: &[Row],
    rejects: &[Reject],
    now: Instant,
) -> Result<(), StoreError> {
    if rejects.is_empty() {
        return Ok(());
    }
    let first = identities::reserve(transaction, tenant, "reject", rejects.len() as i64).await?;
    let sealed = |reject_id, refused: &Reject| {
        let row = usize::try_from(refused.row).ok().and_then(|place| rows.get(place)).cloned().unwrap_or_default();
        keys.wrapping.seal(&keys.entropy, &place(tenant, reject_id), &row.encode_to_vec())
    };
    let models = (first..).zip(rejects).map(|(reject_id, refused)| reject::ActiveModel {
        tenant_id: Set(tenant.0),
        reject_id: Set(reject_id),
        stream_id: Set(stream_id.to_owned()),
        batch_offset: Set(offset),
        row_index: Set(refused.row),
        reason: Set(refused.reason),
        field: Set(refused.field.clone()),
        message: Set(refused.message.clone()),
        sealed_row: Set(sealed(reject_id, refused)),
        recorded_at: Set(now.micros()),
    });
    for chunk in models.collect::<Vec<_>>().chunks(ROWS_PER_INSERT) {
        reject::Entity::insert_many(chunk.to_vec()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Takes over why a reject was refused again, and the row as it is now.
pub async fn replace(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    reject_id: i64,
    row: &Row,
    refused: &Reject,
    now: Instant,
) -> Result<(), StoreError> {
    let sealed = keys.wrapping.seal(&keys.entropy, &place(tenant, reject_id), &row.encode_to_vec());
    reject::Entity::update_many()
        .col_expr(reject::Column::Reason, Expr::value(refused.reason))
        .col_expr(reject::Column::Field, Expr::value(refused.field.as_str()))
        .col_expr(reject::Column::Message, Expr::value(refused.message.as_str()))
        .col_expr(reject::Column::SealedRow, Expr::value(sealed))
        .col_expr(reject::Column::RecordedAt, Expr::value(now.micros()))
        .filter(reject::Column::TenantId.eq(tenant.0))
        .filter(reject::Column::RejectId.eq(reject_id))
        .exec(transaction)
        .await?;
    Ok(())
}

fn place(tenant: TenantId, reject_id: i64) -> Vec<u8> {
    format!("reject {} {reject_id}", tenant.0).into_bytes()
}

/// The row of a reject, as it came.
pub fn open(tenant: TenantId, keys: &TenantKeys, reject: &reject::Model) -> Result<Row, StoreError> {
    let opened = keys.wrapping.open(&place(tenant, reject.reject_id), &reject.sealed_row)?;
    Row::decode(opened.as_slice()).map_err(|_| StoreError::Sealed("reject"))
}

/// One reject.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    reject_id: i64,
) -> Result<Option<reject::Model>, StoreError> {
    Ok(reject::Entity::find_by_id((tenant.0, reject_id)).one(connection).await?)
}

/// Up to `limit` rejects behind `after`, oldest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    after: i64,
    limit: u64,
) -> Result<Vec<reject::Model>, StoreError> {
    let query = reject::Entity::find()
        .filter(reject::Column::TenantId.eq(tenant.0))
        .filter(reject::Column::RejectId.gt(after))
        .order_by_asc(reject::Column::RejectId)
        .limit(limit);
    Ok(query.all(connection).await?)
}

/// Drops a reject. Returns whether it was there.
pub async fn delete(connection: &impl ConnectionTrait, tenant: TenantId, reject_id: i64) -> Result<bool, StoreError> {
    Ok(reject::Entity::delete_by_id((tenant.0, reject_id)).exec(connection).await?.rows_affected == 1)
}
