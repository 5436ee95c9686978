//! What is in clear of customers: their attributes, and who was merged into whom.

use super::record::FieldTimes;
use super::{attributes, decode_attributes, number, rows_of};
use crate::intake::custom::CustomValues;
use crate::store::entities::customer;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerAttributes;
use quintile_store::StoreError;
use quintile_store::numbers::Numbers;
use sea_orm::{ConnectionTrait, QuerySelect};
use std::collections::BTreeMap;

/// What is in clear of a customer's row: customer, survivor, attributes, since when restricted, when said and when updated.
pub(super) type ClearRow = (i64, Option<i64>, Vec<u8>, Option<i64>, Vec<u8>, i64);

pub(super) fn clear_row(row: &customer::Model) -> ClearRow {
    let (attributes, said_at) = (row.attributes.clone(), row.said_at.clone());
    (row.customer_id, row.merged_into, attributes, row.restricted_at, said_at, row.updated_at)
}

/// What the rows of one customer say in clear.
pub(super) fn clear_attributes(id: CustomerId, rows: &[ClearRow]) -> Result<CustomerAttributes, StoreError> {
    if let [(_, _, attributes, ..)] = rows {
        return decode_attributes(attributes);
    }
    let mut said = Vec::with_capacity(rows.len());
    for (home, _, attributes, _, said_at, updated_at) in rows {
        // Custom attributes are none of these.
        let times = FieldTimes::decode(said_at, Instant::from_micros(*updated_at), &CustomValues::new());
        said.push((number(*home)?, decode_attributes(attributes)?, times));
    }
    let said = said.iter().map(|(home, attributes, times)| (*home, attributes, times));
    Ok(attributes::compose(said, id))
}

/// A customer that is processed.
pub struct Processed {
    /// The number.
    pub id: CustomerId,
    /// The attributes.
    pub attributes: CustomerAttributes,
    /// The numbers of those who were merged into it, ascending.
    pub merged: Vec<i64>,
}

/// Those of these customers that are processed: neither erased nor restricted, nor merged into another. By number.
pub async fn processed(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    ids: &[CustomerId],
) -> Result<Vec<Processed>, StoreError> {
    let mut wanted: Vec<i64> = ids.iter().map(|id| id.as_i64()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = Vec::with_capacity(wanted.len());
    for numbers in Numbers::queries(&wanted) {
        let clear = rows_of(tenant, &numbers)
            .select_only()
            .columns([customer::Column::CustomerId, customer::Column::MergedInto, customer::Column::Attributes])
            .columns([customer::Column::RestrictedAt, customer::Column::SaidAt, customer::Column::UpdatedAt]);
        let mut rows: BTreeMap<i64, Vec<ClearRow>> = BTreeMap::new();
        for row in clear.into_tuple::<ClearRow>().all(connection).await? {
            rows.entry(row.1.unwrap_or(row.0)).or_default().push(row);
        }
        for (id, rows) in rows {
            if rows.iter().all(|(_, _, _, restricted_at, _, _)| restricted_at.is_none()) {
                let merged = rows.iter().map(|row| row.0).filter(|home| *home != id).collect();
                let id = number(id)?;
                found.push(Processed { id, attributes: clear_attributes(id, &rows)?, merged });
            }
        }
    }
    found.sort_unstable_by_key(|customer| customer.id);
    Ok(found)
}

/// The attributes of those of these customers that are processed. By number.
pub async fn attributes_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    ids: &[CustomerId],
) -> Result<Vec<(CustomerId, CustomerAttributes)>, StoreError> {
    let found = processed(connection, tenant, ids).await?;
    Ok(found.into_iter().map(|customer| (customer.id, customer.attributes)).collect())
}
