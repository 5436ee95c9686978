//! The log of enters and exits: a row for each, and one row for many customers of a block who enter or leave something together.
//!
//! Every change has a position. A row of many takes as many places as a block has customers, and that of a customer is the row's plus the customer's
//! place in the block: so an erasure moves nobody's position.

use super::blocks;
use crate::fields::Classes;
use crate::population::{Change, Movement};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::segmentation::{MembershipCause, MembershipChange};
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::Position;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::BTreeMap;

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

/// The feed that numbers the log.
pub const MEMBERSHIPS: &str = "memberships";

/// With more customers of a block together, one row is smaller than a row for each.
const TOGETHER: u64 = 32;
/// Rows of many that are read at once.
const BLOCKS_PER_QUERY: u64 = 8;
/// Rows of many that are looked through at once for one customer.
const BLOCKS_OF_CUSTOMER: u64 = 256;

pub(super) mod entity {
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

pub(super) mod block {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "membership_block")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub parent: String,
        pub block: i64,
        pub customers: Vec<u8>,
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

const BLOCKS: Target = Target {
    table: "membership_block",
    columns: &["tenant_id", "seq", "place", "parent", "block", "customers", "entered", "valid_at", "cause", "classes"],
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

/// What a row of either table says beside who.
struct Common<'a> {
    parent: &'a str,
    entered: bool,
    valid_at: Instant,
    cause: MembershipCause,
    classes: Classes,
}

/// The rows of one commit.
#[derive(Default)]
struct Rows {
    places: Vec<i64>,
    parents: Vec<String>,
    /// Of one customer the number, of many the block.
    numbers: Vec<i64>,
    customers: Vec<Vec<u8>>,
    entered: Vec<i32>,
    valid_at: Vec<i64>,
    causes: Vec<i32>,
    classes: Vec<i32>,
}

impl Rows {
    fn push(&mut self, place: i64, number: u32, common: &Common<'_>) {
        self.places.push(place);
        self.parents.push(common.parent.to_owned());
        self.numbers.push(number.into());
        self.entered.push(common.entered.into());
        self.valid_at.push(common.valid_at.micros());
        self.causes.push(common.cause.into());
        self.classes.push(common.classes.as_i32());
    }

    async fn write(self, transaction: &Transaction, tenant: TenantId, seq: i64) -> Result<(), StoreError> {
        let count = self.places.len();
        let of_many = !self.customers.is_empty();
        let mut columns = vec![
            Column::Int(vec![tenant.0; count]),
            Column::BigInt(vec![seq; count]),
            Column::BigInt(self.places),
            Column::Text(self.parents),
            Column::BigInt(self.numbers),
        ];
        columns.extend(of_many.then_some(Column::Bytes(self.customers)));
        columns.extend([
            Column::Int(self.entered),
            Column::BigInt(self.valid_at),
            Column::Int(self.causes),
            Column::Int(self.classes),
        ]);
        let target = if of_many { BLOCKS } else { LOG };
        target.write(transaction, columns).await?;
        Ok(())
    }
}

/// Appends changes and then movements, in their order, as part of a transaction, and tells the number that they get. `None`: there is nothing to append.
/// Call it late: it locks the log's head.
pub async fn append(
    transaction: &Transaction,
    tenant: TenantId,
    changes: &[Change],
    movements: &[Movement],
) -> Result<Option<i64>, StoreError> {
    if changes.is_empty() && movements.is_empty() {
        return Ok(None);
    }
    let seq = feed::next_seq(transaction, tenant, MEMBERSHIPS).await?;
    let (mut single, mut many, mut place) = (Rows::default(), Rows::default(), 0);
    for change in changes {
        let Change { parent, customer_id, entered, valid_at, cause, classes } = change;
        let common = Common { parent, entered: *entered, valid_at: *valid_at, cause: *cause, classes: *classes };
        single.push(place, *customer_id, &common);
        place += 1;
    }
    for movement in movements {
        let Movement { parent, customers, entered, valid_at, cause, classes } = movement;
        let common = Common { parent, entered: *entered, valid_at: *valid_at, cause: *cause, classes: *classes };
        for (block, customers) in blocks::encode(customers) {
            if customers.len() > TOGETHER {
                many.push(place, block, &common);
                many.customers.push(blocks::to_bytes(&customers));
                place += i64::from(blocks::CUSTOMERS);
                continue;
            }
            for customer in customers {
                single.push(place, block * blocks::CUSTOMERS + customer, &common);
                place += 1;
            }
        }
    }
    single.write(transaction, tenant, seq).await?;
    many.write(transaction, tenant, seq).await?;
    Ok(Some(seq))
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
    let mut by_block: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for customer in customers {
        by_block.entry(blocks::of(customer.0)).or_default().push(customer.0 % blocks::CUSTOMERS);
    }
    for (block, erased) in by_block {
        let mut position = Position::default();
        loop {
            let rows = blocks_of(transaction, tenant, block, position, BLOCKS_OF_CUSTOMER).await?;
            let Some(last) = rows.last() else { break };
            position = Position { seq: last.seq, place: last.place };
            for row in rows {
                erase_from(transaction, row, &erased).await?;
            }
        }
    }
    Ok(())
}

async fn erase_from(transaction: &Transaction, row: block::Model, erased: &[u32]) -> Result<(), StoreError> {
    let mut customers = blocks::from_bytes(&row.customers)?;
    if erased.iter().filter(|place| customers.remove(**place)).count() == 0 {
        return Ok(());
    }
    let key = (row.tenant_id, row.seq, row.place);
    if customers.is_empty() {
        block::Entity::delete_by_id(key).exec(transaction).await?;
        return Ok(());
    }
    block::Entity::update_many()
        .col_expr(block::Column::Customers, Expr::value(blocks::to_bytes(&customers)))
        .filter(block::Column::TenantId.eq(row.tenant_id))
        .filter(block::Column::Seq.eq(row.seq))
        .filter(block::Column::Place.eq(row.place))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Rows of many behind a position, of one block.
async fn blocks_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    block: u32,
    position: Position,
    limit: u64,
) -> Result<Vec<block::Model>, StoreError> {
    let rows = block::Entity::find()
        .filter(block::Column::TenantId.eq(tenant.0))
        .filter(block::Column::Block.eq(i64::from(block)))
        .filter(blocks_behind(position))
        .order_by_asc(block::Column::Seq)
        .order_by_asc(block::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows)
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
    let mut count = query.count(connection).await?;
    let mut position = Position::default();
    loop {
        let rows = blocks_of(connection, tenant, blocks::of(customer.0), position, BLOCKS_OF_CUSTOMER).await?;
        let Some(last) = rows.last() else { return Ok(count) };
        position = Position { seq: last.seq, place: last.place };
        for row in rows {
            count += u64::from(blocks::from_bytes(&row.customers)?.contains(customer.0 % blocks::CUSTOMERS));
        }
    }
}

/// Some of the log, in order.
#[derive(Default)]
pub struct Page {
    /// The changes.
    pub changes: Vec<Logged>,
    /// Where to go on. `None`: there is no more.
    pub next: Option<Position>,
}

impl Page {
    /// Of what was read of both tables: up to where both were read to, each in order, and up to `limit`.
    fn of(mut changes: Vec<Logged>, read_to: Option<Position>, limit: u64) -> Self {
        changes.sort_unstable_by_key(|logged| logged.position);
        changes.retain(|logged| read_to.is_none_or(|end| logged.position <= end));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if changes.len() > limit {
            changes.truncate(limit);
            let next = changes.last().map(|logged| logged.position);
            return Self { changes, next };
        }
        Self { changes, next: read_to }
    }
}

/// Where reading of a table ended that may have more: at its last row, where as many were found as were asked for.
fn end_of_read(rows: usize, limit: u64, last: Option<Position>) -> Option<Position> {
    last.filter(|_| rows as u64 == limit)
}

/// Up to `limit` changes of one customer behind a position, as the log has them. A page may have fewer and not be the last.
pub async fn of_customer(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    position: Position,
    limit: u64,
) -> Result<Page, StoreError> {
    let head = feed::head(connection, tenant, MEMBERSHIPS).await?;
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Seq.lte(head))
        .filter(entity::Column::CustomerId.eq(customer.as_i64()))
        .filter(entity::Column::Parent.ne(""))
        .filter(behind(position))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    let last = rows.last().map(|row| Position { seq: row.seq, place: row.place });
    let mut end = end_of_read(rows.len(), limit, last);
    let mut changes = rows.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
    let in_block = customer.0 % blocks::CUSTOMERS;
    // The customer's own place in a row of many is what a position is of.
    let row_position = Position { place: position.place.saturating_sub(in_block.into()), ..position };
    let mut rows = blocks_of(connection, tenant, blocks::of(customer.0), row_position, BLOCKS_OF_CUSTOMER).await?;
    rows.retain(|row| row.seq <= head);
    let at = |row: &block::Model| Position { seq: row.seq, place: row.place + i64::from(in_block) };
    end = [end, end_of_read(rows.len(), BLOCKS_OF_CUSTOMER, rows.last().map(at))].into_iter().flatten().min();
    for row in &rows {
        if blocks::from_bytes(&row.customers)?.contains(in_block) {
            changes.push(of_many(row, in_block)?);
        }
    }
    Ok(Page::of(changes, end, limit))
}

fn behind(position: Position) -> Condition {
    let later =
        Condition::all().add(entity::Column::Seq.eq(position.seq)).add(entity::Column::Place.gt(position.place));
    Condition::any().add(entity::Column::Seq.gt(position.seq)).add(later)
}

fn blocks_behind(position: Position) -> Condition {
    let later = Condition::all().add(block::Column::Seq.eq(position.seq)).add(block::Column::Place.gt(position.place));
    Condition::any().add(block::Column::Seq.gt(position.seq)).add(later)
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
) -> Result<Page, StoreError> {
    // What is committed between the reads of the two tables is not read of one alone.
    let head = feed::head(connection, tenant, MEMBERSHIPS).await?;
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Seq.lte(head))
        .filter(behind(position))
        .order_by_asc(entity::Column::Seq)
        .order_by_asc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    let last = rows.last().map(|row| Position { seq: row.seq, place: row.place });
    let mut end = end_of_read(rows.len(), limit, last);
    let mut changes = rows.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
    // One row of many may begin before the position and go on behind it.
    let row_position = Position { place: position.place.saturating_sub(blocks::CUSTOMERS.into()), ..position };
    let rows = block::Entity::find()
        .filter(block::Column::TenantId.eq(tenant.0))
        .filter(block::Column::Seq.lte(head))
        .filter(blocks_behind(row_position))
        .order_by_asc(block::Column::Seq)
        .order_by_asc(block::Column::Place)
        .limit(BLOCKS_PER_QUERY)
        .all(connection)
        .await?;
    let end_of = |row: &block::Model| Position { seq: row.seq, place: row.place + i64::from(blocks::CUSTOMERS) - 1 };
    end = [end, end_of_read(rows.len(), BLOCKS_PER_QUERY, rows.last().map(end_of))].into_iter().flatten().min();
    for row in &rows {
        let behind = |place: &u32| Position { seq: row.seq, place: row.place + i64::from(*place) } > position;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
        for place in blocks::from_bytes(&row.customers)?.into_iter().filter(behind).take(wanted) {
            changes.push(of_many(row, place)?);
        }
    }
    Ok(Page::of(changes, end, limit))
}

fn logged(row: &entity::Model) -> Result<Logged, StoreError> {
    let common = Common {
        parent: &row.parent,
        entered: row.entered != 0,
        valid_at: Instant::from_micros(row.valid_at),
        cause: MembershipCause::try_from(row.cause).unwrap_or(MembershipCause::Unspecified),
        classes: Classes::from_i32(row.classes),
    };
    told(Position { seq: row.seq, place: row.place }, row.customer_id, &common)
}

/// What a row of many says of the customer at a place of its block.
fn of_many(row: &block::Model, place: u32) -> Result<Logged, StoreError> {
    let common = Common {
        parent: &row.parent,
        entered: row.entered != 0,
        valid_at: Instant::from_micros(row.valid_at),
        cause: MembershipCause::try_from(row.cause).unwrap_or(MembershipCause::Unspecified),
        classes: Classes::from_i32(row.classes),
    };
    let customer = row.block.saturating_mul(blocks::CUSTOMERS.into()).saturating_add(place.into());
    told(Position { seq: row.seq, place: row.place + i64::from(place) }, customer, &common)
}

fn told(position: Position, customer: i64, common: &Common<'_>) -> Result<Logged, StoreError> {
    let customer = CustomerId::try_from(customer).map_err(|_| StoreError::Sealed("customer id"))?;
    let change = MembershipChange {
        parent: common.parent.to_owned(),
        customer: customer.to_string(),
        entered: common.entered,
        valid_time: Some(convert::timestamp(common.valid_at)),
        cause: common.cause.into(),
    };
    Ok(Logged { position, classes: common.classes, change })
}
