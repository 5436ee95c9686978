//! Models of lifetime value. A model is kept as it is told, and what it says of customers follows from that.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::scoring::{ScoreModelState, ValueModel};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// The feed whose positions number the changes of models: its head is what two that change them wait for.
const REVISIONS: &str = "value_models";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "value_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub state: i32,
        pub body: Vec<u8>,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The number, from 1.
    pub number: i64,
    /// Where it stands.
    pub state: ScoreModelState,
    /// What was found.
    pub body: ValueModel,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// When it was published. Machine time.
    pub published_at: Option<Instant>,
    /// Which change of the tenant's models changed it last.
    pub revision: i64,
}

impl Stored {
    /// The resource name.
    pub fn name(&self) -> String {
        format!("valueModels/{}", self.number)
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The model as callers see it.
    pub fn message(&self) -> ValueModel {
        ValueModel {
            name: self.name(),
            state: self.state.into(),
            create_time: Some(convert::timestamp(self.created_at)),
            publish_time: self.published_at.map(convert::timestamp),
            etag: self.etag(),
            ..self.body.clone()
        }
    }
}

/// Takes the right to change a tenant's models, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// One model.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    number: i64,
) -> Result<Option<Stored>, StoreError> {
    entity::Entity::find_by_id((tenant.0, number)).one(connection).await?.as_ref().map(from_row).transpose()
}

/// The model in force.
pub async fn in_force(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Stored>, StoreError> {
    let published = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::State.eq(ScoreModelState::Published as i32));
    published.one(connection).await?.as_ref().map(from_row).transpose()
}

/// Up to `limit` models before `before`, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    before: i64,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.lt(before))
        .order_by_desc(entity::Column::Number)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// Writes a model, in the place of what is there under its number.
pub async fn write(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        number: Set(stored.number),
        state: Set(stored.state.into()),
        body: Set(stored.body.encode_to_vec()),
        created_at: Set(stored.created_at.micros()),
        published_at: Set(stored.published_at.map(Instant::micros)),
        revision: Set(stored.revision),
    };
    let replaced = [entity::Column::State, entity::Column::PublishedAt, entity::Column::Revision];
    let key = [entity::Column::TenantId, entity::Column::Number];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Forgets the models up to a number that are not in force.
pub async fn forget(transaction: &Transaction, tenant: TenantId, number: i64) -> Result<(), StoreError> {
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.lte(number))
        .filter(entity::Column::State.ne(ScoreModelState::Published as i32))
        .exec(transaction)
        .await?;
    Ok(())
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let malformed = || StoreError::Sealed("a stored value model is malformed");
    Ok(Stored {
        number: row.number,
        state: ScoreModelState::try_from(row.state).map_err(|_| malformed())?,
        body: ValueModel::decode(row.body.as_slice()).map_err(|_| malformed())?,
        created_at: Instant::from_micros(row.created_at),
        published_at: row.published_at.map(Instant::from_micros),
        revision: row.revision,
    })
}
