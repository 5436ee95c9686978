//! The migration that makes the tables of signed checkpoints.

use sea_orm_migration::prelude::*;

/// Makes the tables.
pub struct CreateCheckpointTables;

#[derive(DeriveIden)]
enum CheckpointHead {
    Table,
    Service,
    TenantId,
    Seq,
    Hash,
}

#[derive(DeriveIden)]
enum SignedCheckpoint {
    Table,
    Service,
    TenantId,
    Seq,
    Hash,
    AtMicros,
    Kid,
    PublicX,
    Signature,
}

impl MigrationName for CreateCheckpointTables {
    fn name(&self) -> &'static str {
        "m0008_create_signed_checkpoints"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateCheckpointTables {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(CheckpointHead::Table)
                    .col(ColumnDef::new(CheckpointHead::Service).text().not_null())
                    .col(ColumnDef::new(CheckpointHead::TenantId).integer().not_null())
                    .col(ColumnDef::new(CheckpointHead::Seq).big_integer().not_null())
                    .col(ColumnDef::new(CheckpointHead::Hash).binary().not_null())
                    .primary_key(Index::create().col(CheckpointHead::Service).col(CheckpointHead::TenantId))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(SignedCheckpoint::Table)
                    .col(ColumnDef::new(SignedCheckpoint::Service).text().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::TenantId).integer().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::Seq).big_integer().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::Hash).binary().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::AtMicros).big_integer().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::Kid).text().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::PublicX).text().not_null())
                    .col(ColumnDef::new(SignedCheckpoint::Signature).binary().not_null())
                    .primary_key(
                        Index::create()
                            .col(SignedCheckpoint::Service)
                            .col(SignedCheckpoint::TenantId)
                            .col(SignedCheckpoint::Seq),
                    )
                    .to_owned(),
            )
            .await
    }
}
