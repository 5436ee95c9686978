//! The definitions of segments.

use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::{StoreError, Transaction};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "segment")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub segment_id: String,
        pub expression: String,
        pub description: String,
        pub created_at: i64,
        pub revision: i64,
        pub place: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The id.
    pub id: String,
    /// The rule's source.
    pub expression: String,
    /// What it is for.
    pub description: String,
    /// When it was saved. Machine time.
    pub created_at: Instant,
    /// Grows with every change.
    pub revision: i64,
    /// Its place in the order of definition.
    pub place: i64,
}

/// All definitions of a tenant, each behind those that it can refer to.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Definition>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .order_by_asc(entity::Column::Place)
        .all(connection)
        .await?;
    let definition = |row: entity::Model| Definition {
        id: row.segment_id,
        expression: row.expression,
        description: row.description,
        created_at: Instant::from_micros(row.created_at),
        revision: row.revision,
        place: row.place,
    };
    Ok(rows.into_iter().map(definition).collect())
}

/// Writes a new definition.
pub async fn insert(transaction: &Transaction, tenant: TenantId, definition: &Definition) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        segment_id: Set(definition.id.clone()),
        expression: Set(definition.expression.clone()),
        description: Set(definition.description.clone()),
        created_at: Set(definition.created_at.micros()),
        revision: Set(definition.revision),
        place: Set(definition.place),
    };
    entity::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Deletes a definition.
pub async fn delete(transaction: &Transaction, tenant: TenantId, id: &str) -> Result<(), StoreError> {
    entity::Entity::delete_by_id((tenant.0, id.to_owned())).exec(transaction).await?;
    Ok(())
}
