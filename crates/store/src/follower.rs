//! How far a background worker has followed a feed. The cursor is the fence: a worker's transaction ends by moving it from where
//! the worker found it, and a worker that finds it moved has done its work in vain.

use crate::tables::follower;
use crate::{Result, StoreError, Transaction};
use quintile_domain::ids::TenantId;
use sea_orm::sea_query::{Condition, Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

/// A worker's place, and how far what it made is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The cursor of the feed that is followed. Empty: not begun.
    pub cursor: String,
    /// Facts up to this position are in.
    pub facts_position: i64,
    /// Changes by time up to this instant are in, in microseconds. 0: none yet.
    pub time_micros: i64,
}

/// Where the worker of a feed stands.
pub async fn place(connection: &impl ConnectionTrait, tenant: TenantId, feed: &str) -> Result<Place> {
    let row = follower::Entity::find_by_id((tenant.0, feed.to_owned())).one(connection).await?;
    Ok(row.map_or_else(Place::default, |row| Place {
        cursor: row.cursor,
        facts_position: row.facts_position,
        time_micros: row.time_micros,
    }))
}

/// Moves the worker of a feed from `old` to `new`, as part of the transaction with its work.
pub async fn advance(transaction: &Transaction, tenant: TenantId, feed: &str, old: &Place, new: &Place) -> Result<()> {
    let moved = if *old == Place::default() {
        let row = follower::ActiveModel {
            tenant_id: Set(tenant.0),
            feed: Set(feed.to_owned()),
            cursor: Set(new.cursor.clone()),
            facts_position: Set(new.facts_position),
            time_micros: Set(new.time_micros),
        };
        let key = [follower::Column::TenantId, follower::Column::Feed];
        follower::Entity::insert(row)
            .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
            .exec_without_returning(transaction)
            .await?
    } else {
        follower::Entity::update_many()
            .col_expr(follower::Column::Cursor, Expr::value(new.cursor.clone()))
            .col_expr(follower::Column::FactsPosition, Expr::value(new.facts_position))
            .col_expr(follower::Column::TimeMicros, Expr::value(new.time_micros))
            .filter(at(tenant, feed, old))
            .exec(transaction)
            .await?
            .rows_affected
    };
    if moved == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}

/// Forgets where the worker of a feed stands, as part of a transaction.
pub async fn forget(transaction: &Transaction, tenant: TenantId, feed: &str) -> Result<()> {
    follower::Entity::delete_by_id((tenant.0, feed.to_owned())).exec(transaction).await?;
    Ok(())
}

/// Holds a worker's place for the rest of the transaction: another worker that would write waits, and one that has gone on makes
/// this one's work void. Call it first, before anything is read that will be written again.
pub async fn hold(transaction: &Transaction, tenant: TenantId, feed: &str, found: &Place) -> Result<()> {
    if *found == Place::default() {
        // Nobody has begun: there is nothing to write again yet.
        return Ok(());
    }
    let held = follower::Entity::update_many()
        .col_expr(follower::Column::Cursor, Expr::value(found.cursor.clone()))
        .filter(at(tenant, feed, found))
        .exec(transaction)
        .await?
        .rows_affected;
    if held == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}

/// The row of a worker that is still where it was found.
fn at(tenant: TenantId, feed: &str, found: &Place) -> Condition {
    Condition::all()
        .add(follower::Column::TenantId.eq(tenant.0))
        .add(follower::Column::Feed.eq(feed))
        .add(follower::Column::Cursor.eq(found.cursor.as_str()))
        .add(follower::Column::FactsPosition.eq(found.facts_position))
        .add(follower::Column::TimeMicros.eq(found.time_micros))
}
