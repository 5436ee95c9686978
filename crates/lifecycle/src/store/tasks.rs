//! Tasks that playbooks give to colleagues.

use prost::Message;
use quintile_chain::feed::{self, Removed};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_proto::lifecycle::{Task, TaskKind, TaskOutcome, TaskState};
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "task")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub state: i32,
        /// Whether it is to be done yet: what most who list them ask for.
        pub goes_on: i32,
        pub assignee: String,
        pub body: Vec<u8>,
        /// Whether ingestion is yet to be told what it came to. `None`: as the version before wrote it, it is not.
        pub to_tell: Option<i32>,
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

const TABLE: Target = Target {
    table: "task",
    columns: &["tenant_id", "customer_id", "seq", "place", "state", "goes_on", "assignee", "body", "to_tell"],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Replace(&["state", "goes_on", "assignee", "body", "to_tell"]),
};

/// A task, and where it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The customer.
    pub customer: CustomerId,
    /// Where it was made.
    pub made: Position,
    /// What there is to know, aside from the name.
    pub task: Task,
}

impl Stored {
    /// The task with its name.
    pub fn named(self) -> Task {
        let Position { seq, place } = self.made;
        Task { name: self.customer.part_name(&format!("tasks/{seq}-{place}")), ..self.task }
    }
}

/// Whether a task of a state is to be done yet.
pub fn goes_on(state: i32) -> bool {
    [TaskState::Open, TaskState::Claimed].map(i32::from).contains(&state)
}

/// Whether a task came to a call or a meeting by which feedback was answered, of which ingestion is told. One that has ended is never written again.
fn is_to_tell(task: &Task) -> bool {
    let is_reached = matches!(task.outcome(), TaskOutcome::Success | TaskOutcome::Reached);
    let is_contact = matches!(task.kind(), TaskKind::Call | TaskKind::Visit);
    task.follows_up_feedback && task.state() == TaskState::Done && is_reached && is_contact
}

/// Writes tasks, sorted by customer and position.
pub async fn write(transaction: &Transaction, tenant: TenantId, tasks: &[Stored]) -> Result<(), StoreError> {
    let all = || tasks.iter();
    let columns = vec![
        Column::Int(vec![tenant.0; tasks.len()]),
        Column::BigInt(all().map(|stored| stored.customer.as_i64()).collect()),
        Column::BigInt(all().map(|stored| stored.made.seq).collect()),
        Column::BigInt(all().map(|stored| stored.made.place).collect()),
        Column::Int(all().map(|stored| stored.task.state).collect()),
        Column::Int(all().map(|stored| goes_on(stored.task.state).into()).collect()),
        Column::Text(all().map(|stored| stored.task.assignee.clone()).collect()),
        Column::Bytes(all().map(|stored| stored.task.encode_to_vec()).collect()),
        Column::Int(all().map(|stored| is_to_tell(&stored.task).into()).collect()),
    ];
    TABLE.write(transaction, columns).await?;
    Ok(())
}

/// A task.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    made: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), made.seq, made.place);
    entity::Entity::find_by_id(key).one(connection).await?.as_ref().map(from_row).transpose()
}

/// A task, for somebody who may change it: it stays as it is until the transaction ends.
pub async fn hold(
    transaction: &Transaction,
    tenant: TenantId,
    customer: CustomerId,
    made: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), made.seq, made.place);
    entity::Entity::find_by_id(key).lock_exclusive().one(transaction).await?.as_ref().map(from_row).transpose()
}

/// Up to `limit` tasks behind a position of which ingestion is to be told, the first made first.
pub async fn to_tell(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    behind: Position,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let key = [entity::Column::Seq, entity::Column::Place].map(ColumnTrait::into_expr);
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(Expr::tuple(key).gt(Expr::tuple([behind.seq, behind.place].map(Expr::value))))
        // As the index says it, which is of those alone.
        .filter(Expr::cust("to_tell = 1"))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// Notes that ingestion was told of a task.
pub async fn note_told(transaction: &Transaction, tenant: TenantId, told: &Stored) -> Result<(), StoreError> {
    entity::Entity::update_many()
        .col_expr(entity::Column::ToTell, Expr::value(0))
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::CustomerId.eq(told.customer.as_i64()))
        .filter(entity::Column::Seq.eq(told.made.seq))
        .filter(entity::Column::Place.eq(told.made.place))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Which tasks are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of one customer. `None`: everybody's.
    pub customer: Option<CustomerId>,
    /// Of these states.
    pub states: Vec<i32>,
    /// Of this assignee. Empty: all.
    pub assignee: String,
}

/// Up to `limit` tasks before a position, the last made first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    wanted: &Wanted,
    before: Position,
    limit: u64,
) -> Result<Vec<(Position, Stored)>, StoreError> {
    let mut tasks = entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0));
    if let Some(customer) = wanted.customer {
        tasks = tasks.filter(entity::Column::CustomerId.eq(customer.as_i64()));
    }
    if !wanted.assignee.is_empty() {
        // As the index says it, which is of those alone that are somebody's.
        tasks =
            tasks.filter(entity::Column::Assignee.eq(wanted.assignee.as_str())).filter(Expr::cust("assignee <> ''"));
    }
    if wanted.states.iter().all(|state| goes_on(*state)) {
        tasks = tasks.filter(entity::Column::GoesOn.eq(1));
    }
    let key = [entity::Column::Seq, entity::Column::Place].map(ColumnTrait::into_expr);
    let rows = tasks
        .filter(entity::Column::State.is_in(wanted.states.clone()))
        .filter(Expr::tuple(key).lt(Expr::tuple([before.seq, before.place].map(Expr::value))))
        .order_by_desc(entity::Column::Seq)
        .order_by_desc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).map(|stored| stored.map(|stored| (stored.made, stored))).collect()
}

/// Forgets all tasks of those who were erased.
pub async fn erase(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    history::forget::<entity::Entity>(transaction, tenant, &feed::erased(removed)).await
}

/// How many tasks of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<entity::Entity>(connection, tenant, customer).await
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let malformed = || StoreError::Sealed("a stored task is malformed");
    Ok(Stored {
        customer: CustomerId::try_from(row.customer_id).map_err(|_| malformed())?,
        made: Position { seq: row.seq, place: row.place },
        task: Task::decode(&*row.body).map_err(|_| malformed())?,
    })
}
