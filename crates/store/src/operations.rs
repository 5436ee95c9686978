//! Long work that was asked for: how far it is, whether somebody wants its end, and what came of it.
//!
//! The worker that does it moves it on in the transactions that do it, so that it goes on after a crash where it was.

use crate::tables::operation;
use crate::{Result, StoreError, Transaction, feed};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

/// The feed whose head those that ask for work wait for. It holds nothing.
const TURNS: &str = "operations";
/// Ended operations of a tenant that are kept.
const MAX_ENDED: u64 = 1_000;

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting for its turn, or going on.
    Open = 1,
    /// Somebody wants its end; the worker has not got to it yet.
    Cancelling = 2,
    /// Done.
    Succeeded = 3,
    /// Ended before it was done.
    Cancelled = 4,
    /// Ended, since it can't be done.
    Failed = 5,
}

/// The states of which nothing more comes.
const ENDED: [i32; 3] = [State::Succeeded as i32, State::Cancelled as i32, State::Failed as i32];

impl State {
    fn of_number(number: i32) -> Result<Self> {
        let all = [Self::Open, Self::Cancelling, Self::Succeeded, Self::Cancelled, Self::Failed];
        let found = all.into_iter().find(|state| *state as i32 == number);
        found.ok_or_else(|| StoreError::Configuration("an operation has a state of a newer version".to_owned()))
    }

    /// Whether nothing more comes of it.
    pub fn is_ended(self) -> bool {
        ENDED.contains(&(self as i32))
    }
}

/// Long work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number: larger than those of earlier ones.
    pub id: i64,
    /// The RPC that asked for it, such as `CreateTrait`.
    pub verb: String,
    /// The resource that it is done to.
    pub target: String,
    /// Whether it can be cancelled.
    pub cancellable: bool,
    /// How it stands.
    pub state: State,
    /// How much is done, of `total`.
    pub done: i64,
    /// How much there is to do.
    pub total: i64,
    /// The encoded `google.protobuf.Any` that it ended with, or the `google.rpc.Status` by which it failed. Empty: none yet.
    pub response: Vec<u8>,
    /// When it was asked for. Machine time.
    pub created_at: Instant,
    /// When it last got further. Machine time.
    pub updated_at: Instant,
}

/// Work that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The RPC that asks for it.
    pub verb: &'a str,
    /// The resource that it is done to.
    pub target: &'a str,
    /// Whether it can be cancelled.
    pub cancellable: bool,
    /// How much there is to do.
    pub total: i64,
}

/// Writes down that work is asked for, and forgets the oldest of what has ended. Whoever else does so for the tenant waits for the end of the
/// transaction: call it behind what the caller locks itself.
pub async fn begin(
    transaction: &Transaction,
    tenant: TenantId,
    work: Work<'_>,
    machine_now: Instant,
) -> Result<Operation> {
    feed::next_seq(transaction, tenant, TURNS).await?;
    let newest = of(tenant).order_by_desc(operation::Column::OperationId).one(transaction).await?;
    let operation = Operation {
        id: newest.map_or(0, |row| row.operation_id + 1).max(machine_now.micros()),
        verb: work.verb.to_owned(),
        target: work.target.to_owned(),
        cancellable: work.cancellable,
        state: State::Open,
        done: 0,
        total: work.total,
        response: Vec::new(),
        created_at: machine_now,
        updated_at: machine_now,
    };
    let row = operation::ActiveModel {
        tenant_id: Set(tenant.0),
        operation_id: Set(operation.id),
        verb: Set(operation.verb.clone()),
        target: Set(operation.target.clone()),
        cancellable: Set(operation.cancellable.into()),
        state: Set(operation.state as i32),
        done: Set(0),
        total: Set(operation.total),
        response: Set(Vec::new()),
        created_at: Set(machine_now.micros()),
        updated_at: Set(machine_now.micros()),
    };
    operation::Entity::insert(row).exec_without_returning(transaction).await?;
    forget_oldest(transaction, tenant).await?;
    Ok(operation)
}

async fn forget_oldest(transaction: &Transaction, tenant: TenantId) -> Result<()> {
    let surplus = of(tenant)
        .filter(operation::Column::State.is_in(ENDED))
        .order_by_desc(operation::Column::OperationId)
        .offset(MAX_ENDED)
        .one(transaction)
        .await?;
    if let Some(surplus) = surplus {
        operation::Entity::delete_many()
            .filter(operation::Column::TenantId.eq(tenant.0))
            .filter(operation::Column::State.is_in(ENDED))
            .filter(operation::Column::OperationId.lte(surplus.operation_id))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// One operation.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId, id: i64) -> Result<Option<Operation>> {
    operation::Entity::find_by_id((tenant.0, id)).one(connection).await?.map(from_row).transpose()
}

/// Up to `limit` operations that were asked for before `before`, newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    before: i64,
    limit: u64,
) -> Result<Vec<Operation>> {
    let newest = of(tenant)
        .filter(operation::Column::OperationId.lt(before))
        .order_by_desc(operation::Column::OperationId)
        .limit(limit);
    newest.all(connection).await?.into_iter().map(from_row).collect()
}

/// The operation whose turn it is: the oldest that has not ended.
pub async fn next(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Operation>> {
    open(tenant).one(connection).await?.map(from_row).transpose()
}

/// The same among those that one of some RPCs asked for, where several workers of a service each do their own.
pub async fn next_of(connection: &impl ConnectionTrait, tenant: TenantId, verbs: &[&str]) -> Result<Option<Operation>> {
    let oldest = open(tenant).filter(operation::Column::Verb.is_in(verbs.iter().copied()));
    oldest.one(connection).await?.map(from_row).transpose()
}

/// Those that have not ended, the oldest first.
fn open(tenant: TenantId) -> Select<operation::Entity> {
    let states = [State::Open as i32, State::Cancelling as i32];
    of(tenant).filter(operation::Column::State.is_in(states)).order_by_asc(operation::Column::OperationId)
}

/// How many operations have not ended.
pub async fn count_open(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64> {
    use sea_orm::PaginatorTrait;
    let open = [State::Open as i32, State::Cancelling as i32];
    Ok(of(tenant).filter(operation::Column::State.is_in(open)).count(connection).await?)
}

/// Moves an operation on, unless somebody else has moved it or wants its end: then `false`, and the transaction must not be committed.
pub async fn advance(
    transaction: &Transaction,
    tenant: TenantId,
    operation: &Operation,
    done: i64,
    machine_now: Instant,
) -> Result<bool> {
    let moved = change(tenant, operation.id)
        .filter(operation::Column::State.eq(State::Open as i32))
        .filter(operation::Column::Done.eq(operation.done))
        .col_expr(operation::Column::Done, Expr::value(done))
        .col_expr(operation::Column::UpdatedAt, Expr::value(machine_now.micros()))
        .exec(transaction)
        .await?;
    Ok(moved.rows_affected == 1)
}

/// Ends an operation: with its response, or without one as cancelled.
pub async fn end(
    transaction: &Transaction,
    tenant: TenantId,
    id: i64,
    response: Option<Vec<u8>>,
    machine_now: Instant,
) -> Result<()> {
    let state = if response.is_some() { State::Succeeded } else { State::Cancelled };
    close(transaction, tenant, id, (state, response.unwrap_or_default()), machine_now).await
}

/// Ends an operation that can't be done, with the encoded `google.rpc.Status` that says why.
pub async fn fail(
    transaction: &Transaction,
    tenant: TenantId,
    id: i64,
    status: Vec<u8>,
    machine_now: Instant,
) -> Result<()> {
    close(transaction, tenant, id, (State::Failed, status), machine_now).await
}

async fn close(
    transaction: &Transaction,
    tenant: TenantId,
    id: i64,
    (state, response): (State, Vec<u8>),
    machine_now: Instant,
) -> Result<()> {
    change(tenant, id)
        .col_expr(operation::Column::State, Expr::value(state as i32))
        .col_expr(operation::Column::Response, Expr::value(response))
        .col_expr(operation::Column::UpdatedAt, Expr::value(machine_now.micros()))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Notes that somebody wants the end of an operation that is going on. It has no effect on one that has ended.
pub async fn cancel(transaction: &Transaction, tenant: TenantId, id: i64) -> Result<()> {
    change(tenant, id)
        .filter(operation::Column::State.eq(State::Open as i32))
        .col_expr(operation::Column::State, Expr::value(State::Cancelling as i32))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Forgets an operation that has ended. Returns whether there was one.
pub async fn delete(transaction: &Transaction, tenant: TenantId, id: i64) -> Result<bool> {
    let deleted = operation::Entity::delete_by_id((tenant.0, id))
        .filter(operation::Column::State.is_in(ENDED))
        .exec(transaction)
        .await?;
    Ok(deleted.rows_affected == 1)
}

fn of(tenant: TenantId) -> Select<operation::Entity> {
    operation::Entity::find().filter(operation::Column::TenantId.eq(tenant.0))
}

fn change(tenant: TenantId, id: i64) -> sea_orm::UpdateMany<operation::Entity> {
    operation::Entity::update_many()
        .filter(operation::Column::TenantId.eq(tenant.0))
        .filter(operation::Column::OperationId.eq(id))
}

fn from_row(row: operation::Model) -> Result<Operation> {
    Ok(Operation {
        id: row.operation_id,
        verb: row.verb,
        target: row.target,
        cancellable: row.cancellable != 0,
        state: State::of_number(row.state)?,
        done: row.done,
        total: row.total,
        response: row.response,
        created_at: Instant::from_micros(row.created_at),
        updated_at: Instant::from_micros(row.updated_at),
    })
}
