//! Migrations of the audit log's own database.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// The migrations, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateTables), Box::new(MoveHead)]
    }
}

#[derive(DeriveIden)]
enum AuditEvent {
    Table,
    TenantId,
    Seq,
    AtMicros,
    Body,
    Hash,
}

#[derive(DeriveIden)]
enum AuditHead {
    Table,
    TenantId,
    Seq,
    Hash,
    CheckpointSeq,
    CheckpointAtMicros,
}

#[derive(DeriveIden)]
enum AuditCheckpoint {
    Table,
    TenantId,
    Seq,
    Hash,
    AtMicros,
    Kid,
    PublicX,
    Signature,
}

struct CreateTables;

impl MigrationName for CreateTables {
    fn name(&self) -> &'static str {
        "m0001_audit_log"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_events(manager).await?;
        manager
            .create_table(
                Table::create()
                    .table(AuditHead::Table)
                    .col(ColumnDef::new(AuditHead::TenantId).integer().not_null().primary_key())
                    .col(ColumnDef::new(AuditHead::Seq).big_integer().not_null())
                    .col(ColumnDef::new(AuditHead::Hash).binary().not_null())
                    .col(ColumnDef::new(AuditHead::CheckpointSeq).big_integer().not_null())
                    .col(ColumnDef::new(AuditHead::CheckpointAtMicros).big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(AuditCheckpoint::Table)
                    .col(ColumnDef::new(AuditCheckpoint::TenantId).integer().not_null())
                    .col(ColumnDef::new(AuditCheckpoint::Seq).big_integer().not_null())
                    .col(ColumnDef::new(AuditCheckpoint::Hash).binary().not_null())
                    .col(ColumnDef::new(AuditCheckpoint::AtMicros).big_integer().not_null())
                    .col(ColumnDef::new(AuditCheckpoint::Kid).text().not_null())
                    .col(ColumnDef::new(AuditCheckpoint::PublicX).text().not_null())
                    .col(ColumnDef::new(AuditCheckpoint::Signature).binary().not_null())
                    .primary_key(Index::create().col(AuditCheckpoint::TenantId).col(AuditCheckpoint::Seq))
                    .to_owned(),
            )
            .await
    }
}

async fn create_events(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table(AuditEvent::Table)
                .col(ColumnDef::new(AuditEvent::TenantId).integer().not_null())
                .col(ColumnDef::new(AuditEvent::Seq).big_integer().not_null())
                .col(ColumnDef::new(AuditEvent::AtMicros).big_integer().not_null())
                .col(ColumnDef::new(AuditEvent::Body).binary().not_null())
                .col(ColumnDef::new(AuditEvent::Hash).binary().not_null())
                .primary_key(Index::create().col(AuditEvent::TenantId).col(AuditEvent::Seq))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("audit_event_at")
                .table(AuditEvent::Table)
                .col(AuditEvent::TenantId)
                .col(AuditEvent::AtMicros)
                .col(AuditEvent::Seq)
                .to_owned(),
        )
        .await
}

/// What SQLite has instead of statements that write to two tables: an entry that is added behind the head moves it.
struct MoveHead;

impl MigrationName for MoveHead {
    fn name(&self) -> &'static str {
        "m0002_entries_move_the_head"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for MoveHead {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        let trigger = "CREATE TRIGGER audit_event_moves_head AFTER INSERT ON audit_event BEGIN \
                       UPDATE audit_head SET seq = NEW.seq, hash = NEW.hash WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq - 1; END";
        manager.get_connection().execute_unprepared(trigger).await?;
        Ok(())
    }
}
