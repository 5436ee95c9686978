//! The members of static lists.

use super::blocks;
use crate::engine::Bitmap;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "list_block")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub segment_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub block: i64,
        pub customers: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Everybody on the lists of a tenant, by the segment's id.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<HashMap<String, Bitmap>, StoreError> {
    let rows = entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0)).all(connection).await?;
    let mut lists: HashMap<String, Bitmap> = HashMap::new();
    for row in rows {
        let block = u32::try_from(row.block).map_err(|_| StoreError::Sealed("block of customers"))?;
        let list = lists.entry(row.segment_id).or_default();
        for place in blocks::from_bytes(&row.customers)? {
            list.set(block.saturating_mul(blocks::CUSTOMERS).saturating_add(place));
        }
    }
    Ok(lists)
}

/// Writes a list down where it is another than before, as part of a transaction.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    segment: &str,
    before: &Bitmap,
    after: &Bitmap,
) -> Result<(), StoreError> {
    let changed: BTreeSet<u32> = before.xor(after).iter().map(blocks::of).collect();
    let after = blocks::encode(after);
    for block in changed {
        if let Some(customers) = after.get(&block) {
            put(transaction, tenant, segment, block, blocks::to_bytes(customers)).await?;
        } else {
            let key = (tenant.0, segment.to_owned(), i64::from(block));
            entity::Entity::delete_by_id(key).exec(transaction).await?;
        }
    }
    Ok(())
}

async fn put(
    transaction: &Transaction,
    tenant: TenantId,
    segment: &str,
    block: u32,
    customers: Vec<u8>,
) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        segment_id: Set(segment.to_owned()),
        block: Set(block.into()),
        customers: Set(customers),
    };
    let key = [entity::Column::TenantId, entity::Column::SegmentId, entity::Column::Block];
    let replace = OnConflict::columns(key).update_column(entity::Column::Customers).to_owned();
    entity::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}

/// Deletes a list, as part of a transaction.
pub async fn delete(transaction: &Transaction, tenant: TenantId, segment: &str) -> Result<(), StoreError> {
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::SegmentId.eq(segment))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Takes customers who were erased off all lists, as part of a transaction.
pub async fn erase(transaction: &Transaction, tenant: TenantId, customers: &[CustomerId]) -> Result<(), StoreError> {
    let mut by_block: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for customer in customers {
        by_block.entry(blocks::of(customer.0)).or_default().push(customer.0 % blocks::CUSTOMERS);
    }
    for (block, places) in by_block {
        let rows = entity::Entity::find()
            .filter(entity::Column::TenantId.eq(tenant.0))
            .filter(entity::Column::Block.eq(i64::from(block)))
            .all(transaction)
            .await?;
        for row in rows {
            let mut members = blocks::from_bytes(&row.customers)?;
            let removed = places.iter().filter(|place| members.remove(**place)).count();
            if removed > 0 {
                put(transaction, tenant, &row.segment_id, block, blocks::to_bytes(&members)).await?;
            }
        }
    }
    Ok(())
}

/// On how many lists a customer is.
pub async fn count_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<u64, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Block.eq(i64::from(blocks::of(customer.0))))
        .all(connection)
        .await?;
    let mut lists = 0;
    for row in rows {
        lists += u64::from(blocks::from_bytes(&row.customers)?.contains(customer.0 % blocks::CUSTOMERS));
    }
    Ok(lists)
}
