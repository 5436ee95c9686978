//! What was spent to win customers.

use super::entities::acquisition_spend;
use super::facts::{KEYS_PER_QUERY, Written};
use crate::intake::SpendRow;
use quintile_domain::ids::TenantId;
use quintile_domain::money::Currency;
use quintile_proto::ingestion::AcquisitionSpend;
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;

const SPEND: Target = Target {
    table: "acquisition_spend",
    columns: &[
        "tenant_id",
        "source",
        "event_id",
        "body_hash",
        "start_day",
        "end_day",
        "channel",
        "campaign",
        "amount_minor",
        "currency",
    ],
    key: &["tenant_id", "source", "event_id"],
    on_conflict: OnConflict::Keep,
};

/// Writes spend; what is there already stays as it is.
pub async fn write(transaction: &Transaction, tenant: TenantId, rows: &[SpendRow]) -> Result<Written, StoreError> {
    let columns = vec![
        Column::Int(vec![tenant.0; rows.len()]),
        Column::Text(rows.iter().map(|row| row.source.clone()).collect()),
        Column::Text(rows.iter().map(|row| row.event_id.clone()).collect()),
        Column::Bytes(rows.iter().map(|row| row.body_hash.clone()).collect()),
        Column::Int(rows.iter().map(|row| row.start_day).collect()),
        Column::Int(rows.iter().map(|row| row.end_day).collect()),
        Column::Text(rows.iter().map(|row| row.channel.clone()).collect()),
        Column::Text(rows.iter().map(|row| row.campaign.clone()).collect()),
        Column::BigInt(rows.iter().map(|row| row.amount.minor).collect()),
        Column::Int(rows.iter().map(|row| row.amount.foreign.map_or(0, Currency::number)).collect()),
    ];
    let applied = SPEND.write(transaction, columns).await? as usize;
    let mut conflicts = Vec::new();
    if applied < rows.len() {
        let stored = hashes(transaction, tenant, rows).await?;
        let differs = |row: &SpendRow| stored.get(&(row.source.clone(), row.event_id.clone())) != Some(&row.body_hash);
        conflicts = (0..rows.len()).filter(|place| differs(&rows[*place])).collect();
    }
    Ok(Written { applied, duplicates: rows.len() - applied - conflicts.len(), conflicts })
}

/// The hashes of what is there with these event ids, by source and event id.
async fn hashes(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    rows: &[SpendRow],
) -> Result<HashMap<(String, String), Vec<u8>>, StoreError> {
    let mut found = HashMap::with_capacity(rows.len());
    for chunk in rows.chunks(KEYS_PER_QUERY / 2) {
        let stored = acquisition_spend::Entity::find()
            .filter(acquisition_spend::Column::TenantId.eq(tenant.0))
            .filter(acquisition_spend::Column::Source.is_in(chunk.iter().map(|row| row.source.as_str())))
            .filter(acquisition_spend::Column::EventId.is_in(chunk.iter().map(|row| row.event_id.as_str())))
            .all(connection)
            .await?;
        found.extend(stored.into_iter().map(|row| ((row.source, row.event_id), row.body_hash)));
    }
    Ok(found)
}

/// Up to `limit` periods of spend behind a source and event id, in their order.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    (source, event_id): &(String, String),
    limit: u64,
) -> Result<Vec<acquisition_spend::Model>, StoreError> {
    let same_source = Condition::all()
        .add(acquisition_spend::Column::Source.eq(source.as_str()))
        .add(acquisition_spend::Column::EventId.gt(event_id.as_str()));
    let rows = acquisition_spend::Entity::find()
        .filter(acquisition_spend::Column::TenantId.eq(tenant.0))
        .filter(Condition::any().add(acquisition_spend::Column::Source.gt(source.as_str())).add(same_source))
        .order_by_asc(acquisition_spend::Column::Source)
        .order_by_asc(acquisition_spend::Column::EventId)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows)
}

/// The message of a period's spend, as it came in.
pub fn message(row: acquisition_spend::Model, base: Currency) -> AcquisitionSpend {
    let currency = super::rates::currency(row.currency, base);
    AcquisitionSpend {
        source: row.source,
        event_id: row.event_id,
        start_date: Some(convert::date(row.start_day)),
        end_date: Some(convert::date(row.end_day)),
        channel: row.channel,
        campaign: row.campaign,
        amount: Some(convert::money(currency, row.amount_minor)),
    }
}
