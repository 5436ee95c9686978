//! Grants of offers. A code is in no row: it follows from a key and from what the row is of, and is found by a keyed hash of it.

use crate::offers::state_at;
use prost::Message;
use quintile_chain::feed::{self, Removed};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Grant, GrantState, OfferUse};
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction, idempotency};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Statement,
};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "offer_grant")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub offer: i64,
        pub step: i32,
        pub state: i32,
        pub expires_at: i64,
        pub code_hash: Vec<u8>,
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

const TABLE: Target = Target {
    table: "offer_grant",
    columns: &["tenant_id", "customer_id", "seq", "place", "offer", "step", "state", "expires_at", "code_hash", "body"],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Replace(&["state", "body"]),
};

/// A grant, and where it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The customer.
    pub customer: CustomerId,
    /// Where it was made.
    pub made: Position,
    /// The number of the offer.
    pub offer: i64,
    /// The place of the step that made it. 0: somebody did.
    pub step: i32,
    /// What has become of it, aside from time.
    pub state: GrantState,
    /// From when it is good no more.
    pub expires_at: Instant,
    /// By which it is found.
    pub code_hash: Vec<u8>,
    /// What else there is to know, without name, state and code.
    pub grant: Grant,
}

impl Stored {
    /// Its resource name.
    pub fn name(&self) -> String {
        name_of(self.customer, self.made)
    }

    /// What its code follows from: the step of a run, or the grant itself where somebody made it; and the offer.
    pub fn origin(&self) -> String {
        let run = &self.grant.run;
        if run.is_empty() {
            format!("{}/{}", self.name(), self.offer)
        } else {
            format!("{run}/{}/{}", self.step, self.offer)
        }
    }

    /// The grant as callers see it at an instant, with its code.
    pub fn message(&self, code: String, now: Instant) -> Grant {
        let state = state_at(self.state, self.expires_at, now);
        Grant { name: self.name(), state: state.into(), code: Some(code), ..self.grant.clone() }
    }
}

fn name_of(customer: CustomerId, Position { seq, place }: Position) -> String {
    customer.part_name(&format!("grants/{seq}-{place}"))
}

/// Writes grants, sorted by customer and position.
pub async fn write(transaction: &Transaction, tenant: TenantId, grants: &[Stored]) -> Result<(), StoreError> {
    let all = || grants.iter();
    let columns = vec![
        Column::Int(vec![tenant.0; grants.len()]),
        Column::BigInt(all().map(|stored| stored.customer.as_i64()).collect()),
        Column::BigInt(all().map(|stored| stored.made.seq).collect()),
        Column::BigInt(all().map(|stored| stored.made.place).collect()),
        Column::BigInt(all().map(|stored| stored.offer).collect()),
        Column::Int(all().map(|stored| stored.step).collect()),
        Column::Int(all().map(|stored| stored.state.into()).collect()),
        Column::BigInt(all().map(|stored| stored.expires_at.micros()).collect()),
        Column::Bytes(all().map(|stored| stored.code_hash.clone()).collect()),
        Column::Bytes(all().map(|stored| stored.grant.encode_to_vec()).collect()),
    ];
    TABLE.write(transaction, columns).await?;
    Ok(())
}

/// A grant.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    made: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), made.seq, made.place);
    entity::Entity::find_by_id(key).one(connection).await?.as_ref().map(from_row).transpose()
}

/// A grant, for somebody who may change it: it stays as it is until the transaction ends.
pub async fn hold(
    transaction: &Transaction,
    tenant: TenantId,
    customer: CustomerId,
    made: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), made.seq, made.place);
    entity::Entity::find_by_id(key).lock_exclusive().one(transaction).await?.as_ref().map(from_row).transpose()
}

/// The grant whose code has a hash.
pub async fn by_code(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    code_hash: &[u8],
) -> Result<Option<Stored>, StoreError> {
    let row = of(tenant).filter(entity::Column::CodeHash.eq(code_hash.to_vec())).one(connection).await?;
    row.as_ref().map(from_row).transpose()
}

/// The grants of customers that can be redeemed at an instant, by customer and position.
pub async fn open_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[i64],
    now: Instant,
) -> Result<Vec<Stored>, StoreError> {
    let mut read = Vec::new();
    for numbers in Numbers::queries(customers) {
        let open = of(tenant)
            .filter(numbers.contain(entity::Column::CustomerId))
            .filter(entity::Column::State.eq(i32::from(GrantState::Open)))
            .filter(entity::Column::ExpiresAt.gt(now.micros()));
        for row in open.all(connection).await? {
            read.push(from_row(&row)?);
        }
    }
    read.sort_by_key(|stored| (stored.customer, stored.made));
    Ok(read)
}

/// Which grants are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of one customer. `None`: everybody's.
    pub customer: Option<CustomerId>,
    /// Of the offer of a number. `None`: of all.
    pub offer: Option<i64>,
    /// Of these states. Empty: all.
    pub states: Vec<i32>,
}

impl Wanted {
    /// The condition that a grant is in one of the states at an instant.
    fn condition(&self, now: Instant) -> Condition {
        let stored = |state: GrantState| entity::Column::State.eq(i32::from(state));
        let condition = |state: &i32| match GrantState::try_from(*state).unwrap_or_default() {
            GrantState::Open => stored(GrantState::Open).and(entity::Column::ExpiresAt.gt(now.micros())),
            GrantState::Expired => stored(GrantState::Open).and(entity::Column::ExpiresAt.lte(now.micros())),
            other => stored(other),
        };
        if self.states.is_empty() {
            return Condition::all();
        }
        self.states.iter().map(condition).fold(Condition::any(), Condition::add)
    }
}

/// What was granted of the offer of a number, to customers who are there, at an instant. Of the offer itself nothing is said.
pub async fn count_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    offer: i64,
    now: Instant,
) -> Result<OfferUse, StoreError> {
    let [open, redeemed, revoked] = [GrantState::Open, GrantState::Redeemed, GrantState::Revoked].map(i32::from);
    let count = |condition: String| format!("COUNT(CASE WHEN {condition} THEN 1 END)");
    // The body of whoever is no more is empty.
    let sql = format!(
        "SELECT COUNT(*) AS granted, {} AS opened, {} AS redeemed, {} AS expired, {} AS revoked FROM offer_grant \
         JOIN customer_record ON customer_record.tenant_id = offer_grant.tenant_id \
         AND customer_record.customer_id = offer_grant.customer_id \
         WHERE offer_grant.tenant_id = $2 AND offer_grant.offer = $3 AND customer_record.body <> $4",
        count(format!("offer_grant.state = {open} AND offer_grant.expires_at > $1")),
        count(format!("offer_grant.state = {redeemed}")),
        count(format!("offer_grant.state = {open} AND offer_grant.expires_at <= $1")),
        count(format!("offer_grant.state = {revoked}")),
    );
    let values = [now.micros().into(), tenant.0.into(), offer.into(), Vec::<u8>::new().into()];
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    let Some(row) = connection.query_one_raw(statement).await? else { return Ok(OfferUse::default()) };
    Ok(OfferUse {
        name: String::new(),
        granted: row.try_get("", "granted")?,
        open: row.try_get("", "opened")?,
        redeemed: row.try_get("", "redeemed")?,
        expired: row.try_get("", "expired")?,
        revoked: row.try_get("", "revoked")?,
    })
}

/// Up to `limit` grants before a position, the last made first, by their states at an instant.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    wanted: &Wanted,
    now: Instant,
    before: Position,
    limit: u64,
) -> Result<Vec<(Position, Stored)>, StoreError> {
    let mut grants = of(tenant).filter(wanted.condition(now));
    if let Some(customer) = wanted.customer {
        grants = grants.filter(entity::Column::CustomerId.eq(customer.as_i64()));
    }
    if let Some(offer) = wanted.offer {
        grants = grants.filter(entity::Column::Offer.eq(offer));
    }
    let key = [entity::Column::Seq, entity::Column::Place].map(ColumnTrait::into_expr);
    let rows = grants
        .filter(Expr::tuple(key).lt(Expr::tuple([before.seq, before.place].map(Expr::value))))
        .order_by_desc(entity::Column::Seq)
        .order_by_desc(entity::Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).map(|stored| stored.map(|stored| (stored.made, stored))).collect()
}

/// Forgets all grants of those who were erased, and the requests that made some of them.
pub async fn erase(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    let erased = feed::erased(removed);
    for numbers in Numbers::queries(&erased) {
        let by_hand = of(tenant)
            .select_only()
            .columns([entity::Column::CustomerId, entity::Column::Seq, entity::Column::Place])
            .filter(numbers.contain(entity::Column::CustomerId))
            .filter(entity::Column::Step.eq(0));
        let mut names = Vec::new();
        for (customer, seq, place) in by_hand.into_tuple::<(i64, i64, i64)>().all(transaction).await? {
            let customer = CustomerId::try_from(customer).map_err(|_| malformed())?;
            names.push(name_of(customer, Position { seq, place }));
        }
        idempotency::forget(transaction, tenant, &names).await?;
    }
    history::forget::<entity::Entity>(transaction, tenant, &erased).await
}

/// How many grants of a customer are kept.
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

fn malformed() -> StoreError {
    StoreError::Sealed("a stored grant is malformed")
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    Ok(Stored {
        customer: CustomerId::try_from(row.customer_id).map_err(|_| malformed())?,
        made: Position { seq: row.seq, place: row.place },
        offer: row.offer,
        step: row.step,
        state: GrantState::try_from(row.state).map_err(|_| malformed())?,
        expires_at: Instant::from_micros(row.expires_at),
        code_hash: row.code_hash.clone(),
        grant: Grant::decode(&*row.body).map_err(|_| malformed())?,
    })
}
