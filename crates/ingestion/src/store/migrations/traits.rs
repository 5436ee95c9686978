//! Traits, and the long-running operations that bring them to customers.

use super::Id::{
    Aggregate, Complete, CreatedAt, Description, Fact, Filter, TenantId, TraitDefinition, TraitId, Value, WindowDays,
};
use super::{big_integer, integer, keyed_table, text};
use sea_orm_migration::prelude::*;

pub struct M0008Traits;

impl MigrationName for M0008Traits {
    fn name(&self) -> &'static str {
        "m0008_traits"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0008Traits {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = vec![
            integer(TenantId),
            text(TraitId),
            text(Description),
            integer(Fact),
            integer(Aggregate),
            text(Value),
            text(Filter),
            integer(WindowDays),
            integer(Complete),
            big_integer(CreatedAt),
        ];
        manager.create_table(keyed_table(manager, TraitDefinition, columns, vec![TenantId, TraitId])).await?;
        quintile_store::migration::create_operation_table(manager).await
    }
}
