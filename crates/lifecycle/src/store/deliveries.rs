//! Deliveries: what is to be sent to endpoints, and what was. A row is written with the step that makes it, so each step has one, under a
//! number that stays the same however often it is sent.

use prost::Message;
use quintile_chain::feed::Removed;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Delivery, DeliveryKind, DeliveryState, EmailText};
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Iterable, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany,
};
use std::collections::BTreeSet;

/// The feed that numbers tasks and deliveries.
const ACTIONS: &str = "playbook_actions";

/// Those by which nobody was contacted.
const NO_CONTACTS: [DeliveryState; 2] = [DeliveryState::Cancelled, DeliveryState::NoAddress];

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "delivery")]
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
        pub state: i32,
        pub created_at: i64,
        pub endpoint: String,
        pub attempts: i32,
        pub last_status: i32,
        pub next_attempt_at: Option<i64>,
        pub last_attempt_at: Option<i64>,
        pub body: Vec<u8>,
        pub payload: Vec<u8>,
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
    table: "delivery",
    columns: &[
        "tenant_id",
        "customer_id",
        "seq",
        "place",
        "playbook",
        "state",
        "created_at",
        "endpoint",
        "attempts",
        "last_status",
        "next_attempt_at",
        "last_attempt_at",
        "body",
        "payload",
    ],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Replace(&[
        "state",
        "attempts",
        "last_status",
        "next_attempt_at",
        "last_attempt_at",
        "payload",
    ]),
};

/// What is kept of an e-mail until it is sent.
#[derive(Clone, PartialEq, Message)]
pub struct Email {
    /// What the customer has to permit, as a [`quintile_proto::types::Purpose`].
    #[prost(int32, tag = "1")]
    pub purpose: i32,
    /// What it says, without what it says of a grant.
    #[prost(message, optional, tag = "2")]
    pub text: Option<EmailText>,
    /// The grant that it tells of. `None`: of none.
    #[prost(message, optional, tag = "3")]
    pub grant: Option<ToldGrant>,
}

/// A grant that an e-mail tells of. Its code is put in when it is sent, and kept nowhere.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ToldGrant {
    /// Where it was made.
    #[prost(int64, tag = "1")]
    pub seq: i64,
    /// The place there.
    #[prost(int64, tag = "2")]
    pub place: i64,
    /// The title of its offer, in the customer's language.
    #[prost(string, tag = "3")]
    pub title: String,
}

/// A delivery, and where it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The customer.
    pub customer: CustomerId,
    /// Where it was made.
    pub made: Position,
    /// The number of its playbook.
    pub playbook: i64,
    /// When its step was reached. Business time.
    pub created_at: Instant,
    /// What has become of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: i32,
    /// The status of the last answer. 0: there was none.
    pub last_status: i32,
    /// When it is tried next. Machine time.
    pub next_attempt_at: Option<Instant>,
    /// When it was tried last. Machine time.
    pub last_attempt_at: Option<Instant>,
    /// What does not change: its playbook, its run, its kind, the endpoint and the message.
    pub body: Delivery,
    /// What is sent: an event, or an [`Email`], without the codes of grants that it tells of. Empty in lists, and once it will not be sent again.
    pub payload: Vec<u8>,
}

impl Stored {
    /// By which way it goes: one that was made before there was another is of a webhook.
    pub fn kind(&self) -> DeliveryKind {
        match self.body.kind() {
            DeliveryKind::Unspecified => DeliveryKind::Webhook,
            kind => kind,
        }
    }

    /// The delivery as callers see it.
    pub fn message(&self) -> Delivery {
        Delivery {
            name: delivery_name(self.customer, self.made),
            kind: self.kind().into(),
            state: self.state.into(),
            create_time: Some(convert::timestamp(self.created_at)),
            attempts: self.attempts,
            last_status: self.last_status,
            next_attempt_time: self.next_attempt_at.map(convert::timestamp),
            last_attempt_time: self.last_attempt_at.map(convert::timestamp),
            ..self.body.clone()
        }
    }
}

/// The resource name of a delivery.
pub fn delivery_name(customer: CustomerId, made: Position) -> String {
    customer.part_name(&format!("deliveries/{}-{}", made.seq, made.place))
}

/// Takes the next number of tasks and deliveries.
pub async fn next_seq(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, ACTIONS).await
}

/// Writes deliveries, sorted by customer and position.
pub async fn write(transaction: &Transaction, tenant: TenantId, deliveries: &[Stored]) -> Result<(), StoreError> {
    let all = || deliveries.iter();
    let micros = |at: Option<Instant>| at.map(Instant::micros);
    let columns = vec![
        Column::Int(vec![tenant.0; deliveries.len()]),
        Column::BigInt(all().map(|stored| stored.customer.as_i64()).collect()),
        Column::BigInt(all().map(|stored| stored.made.seq).collect()),
        Column::BigInt(all().map(|stored| stored.made.place).collect()),
        Column::BigInt(all().map(|stored| stored.playbook).collect()),
        Column::Int(all().map(|stored| stored.state.into()).collect()),
        Column::BigInt(all().map(|stored| stored.created_at.micros()).collect()),
        Column::Text(all().map(|stored| stored.body.endpoint.clone()).collect()),
        Column::Int(all().map(|stored| stored.attempts).collect()),
        Column::Int(all().map(|stored| stored.last_status).collect()),
        Column::NullableBigInt(all().map(|stored| micros(stored.next_attempt_at)).collect()),
        Column::NullableBigInt(all().map(|stored| micros(stored.last_attempt_at)).collect()),
        Column::Bytes(all().map(|stored| stored.body.encode_to_vec()).collect()),
        Column::Bytes(all().map(|stored| stored.payload.clone()).collect()),
    ];
    TABLE.write(transaction, columns).await?;
    Ok(())
}

/// Up to `limit` deliveries to an endpoint whose next attempt is due, the first due first.
pub async fn due(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    endpoint: &str,
    machine_now: Instant,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = of(tenant)
        .filter(entity::Column::Endpoint.eq(endpoint))
        .filter(entity::Column::NextAttemptAt.is_not_null())
        .filter(entity::Column::NextAttemptAt.lte(machine_now.micros()))
        .order_by_asc(entity::Column::NextAttemptAt)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// A delivery, for somebody who may change it: it stays as it is until the transaction ends.
pub async fn hold(
    transaction: &Transaction,
    tenant: TenantId,
    customer: CustomerId,
    made: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), made.seq, made.place);
    entity::Entity::find_by_id(key).lock_exclusive().one(transaction).await?.as_ref().map(from_row).transpose()
}

/// When customers were contacted behind an instant, each contact with its customer's number.
pub async fn contacts(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[i64],
    behind: Instant,
) -> Result<Vec<(i64, Instant)>, StoreError> {
    let mut read = Vec::new();
    for numbers in Numbers::queries(customers) {
        let rows: Vec<(i64, i64)> = of(tenant)
            .select_only()
            .columns([entity::Column::CustomerId, entity::Column::CreatedAt])
            .filter(numbers.contain(entity::Column::CustomerId))
            .filter(entity::Column::CreatedAt.gt(behind.micros()))
            .filter(entity::Column::State.is_not_in(NO_CONTACTS.map(i32::from)))
            .into_tuple()
            .all(connection)
            .await?;
        read.extend(rows.into_iter().map(|(customer, at)| (customer, Instant::from_micros(at))));
    }
    Ok(read)
}

/// Sends nothing more of a playbook.
pub async fn cancel_playbook(transaction: &Transaction, tenant: TenantId, playbook: i64) -> Result<(), StoreError> {
    cancel(tenant).filter(entity::Column::Playbook.eq(playbook)).exec(transaction).await?;
    Ok(())
}

/// Sends nothing more to customers who are gone, and forgets all deliveries of those who were erased.
pub async fn remove(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    let numbers = |erased: bool| -> Vec<i64> {
        let of = removed.iter().filter(|removed| removed.erased == erased);
        of.map(|removed| removed.customer.as_i64()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    history::forget::<entity::Entity>(transaction, tenant, &numbers(true)).await?;
    for gone in Numbers::queries(&numbers(false)) {
        cancel(tenant).filter(gone.contain(entity::Column::CustomerId)).exec(transaction).await?;
    }
    Ok(())
}

fn cancel(tenant: TenantId) -> UpdateMany<entity::Entity> {
    entity::Entity::update_many()
        .col_expr(entity::Column::State, Expr::value(i32::from(DeliveryState::Cancelled)))
        .col_expr(entity::Column::NextAttemptAt, Expr::value(None::<i64>))
        .col_expr(entity::Column::Payload, Expr::value(Vec::<u8>::new()))
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::NextAttemptAt.is_not_null())
}

/// Which deliveries are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of one customer. `None`: everybody's.
    pub customer: Option<CustomerId>,
    /// Of these states. Empty: all.
    pub states: Vec<i32>,
}

/// Up to `limit` deliveries before a position, the last made first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    wanted: &Wanted,
    before: Position,
    limit: u64,
) -> Result<Vec<(Position, Stored)>, StoreError> {
    let mut deliveries = of(tenant);
    if let Some(customer) = wanted.customer {
        deliveries = deliveries.filter(entity::Column::CustomerId.eq(customer.as_i64()));
    }
    if !wanted.states.is_empty() {
        deliveries = deliveries.filter(entity::Column::State.is_in(wanted.states.clone()));
    }
    let key = [entity::Column::Seq, entity::Column::Place].map(ColumnTrait::into_expr);
    let told = entity::Column::iter().filter(|column| !matches!(column, entity::Column::Payload));
    let rows = deliveries
        .select_only()
        .columns(told)
        .column_as(Expr::value(Vec::<u8>::new()), "payload")
        .filter(Expr::tuple(key).lt(Expr::tuple([before.seq, before.place].map(Expr::value))))
        .order_by_desc(entity::Column::Seq)
        .order_by_desc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).map(|stored| stored.map(|stored| (stored.made, stored))).collect()
}

/// How many deliveries of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<entity::Entity>(connection, tenant, customer).await
}

fn of(tenant: TenantId) -> Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0))
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let malformed = || StoreError::Sealed("a stored delivery is malformed");
    Ok(Stored {
        customer: CustomerId::try_from(row.customer_id).map_err(|_| malformed())?,
        made: Position { seq: row.seq, place: row.place },
        playbook: row.playbook,
        created_at: Instant::from_micros(row.created_at),
        state: DeliveryState::try_from(row.state).map_err(|_| malformed())?,
        attempts: row.attempts,
        last_status: row.last_status,
        next_attempt_at: row.next_attempt_at.map(Instant::from_micros),
        last_attempt_at: row.last_attempt_at.map(Instant::from_micros),
        body: Delivery::decode(&*row.body).map_err(|_| malformed())?,
        payload: row.payload.clone(),
    })
}
