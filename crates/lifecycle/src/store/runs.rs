//! Runs of playbooks. Each is a row from its trigger on, and changes as it is gone on with.

use crate::playbooks::{Measured, Run, Standing};
use prost::Message;
use quintile_chain::feed::Removed;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{RunRefusal, RunState, SkippedStep};
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction, feed, idempotency};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany};
use std::collections::BTreeSet;

/// The feed that numbers them.
const RUNS: &str = "playbook_runs";
/// Runs whose requests are forgotten at once.
const FORGOTTEN_AT_ONCE: u64 = 500;

pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "playbook_run")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub playbook: i64,
        pub playbook_version: i64,
        pub state: i32,
        pub refusal: i32,
        pub triggered_at: i64,
        pub variant: String,
        pub steps_done: i32,
        pub step_at: Option<i64>,
        pub withheld: i32,
        pub measure_at: Option<i64>,
        pub due_at: Option<i64>,
        pub orders_before: i64,
        pub net_before: i64,
        pub year_before: i64,
        pub converted: Option<i64>,
        pub revenue: Option<i64>,
        /// `None`: as the version before wrote it, none.
        pub skipped: Option<Vec<u8>>,
        /// Who put the customer into it. `None`: as the version before wrote it, nobody.
        pub enrolled_by: Option<String>,
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
    table: "playbook_run",
    columns: &[
        "tenant_id",
        "customer_id",
        "seq",
        "place",
        "playbook",
        "playbook_version",
        "state",
        "refusal",
        "triggered_at",
        "variant",
        "steps_done",
        "step_at",
        "withheld",
        "measure_at",
        "due_at",
        "orders_before",
        "net_before",
        "year_before",
        "converted",
        "revenue",
        "skipped",
        "enrolled_by",
    ],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Replace(&[
        "state",
        "refusal",
        "variant",
        "steps_done",
        "step_at",
        "withheld",
        "measure_at",
        "due_at",
        "orders_before",
        "net_before",
        "year_before",
        "converted",
        "revenue",
        "skipped",
    ]),
};

/// The steps of a run that were skipped.
#[derive(Clone, PartialEq, Message)]
struct Skipped {
    #[prost(message, repeated, tag = "1")]
    steps: Vec<SkippedStep>,
}

/// A run, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The customer.
    pub customer: CustomerId,
    /// Where it was triggered.
    pub position: Position,
    /// The number of its playbook.
    pub playbook: i64,
    /// The version.
    pub version: i64,
    /// How far it is.
    pub run: Run,
    /// Who put the customer into it, as the subject of a token. Empty: nobody, it was triggered.
    pub enrolled_by: String,
}

impl Stored {
    fn begun(triggered: Triggered, position: Position, enrolled_by: &str) -> Self {
        Self {
            customer: triggered.customer,
            position,
            playbook: triggered.playbook,
            version: triggered.version,
            run: Run::triggered(triggered.at),
            enrolled_by: enrolled_by.to_owned(),
        }
    }

    /// Its resource name.
    pub fn name(&self) -> String {
        name_of(self.customer, self.position)
    }
}

fn name_of(customer: CustomerId, Position { seq, place }: Position) -> String {
    customer.part_name(&format!("runs/{seq}-{place}"))
}

/// That a playbook is triggered for a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triggered {
    /// The customer.
    pub customer: CustomerId,
    /// The number of the playbook.
    pub playbook: i64,
    /// Its version.
    pub version: i64,
    /// When. Business time.
    pub at: Instant,
}

/// Takes the next number of runs.
pub async fn next_seq(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, RUNS).await
}

/// Begins runs.
pub async fn begin(
    transaction: &Transaction,
    tenant: TenantId,
    mut triggered: Vec<Triggered>,
) -> Result<(), StoreError> {
    if triggered.is_empty() {
        return Ok(());
    }
    let seq = next_seq(transaction, tenant).await?;
    triggered.sort_by_key(|triggered| (triggered.customer, triggered.at));
    let runs = triggered.into_iter().zip(0..);
    let runs = runs.map(|(triggered, place)| Stored::begun(triggered, Position { seq, place }, ""));
    write(transaction, tenant, &runs.collect::<Vec<_>>()).await
}

/// Begins a run that somebody puts a customer into, under a number that was taken for it.
pub async fn enrol(
    transaction: &Transaction,
    tenant: TenantId,
    seq: i64,
    triggered: Triggered,
    subject: &str,
) -> Result<Stored, StoreError> {
    let stored = Stored::begun(triggered, Position { seq, place: 0 }, subject);
    write(transaction, tenant, std::slice::from_ref(&stored)).await?;
    Ok(stored)
}

/// A run.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    position: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), position.seq, position.place);
    entity::Entity::find_by_id(key).one(connection).await?.as_ref().map(from_row).transpose()
}

/// The number of those that were begun last.
pub async fn head(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    feed::head(connection, tenant, RUNS).await
}

/// Writes runs, sorted by customer and position.
pub async fn write(transaction: &Transaction, tenant: TenantId, runs: &[Stored]) -> Result<(), StoreError> {
    let all = || runs.iter();
    let micros = |at: Option<Instant>| at.map(Instant::micros);
    let columns = vec![
        Column::Int(vec![tenant.0; runs.len()]),
        Column::BigInt(all().map(|stored| stored.customer.as_i64()).collect()),
        Column::BigInt(all().map(|stored| stored.position.seq).collect()),
        Column::BigInt(all().map(|stored| stored.position.place).collect()),
        Column::BigInt(all().map(|stored| stored.playbook).collect()),
        Column::BigInt(all().map(|stored| stored.version).collect()),
        Column::Int(all().map(|stored| stored.run.state.into()).collect()),
        Column::Int(all().map(|stored| stored.run.refusal.into()).collect()),
        Column::BigInt(all().map(|stored| stored.run.triggered_at.micros()).collect()),
        Column::Text(all().map(|stored| stored.run.variant.clone()).collect()),
        Column::Int(all().map(|stored| stored.run.steps_done as i32).collect()),
        Column::NullableBigInt(all().map(|stored| micros(stored.run.step_at)).collect()),
        Column::Int(all().map(|stored| stored.run.withheld).collect()),
        Column::NullableBigInt(all().map(|stored| micros(stored.run.measure_at)).collect()),
        Column::NullableBigInt(all().map(|stored| micros(stored.run.due_at())).collect()),
        Column::BigInt(all().map(|stored| stored.run.before.orders).collect()),
        Column::BigInt(all().map(|stored| stored.run.before.net_minor).collect()),
        Column::BigInt(all().map(|stored| stored.run.before.year_minor).collect()),
        Column::NullableBigInt(all().map(|stored| stored.run.measured.map(|of| i64::from(of.converted))).collect()),
        Column::NullableBigInt(all().map(|stored| stored.run.measured.map(|of| of.revenue_minor)).collect()),
        Column::Bytes(all().map(|stored| Skipped { steps: stored.run.skipped.clone() }.encode_to_vec()).collect()),
        Column::Text(all().map(|stored| stored.enrolled_by.clone()).collect()),
    ];
    TABLE.write(transaction, columns).await?;
    Ok(())
}

/// Up to `limit` runs of some playbooks that have come due, the first due first.
pub async fn due(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    now: Instant,
    playbooks: &[i64],
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = of(tenant)
        .filter(entity::Column::DueAt.is_not_null())
        .filter(entity::Column::DueAt.lte(now.micros()))
        .filter(entity::Column::Playbook.is_in(playbooks.iter().copied()))
        .order_by_asc(entity::Column::DueAt)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// All runs of customers, by customer and position.
pub async fn of_customers(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[i64],
    lock: bool,
) -> Result<Vec<Stored>, StoreError> {
    let mut read = Vec::new();
    for numbers in Numbers::queries(customers) {
        let select = of(tenant)
            .filter(numbers.contain(entity::Column::CustomerId))
            .order_by_asc(entity::Column::CustomerId)
            .order_by_asc(entity::Column::Seq)
            .order_by_asc(entity::Column::Place);
        let select = if lock { select.lock_exclusive() } else { select };
        for row in select.all(connection).await? {
            read.push(from_row(&row)?);
        }
    }
    read.sort_by_key(|stored| (stored.customer, stored.position));
    Ok(read)
}

/// Ends what is under way of a playbook.
pub async fn stop_playbook(transaction: &Transaction, tenant: TenantId, playbook: i64) -> Result<(), StoreError> {
    let under_way = [RunState::Triggered, RunState::Active];
    stop(tenant, &under_way).filter(entity::Column::Playbook.eq(playbook)).exec(transaction).await?;
    Ok(())
}

/// Ends what is under way of customers who are gone, and forgets all of those who were erased.
pub async fn remove(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    let numbers = |erased: bool| -> Vec<i64> {
        let of = removed.iter().filter(|removed| removed.erased == erased);
        of.map(|removed| removed.customer.as_i64()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let erased = numbers(true);
    for numbers in Numbers::queries(&erased) {
        let of_them = of(tenant).filter(numbers.contain(entity::Column::CustomerId));
        forget_requests(transaction, tenant, of_them).await?;
    }
    history::forget::<entity::Entity>(transaction, tenant, &erased).await?;
    for gone in Numbers::queries(&numbers(false)) {
        // Of who is just triggered it is told that it is gone.
        let of_gone = stop(tenant, &[RunState::Active]).filter(gone.contain(entity::Column::CustomerId));
        of_gone.exec(transaction).await?;
    }
    Ok(())
}

/// Forgets the requests that put customers into some runs. Tells where the last run stands whose request it forgot.
async fn forget_requests(
    transaction: &Transaction,
    tenant: TenantId,
    some: Select<entity::Entity>,
) -> Result<Option<Position>, StoreError> {
    let by_hand = some
        .select_only()
        .columns([entity::Column::CustomerId, entity::Column::Seq, entity::Column::Place])
        .filter(entity::Column::EnrolledBy.ne(""));
    let (mut names, mut last) = (Vec::new(), None);
    for (customer, seq, place) in by_hand.into_tuple::<(i64, i64, i64)>().all(transaction).await? {
        let position = Position { seq, place };
        names.push(name_of(CustomerId::try_from(customer).map_err(|_| malformed())?, position));
        last = Some(position);
    }
    idempotency::forget(transaction, tenant, &names).await?;
    Ok(last)
}

/// As [`Run::stop`] does, of however many.
fn stop(tenant: TenantId, states: &[RunState]) -> UpdateMany<entity::Entity> {
    entity::Entity::update_many()
        .col_expr(entity::Column::State, Expr::value(i32::from(RunState::Stopped)))
        .col_expr(entity::Column::StepAt, Expr::value(None::<i64>))
        .col_expr(entity::Column::DueAt, Expr::cust("CASE WHEN converted IS NULL THEN measure_at END"))
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::State.is_in(states.iter().map(|state| i32::from(*state))))
}

/// Forgets all runs of a playbook, and the requests that put customers into some of them: who is erased later has no run by which these would be found.
pub async fn forget(transaction: &Transaction, tenant: TenantId, playbook: i64) -> Result<(), StoreError> {
    let mut behind = Position::default();
    let part = |behind| {
        let runs = of(tenant).filter(entity::Column::Playbook.eq(playbook)).filter(behind_of(behind));
        let ordered = runs.order_by_asc(entity::Column::Seq).order_by_asc(entity::Column::Place);
        ordered.limit(FORGOTTEN_AT_ONCE)
    };
    while let Some(last) = forget_requests(transaction, tenant, part(behind)).await? {
        behind = last;
    }
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Playbook.eq(playbook))
        .exec(transaction)
        .await?;
    Ok(())
}

/// How many runs of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<entity::Entity>(connection, tenant, customer).await
}

/// Which runs are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// Those of a playbook, by its number.
    Playbook(i64),
    /// Those of a customer.
    Customer(CustomerId),
}

/// Up to `limit` runs before a position, the last triggered first, of some states or of all.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    whose: &Of,
    states: &[i32],
    before: Position,
    limit: u64,
) -> Result<Vec<(Position, Stored)>, StoreError> {
    let runs = match whose {
        Of::Playbook(number) => of(tenant).filter(entity::Column::Playbook.eq(*number)),
        Of::Customer(customer) => of(tenant).filter(entity::Column::CustomerId.eq(customer.as_i64())),
    };
    let runs = if states.is_empty() { runs } else { runs.filter(entity::Column::State.is_in(states.to_vec())) };
    let key = [entity::Column::Seq, entity::Column::Place].map(ColumnTrait::into_expr);
    let rows = runs
        .filter(Expr::tuple(key).lt(Expr::tuple([before.seq, before.place].map(Expr::value))))
        .order_by_desc(entity::Column::Seq)
        .order_by_desc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).map(|stored| stored.map(|stored| (stored.position, stored))).collect()
}

/// Up to `limit` runs of a version of a playbook behind a position whose customers were assigned, in the order in which they were triggered: those that are
/// measured, and those that will be.
pub async fn assigned(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    playbook: i64,
    version: i64,
    behind: Position,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = of(tenant)
        .filter(entity::Column::Playbook.eq(playbook))
        .filter(entity::Column::PlaybookVersion.eq(version))
        .filter(entity::Column::MeasureAt.is_not_null())
        .filter(behind_of(behind))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

fn of(tenant: TenantId) -> Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0))
}

/// That a run stands behind a position.
fn behind_of(position: Position) -> SimpleExpr {
    let key = [entity::Column::Seq, entity::Column::Place].map(ColumnTrait::into_expr);
    Expr::tuple(key).gt(Expr::tuple([position.seq, position.place].map(Expr::value)))
}

fn malformed() -> StoreError {
    StoreError::Sealed("a stored run of a playbook is malformed")
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let measured = row.converted.zip(row.revenue);
    Ok(Stored {
        customer: CustomerId::try_from(row.customer_id).map_err(|_| malformed())?,
        position: Position { seq: row.seq, place: row.place },
        playbook: row.playbook,
        version: row.playbook_version,
        run: Run {
            state: RunState::try_from(row.state).map_err(|_| malformed())?,
            refusal: RunRefusal::try_from(row.refusal).map_err(|_| malformed())?,
            triggered_at: Instant::from_micros(row.triggered_at),
            variant: row.variant.clone(),
            steps_done: usize::try_from(row.steps_done).map_err(|_| malformed())?,
            step_at: row.step_at.map(Instant::from_micros),
            withheld: row.withheld,
            skipped: Skipped::decode(row.skipped.as_deref().unwrap_or_default()).map_err(|_| malformed())?.steps,
            measure_at: row.measure_at.map(Instant::from_micros),
            before: Standing { orders: row.orders_before, net_minor: row.net_before, year_minor: row.year_before },
            measured: measured.map(|(converted, revenue_minor)| Measured { converted: converted != 0, revenue_minor }),
        },
        enrolled_by: row.enrolled_by.clone().unwrap_or_default(),
    })
}
