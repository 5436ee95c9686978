//! How customers' scores have changed, and why.

use prost::Message;
use quintile_chain::derive::Cause;
use quintile_chain::feed::{self, Removed};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::scoring::ScoreChangeCause;
use quintile_proto::types::ScoreValues;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::{StoreError, Transaction};
use sea_orm::ConnectionTrait;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "score_change")]
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
        pub body_before: Vec<u8>,
        pub body_after: Vec<u8>,
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
    table: "score_change",
    columns: &["tenant_id", "customer_id", "seq", "place", "valid_at", "cause", "body_before", "body_after"],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Never,
};

/// A change of one customer's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The customer.
    pub customer: CustomerId,
    /// From when the new scores hold. Business time.
    pub valid_at: Instant,
    /// Why.
    pub cause: ScoreChangeCause,
    /// The scores of the models that changed, before.
    pub before: ScoreValues,
    /// And after.
    pub after: ScoreValues,
}

/// The cause as it is told.
pub const fn cause(cause: Cause) -> ScoreChangeCause {
    match cause {
        Cause::Upstream => ScoreChangeCause::Event,
        Cause::Time => ScoreChangeCause::Time,
        Cause::Definition => ScoreChangeCause::Model,
    }
}

/// Appends the changes of a commit that publishes at `seq`.
pub async fn append(
    transaction: &Transaction,
    tenant: TenantId,
    seq: i64,
    mut changes: Vec<Change>,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    // Of one customer's in one commit the places are in the order of time.
    changes.sort_by_key(|change| change.valid_at);
    let columns = vec![
        Column::Int(vec![tenant.0; changes.len()]),
        Column::BigInt(changes.iter().map(|change| change.customer.as_i64()).collect()),
        Column::BigInt(vec![seq; changes.len()]),
        Column::BigInt((0..changes.len() as i64).collect()),
        Column::BigInt(changes.iter().map(|change| change.valid_at.micros()).collect()),
        Column::Int(changes.iter().map(|change| change.cause.into()).collect()),
        Column::Bytes(changes.iter().map(|change| change.before.encode_to_vec()).collect()),
        Column::Bytes(changes.iter().map(|change| change.after.encode_to_vec()).collect()),
    ];
    LOG.write(transaction, columns).await?;
    Ok(())
}

/// Forgets all changes of those who were erased.
pub async fn erase(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    history::forget::<entity::Entity>(transaction, tenant, &feed::erased(removed)).await
}

/// How many changes of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<entity::Entity>(connection, tenant, customer).await
}

/// Up to `limit` changes of a customer before a position, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    before: Position,
    limit: u64,
) -> Result<Vec<(Position, Change)>, StoreError> {
    let rows = history::before::<entity::Entity>(connection, tenant, customer, before, limit).await?;
    rows.iter().map(|row| from_row(row, customer)).collect()
}

fn from_row(row: &entity::Model, customer: CustomerId) -> Result<(Position, Change), StoreError> {
    let malformed = || StoreError::Sealed("a stored change of scores is malformed");
    let scores = |body: &[u8]| ScoreValues::decode(body).map_err(|_| malformed());
    let change = Change {
        customer,
        valid_at: Instant::from_micros(row.valid_at),
        cause: ScoreChangeCause::try_from(row.cause).map_err(|_| malformed())?,
        before: scores(&row.body_before)?,
        after: scores(&row.body_after)?,
    };
    Ok((Position { seq: row.seq, place: row.place }, change))
}
