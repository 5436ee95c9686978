//! The customer records that a service publishes: one row per customer, its body opaque here.

use crate::bulk::{Column, OnConflict, Target};
use crate::numbers::Numbers;
use crate::tables::customer_record;
use crate::{Database, Result, Transaction};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use std::ops::Range;

/// One customer's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The customer.
    pub customer: CustomerId,
    /// The feed position of its last change.
    pub seq: i64,
    /// When time alone will change it. `None`: never.
    pub next_change: Option<Instant>,
    /// The encoded record. Empty: the customer is no more, here at least.
    pub body: Vec<u8>,
    /// Whether the customer was erased: it never comes back. Only a record with an empty body can be.
    pub erased: bool,
}

impl Record {
    /// The record of a customer that is no more.
    pub fn tombstone(customer: CustomerId, seq: i64, erased: bool) -> Self {
        Self { customer, seq, next_change: None, body: Vec::new(), erased }
    }

    /// Whether the customer is no more.
    pub fn is_tombstone(&self) -> bool {
        self.body.is_empty()
    }
}

const TARGET: Target = Target {
    table: "customer_record",
    columns: &["tenant_id", "customer_id", "seq", "next_change_at", "erased", "body"],
    key: &["tenant_id", "customer_id"],
    on_conflict: OnConflict::Replace(&["seq", "next_change_at", "erased", "body"]),
};

/// Writes records, replacing those that are there. No customer may appear twice.
pub async fn write(transaction: &Transaction, tenant: TenantId, records: Vec<Record>) -> Result<()> {
    TARGET.write(transaction, columns(tenant, records)).await?;
    Ok(())
}

/// Writes records of customers of whom there is none, not even that they are no more: PostgreSQL looks for none.
pub async fn insert(transaction: &Transaction, tenant: TenantId, records: Vec<Record>) -> Result<()> {
    let target = Target { on_conflict: OnConflict::Never, ..TARGET };
    target.write(transaction, columns(tenant, records)).await?;
    Ok(())
}

fn columns(tenant: TenantId, mut records: Vec<Record>) -> Vec<Column> {
    records.sort_unstable_by_key(|record| record.customer);
    vec![
        Column::Int(vec![tenant.0; records.len()]),
        Column::BigInt(records.iter().map(|record| record.customer.as_i64()).collect()),
        Column::BigInt(records.iter().map(|record| record.seq).collect()),
        Column::NullableBigInt(records.iter().map(|record| record.next_change.map(Instant::micros)).collect()),
        Column::Int(records.iter().map(|record| i32::from(record.erased)).collect()),
        Column::Bytes(records.into_iter().map(|record| record.body).collect()),
    ]
}

/// The records of these customers that are there, in the order of customers.
pub async fn load(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[CustomerId],
) -> Result<Vec<Record>> {
    let mut wanted: Vec<i64> = customers.iter().map(|customer| customer.as_i64()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut records = Vec::with_capacity(wanted.len());
    for numbers in Numbers::queries(&wanted) {
        let rows = customer_record::Entity::find()
            .filter(customer_record::Column::TenantId.eq(tenant.0))
            .filter(numbers.contain(customer_record::Column::CustomerId))
            .all(connection)
            .await?;
        records.extend(rows.into_iter().filter_map(from_row));
    }
    records.sort_unstable_by_key(|record| record.customer);
    Ok(records)
}

/// The record of one customer.
pub async fn get(database: &Database, tenant: TenantId, customer: CustomerId) -> Result<Option<Record>> {
    let row = customer_record::Entity::find_by_id((tenant.0, customer.as_i64())).one(database.reader()).await?;
    Ok(row.and_then(from_row))
}

/// The record of one customer, for somebody who writes what it has: it stays as it is until the transaction ends, so that who is erased leaves nothing.
pub async fn hold(transaction: &Transaction, tenant: TenantId, customer: CustomerId) -> Result<Option<Record>> {
    let select = customer_record::Entity::find_by_id((tenant.0, customer.as_i64())).lock_exclusive();
    Ok(select.one(transaction).await?.and_then(from_row))
}

/// Up to `limit` records behind `after`, in the order of customers.
pub async fn scan(connection: &impl ConnectionTrait, tenant: TenantId, after: u32, limit: u64) -> Result<Vec<Record>> {
    let rows = customer_record::Entity::find()
        .filter(customer_record::Column::TenantId.eq(tenant.0))
        .filter(customer_record::Column::CustomerId.gt(i64::from(after)))
        .order_by_asc(customer_record::Column::CustomerId)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows.into_iter().filter_map(from_row).collect())
}

/// The records of customers with these numbers, in their order.
pub async fn range(connection: &impl ConnectionTrait, tenant: TenantId, numbers: Range<u32>) -> Result<Vec<Record>> {
    let rows = customer_record::Entity::find()
        .filter(customer_record::Column::TenantId.eq(tenant.0))
        .filter(customer_record::Column::CustomerId.gte(i64::from(numbers.start)))
        .filter(customer_record::Column::CustomerId.lt(i64::from(numbers.end)))
        .order_by_asc(customer_record::Column::CustomerId)
        .all(connection)
        .await?;
    Ok(rows.into_iter().filter_map(from_row).collect())
}

/// The number of the last customer of whom there is a record, be it that the customer is no more. 0: there is none.
pub async fn last(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64> {
    let last = customer_record::Entity::find()
        .filter(customer_record::Column::TenantId.eq(tenant.0))
        .order_by_desc(customer_record::Column::CustomerId)
        .one(connection)
        .await?;
    Ok(last.map_or(0, |row| row.customer_id))
}

/// Up to `limit` records that time alone changes at `now` or before.
pub async fn due(connection: &impl ConnectionTrait, tenant: TenantId, now: Instant, limit: u64) -> Result<Vec<Record>> {
    let rows = customer_record::Entity::find()
        .filter(customer_record::Column::TenantId.eq(tenant.0))
        .filter(customer_record::Column::NextChangeAt.lte(now.micros()))
        .order_by_asc(customer_record::Column::NextChangeAt)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows.into_iter().filter_map(from_row).collect())
}

/// How many records there are, those of customers that are no more included.
pub async fn count(database: &Database, tenant: TenantId) -> Result<u64> {
    let query = customer_record::Entity::find().filter(customer_record::Column::TenantId.eq(tenant.0));
    Ok(query.count(database.reader()).await?)
}

fn from_row(row: customer_record::Model) -> Option<Record> {
    // Ids are dense from 1 and given by us; a row that does not fit is not ours.
    let customer = CustomerId::try_from(row.customer_id).ok()?;
    let next_change = row.next_change_at.map(Instant::from_micros);
    Some(Record { customer, seq: row.seq, next_change, body: row.body, erased: row.erased != 0 })
}
