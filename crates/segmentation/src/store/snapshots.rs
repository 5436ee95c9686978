//! What label sets and segments were at the beginning of days: labels by customer, and sizes.

use super::blocks;
use crate::fields::Classes;
use crate::population::catalogue::Key;
use crate::population::snapshot::Labelled;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::BTreeMap;

/// How hard codes are compressed.
const LEVEL: i32 = 3;
/// Between the ids of labels.
const SEPARATOR: &str = "\n";

mod labels {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "label_snapshot")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: i32,
        pub as_of: i64,
        pub labels: String,
        pub classes: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod codes {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "label_snapshot_block")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub block: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: i32,
        pub codes: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod size {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "daily_size")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: i32,
        pub as_of: i64,
        pub members: i64,
        pub classes: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const SIZES: Target = Target {
    table: "daily_size",
    columns: &["tenant_id", "name", "day", "as_of", "members", "classes"],
    key: &["tenant_id", "name", "day"],
    on_conflict: OnConflict::Keep,
};

const LABELS: Target = Target {
    table: "label_snapshot",
    columns: &["tenant_id", "name", "day", "as_of", "labels", "classes"],
    key: &["tenant_id", "name", "day"],
    on_conflict: OnConflict::Keep,
};

const CODES: Target = Target {
    table: "label_snapshot_block",
    columns: &["tenant_id", "block", "name", "day", "codes"],
    key: &["tenant_id", "block", "name", "day"],
    on_conflict: OnConflict::Keep,
};

/// How many members something had at the beginning of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The local day, in days since 1970.
    pub day: i32,
    /// The instant for which it is true.
    pub as_of: Instant,
    /// The members.
    pub members: i64,
    /// The classes of the fields that were read to know it.
    pub classes: Classes,
}

/// The last day of which sizes were written down. `None`: of none.
pub async fn last_day(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<i32>, StoreError> {
    let row = size::Entity::find()
        .filter(size::Column::TenantId.eq(tenant.0))
        // Every tenant has the label set that ships, and it is always written down.
        .filter(size::Column::Name.starts_with("labelSets/rfm-11/"))
        .order_by_desc(size::Column::Day)
        .one(connection)
        .await?;
    Ok(row.map(|row| row.day))
}

/// The first day of which sizes are written down. `None`: of none.
pub async fn first_day(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<i32>, StoreError> {
    let row = size::Entity::find()
        .filter(size::Column::TenantId.eq(tenant.0))
        .order_by_asc(size::Column::Day)
        .one(connection)
        .await?;
    Ok(row.map(|row| row.day))
}

/// Forgets the sizes of a day, as part of a transaction.
pub async fn forget_sizes(transaction: &Transaction, tenant: TenantId, day: i32) -> Result<(), StoreError> {
    size::Entity::delete_many()
        .filter(size::Column::TenantId.eq(tenant.0))
        .filter(size::Column::Day.eq(day))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Writes down how many members segments and labels have, as part of a transaction.
pub async fn write_sizes(
    transaction: &Transaction,
    tenant: TenantId,
    day: i32,
    as_of: Instant,
    sizes: Vec<(String, u64, Classes)>,
) -> Result<(), StoreError> {
    let count = sizes.len();
    let members = sizes.iter().map(|(_, members, _)| i64::try_from(*members).unwrap_or(i64::MAX)).collect();
    let classes = sizes.iter().map(|(.., classes)| classes.as_i32()).collect();
    let columns = vec![
        Column::Int(vec![tenant.0; count]),
        Column::Text(sizes.into_iter().map(|(name, ..)| name).collect()),
        Column::Int(vec![day; count]),
        Column::BigInt(vec![as_of.micros(); count]),
        Column::BigInt(members),
        Column::Int(classes),
    ];
    SIZES.write(transaction, columns).await?;
    Ok(())
}

/// The sizes of a segment or label from one day to another, both included, by day.
pub async fn sizes(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    name: &str,
    first_day: i32,
    last_day: i32,
) -> Result<Vec<Size>, StoreError> {
    let rows = size::Entity::find()
        .filter(size::Column::TenantId.eq(tenant.0))
        .filter(size::Column::Name.eq(name))
        .filter(size::Column::Day.between(first_day, last_day))
        .order_by_asc(size::Column::Day)
        .all(connection)
        .await?;
    Ok(rows.iter().map(size_of).collect())
}

/// The last size of a segment or label that was written down up to a day. `None`: there is none.
pub async fn size_by(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    name: &str,
    day: i32,
) -> Result<Option<Size>, StoreError> {
    let row = size::Entity::find()
        .filter(size::Column::TenantId.eq(tenant.0))
        .filter(size::Column::Name.eq(name))
        .filter(size::Column::Day.lte(day))
        .order_by_desc(size::Column::Day)
        .one(connection)
        .await?;
    Ok(row.as_ref().map(size_of))
}

fn size_of(row: &size::Model) -> Size {
    let as_of = Instant::from_micros(row.as_of);
    Size { day: row.day, as_of, members: row.members, classes: Classes::from_i32(row.classes) }
}

/// Writes down who has which label of a set, as part of a transaction. A day that is written down stays as it is.
pub async fn write_labels(
    transaction: &Transaction,
    tenant: TenantId,
    key: &Key,
    (day, as_of, classes): (i32, Instant, Classes),
    labelled: &Labelled,
) -> Result<(), StoreError> {
    let name = key.to_string();
    let head = vec![
        Column::Int(vec![tenant.0]),
        Column::Text(vec![name.clone()]),
        Column::Int(vec![day]),
        Column::BigInt(vec![as_of.micros()]),
        Column::Text(vec![labelled.labels.join(SEPARATOR)]),
        Column::Int(vec![classes.as_i32()]),
    ];
    LABELS.write(transaction, head).await?;
    let blocks = labelled.codes.chunks(blocks::CUSTOMERS as usize).zip(0_i64..);
    let somebody: Vec<_> = blocks.filter(|(codes, _)| codes.iter().any(|code| *code != 0)).collect();
    let count = somebody.len();
    let compressed = somebody.iter().map(|(codes, _)| compress(codes)).collect::<Result<_, _>>()?;
    let columns = vec![
        Column::Int(vec![tenant.0; count]),
        Column::BigInt(somebody.iter().map(|(_, block)| *block).collect()),
        Column::Text(vec![name; count]),
        Column::Int(vec![day; count]),
        Column::Bytes(compressed),
    ];
    CODES.write(transaction, columns).await?;
    Ok(())
}

fn compress(codes: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(codes, LEVEL).map_err(|_| StoreError::Sealed("labels of a day"))
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::decompress(bytes, blocks::CUSTOMERS as usize).map_err(|_| StoreError::Sealed("labels of a day"))
}

/// Who had which label, as it was written down.
pub struct Kept {
    /// The instant for which it is true.
    pub as_of: Instant,
    /// Who had which.
    pub labelled: Labelled,
    /// The classes of the fields that were read to know it.
    pub classes: Classes,
}

/// Who had which label of a set at the last instant up to `at` of which it was written down. `None`: there is none.
pub async fn labels_at(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    key: &Key,
    at: Instant,
) -> Result<Option<Kept>, StoreError> {
    let name = key.to_string();
    let row = labels::Entity::find()
        .filter(labels::Column::TenantId.eq(tenant.0))
        .filter(labels::Column::Name.eq(name.as_str()))
        .filter(labels::Column::AsOf.lte(at.micros()))
        .order_by_desc(labels::Column::AsOf)
        .one(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let rows = codes::Entity::find()
        .filter(codes::Column::TenantId.eq(tenant.0))
        .filter(codes::Column::Name.eq(name))
        .filter(codes::Column::Day.eq(row.day))
        .order_by_asc(codes::Column::Block)
        .all(connection)
        .await?;
    let mut codes = Vec::new();
    for row in rows {
        let start = usize::try_from(row.block).unwrap_or(0) * blocks::CUSTOMERS as usize;
        codes.resize(start, 0);
        codes.extend(decompress(&row.codes)?);
    }
    let labels = row.labels.split(SEPARATOR).map(str::to_owned).collect();
    let (as_of, classes) = (Instant::from_micros(row.as_of), Classes::from_i32(row.classes));
    Ok(Some(Kept { as_of, labelled: Labelled { labels, codes }, classes }))
}

/// Forgets the labels of a day, of every set, as part of a transaction.
pub async fn forget_labels(transaction: &Transaction, tenant: TenantId, day: i32) -> Result<(), StoreError> {
    labels::Entity::delete_many()
        .filter(labels::Column::TenantId.eq(tenant.0))
        .filter(labels::Column::Day.eq(day))
        .exec(transaction)
        .await?;
    codes::Entity::delete_many()
        .filter(codes::Column::TenantId.eq(tenant.0))
        .filter(codes::Column::Day.eq(day))
        .exec(transaction)
        .await?;
    Ok(())
}

/// The days before `horizon` of which labels are written down, oldest first.
pub async fn days_before(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    horizon: i32,
) -> Result<Vec<i32>, StoreError> {
    let days = labels::Entity::find()
        .select_only()
        .column(labels::Column::Day)
        .distinct()
        .filter(labels::Column::TenantId.eq(tenant.0))
        .filter(labels::Column::Day.lt(horizon))
        .order_by_asc(labels::Column::Day)
        .into_tuple::<i32>()
        .all(connection)
        .await?;
    Ok(days)
}

/// Forgets everything of a definition, as part of a transaction.
pub async fn delete(transaction: &Transaction, tenant: TenantId, key: &Key) -> Result<(), StoreError> {
    let name = key.to_string();
    labels::Entity::delete_many()
        .filter(labels::Column::TenantId.eq(tenant.0))
        .filter(labels::Column::Name.eq(name.as_str()))
        .exec(transaction)
        .await?;
    codes::Entity::delete_many()
        .filter(codes::Column::TenantId.eq(tenant.0))
        .filter(codes::Column::Name.eq(name.as_str()))
        .exec(transaction)
        .await?;
    let own = size::Column::Name.eq(name.as_str()).or(size::Column::Name.starts_with(format!("{name}/")));
    size::Entity::delete_many().filter(size::Column::TenantId.eq(tenant.0)).filter(own).exec(transaction).await?;
    Ok(())
}

/// Blots customers who were erased out of all days, as part of a transaction.
pub async fn erase(transaction: &Transaction, tenant: TenantId, customers: &[CustomerId]) -> Result<(), StoreError> {
    let mut by_block: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for customer in customers {
        by_block.entry(blocks::of(customer.0)).or_default().push((customer.0 % blocks::CUSTOMERS) as usize);
    }
    for (block, places) in by_block {
        for row in of_block(transaction, tenant, block).await? {
            let mut codes = decompress(&row.codes)?;
            let mut changed = false;
            for place in &places {
                if let Some(code) = codes.get_mut(*place).filter(|code| **code != 0) {
                    *code = 0;
                    changed = true;
                }
            }
            if changed {
                codes::Entity::update_many()
                    .col_expr(codes::Column::Codes, Expr::value(compress(&codes)?))
                    .filter(codes::Column::TenantId.eq(tenant.0))
                    .filter(codes::Column::Block.eq(row.block))
                    .filter(codes::Column::Name.eq(row.name))
                    .filter(codes::Column::Day.eq(row.day))
                    .exec(transaction)
                    .await?;
            }
        }
    }
    Ok(())
}

async fn of_block(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    block: u32,
) -> Result<Vec<codes::Model>, StoreError> {
    let query = codes::Entity::find()
        .filter(codes::Column::TenantId.eq(tenant.0))
        .filter(codes::Column::Block.eq(i64::from(block)));
    Ok(query.all(connection).await?)
}

/// On how many days a customer has a label.
pub async fn count_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<u64, StoreError> {
    let mut days = 0;
    for row in of_block(connection, tenant, blocks::of(customer.0)).await? {
        let codes = decompress(&row.codes)?;
        days += u64::from(codes.get((customer.0 % blocks::CUSTOMERS) as usize).is_some_and(|code| *code != 0));
    }
    Ok(days)
}
