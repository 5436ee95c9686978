//! The keys of tenants' keyed hashes. Nullable: the next start makes those that are missing.

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum Tenant {
    Table,
    SealedPseudonymKey,
}

/// The keys of tenants' keyed hashes. Nullable: the next start makes those that are missing.
pub struct AddTenantPseudonymKeys;

impl MigrationName for AddTenantPseudonymKeys {
    fn name(&self) -> &'static str {
        "m0003_add_tenant_pseudonym_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddTenantPseudonymKeys {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(
                Table::alter()
                    .table(Tenant::Table)
                    .add_column(ColumnDef::new(Tenant::SealedPseudonymKey).binary().null())
                    .to_owned(),
            )
            .await
    }
}
