//! The business time that memberships were evaluated at when records or definitions were last written. What was told holds for it: whoever begins
//! again begins there, or time would be gone through for customers and rules that were not there.

use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "evaluation")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        pub as_of: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The instant. 1970 where nothing was ever evaluated.
pub async fn as_of(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Instant, StoreError> {
    let row = entity::Entity::find_by_id(tenant.0).one(connection).await?;
    Ok(row.map(|row| Instant::from_micros(row.as_of)).unwrap_or_default())
}

/// Writes the instant down, as part of the transaction that writes what was evaluated at it.
pub async fn write(transaction: &Transaction, tenant: TenantId, as_of: Instant) -> Result<(), StoreError> {
    let row = entity::ActiveModel { tenant_id: Set(tenant.0), as_of: Set(as_of.micros()) };
    let replace = OnConflict::column(entity::Column::TenantId).update_column(entity::Column::AsOf).to_owned();
    entity::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}
