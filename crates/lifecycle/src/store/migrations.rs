//! The migrations of lifecycle, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm_migration::prelude::*;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Chain), Box::new(M0002Bulk)]
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
