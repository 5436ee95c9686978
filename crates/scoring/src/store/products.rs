//! The products of models of recommendations, each with those that resemble it. A product's number within its model is its place by name.

use crate::store::fits::Fit;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_proto::scoring::RecommendationModel;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, Statement};

/// Products that are written at once.
const ROWS_AT_ONCE: usize = 1_000;
/// Products that are asked for at once.
const KEYS_PER_QUERY: usize = 500;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "model_product")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub model: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub product: i32,
        pub name: String,
        pub body: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const PRODUCTS: Target = Target {
    table: "model_product",
    columns: &["tenant_id", "model", "product", "name", "body"],
    key: &["tenant_id", "model", "product"],
    on_conflict: OnConflict::Never,
};

/// A product of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelProduct {
    /// Its number.
    pub number: u32,
    /// What sources call it.
    pub name: String,
    /// Its category and the others.
    pub body: Body,
}

/// What is kept of a product beside its name: the others as columns, the most similar first.
#[derive(Clone, PartialEq, Message)]
pub struct Body {
    /// Its category. Empty: none.
    #[prost(string, tag = "1")]
    pub category: String,
    /// Customers who bought it.
    #[prost(uint32, tag = "2")]
    pub customers: u32,
    /// The numbers of the others.
    #[prost(uint32, repeated, tag = "3")]
    pub others: Vec<u32>,
    /// How similar each is.
    #[prost(uint64, repeated, tag = "4")]
    pub similarities: Vec<u64>,
    /// Customers who bought both.
    #[prost(uint32, repeated, tag = "5")]
    pub common: Vec<u32>,
}

impl Body {
    /// The others, with how similar each is.
    pub fn related(&self) -> impl Iterator<Item = (u32, u64)> {
        self.others.iter().copied().zip(self.similarities.iter().copied())
    }
}

/// Writes the products of a model.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    model: i64,
    products: &[ModelProduct],
) -> Result<(), StoreError> {
    for part in products.chunks(ROWS_AT_ONCE) {
        let columns = vec![
            Column::Int(vec![tenant.0; part.len()]),
            Column::BigInt(vec![model; part.len()]),
            Column::Int(part.iter().map(|product| product.number as i32).collect()),
            Column::Text(part.iter().map(|product| product.name.clone()).collect()),
            Column::Bytes(part.iter().map(|product| product.body.encode_to_vec()).collect()),
        ];
        PRODUCTS.write(transaction, columns).await?;
    }
    Ok(())
}

/// Forgets the products of models that are not there any more. Those of one that was replaced stay as long as it does: somebody may be reading them.
pub async fn forget_orphans(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    let sql = "DELETE FROM model_product WHERE tenant_id = $1 AND model NOT IN \
               (SELECT number FROM fitted_model WHERE tenant_id = $1 AND kind = $2)";
    let values = [tenant.0.into(), RecommendationModel::KIND.into()];
    let backend: DbBackend = transaction.get_database_backend();
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Those of these products that a model knows.
pub async fn by_name<'a>(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    model: i64,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<ModelProduct>, StoreError> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut found = Vec::with_capacity(names.len());
    for part in names.chunks(KEYS_PER_QUERY) {
        let of_part = of_model(tenant, model).filter(entity::Column::Name.is_in(part.iter().copied()));
        found.extend(of_part.all(connection).await?);
    }
    found.into_iter().map(from_row).collect()
}

/// Those of these products, by number, that a model knows.
pub async fn by_number(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    model: i64,
    numbers: &[u32],
) -> Result<Vec<ModelProduct>, StoreError> {
    let mut found = Vec::with_capacity(numbers.len());
    for part in numbers.chunks(KEYS_PER_QUERY) {
        let numbered =
            of_model(tenant, model).filter(entity::Column::Product.is_in(part.iter().map(|number| *number as i32)));
        found.extend(numbered.all(connection).await?);
    }
    found.into_iter().map(from_row).collect()
}

/// All products of a model, by number.
pub async fn all(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    model: i64,
) -> Result<Vec<ModelProduct>, StoreError> {
    let rows = of_model(tenant, model).order_by_asc(entity::Column::Product).all(connection).await?;
    rows.into_iter().map(from_row).collect()
}

fn of_model(tenant: TenantId, model: i64) -> sea_orm::Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0)).filter(entity::Column::Model.eq(model))
}

fn from_row(row: entity::Model) -> Result<ModelProduct, StoreError> {
    let malformed = || StoreError::Sealed("a stored product is malformed");
    Ok(ModelProduct {
        number: u32::try_from(row.product).map_err(|_| malformed())?,
        name: row.name,
        body: Body::decode(row.body.as_slice()).map_err(|_| malformed())?,
    })
}
