//! What the log of enters and exits has forgotten.

use super::memberships::{block, entity};
use crate::store::blocks;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::history::Position;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// Rows of each table that are looked at by one step.
const ROWS: u64 = 1_000;

mod floor {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "membership_floor")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        pub seq: i64,
        pub place: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The position up to which the log has forgotten everything.
pub async fn floor(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Position, StoreError> {
    let row = floor::Entity::find_by_id(tenant.0).one(connection).await?;
    Ok(row.map(|row| Position { seq: row.seq, place: row.place }).unwrap_or_default())
}

/// A row as retention looks at it: where it ends, and when it was true.
struct Old {
    end: Position,
    valid_at: i64,
}

/// The commits at the log's beginning whose first row was true before `horizon`: where the last of them ends. `None`: there is none.
pub async fn forgettable(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    horizon: Instant,
) -> Result<Option<Position>, StoreError> {
    let single = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(ROWS)
        .all(connection)
        .await?;
    let many = block::Entity::find()
        .filter(block::Column::TenantId.eq(tenant.0))
        .order_by_asc(block::Column::Seq)
        .order_by_asc(block::Column::Place)
        .limit(ROWS)
        .all(connection)
        .await?;
    // Behind the last row that was read of a table that has more, nothing is known.
    let ends = [
        single.last().map(|row| row.seq).filter(|_| single.len() as u64 == ROWS),
        many.last().map(|row| row.seq).filter(|_| many.len() as u64 == ROWS),
    ];
    let known = ends.into_iter().flatten().min().unwrap_or(i64::MAX);
    let last = i64::from(blocks::CUSTOMERS) - 1;
    let single = single.iter().map(|row| (row.seq, row.place, row.place, row.valid_at));
    let many = many.iter().map(|row| (row.seq, row.place, row.place + last, row.valid_at));
    let mut rows: Vec<_> = single.chain(many).filter(|row| row.0 <= known).collect();
    rows.sort_unstable();
    let mut forgettable: Option<Old> = None;
    for (seq, _, end, valid_at) in rows {
        match &mut forgettable {
            Some(old) if old.end.seq == seq => old.end.place = old.end.place.max(end),
            _ if valid_at >= horizon.micros() => break,
            _ => forgettable = Some(Old { end: Position { seq, place: end }, valid_at }),
        }
    }
    Ok(forgettable.filter(|old| old.valid_at < horizon.micros()).map(|old| old.end))
}

/// Forgets everything up to the commit of a position, as part of a transaction.
pub async fn forget(transaction: &Transaction, tenant: TenantId, end: Position) -> Result<(), StoreError> {
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Seq.lte(end.seq))
        .exec(transaction)
        .await?;
    block::Entity::delete_many()
        .filter(block::Column::TenantId.eq(tenant.0))
        .filter(block::Column::Seq.lte(end.seq))
        .exec(transaction)
        .await?;
    let row = floor::ActiveModel { tenant_id: Set(tenant.0), seq: Set(end.seq), place: Set(end.place) };
    let replace = OnConflict::column(floor::Column::TenantId)
        .update_columns([floor::Column::Seq, floor::Column::Place])
        .to_owned();
    floor::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}
