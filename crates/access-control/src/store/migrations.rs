//! Migrations of access-control. They name tables by identifiers of their own: entities go on, a migration stays what it was.

mod checkpoints;
mod issuers;
mod principals;
mod revenue_policies;
mod revocations;
mod signing_key_times;
mod tenant_policies;
mod tenant_pseudonym_keys;

use sea_orm_migration::prelude::*;

/// The migrations, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateTables),
            Box::new(signing_key_times::AddSigningKeyTimes),
            Box::new(tenant_pseudonym_keys::AddTenantPseudonymKeys),
            Box::new(principals::CreatePrincipals),
            Box::new(issuers::CreateIssuers),
            Box::new(revocations::CreateRevocations),
            Box::new(CreateKeyTables),
            Box::new(checkpoints::CreateCheckpointTables),
            Box::new(tenant_policies::CreateTenantPolicies),
            Box::new(revenue_policies::AddRevenuePolicies),
        ]
    }
}

#[derive(DeriveIden)]
enum SnapshotHead {
    Table,
    Id,
    Version,
}

#[derive(DeriveIden)]
enum Tenant {
    Table,
    Number,
    Name,
    TimeZone,
    BaseCurrency,
}

#[derive(DeriveIden)]
enum SigningKey {
    Table,
    Kid,
    SealedSeed,
    PublicX,
    CreatedAt,
    State,
}

#[derive(DeriveIden)]
enum Policy {
    Table,
    Version,
    Body,
    CreatedAt,
}

struct CreateTables;

impl MigrationName for CreateTables {
    fn name(&self) -> &'static str {
        "m0001_create_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTables {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(SnapshotHead::Table)
                    .col(ColumnDef::new(SnapshotHead::Id).integer().not_null().primary_key())
                    .col(ColumnDef::new(SnapshotHead::Version).big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        // The row is there before anybody changes anything, so that a change has something to lock.
        let head = Query::insert()
            .into_table(SnapshotHead::Table)
            .columns([SnapshotHead::Id, SnapshotHead::Version])
            .values_panic([1.into(), 0_i64.into()])
            .to_owned();
        manager.execute(head).await?;
        manager
            .create_table(
                Table::create()
                    .table(Tenant::Table)
                    .col(ColumnDef::new(Tenant::Number).integer().not_null().primary_key())
                    .col(ColumnDef::new(Tenant::Name).text().not_null().unique_key())
                    .col(ColumnDef::new(Tenant::TimeZone).text().not_null())
                    .col(ColumnDef::new(Tenant::BaseCurrency).text().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(SigningKey::Table)
                    .col(ColumnDef::new(SigningKey::Kid).text().not_null().primary_key())
                    .col(ColumnDef::new(SigningKey::SealedSeed).binary().not_null())
                    .col(ColumnDef::new(SigningKey::PublicX).text().not_null())
                    .col(ColumnDef::new(SigningKey::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(SigningKey::State).text().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(Policy::Table)
                    .col(ColumnDef::new(Policy::Version).big_integer().not_null().primary_key())
                    .col(ColumnDef::new(Policy::Body).binary().not_null())
                    .col(ColumnDef::new(Policy::CreatedAt).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }
}

#[derive(DeriveIden)]
enum KeyGeneration {
    Table,
    Id,
    Generation,
}

#[derive(DeriveIden)]
enum KeyState {
    Table,
    Service,
    Instance,
    Generation,
    KeyId,
    RowsRewrapped,
    RowsLeft,
    ReportedAt,
}

struct CreateKeyTables;

impl MigrationName for CreateKeyTables {
    fn name(&self) -> &'static str {
        "m0007_create_key_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateKeyTables {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::create_key_table(manager).await?;
        manager
            .create_table(
                Table::create()
                    .table(KeyGeneration::Table)
                    .col(ColumnDef::new(KeyGeneration::Id).integer().not_null().primary_key())
                    .col(ColumnDef::new(KeyGeneration::Generation).big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        let first = Query::insert()
            .into_table(KeyGeneration::Table)
            .columns([KeyGeneration::Id, KeyGeneration::Generation])
            .values_panic([1.into(), 1_i64.into()])
            .to_owned();
        manager.execute(first).await?;
        manager
            .create_table(
                Table::create()
                    .table(KeyState::Table)
                    .col(ColumnDef::new(KeyState::Service).text().not_null())
                    .col(ColumnDef::new(KeyState::Instance).text().not_null())
                    .col(ColumnDef::new(KeyState::Generation).big_integer().not_null())
                    .col(ColumnDef::new(KeyState::KeyId).text().not_null())
                    .col(ColumnDef::new(KeyState::RowsRewrapped).big_integer().not_null())
                    .col(ColumnDef::new(KeyState::RowsLeft).big_integer().not_null())
                    .col(ColumnDef::new(KeyState::ReportedAt).big_integer().not_null())
                    .primary_key(Index::create().col(KeyState::Service).col(KeyState::Instance))
                    .to_owned(),
            )
            .await
    }
}
