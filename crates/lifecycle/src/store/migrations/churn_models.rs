//! Churn models, and how their risks have moved.

use sea_orm_migration::prelude::*;

pub struct M0007ChurnModels;

impl MigrationName for M0007ChurnModels {
    fn name(&self) -> &'static str {
        "m0007_churn_models"
    }
}

#[derive(DeriveIden)]
enum ChurnModel {
    Table,
    TenantId,
    Number,
    State,
    Body,
    Learnt,
    CreatedAt,
    PublishedAt,
    Revision,
    StandsSince,
    Changed,
    MeasuredDay,
    Drifts,
}

#[async_trait::async_trait]
impl MigrationTrait for M0007ChurnModels {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let models = Table::create()
            .table(ChurnModel::Table)
            .col(ColumnDef::new(ChurnModel::TenantId).integer().not_null())
            .col(ColumnDef::new(ChurnModel::Number).big_integer().not_null())
            .col(ColumnDef::new(ChurnModel::State).integer().not_null())
            .col(ColumnDef::new(ChurnModel::Body).binary().not_null())
            .col(ColumnDef::new(ChurnModel::Learnt).binary().not_null())
            .col(ColumnDef::new(ChurnModel::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(ChurnModel::PublishedAt).big_integer())
            .col(ColumnDef::new(ChurnModel::Revision).big_integer().not_null())
            .col(ColumnDef::new(ChurnModel::StandsSince).big_integer())
            .col(ColumnDef::new(ChurnModel::Changed).big_integer().not_null())
            .primary_key(Index::create().col(ChurnModel::TenantId).col(ChurnModel::Number))
            .to_owned();
        manager.create_table(models).await
    }
}

pub struct M0013ChurnDrifts;

impl MigrationName for M0013ChurnDrifts {
    fn name(&self) -> &'static str {
        "m0013_churn_drifts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0013ChurnDrifts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column at a time: SQLite adds no two at once. The version before writes none.
        let columns = [
            ColumnDef::new(ChurnModel::MeasuredDay).integer().take(),
            ColumnDef::new(ChurnModel::Drifts).binary().take(),
        ];
        for column in columns {
            let add = Table::alter().table(ChurnModel::Table).add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
        Ok(())
    }
}
