//! Churn models: drafts, and one in force at most. What is told of a model is kept as its message, and what gives risks beside it.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{ChurnModel, ChurnModelState};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// The collection that resource names begin with.
pub const COLLECTION: &str = "churnModels";
/// The feed whose positions number the changes of a tenant's models. It holds nothing: its head is what two that change them wait for.
const REVISIONS: &str = "churn_models";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "churn_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub state: i32,
        pub body: Vec<u8>,
        pub learnt: Vec<u8>,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub revision: i64,
        pub stands_since: Option<i64>,
        pub changed: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A row without what gives risks, which is large.
type Row = (i64, i32, Vec<u8>, i64, Option<i64>, i64, Option<i64>);

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The number, from 1.
    pub number: i64,
    /// Where it stands.
    pub state: ChurnModelState,
    /// What is told of it, but for what stands here.
    pub body: ChurnModel,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// When it was published. Machine time.
    pub published_at: Option<Instant>,
    /// Which change of the tenant's models changed it last.
    pub revision: i64,
    /// When it was put in force or taken out of it last. Business time.
    pub stands_since: Option<Instant>,
}

impl Stored {
    /// The resource name.
    pub fn name(&self) -> String {
        format!("{COLLECTION}/{}", self.number)
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The model as it is told.
    pub fn message(&self) -> ChurnModel {
        ChurnModel {
            name: self.name(),
            state: self.state.into(),
            create_time: Some(convert::timestamp(self.created_at)),
            publish_time: self.published_at.map(convert::timestamp),
            etag: self.etag(),
            ..self.body.clone()
        }
    }
}

/// What is there and can't be read.
pub fn malformed() -> StoreError {
    StoreError::Sealed("a stored churn model is malformed")
}

/// Takes the right to change a tenant's models, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// The number of the last change.
pub async fn revision(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    feed::head(connection, tenant, REVISIONS).await
}

fn rows(tenant: TenantId) -> sea_orm::Select<entity::Entity> {
    entity::Entity::find()
        .select_only()
        .columns([entity::Column::Number, entity::Column::State, entity::Column::Body])
        .columns([entity::Column::CreatedAt, entity::Column::PublishedAt, entity::Column::Revision])
        .column(entity::Column::StandsSince)
        .filter(entity::Column::TenantId.eq(tenant.0))
}

/// One model.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    number: i64,
) -> Result<Option<Stored>, StoreError> {
    let row = rows(tenant).filter(entity::Column::Number.eq(number)).into_tuple::<Row>().one(connection).await?;
    row.map(stored).transpose()
}

/// The model in force.
pub async fn in_force(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Stored>, StoreError> {
    let published = entity::Column::State.eq(ChurnModelState::Published as i32);
    rows(tenant).filter(published).into_tuple::<Row>().one(connection).await?.map(stored).transpose()
}

/// The business time from which what is in force is so, be it that nothing is. `None`: from the start.
pub async fn in_force_from(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Instant>, StoreError> {
    let latest: Option<Option<i64>> = entity::Entity::find()
        .select_only()
        .column_as(entity::Column::StandsSince.max(), "latest")
        .filter(entity::Column::TenantId.eq(tenant.0))
        .into_tuple()
        .one(connection)
        .await?;
    Ok(latest.flatten().map(Instant::from_micros))
}

/// Adds to the customers of whom bringing a change of where a model stands has changed a stage or a warning: how many there are. `begins`: it is only now begun.
pub async fn add_changed(
    transaction: &Transaction,
    tenant: TenantId,
    number: i64,
    customers: i64,
    begins: bool,
) -> Result<i64, StoreError> {
    let counted = if begins { Expr::value(customers) } else { Expr::col(entity::Column::Changed).add(customers) };
    entity::Entity::update_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.eq(number))
        .col_expr(entity::Column::Changed, counted)
        .exec(transaction)
        .await?;
    let row = entity::Entity::find_by_id((tenant.0, number)).select_only().column(entity::Column::Changed);
    let changed: Option<i64> = row.into_tuple().one(transaction).await?;
    Ok(changed.unwrap_or(0))
}

/// What gives risks, in its stored form.
pub async fn learnt(connection: &impl ConnectionTrait, tenant: TenantId, number: i64) -> Result<Vec<u8>, StoreError> {
    let row = entity::Entity::find_by_id((tenant.0, number)).one(connection).await?;
    row.map(|row| row.learnt).ok_or_else(malformed)
}

/// Up to `limit` models before `before`, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    before: i64,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = rows(tenant)
        .filter(entity::Column::Number.lt(before))
        .order_by_desc(entity::Column::Number)
        .limit(limit)
        .into_tuple::<Row>()
        .all(connection)
        .await?;
    rows.into_iter().map(stored).collect()
}

/// Writes a new model, with what gives risks.
pub async fn insert(
    transaction: &Transaction,
    tenant: TenantId,
    stored: &Stored,
    learnt: Vec<u8>,
) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        number: Set(stored.number),
        state: Set(stored.state.into()),
        body: Set(stored.body.encode_to_vec()),
        learnt: Set(learnt),
        created_at: Set(stored.created_at.micros()),
        published_at: Set(stored.published_at.map(Instant::micros)),
        revision: Set(stored.revision),
        stands_since: Set(stored.stands_since.map(Instant::micros)),
        changed: Set(0),
    };
    entity::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Writes where a model stands.
pub async fn update(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        number: Set(stored.number),
        state: Set(stored.state.into()),
        published_at: Set(stored.published_at.map(Instant::micros)),
        revision: Set(stored.revision),
        stands_since: Set(stored.stands_since.map(Instant::micros)),
        ..<entity::ActiveModel as sea_orm::ActiveModelTrait>::default()
    };
    entity::Entity::update(row).exec(transaction).await?;
    Ok(())
}

/// Forgets the models up to a number that are not in force.
pub async fn forget(transaction: &Transaction, tenant: TenantId, number: i64) -> Result<(), StoreError> {
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.lte(number))
        .filter(entity::Column::State.ne(ChurnModelState::Published as i32))
        .exec(transaction)
        .await?;
    Ok(())
}

fn stored((number, state, body, created_at, published_at, revision, stands_since): Row) -> Result<Stored, StoreError> {
    Ok(Stored {
        number,
        state: ChurnModelState::try_from(state).map_err(|_| malformed())?,
        body: ChurnModel::decode(body.as_slice()).map_err(|_| malformed())?,
        created_at: Instant::from_micros(created_at),
        published_at: published_at.map(Instant::from_micros),
        revision,
        stands_since: stands_since.map(Instant::from_micros),
    })
}
