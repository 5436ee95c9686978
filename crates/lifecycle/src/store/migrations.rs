//! The migrations of lifecycle, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm_migration::prelude::*;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Chain), Box::new(M0002Bulk), Box::new(M0003Transitions)]
    }
}

struct M0001Chain;

impl MigrationName for M0001Chain {
    fn name(&self) -> &'static str {
        "m0001_chain"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Chain {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::create_chain_tables(manager).await
    }
}

struct M0002Bulk;

impl MigrationName for M0002Bulk {
    fn name(&self) -> &'static str {
        "m0002_bulk"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0002Bulk {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::tell_bulk_from_live(manager).await
    }
}

struct M0003Transitions;

impl MigrationName for M0003Transitions {
    fn name(&self) -> &'static str {
        "m0003_transitions"
    }
}

#[derive(DeriveIden)]
enum StageTransition {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    ValidAt,
    Cause,
    FromStage,
    ToStage,
    Body,
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Transitions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let transitions = Table::create()
            .table(StageTransition::Table)
            .col(ColumnDef::new(StageTransition::TenantId).integer().not_null())
            .col(ColumnDef::new(StageTransition::CustomerId).big_integer().not_null())
            .col(ColumnDef::new(StageTransition::Seq).big_integer().not_null())
            .col(ColumnDef::new(StageTransition::Place).big_integer().not_null())
            .col(ColumnDef::new(StageTransition::ValidAt).big_integer().not_null())
            .col(ColumnDef::new(StageTransition::Cause).integer().not_null())
            .col(ColumnDef::new(StageTransition::FromStage).integer().not_null())
            .col(ColumnDef::new(StageTransition::ToStage).integer().not_null())
            .col(ColumnDef::new(StageTransition::Body).binary().not_null())
            .primary_key(
                Index::create()
                    .col(StageTransition::TenantId)
                    .col(StageTransition::CustomerId)
                    .col(StageTransition::Seq)
                    .col(StageTransition::Place),
            )
            .to_owned();
        manager.create_table(transitions).await
    }
}
