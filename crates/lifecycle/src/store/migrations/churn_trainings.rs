//! Trainings of churn models that wait, and when there are some by themselves.

use sea_orm_migration::prelude::*;

pub struct M0008ChurnTrainings;

impl MigrationName for M0008ChurnTrainings {
    fn name(&self) -> &'static str {
        "m0008_churn_trainings"
    }
}

#[derive(DeriveIden)]
enum ChurnTraining {
    Table,
    TenantId,
    OperationId,
    Asked,
}

#[async_trait::async_trait]
impl MigrationTrait for M0008ChurnTrainings {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let trainings = Table::create()
            .table(ChurnTraining::Table)
            .col(ColumnDef::new(ChurnTraining::TenantId).integer().not_null())
            .col(ColumnDef::new(ChurnTraining::OperationId).big_integer().not_null())
            .col(ColumnDef::new(ChurnTraining::Asked).binary().not_null())
            .primary_key(Index::create().col(ChurnTraining::TenantId).col(ChurnTraining::OperationId))
            .to_owned();
        manager.create_table(trainings).await?;
        quintile_store::migration::create_schedule_table(manager).await
    }
}
