//! How far clients' streams were taken in.

use super::entities::ingest_stream;
use quintile_domain::ids::TenantId;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};

/// The state of a stream. `None`: nothing was taken in through it.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    stream_id: &str,
) -> Result<Option<ingest_stream::Model>, StoreError> {
    Ok(ingest_stream::Entity::find_by_id((tenant.0, stream_id.to_owned())).one(connection).await?)
}

/// Writes down how far a stream is.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    stream_id: String,
    next_offset: i64,
    facts_position: i64,
) -> Result<(), StoreError> {
    let row = ingest_stream::ActiveModel {
        tenant_id: Set(tenant.0),
        stream_id: Set(stream_id),
        next_offset: Set(next_offset),
        facts_position: Set(facts_position),
    };
    let key = [ingest_stream::Column::TenantId, ingest_stream::Column::StreamId];
    let values = [ingest_stream::Column::NextOffset, ingest_stream::Column::FactsPosition];
    ingest_stream::Entity::insert(row)
        .on_conflict(OnConflict::columns(key).update_columns(values).to_owned())
        .exec_without_returning(transaction)
        .await?;
    Ok(())
}
