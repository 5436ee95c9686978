//! The log of enters and exits.

use crate::population::Change;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::segmentation::{MembershipCause, MembershipChange};
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, feed};
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// The feed that numbers the log.
pub const MEMBERSHIPS: &str = "memberships";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "membership_change")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub parent: String,
        pub customer_id: i64,
        pub entered: i32,
        pub valid_at: i64,
        pub cause: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const LOG: Target = Target {
    table: "membership_change",
    columns: &["tenant_id", "seq", "place", "parent", "customer_id", "entered", "valid_at", "cause"],
    key: &["tenant_id", "seq", "place"],
    on_conflict: OnConflict::Keep,
};

/// A place in the log: a commit, and a change in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The commit.
    pub seq: i64,
    /// The change's place in it.
    pub place: i64,
}

/// Appends changes, as part of a transaction. Call it late: it locks the log's head.
pub async fn append(transaction: &DatabaseTransaction, tenant: TenantId, changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let seq = feed::next_seq(transaction, tenant, MEMBERSHIPS).await?;
    let count = changes.len();
    let columns = vec![
        Column::Int(vec![tenant.0; count]),
        Column::BigInt(vec![seq; count]),
        Column::BigInt((0..count as i64).collect()),
        Column::Text(changes.iter().map(|change| change.parent.clone()).collect()),
        Column::BigInt(changes.iter().map(|change| i64::from(change.customer_id)).collect()),
        Column::Int(changes.iter().map(|change| i32::from(change.entered)).collect()),
        Column::BigInt(changes.iter().map(|change| change.valid_at.micros()).collect()),
        Column::Int(changes.iter().map(|change| change.cause.into()).collect()),
    ];
    LOG.write(transaction, columns).await?;
    Ok(())
}

/// The end of the log.
pub async fn end(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Position, StoreError> {
    Ok(Position { seq: feed::head(connection, tenant, MEMBERSHIPS).await?, place: i64::MAX })
}

/// Up to `limit` changes behind a position, each with its own position.
pub async fn after(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    position: Position,
    limit: u64,
) -> Result<Vec<(Position, MembershipChange)>, StoreError> {
    let behind = Condition::any()
        .add(entity::Column::Seq.gt(position.seq))
        .add(Condition::all().add(entity::Column::Seq.eq(position.seq)).add(entity::Column::Place.gt(position.place)));
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(behind)
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(|row| Ok((Position { seq: row.seq, place: row.place }, message(row)?))).collect()
}

fn message(row: entity::Model) -> Result<MembershipChange, StoreError> {
    let customer = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let cause = MembershipCause::try_from(row.cause).unwrap_or(MembershipCause::Unspecified);
    Ok(MembershipChange {
        parent: row.parent,
        customer: customer.to_string(),
        entered: row.entered != 0,
        valid_time: Some(convert::timestamp(Instant::from_micros(row.valid_at))),
        cause: cause.into(),
    })
}
