//! Revocations, by the version of the snapshot that brought them.

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum Revocation {
    Table,
    Number,
    Tenant,
    Kind,
    Target,
    IssuedBefore,
    RevokedAt,
    ExpiresAt,
}

/// Revocations, by the version of the snapshot that brought them.
pub struct CreateRevocations;

impl MigrationName for CreateRevocations {
    fn name(&self) -> &'static str {
        "m0006_create_revocations"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateRevocations {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Revocation::Table)
                    .col(ColumnDef::new(Revocation::Number).big_integer().not_null().primary_key())
                    .col(ColumnDef::new(Revocation::Tenant).integer().not_null())
                    .col(ColumnDef::new(Revocation::Kind).text().not_null())
                    .col(ColumnDef::new(Revocation::Target).text().not_null())
                    .col(ColumnDef::new(Revocation::IssuedBefore).big_integer().null())
                    .col(ColumnDef::new(Revocation::RevokedAt).big_integer().not_null())
                    .col(ColumnDef::new(Revocation::ExpiresAt).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }
}
