//! The versions of score models. What was published never changes.

use crate::encoding;
use crate::models::Definition;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::scoring::{PreviewSummary, ScoreModelState, ScoreModelVersion};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};

/// The feed whose positions number the changes of models. It holds nothing: its head is what two that change models wait for.
const REVISIONS: &str = "score_models";

/// The state of a version that is no more.
const DELETED: i32 = ScoreModelState::Unspecified as i32;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "score_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub model: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub state: i32,
        pub body: Vec<u8>,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub retired_at: Option<i64>,
        pub revision: i64,
        pub changed: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A version.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The model's id.
    pub model: String,
    /// The number, from 1.
    pub number: i64,
    /// Where it stands.
    pub state: ScoreModelState,
    /// What it defines.
    pub definition: Definition,
    /// Its last preview. `None`: there was none.
    pub preview: Option<PreviewSummary>,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// When it was published. Machine time.
    pub published_at: Option<Instant>,
    /// When it was replaced or retired. Machine time.
    pub retired_at: Option<Instant>,
    /// Which change of the tenant's models changed it last.
    pub revision: i64,
    /// Customers whom its rescoring has changed.
    pub changed: i64,
}

impl Version {
    /// The resource name.
    pub fn name(&self) -> String {
        format!("scoreModels/{}/versions/{}", self.model, self.number)
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The version as callers see it.
    pub fn message(&self, tenant: &Tenant) -> ScoreModelVersion {
        ScoreModelVersion {
            name: self.name(),
            state: self.state.into(),
            preview: self.preview.clone(),
            create_time: Some(convert::timestamp(self.created_at)),
            publish_time: self.published_at.map(convert::timestamp),
            retire_time: self.retired_at.map(convert::timestamp),
            etag: self.etag(),
            ..encoding::message(&self.definition, tenant.currency)
        }
    }
}

/// Takes the right to change a tenant's models, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// The number of the last change.
pub async fn revision(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    feed::head(connection, tenant, REVISIONS).await
}

/// Every published version, by model.
pub async fn published(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Version>, StoreError> {
    let published = of(tenant).filter(entity::Column::State.eq(ScoreModelState::Published as i32));
    read(published.order_by_asc(entity::Column::Model).all(connection).await?)
}

/// Every model's published version, if it has one, and the highest number that a version of it was given, by model.
pub async fn all(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
) -> Result<Vec<(String, Option<Version>, i64)>, StoreError> {
    let newest: Vec<(String, i64)> = of(tenant)
        .select_only()
        .column(entity::Column::Model)
        .column_as(entity::Column::Version.max(), "newest")
        .group_by(entity::Column::Model)
        .order_by_asc(entity::Column::Model)
        .into_tuple()
        .all(connection)
        .await?;
    let mut published = published(connection, tenant).await?;
    let models = newest.into_iter().map(|(model, newest)| {
        let place = published.iter().position(|version| version.model == model);
        let version = place.map(|place| published.swap_remove(place));
        (model, version, newest)
    });
    Ok(models.collect())
}

/// One version.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    model: &str,
    number: i64,
) -> Result<Option<Version>, StoreError> {
    let row = entity::Entity::find_by_id((tenant.0, model.to_owned(), number)).one(connection).await?;
    row.filter(|row| row.state != DELETED).map(from_row).transpose()
}

/// Up to `limit` versions of a model before `before`, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    model: &str,
    before: i64,
    limit: u64,
) -> Result<Vec<Version>, StoreError> {
    let versions = of(tenant)
        .filter(entity::Column::Model.eq(model))
        .filter(entity::Column::Version.lt(before))
        .filter(entity::Column::State.ne(DELETED));
    read(versions.order_by_desc(entity::Column::Version).limit(limit).all(connection).await?)
}

/// How many versions a model has.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId, model: &str) -> Result<u64, StoreError> {
    let of_model = of(tenant).filter(entity::Column::Model.eq(model)).filter(entity::Column::State.ne(DELETED));
    Ok(of_model.count(connection).await?)
}

/// Writes a version, in the place of what is there under its number.
pub async fn write(transaction: &Transaction, tenant: &Tenant, version: &Version) -> Result<(), StoreError> {
    let body = ScoreModelVersion {
        preview: version.preview.clone(),
        ..encoding::message(&version.definition, tenant.currency)
    };
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.id.0),
        model: Set(version.model.clone()),
        version: Set(version.number),
        state: Set(version.state.into()),
        body: Set(body.encode_to_vec()),
        created_at: Set(version.created_at.micros()),
        published_at: Set(version.published_at.map(Instant::micros)),
        retired_at: Set(version.retired_at.map(Instant::micros)),
        revision: Set(version.revision),
        changed: Set(version.changed),
    };
    let key = [entity::Column::TenantId, entity::Column::Model, entity::Column::Version];
    let replaced = [
        entity::Column::State,
        entity::Column::Body,
        entity::Column::PublishedAt,
        entity::Column::RetiredAt,
        entity::Column::Revision,
    ];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Counts customers whom a version's rescoring has changed, anew where it begins.
pub async fn add_changed(
    transaction: &Transaction,
    tenant: TenantId,
    model: &str,
    number: i64,
    customers: i64,
    begins: bool,
) -> Result<(), StoreError> {
    let counted = if begins { Expr::value(customers) } else { Expr::col(entity::Column::Changed).add(customers) };
    entity::Entity::update_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Model.eq(model))
        .filter(entity::Column::Version.eq(number))
        .col_expr(entity::Column::Changed, counted)
        .exec(transaction)
        .await?;
    Ok(())
}

/// Deletes a version. What is left of it keeps its number from being given again, as long as the model has another version.
pub async fn delete(transaction: &Transaction, tenant: TenantId, model: &str, number: i64) -> Result<(), StoreError> {
    let of_model = entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Model.eq(model));
    if count(transaction, tenant, model).await? == 1 {
        of_model.exec(transaction).await?;
        return Ok(());
    }
    // One number is enough to know which were given.
    let earlier = of_model.filter(entity::Column::State.eq(DELETED)).filter(entity::Column::Version.lt(number));
    earlier.exec(transaction).await?;
    entity::Entity::update_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Model.eq(model))
        .filter(entity::Column::Version.eq(number))
        .col_expr(entity::Column::State, Expr::value(DELETED))
        .col_expr(entity::Column::Body, Expr::value(Vec::<u8>::new()))
        .exec(transaction)
        .await?;
    Ok(())
}

fn of(tenant: TenantId) -> Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0))
}

fn read(rows: Vec<entity::Model>) -> Result<Vec<Version>, StoreError> {
    rows.into_iter().map(from_row).collect()
}

fn from_row(row: entity::Model) -> Result<Version, StoreError> {
    let malformed = || StoreError::Sealed("a stored score model is malformed");
    let body = ScoreModelVersion::decode(row.body.as_slice()).map_err(|_| malformed())?;
    let definition = encoding::definition(&row.model, &body).map_err(|_| malformed())?;
    Ok(Version {
        model: row.model,
        number: row.version,
        state: ScoreModelState::try_from(row.state).map_err(|_| malformed())?,
        definition,
        preview: body.preview,
        created_at: Instant::from_micros(row.created_at),
        published_at: row.published_at.map(Instant::from_micros),
        retired_at: row.retired_at.map(Instant::from_micros),
        revision: row.revision,
        changed: row.changed,
    })
}
