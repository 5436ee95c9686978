//! How customers' stages have changed, and why.

use crate::stages::Stage;
use prost::Message;
use quintile_chain::feed::{self, Removed};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::StageTransitionCause;
use quintile_proto::types::StageValues;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::{StoreError, Transaction};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "stage_transition")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub valid_at: i64,
        pub cause: i32,
        pub from_stage: i32,
        pub to_stage: i32,
        pub body: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl History for entity::Entity {
    const TENANT: entity::Column = entity::Column::TenantId;
    const CUSTOMER: entity::Column = entity::Column::CustomerId;
    const SEQ: entity::Column = entity::Column::Seq;
    const PLACE: entity::Column = entity::Column::Place;
}

const LOG: Target = Target {
    table: "stage_transition",
    columns: &["tenant_id", "customer_id", "seq", "place", "valid_at", "cause", "from_stage", "to_stage", "body"],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Never,
};

/// A customer's way from one stage to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The customer.
    pub customer: CustomerId,
    /// From when the new stage holds. Business time.
    pub valid_at: Instant,
    /// Why.
    pub cause: StageTransitionCause,
    /// The number of the stage before.
    pub from: i32,
    /// The stage after, with the evidence.
    pub to: StageValues,
}

/// Appends the transitions of a commit that publishes at `seq`.
pub async fn append(
    transaction: &Transaction,
    tenant: TenantId,
    seq: i64,
    mut transitions: Vec<Transition>,
) -> Result<(), StoreError> {
    if transitions.is_empty() {
        return Ok(());
    }
    // By key, so that they are written fast. Of one customer's the places stay in the order in which one led to the next.
    transitions.sort_by_key(|transition| transition.customer);
    let all = || transitions.iter();
    let columns = vec![
        Column::Int(vec![tenant.0; transitions.len()]),
        Column::BigInt(all().map(|transition| transition.customer.as_i64()).collect()),
        Column::BigInt(vec![seq; transitions.len()]),
        Column::BigInt((0..transitions.len() as i64).collect()),
        Column::BigInt(all().map(|transition| transition.valid_at.micros()).collect()),
        Column::Int(all().map(|transition| transition.cause.into()).collect()),
        Column::Int(all().map(|transition| transition.from).collect()),
        Column::Int(all().map(|transition| transition.to.stage).collect()),
        Column::Bytes(all().map(|transition| transition.to.encode_to_vec()).collect()),
    ];
    LOG.write(transaction, columns).await?;
    Ok(())
}

/// Forgets all transitions of those who were erased.
pub async fn erase(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    history::forget::<entity::Entity>(transaction, tenant, &feed::erased(removed)).await
}

/// How many transitions of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<entity::Entity>(connection, tenant, customer).await
}

/// Up to `limit` transitions of a customer before a position, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    before: Position,
    limit: u64,
) -> Result<Vec<(Position, Transition)>, StoreError> {
    let rows = history::before::<entity::Entity>(connection, tenant, customer, before, limit).await?;
    rows.iter().map(|row| from_row(row, customer)).collect()
}

fn from_row(row: &entity::Model, customer: CustomerId) -> Result<(Position, Transition), StoreError> {
    let malformed = || StoreError::Sealed("a stored transition of stages is malformed");
    let transition = Transition {
        customer,
        valid_at: Instant::from_micros(row.valid_at),
        cause: StageTransitionCause::try_from(row.cause).map_err(|_| malformed())?,
        from: row.from_stage,
        to: StageValues::decode(&*row.body).map_err(|_| malformed())?,
    };
    Ok((Position { seq: row.seq, place: row.place }, transition))
}

/// A transition as reports need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The customer's number.
    pub customer: i64,
    /// From when the new stage holds, in microseconds since 1970.
    pub valid_at: i64,
    /// The stage before.
    pub from: u8,
    /// The stage after.
    pub to: u8,
}

/// The transitions of customers from one number up to and with another, by number and then in the order in which they were written.
pub async fn between(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    first: i64,
    last: i64,
) -> Result<Vec<Step>, StoreError> {
    let rows: Vec<(i64, i64, i32, i32)> = entity::Entity::find()
        .select_only()
        .columns([
            entity::Column::CustomerId,
            entity::Column::ValidAt,
            entity::Column::FromStage,
            entity::Column::ToStage,
        ])
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::CustomerId.between(first, last))
        .order_by_asc(entity::Column::CustomerId)
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .into_tuple()
        .all(connection)
        .await?;
    let stage = |number: i32| u8::try_from(number).ok().filter(|stage| usize::from(*stage) <= Stage::ALL.len());
    let step = |(customer, valid_at, from, to): (i64, i64, i32, i32)| {
        Some(Step { customer, valid_at, from: stage(from)?, to: stage(to)? })
    };
    Ok(rows.into_iter().filter_map(step).collect())
}
