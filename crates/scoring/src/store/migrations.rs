//! The migrations of scoring, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm_migration::prelude::*;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(M0001Chain),
            Box::new(M0002ScoreModels),
            Box::new(M0003Bulk),
            Box::new(M0004Models),
            Box::new(M0005Values),
            Box::new(M0006FittedModels),
            Box::new(M0007Traces),
        ]
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

/// Makes the table of the first versions, which held RFM alone. Nothing reads it any more; it goes when no process of such a version runs.
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

struct M0007Traces;

impl MigrationName for M0007Traces {
    fn name(&self) -> &'static str {
        "m0007_traces"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0007Traces {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::keep_traces(manager).await
    }
}

/// Models of any dimensions, what their scores were, and the operations that bring them to customers.
struct M0004Models;

impl MigrationName for M0004Models {
    fn name(&self) -> &'static str {
        "m0004_models"
    }
}

#[derive(DeriveIden)]
enum ScoreModel {
    Table,
    TenantId,
    Model,
    Version,
    State,
    Body,
    CreatedAt,
    PublishedAt,
    RetiredAt,
    Revision,
    Changed,
}

#[derive(DeriveIden)]
enum ScoreChange {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    ValidAt,
    Cause,
    BodyBefore,
    BodyAfter,
}

#[async_trait::async_trait]
impl MigrationTrait for M0004Models {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let models = Table::create()
            .table(ScoreModel::Table)
            .col(ColumnDef::new(ScoreModel::TenantId).integer().not_null())
            .col(ColumnDef::new(ScoreModel::Model).text().not_null())
            .col(ColumnDef::new(ScoreModel::Version).big_integer().not_null())
            .col(ColumnDef::new(ScoreModel::State).integer().not_null())
            .col(ColumnDef::new(ScoreModel::Body).binary().not_null())
            .col(ColumnDef::new(ScoreModel::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(ScoreModel::PublishedAt).big_integer())
            .col(ColumnDef::new(ScoreModel::RetiredAt).big_integer())
            .col(ColumnDef::new(ScoreModel::Revision).big_integer().not_null())
            .col(ColumnDef::new(ScoreModel::Changed).big_integer().not_null())
            .primary_key(Index::create().col(ScoreModel::TenantId).col(ScoreModel::Model).col(ScoreModel::Version))
            .to_owned();
        manager.create_table(models).await?;
        let changes = Table::create()
            .table(ScoreChange::Table)
            .col(ColumnDef::new(ScoreChange::TenantId).integer().not_null())
            .col(ColumnDef::new(ScoreChange::CustomerId).big_integer().not_null())
            .col(ColumnDef::new(ScoreChange::Seq).big_integer().not_null())
            .col(ColumnDef::new(ScoreChange::Place).big_integer().not_null())
            .col(ColumnDef::new(ScoreChange::ValidAt).big_integer().not_null())
            .col(ColumnDef::new(ScoreChange::Cause).integer().not_null())
            .col(ColumnDef::new(ScoreChange::BodyBefore).binary().not_null())
            .col(ColumnDef::new(ScoreChange::BodyAfter).binary().not_null())
            .primary_key(
                Index::create()
                    .col(ScoreChange::TenantId)
                    .col(ScoreChange::CustomerId)
                    .col(ScoreChange::Seq)
                    .col(ScoreChange::Place),
            )
            .to_owned();
        manager.create_table(changes).await?;
        quintile_store::migration::create_request_table(manager).await?;
        quintile_store::migration::create_operation_table(manager).await
    }
}

struct M0005Values;

impl MigrationName for M0005Values {
    fn name(&self) -> &'static str {
        "m0005_values"
    }
}

#[derive(DeriveIden)]
enum ValueModel {
    Table,
    TenantId,
    Number,
    State,
    Body,
    CreatedAt,
    PublishedAt,
    Revision,
}

#[async_trait::async_trait]
impl MigrationTrait for M0005Values {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let models = Table::create()
            .table(ValueModel::Table)
            .col(ColumnDef::new(ValueModel::TenantId).integer().not_null())
            .col(ColumnDef::new(ValueModel::Number).big_integer().not_null())
            .col(ColumnDef::new(ValueModel::State).integer().not_null())
            .col(ColumnDef::new(ValueModel::Body).binary().not_null())
            .col(ColumnDef::new(ValueModel::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(ValueModel::PublishedAt).big_integer())
            .col(ColumnDef::new(ValueModel::Revision).big_integer().not_null())
            .primary_key(Index::create().col(ValueModel::TenantId).col(ValueModel::Number))
            .to_owned();
        manager.create_table(models).await
    }
}

/// Models of every kind that are fitted to everybody in one table, and the products of those that recommend.
struct M0006FittedModels;

impl MigrationName for M0006FittedModels {
    fn name(&self) -> &'static str {
        "m0006_fitted_models"
    }
}

#[derive(DeriveIden)]
enum FittedModel {
    Table,
    TenantId,
    Kind,
    Number,
    State,
    Body,
    CreatedAt,
    PublishedAt,
    Revision,
    Changed,
}

#[derive(DeriveIden)]
enum ModelProduct {
    Table,
    TenantId,
    Model,
    Product,
    Name,
    Body,
}

#[derive(DeriveIden)]
enum RefitSchedule {
    Table,
    TenantId,
    Kind,
    EveryDays,
    Publish,
    AttemptedDay,
    Made,
    Problem,
    Revision,
}

#[async_trait::async_trait]
impl MigrationTrait for M0006FittedModels {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let models = Table::create()
            .table(FittedModel::Table)
            .col(ColumnDef::new(FittedModel::TenantId).integer().not_null())
            .col(ColumnDef::new(FittedModel::Kind).integer().not_null())
            .col(ColumnDef::new(FittedModel::Number).big_integer().not_null())
            .col(ColumnDef::new(FittedModel::State).integer().not_null())
            .col(ColumnDef::new(FittedModel::Body).binary().not_null())
            .col(ColumnDef::new(FittedModel::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(FittedModel::PublishedAt).big_integer())
            .col(ColumnDef::new(FittedModel::Revision).big_integer().not_null())
            .col(ColumnDef::new(FittedModel::Changed).big_integer().not_null().default(0))
            .primary_key(Index::create().col(FittedModel::TenantId).col(FittedModel::Kind).col(FittedModel::Number))
            .to_owned();
        manager.create_table(models).await?;
        let connection = manager.get_connection();
        // Models of lifetime value were the only kind.
        let moved = "INSERT INTO fitted_model (tenant_id, kind, number, state, body, created_at, published_at, revision) \
                     SELECT tenant_id, 1, number, state, body, created_at, published_at, revision FROM value_model";
        connection.execute_unprepared(moved).await?;
        manager.drop_table(Table::drop().table(ValueModel::Table).to_owned()).await?;
        let products = Table::create()
            .table(ModelProduct::Table)
            .col(ColumnDef::new(ModelProduct::TenantId).integer().not_null())
            .col(ColumnDef::new(ModelProduct::Model).big_integer().not_null())
            .col(ColumnDef::new(ModelProduct::Product).integer().not_null())
            .col(ColumnDef::new(ModelProduct::Name).text().not_null())
            .col(ColumnDef::new(ModelProduct::Body).binary().not_null())
            .primary_key(
                Index::create().col(ModelProduct::TenantId).col(ModelProduct::Model).col(ModelProduct::Product),
            )
            .to_owned();
        manager.create_table(products).await?;
        let names = Index::create()
            .name("model_product_by_name")
            .table(ModelProduct::Table)
            .col(ModelProduct::TenantId)
            .col(ModelProduct::Model)
            .col(ModelProduct::Name)
            .unique()
            .to_owned();
        manager.create_index(names).await?;
        let schedules = Table::create()
            .table(RefitSchedule::Table)
            .col(ColumnDef::new(RefitSchedule::TenantId).integer().not_null())
            .col(ColumnDef::new(RefitSchedule::Kind).integer().not_null())
            .col(ColumnDef::new(RefitSchedule::EveryDays).integer().not_null())
            .col(ColumnDef::new(RefitSchedule::Publish).boolean().not_null())
            .col(ColumnDef::new(RefitSchedule::AttemptedDay).integer())
            .col(ColumnDef::new(RefitSchedule::Made).big_integer())
            .col(ColumnDef::new(RefitSchedule::Problem).text().not_null())
            .col(ColumnDef::new(RefitSchedule::Revision).big_integer().not_null())
            .primary_key(Index::create().col(RefitSchedule::TenantId).col(RefitSchedule::Kind))
            .to_owned();
        manager.create_table(schedules).await
    }
}
