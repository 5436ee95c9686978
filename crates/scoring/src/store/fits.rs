//! Models that are fitted to everybody: drafts, and of each kind one in force at most. A model is kept as it is told.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::scoring::ScoreModelState;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "fitted_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub state: i32,
        pub body: Vec<u8>,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub revision: i64,
        pub changed: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A kind of models that are fitted to everybody: what was found, as its message tells it.
pub trait Fit: Message + Default + Clone {
    /// The kind's number in the table.
    const KIND: i32;
    /// The collection that resource names begin with, such as `valueModels`.
    const COLLECTION: &'static str;
    /// The feed whose positions number the changes of models: its head is what two that change them wait for.
    const REVISIONS: &'static str;
    /// The models of a tenant that are kept: the newest.
    const KEPT: i64;
}

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<M> {
    /// The number, from 1.
    pub number: i64,
    /// Where it stands.
    pub state: ScoreModelState,
    /// What was found.
    pub body: M,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// When it was published. Machine time.
    pub published_at: Option<Instant>,
    /// Which change of the tenant's models of this kind changed it last.
    pub revision: i64,
    /// Customers whose scores its publishing has changed so far, or its retiring.
    pub changed: i64,
}

impl<M: Fit> Stored<M> {
    /// The resource name.
    pub fn name(&self) -> String {
        format!("{}/{}", M::COLLECTION, self.number)
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}

/// Takes the right to change a tenant's models, to the end of the transaction: the number of the change.
pub async fn begin_change<M: Fit>(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, M::REVISIONS).await
}

/// One model.
pub async fn get<M: Fit>(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    number: i64,
) -> Result<Option<Stored<M>>, StoreError> {
    entity::Entity::find_by_id((tenant.0, M::KIND, number)).one(connection).await?.as_ref().map(from_row).transpose()
}

/// The model in force.
pub async fn in_force<M: Fit>(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
) -> Result<Option<Stored<M>>, StoreError> {
    let published = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Kind.eq(M::KIND))
        .filter(entity::Column::State.eq(ScoreModelState::Published as i32));
    published.one(connection).await?.as_ref().map(from_row).transpose()
}

/// Up to `limit` models before `before`, the newest first.
pub async fn page<M: Fit>(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    before: i64,
    limit: u64,
) -> Result<Vec<Stored<M>>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Kind.eq(M::KIND))
        .filter(entity::Column::Number.lt(before))
        .order_by_desc(entity::Column::Number)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// Writes a model, in the place of what is there under its number.
pub async fn write<M: Fit>(transaction: &Transaction, tenant: TenantId, stored: &Stored<M>) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        kind: Set(M::KIND),
        number: Set(stored.number),
        state: Set(stored.state.into()),
        body: Set(stored.body.encode_to_vec()),
        created_at: Set(stored.created_at.micros()),
        published_at: Set(stored.published_at.map(Instant::micros)),
        revision: Set(stored.revision),
        changed: Set(stored.changed),
    };
    let replaced = [entity::Column::State, entity::Column::PublishedAt, entity::Column::Revision];
    let key = [entity::Column::TenantId, entity::Column::Kind, entity::Column::Number];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Adds customers whose scores the publishing of a model has changed, or its retiring; `begins`: they are the first.
pub async fn add_changed<M: Fit>(
    transaction: &Transaction,
    tenant: TenantId,
    number: i64,
    changed: i64,
    begins: bool,
) -> Result<(), StoreError> {
    let counted = if begins { Expr::value(changed) } else { Expr::col(entity::Column::Changed).add(changed) };
    entity::Entity::update_many()
        .col_expr(entity::Column::Changed, counted)
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Kind.eq(M::KIND))
        .filter(entity::Column::Number.eq(number))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Forgets the models up to a number that are not in force.
pub async fn forget<M: Fit>(transaction: &Transaction, tenant: TenantId, number: i64) -> Result<(), StoreError> {
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Kind.eq(M::KIND))
        .filter(entity::Column::Number.lte(number))
        .filter(entity::Column::State.ne(ScoreModelState::Published as i32))
        .exec(transaction)
        .await?;
    Ok(())
}

fn from_row<M: Fit>(row: &entity::Model) -> Result<Stored<M>, StoreError> {
    let malformed = || StoreError::Sealed("a stored model is malformed");
    Ok(Stored {
        number: row.number,
        state: ScoreModelState::try_from(row.state).map_err(|_| malformed())?,
        body: M::decode(row.body.as_slice()).map_err(|_| malformed())?,
        created_at: Instant::from_micros(row.created_at),
        published_at: row.published_at.map(Instant::from_micros),
        revision: row.revision,
        changed: row.changed,
    })
}
