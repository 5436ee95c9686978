//! The migrations of scoring, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm_migration::prelude::*;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Chain), Box::new(M0002ScoreModels), Box::new(M0003Bulk)]
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

struct M0002ScoreModels;

impl MigrationName for M0002ScoreModels {
    fn name(&self) -> &'static str {
        "m0002_score_models"
    }
}

#[derive(DeriveIden)]
enum ScoreModelVersion {
    Table,
    TenantId,
    Model,
    Version,
    CutOffs,
    PublishedAt,
}

#[async_trait::async_trait]
impl MigrationTrait for M0002ScoreModels {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(ScoreModelVersion::Table)
            .col(ColumnDef::new(ScoreModelVersion::TenantId).integer().not_null())
            .col(ColumnDef::new(ScoreModelVersion::Model).text().not_null())
            .col(ColumnDef::new(ScoreModelVersion::Version).big_integer().not_null())
            .col(ColumnDef::new(ScoreModelVersion::CutOffs).text().not_null())
            .col(ColumnDef::new(ScoreModelVersion::PublishedAt).big_integer().not_null())
            .primary_key(
                Index::create()
                    .col(ScoreModelVersion::TenantId)
                    .col(ScoreModelVersion::Model)
                    .col(ScoreModelVersion::Version),
            )
            .to_owned();
        manager.create_table(table).await
    }
}

struct M0003Bulk;

impl MigrationName for M0003Bulk {
    fn name(&self) -> &'static str {
        "m0003_bulk"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Bulk {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::tell_bulk_from_live(manager).await
    }
}
