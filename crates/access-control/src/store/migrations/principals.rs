//! Users, service accounts and the hashes of their secrets.

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum Principal {
    Table,
    Tenant,
    Id,
    Kind,
    Role,
    Department,
    Region,
    Disabled,
    CreatedAt,
    Version,
}

#[derive(DeriveIden)]
enum PrincipalSecret {
    Table,
    Tenant,
    Principal,
    Id,
    Hash,
    CreatedAt,
    ExpiresAt,
}

/// Users, service accounts and the hashes of their secrets.
pub struct CreatePrincipals;

impl MigrationName for CreatePrincipals {
    fn name(&self) -> &'static str {
        "m0004_create_principals"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreatePrincipals {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Principal::Table)
                    .col(ColumnDef::new(Principal::Tenant).integer().not_null())
                    .col(ColumnDef::new(Principal::Id).text().not_null())
                    .col(ColumnDef::new(Principal::Kind).integer().not_null())
                    .col(ColumnDef::new(Principal::Role).text().not_null())
                    .col(ColumnDef::new(Principal::Department).text().not_null())
                    .col(ColumnDef::new(Principal::Region).text().not_null())
                    .col(ColumnDef::new(Principal::Disabled).boolean().not_null())
                    .col(ColumnDef::new(Principal::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Principal::Version).big_integer().not_null())
                    .primary_key(Index::create().col(Principal::Tenant).col(Principal::Id))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(PrincipalSecret::Table)
                    .col(ColumnDef::new(PrincipalSecret::Tenant).integer().not_null())
                    .col(ColumnDef::new(PrincipalSecret::Principal).text().not_null())
                    .col(ColumnDef::new(PrincipalSecret::Id).text().not_null())
                    .col(ColumnDef::new(PrincipalSecret::Hash).binary().not_null())
                    .col(ColumnDef::new(PrincipalSecret::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(PrincipalSecret::ExpiresAt).big_integer().null())
                    .primary_key(
                        Index::create()
                            .col(PrincipalSecret::Tenant)
                            .col(PrincipalSecret::Principal)
                            .col(PrincipalSecret::Id),
                    )
                    .to_owned(),
            )
            .await
    }
}
