//! The columns of the population by blocks of customers, from which it is loaded faster than from records, and who was touched since they were kept.

use quintile_domain::ids::TenantId;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use roaring::RoaringBitmap;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

mod block {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "column_block")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub block: i64,
        pub step: i64,
        pub layout: String,
        pub body: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod touched {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "column_touched")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub step: i64,
        pub customers: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const BLOCKS: Target = Target {
    table: "column_block",
    columns: &["tenant_id", "block", "step", "layout", "body"],
    key: &["tenant_id", "block"],
    on_conflict: OnConflict::Replace(&["step", "layout", "body"]),
};

const TOUCHED: Target = Target {
    table: "column_touched",
    columns: &["tenant_id", "step", "customers"],
    key: &["tenant_id", "step"],
    on_conflict: OnConflict::Never,
};

/// A block that is to be kept.
#[derive(Debug)]
pub struct KeptBlock {
    /// Its number.
    pub block: u32,
    /// The last step of which it has everything.
    pub step: i64,
    /// What it has, compressed.
    pub body: Vec<u8>,
}

/// The blocks that are kept, each with its layout and the last step of which it has everything.
pub async fn steps(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<(u32, String, i64)>, StoreError> {
    let rows: Vec<(i64, String, i64)> = block::Entity::find()
        .select_only()
        .columns([block::Column::Block, block::Column::Layout, block::Column::Step])
        .filter(block::Column::TenantId.eq(tenant.0))
        .into_tuple()
        .all(connection)
        .await?;
    let number = |(block, layout, step)| Some((u32::try_from(block).ok()?, layout, step));
    Ok(rows.into_iter().filter_map(number).collect())
}

/// What is kept of a block. `None`: nothing.
pub async fn body(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    number: u32,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row = block::Entity::find_by_id((tenant.0, i64::from(number))).one(connection).await?;
    Ok(row.map(|row| row.body))
}

/// Who was touched in which step, ascending.
pub async fn touched(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
) -> Result<Vec<(i64, RoaringBitmap)>, StoreError> {
    let rows = touched::Entity::find()
        .filter(touched::Column::TenantId.eq(tenant.0))
        .order_by_asc(touched::Column::Step)
        .all(connection)
        .await?;
    rows.into_iter().map(|row| Ok((row.step, super::blocks::from_bytes(&row.customers)?))).collect()
}

/// Notes who is touched in a step, as part of its transaction.
pub async fn touch(
    transaction: &Transaction,
    tenant: TenantId,
    step: i64,
    customers: &RoaringBitmap,
) -> Result<(), StoreError> {
    let customers = Column::Bytes(vec![super::blocks::to_bytes(customers)]);
    TOUCHED.write(transaction, vec![Column::Int(vec![tenant.0]), Column::BigInt(vec![step]), customers]).await?;
    Ok(())
}

/// Keeps blocks in place of those that are kept, as part of a transaction.
pub async fn keep(
    transaction: &Transaction,
    tenant: TenantId,
    layout: &str,
    mut blocks: Vec<KeptBlock>,
) -> Result<(), StoreError> {
    blocks.sort_unstable_by_key(|kept| kept.block);
    let columns = vec![
        Column::Int(vec![tenant.0; blocks.len()]),
        Column::BigInt(blocks.iter().map(|kept| kept.block.into()).collect()),
        Column::BigInt(blocks.iter().map(|kept| kept.step).collect()),
        Column::Text(vec![layout.to_owned(); blocks.len()]),
        Column::Bytes(blocks.into_iter().map(|kept| kept.body).collect()),
    ];
    BLOCKS.write(transaction, columns).await?;
    Ok(())
}

/// Forgets blocks, as part of a transaction.
pub async fn forget(transaction: &Transaction, tenant: TenantId, blocks: &[u32]) -> Result<(), StoreError> {
    for number in blocks {
        block::Entity::delete_by_id((tenant.0, i64::from(*number))).exec(transaction).await?;
    }
    Ok(())
}

/// Forgets who was touched before a step, as part of a transaction.
pub async fn forget_touched(transaction: &Transaction, tenant: TenantId, before: i64) -> Result<(), StoreError> {
    touched::Entity::delete_many()
        .filter(touched::Column::TenantId.eq(tenant.0))
        .filter(touched::Column::Step.lt(before))
        .exec(transaction)
        .await?;
    Ok(())
}
