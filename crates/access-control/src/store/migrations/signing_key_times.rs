//! When signing keys are published and begin to sign. Nullable: the version before goes on making keys without.

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum SigningKey {
    Table,
    PublishedAt,
    SignFrom,
}

/// When signing keys are published and begin to sign. Nullable: the version before goes on making keys without.
pub struct AddSigningKeyTimes;

impl MigrationName for AddSigningKeyTimes {
    fn name(&self) -> &'static str {
        "m0002_add_signing_key_times"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddSigningKeyTimes {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column at a time.
        for column in [SigningKey::PublishedAt, SigningKey::SignFrom] {
            manager
                .alter_table(
                    Table::alter()
                        .table(SigningKey::Table)
                        .add_column(ColumnDef::new(column).big_integer().null())
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }
}
