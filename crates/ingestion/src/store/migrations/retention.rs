//! How long facts are kept, and what those that are kept no longer amount to.

use super::Id::{
    Body, FeedbackDays, FeedbackHorizon, InteractionDays, InteractionHorizon, NextSubject, OpeningBalance, OrderDays,
    OrderHorizon, Retention, Revision, SubjectId, TenantId,
};
use super::{big_integer, binary, integer, keyed_table};
use sea_orm_migration::prelude::*;

pub struct M0009Retention;

impl MigrationName for M0009Retention {
    fn name(&self) -> &'static str {
        "m0009_retention"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0009Retention {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut columns = vec![integer(TenantId)];
        columns.extend([OrderDays, InteractionDays, FeedbackDays].map(integer));
        let nullable = |id| ColumnDef::new(id).big_integer().null().take();
        columns.extend([OrderHorizon, InteractionHorizon, FeedbackHorizon, NextSubject].map(nullable));
        columns.push(big_integer(Revision));
        manager.create_table(keyed_table(manager, Retention, columns, vec![TenantId])).await?;
        let columns = vec![integer(TenantId), big_integer(SubjectId), binary(Body)];
        manager.create_table(keyed_table(manager, OpeningBalance, columns, vec![TenantId, SubjectId])).await
    }
}
