//! The roles that tenants make for themselves, by version.

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum TenantPolicy {
    Table,
    Tenant,
    Version,
    Body,
    PublishedAt,
}

/// The roles that tenants make for themselves, by version.
pub struct CreateTenantPolicies;

impl MigrationName for CreateTenantPolicies {
    fn name(&self) -> &'static str {
        "m0009_create_tenant_policies"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTenantPolicies {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(TenantPolicy::Table)
                    .col(ColumnDef::new(TenantPolicy::Tenant).integer().not_null())
                    .col(ColumnDef::new(TenantPolicy::Version).big_integer().not_null())
                    .col(ColumnDef::new(TenantPolicy::Body).binary().not_null())
                    .col(ColumnDef::new(TenantPolicy::PublishedAt).big_integer().not_null())
                    .primary_key(Index::create().col(TenantPolicy::Tenant).col(TenantPolicy::Version))
                    .to_owned(),
            )
            .await
    }
}
