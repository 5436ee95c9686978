//! The log of enters and exits.

use crate::fields::Classes;
use crate::population::Change;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::segmentation::{MembershipCause, MembershipChange};
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

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
        pub classes: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const LOG: Target = Target {
    table: "membership_change",
    columns: &["tenant_id", "seq", "place", "parent", "customer_id", "entered", "valid_at", "cause", "classes"],
    key: &["tenant_id", "seq", "place"],
    on_conflict: OnConflict::Keep,
};

/// A change as the log has it.
pub struct Logged {
    /// Where it stands.
    pub position: Position,
    /// The classes of fields that its segment's rule read.
    pub classes: Classes,
    /// What is told of it.
    pub change: MembershipChange,
}

/// A place in the log: a commit, and a change in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The commit.
    pub seq: i64,
    /// The change's place in it.
    pub place: i64,
}

impl Position {
    /// The position as the bytes of a cursor or page token.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.seq.to_be_bytes(), self.place.to_be_bytes()].concat()
    }

    /// The position of a cursor or page token. `None`: it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seq, place) = bytes.split_at_checked(8)?;
        let number = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).ok();
        Some(Self { seq: number(seq)?, place: number(place)? })
    }
}

/// Appends changes, as part of a transaction. Call it late: it locks the log's head.
pub async fn append(transaction: &Transaction, tenant: TenantId, changes: &[Change]) -> Result<(), StoreError> {
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
        Column::Int(changes.iter().map(|change| change.classes.as_i32()).collect()),
    ];
    LOG.write(transaction, columns).await?;
    Ok(())
}

/// Deletes everything that the log says of customers who were erased, as part of a transaction.
pub async fn erase(transaction: &Transaction, tenant: TenantId, customers: &[CustomerId]) -> Result<(), StoreError> {
    for keys in customers.chunks(KEYS_PER_QUERY) {
        entity::Entity::delete_many()
            .filter(entity::Column::TenantId.eq(tenant.0))
            .filter(entity::Column::CustomerId.is_in(keys.iter().map(|customer| customer.as_i64())))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// How many enters and exits of a customer the log has; that a customer was erased is none.
pub async fn count_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<u64, StoreError> {
    let query = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::CustomerId.eq(customer.as_i64()))
        .filter(entity::Column::Parent.ne(""));
    Ok(query.count(connection).await?)
}

/// Up to `limit` changes of one customer behind a position, as the log has them.
pub async fn of_customer(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    position: Position,
    limit: u64,
) -> Result<Vec<Logged>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::CustomerId.eq(customer.as_i64()))
        .filter(entity::Column::Parent.ne(""))
        .filter(behind(position))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(logged).collect()
}

fn behind(position: Position) -> Condition {
    let later =
        Condition::all().add(entity::Column::Seq.eq(position.seq)).add(entity::Column::Place.gt(position.place));
    Condition::any().add(entity::Column::Seq.gt(position.seq)).add(later)
}

/// The end of the log.
pub async fn end(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Position, StoreError> {
    Ok(Position { seq: feed::head(connection, tenant, MEMBERSHIPS).await?, place: i64::MAX })
}

/// Up to `limit` changes behind a position, as the log has them.
pub async fn after(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    position: Position,
    limit: u64,
) -> Result<Vec<Logged>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(behind(position))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(logged).collect()
}

fn logged(row: entity::Model) -> Result<Logged, StoreError> {
    let customer = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let cause = MembershipCause::try_from(row.cause).unwrap_or(MembershipCause::Unspecified);
    let change = MembershipChange {
        parent: row.parent,
        customer: customer.to_string(),
        entered: row.entered != 0,
        valid_time: Some(convert::timestamp(Instant::from_micros(row.valid_at))),
        cause: cause.into(),
    };
    let position = Position { seq: row.seq, place: row.place };
    Ok(Logged { position, classes: Classes::from_i32(row.classes), change })
}
