//! The definitions of traits.

use super::entities::trait_definition;
use crate::traits::Definition;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{TraitAggregate, TraitFact};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

/// A trait, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrait {
    /// The id.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// What it is.
    pub definition: Definition,
    /// Whether every customer has it.
    pub complete: bool,
    /// When it was defined. Machine time.
    pub created_at: Instant,
}

impl StoredTrait {
    /// The etag of this definition.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.created_at.micros())
    }
}

/// One trait.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    id: &str,
) -> Result<Option<StoredTrait>, StoreError> {
    trait_definition::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?.map(from_row).transpose()
}

/// Up to `limit` traits behind the id `after`, by id.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    after: &str,
    limit: u64,
) -> Result<Vec<StoredTrait>, StoreError> {
    let rows = trait_definition::Entity::find()
        .filter(trait_definition::Column::TenantId.eq(tenant.0))
        .filter(trait_definition::Column::TraitId.gt(after))
        .order_by_asc(trait_definition::Column::TraitId)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// How many traits a tenant has.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, StoreError> {
    let of_tenant = trait_definition::Entity::find().filter(trait_definition::Column::TenantId.eq(tenant.0));
    Ok(of_tenant.count(connection).await?)
}

/// Writes a new trait.
pub async fn insert(transaction: &Transaction, tenant: TenantId, stored: &StoredTrait) -> Result<(), StoreError> {
    let definition = &stored.definition;
    let row = trait_definition::ActiveModel {
        tenant_id: Set(tenant.0),
        trait_id: Set(stored.id.clone()),
        description: Set(stored.description.clone()),
        fact: Set(definition.fact.into()),
        aggregate: Set(definition.aggregate.into()),
        value: Set(definition.value.clone()),
        filter: Set(definition.filter.clone()),
        window_days: Set(definition.window_days),
        complete: Set(stored.complete.into()),
        created_at: Set(stored.created_at.micros()),
    };
    trait_definition::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Notes that every customer has a trait, unless it was deleted and defined anew since.
pub async fn complete(
    transaction: &Transaction,
    tenant: TenantId,
    id: &str,
    created_at: Instant,
) -> Result<(), StoreError> {
    trait_definition::Entity::update_many()
        .filter(trait_definition::Column::TenantId.eq(tenant.0))
        .filter(trait_definition::Column::TraitId.eq(id))
        .filter(trait_definition::Column::CreatedAt.eq(created_at.micros()))
        .col_expr(trait_definition::Column::Complete, Expr::value(1))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Deletes a trait.
pub async fn delete(transaction: &Transaction, tenant: TenantId, id: &str) -> Result<(), StoreError> {
    trait_definition::Entity::delete_by_id((tenant.0, id.to_owned())).exec(transaction).await?;
    Ok(())
}

fn from_row(row: trait_definition::Model) -> Result<StoredTrait, StoreError> {
    let newer = || StoreError::Configuration("a trait is of a newer version".to_owned());
    let definition = Definition {
        fact: TraitFact::try_from(row.fact).map_err(|_| newer())?,
        aggregate: TraitAggregate::try_from(row.aggregate).map_err(|_| newer())?,
        value: row.value,
        filter: row.filter,
        window_days: row.window_days,
    };
    Ok(StoredTrait {
        id: row.trait_id,
        description: row.description,
        definition,
        complete: row.complete != 0,
        created_at: Instant::from_micros(row.created_at),
    })
}
