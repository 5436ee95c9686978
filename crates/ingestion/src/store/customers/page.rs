//! Customers page by page.

use super::clear::{clear_attributes, clear_row};
use super::{KEYS_PER_QUERY, StoredCustomer, number, open_all};
use crate::store::entities::customer;
use crate::store::keys::TenantKeys;
use quintile_domain::ids::TenantId;
use quintile_proto::types::CustomerAttributes;
use quintile_store::StoreError;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;

/// Rows that a page looks at, at least, for a caller that does not reach all of them.
const LEAST_ROWS_PER_PAGE: u64 = 1_000;

/// A page of customers.
pub struct CustomerPage {
    /// Those that are to be seen, opened, by number.
    pub customers: Vec<StoredCustomer>,
    /// The last customer that was looked at.
    pub last: Option<i64>,
    /// Whether there may be more behind it.
    pub more: bool,
}

/// The number of a tenant's last customer, be it that the customer is no more: there is one as soon as its first row is acknowledged. 0: there is
/// none.
pub async fn last(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    let numbers = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .filter(customer::Column::TenantId.eq(tenant.0))
        .order_by_desc(customer::Column::CustomerId);
    Ok(numbers.into_tuple::<i64>().one(connection).await?.unwrap_or(0))
}

/// Up to `limit` customers behind `after` of whom `reaches` holds. It looks at so many rows and no more: a page of a caller that reaches
/// few may be short, or empty, with more behind it.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    after: i64,
    limit: u64,
    reaches: Option<&(dyn Fn(&CustomerAttributes) -> bool + Sync)>,
) -> Result<CustomerPage, StoreError> {
    let rows_to_look_at = if reaches.is_some() { limit.max(LEAST_ROWS_PER_PAGE) } else { limit };
    let rows = customer::Entity::find()
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(customer::Column::CustomerId.gt(after))
        .filter(customer::Column::ErasedAt.is_null())
        .filter(customer::Column::MergedInto.is_null())
        .order_by_asc(customer::Column::CustomerId)
        .limit(rows_to_look_at)
        .all(connection)
        .await?;
    let more = rows.len() as u64 >= rows_to_look_at;
    let mut merged = merged_into(connection, tenant, &rows).await?;
    let mut page = CustomerPage { customers: Vec::new(), last: None, more };
    let (mut within_reach, mut found) = (Vec::new(), 0);
    for row in rows {
        if found == limit {
            page.more = true;
            break;
        }
        let id = row.customer_id;
        page.last = Some(id);
        found += 1;
        // Before the rows are opened: what nobody will see stays sealed.
        let rows: Vec<_> = std::iter::once(row).chain(merged.remove(&id).unwrap_or_default()).collect();
        let attributes = || clear_attributes(number(id)?, &rows.iter().map(clear_row).collect::<Vec<_>>());
        if reaches.is_none_or(|reaches| attributes().is_ok_and(|attributes| reaches(&attributes))) {
            within_reach.extend(rows);
        } else {
            found -= 1;
        }
    }
    page.customers = open_all(connection, tenant, keys, within_reach).await?;
    page.customers.sort_unstable_by_key(|customer| customer.id);
    Ok(page)
}

/// The rows that were merged into these, by the number of the one that they were merged into.
async fn merged_into(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    rows: &[customer::Model],
) -> Result<HashMap<i64, Vec<customer::Model>>, StoreError> {
    let mut merged: HashMap<i64, Vec<customer::Model>> = HashMap::new();
    for chunk in rows.chunks(KEYS_PER_QUERY) {
        let rows = customer::Entity::find()
            .filter(customer::Column::TenantId.eq(tenant.0))
            .filter(customer::Column::MergedInto.is_in(chunk.iter().map(|row| row.customer_id)))
            .filter(customer::Column::ErasedAt.is_null())
            .all(connection)
            .await?;
        for row in rows {
            merged.entry(row.merged_into.unwrap_or_default()).or_default().push(row);
        }
    }
    Ok(merged)
}
