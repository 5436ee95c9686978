//! What makes warnings severe, as each tenant says.

use crate::warnings::Thresholds;
use quintile_domain::ids::TenantId;
use quintile_domain::money::Currency;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "warning_policy")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        pub medium_from: i64,
        pub high_from: i64,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What a tenant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From how much on a warning is severe.
    pub thresholds: Thresholds,
    /// How often it has changed.
    pub revision: i64,
}

impl Policy {
    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}

/// The policy of a tenant, whose money is in a currency.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    currency: Currency,
) -> Result<Policy, StoreError> {
    let row = entity::Entity::find_by_id(tenant.0).one(connection).await?;
    Ok(row.map_or_else(
        || Policy { thresholds: Thresholds::unsaid(currency), revision: 0 },
        |row| Policy {
            thresholds: Thresholds { medium_from: row.medium_from, high_from: row.high_from },
            revision: row.revision,
        },
    ))
}

/// Replaces a policy that is as `found`. Returns the new one. `None`: somebody else has changed it meanwhile.
pub async fn replace(
    transaction: &Transaction,
    tenant: TenantId,
    found: &Policy,
    thresholds: Thresholds,
) -> Result<Option<Policy>, StoreError> {
    let policy = Policy { thresholds, revision: found.revision + 1 };
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        medium_from: Set(thresholds.medium_from),
        high_from: Set(thresholds.high_from),
        revision: Set(policy.revision),
    };
    let written = if found.revision == 0 {
        let keep = OnConflict::column(entity::Column::TenantId).do_nothing().to_owned();
        entity::Entity::insert(row).on_conflict(keep).exec_without_returning(transaction).await?
    } else {
        let of_tenant = entity::Entity::update_many().set(row).filter(entity::Column::TenantId.eq(tenant.0));
        of_tenant.filter(entity::Column::Revision.eq(found.revision)).exec(transaction).await?.rows_affected
    };
    Ok((written == 1).then_some(policy))
}
