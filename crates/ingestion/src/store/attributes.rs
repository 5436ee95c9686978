//! The declarations of custom attributes.

use super::entities::attribute;
use crate::intake::Declared;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::Sensitivity;
use quintile_domain::time::Instant;
use quintile_store::{StoreError, Transaction};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

/// A declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttribute {
    /// The id.
    pub id: String,
    /// The class of its values.
    pub class: Sensitivity,
    /// What it is for.
    pub description: String,
    /// When it was declared. Machine time.
    pub created_at: Instant,
}

impl StoredAttribute {
    /// The etag of this declaration.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.created_at.micros())
    }
}

/// One declaration.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    id: &str,
) -> Result<Option<StoredAttribute>, StoreError> {
    attribute::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?.map(from_row).transpose()
}

/// Up to `limit` declarations behind the id `after`, by id.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    after: &str,
    limit: u64,
) -> Result<Vec<StoredAttribute>, StoreError> {
    let rows = attribute::Entity::find()
        .filter(attribute::Column::TenantId.eq(tenant.0))
        .filter(attribute::Column::AttributeId.gt(after))
        .order_by_asc(attribute::Column::AttributeId)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// What a tenant has declared.
pub async fn declared(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Declared, StoreError> {
    let rows = attribute::Entity::find().filter(attribute::Column::TenantId.eq(tenant.0)).all(connection).await?;
    let declarations = rows.into_iter().map(|row| from_row(row).map(|attribute| (attribute.id, attribute.class)));
    declarations.collect()
}

/// How many declarations a tenant has.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, StoreError> {
    Ok(attribute::Entity::find().filter(attribute::Column::TenantId.eq(tenant.0)).count(connection).await?)
}

/// Writes a new declaration.
pub async fn insert(
    transaction: &Transaction,
    tenant: TenantId,
    attribute: &StoredAttribute,
) -> Result<(), StoreError> {
    let row = attribute::ActiveModel {
        tenant_id: Set(tenant.0),
        attribute_id: Set(attribute.id.clone()),
        sensitivity: Set(attribute.class as i32),
        description: Set(attribute.description.clone()),
        created_at: Set(attribute.created_at.micros()),
    };
    attribute::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Deletes a declaration.
pub async fn delete(transaction: &Transaction, tenant: TenantId, id: &str) -> Result<(), StoreError> {
    attribute::Entity::delete_by_id((tenant.0, id.to_owned())).exec(transaction).await?;
    Ok(())
}

fn from_row(row: attribute::Model) -> Result<StoredAttribute, StoreError> {
    // Of a newer version: which form would be right is not known here.
    let class = Sensitivity::of_number(row.sensitivity);
    let class =
        class.ok_or_else(|| StoreError::Configuration("an attribute has a class of a newer version".to_owned()))?;
    Ok(StoredAttribute {
        id: row.attribute_id,
        class,
        description: row.description,
        created_at: Instant::from_micros(row.created_at),
    })
}
