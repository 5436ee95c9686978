//! External issuers, each of which one tenant alone may have.

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum Issuer {
    Table,
    Tenant,
    Id,
    Issuer,
    Body,
    Keys,
    FetchedAt,
    AttemptedAt,
    Version,
}

/// External issuers, each of which one tenant alone may have.
pub struct CreateIssuers;

impl MigrationName for CreateIssuers {
    fn name(&self) -> &'static str {
        "m0005_create_issuers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateIssuers {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Issuer::Table)
                    .col(ColumnDef::new(Issuer::Tenant).integer().not_null())
                    .col(ColumnDef::new(Issuer::Id).text().not_null())
                    .col(ColumnDef::new(Issuer::Issuer).text().not_null().unique_key())
                    .col(ColumnDef::new(Issuer::Body).binary().not_null())
                    .col(ColumnDef::new(Issuer::Keys).binary().not_null())
                    .col(ColumnDef::new(Issuer::FetchedAt).big_integer().not_null())
                    .col(ColumnDef::new(Issuer::AttemptedAt).big_integer().not_null())
                    .col(ColumnDef::new(Issuer::Version).big_integer().not_null())
                    .primary_key(Index::create().col(Issuer::Tenant).col(Issuer::Id))
                    .to_owned(),
            )
            .await
    }
}
