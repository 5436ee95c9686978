//! The migrations of lifecycle, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm_migration::prelude::*;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(M0001Chain),
            Box::new(M0002Bulk),
            Box::new(M0003Transitions),
            Box::new(M0004Warnings),
            Box::new(M0005Policies),
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

struct M0004Warnings;

impl MigrationName for M0004Warnings {
    fn name(&self) -> &'static str {
        "m0004_warnings"
    }
}

#[derive(DeriveIden)]
enum Warning {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    Kind,
    State,
    GoesOn,
    Severity,
    RaisedAt,
    ValueAtStake,
    Assignee,
    ChangedSeq,
    Body,
}

#[derive(DeriveIden)]
enum WarningPolicy {
    Table,
    TenantId,
    MediumFrom,
    HighFrom,
    Revision,
}

#[async_trait::async_trait]
impl MigrationTrait for M0004Warnings {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let warnings = Table::create()
            .table(Warning::Table)
            .col(ColumnDef::new(Warning::TenantId).integer().not_null())
            .col(ColumnDef::new(Warning::CustomerId).big_integer().not_null())
            .col(ColumnDef::new(Warning::Seq).big_integer().not_null())
            .col(ColumnDef::new(Warning::Place).big_integer().not_null())
            .col(ColumnDef::new(Warning::Kind).integer().not_null())
            .col(ColumnDef::new(Warning::State).integer().not_null())
            .col(ColumnDef::new(Warning::GoesOn).integer().not_null())
            .col(ColumnDef::new(Warning::Severity).integer().not_null())
            .col(ColumnDef::new(Warning::RaisedAt).big_integer().not_null())
            .col(ColumnDef::new(Warning::ValueAtStake).big_integer().not_null())
            .col(ColumnDef::new(Warning::Assignee).text().not_null())
            .col(ColumnDef::new(Warning::ChangedSeq).big_integer().not_null())
            .col(ColumnDef::new(Warning::Body).binary().not_null())
            .primary_key(
                Index::create().col(Warning::TenantId).col(Warning::CustomerId).col(Warning::Seq).col(Warning::Place),
            )
            .to_owned();
        manager.create_table(warnings).await?;
        let index = |name: &str, columns: [Warning; 3]| {
            let mut index = Index::create().name(name).table(Warning::Table).to_owned();
            // Signs begin at midnight, so many warnings are alike in what comes before.
            for column in columns.into_iter().chain([Warning::Seq, Warning::Place]) {
                index.col(column);
            }
            index
        };
        manager.create_index(index("warning_raised", [Warning::TenantId, Warning::GoesOn, Warning::RaisedAt])).await?;
        let by_value = index("warning_value", [Warning::TenantId, Warning::GoesOn, Warning::ValueAtStake]);
        manager.create_index(by_value).await?;
        let changed = Index::create()
            .name("warning_changed")
            .table(Warning::Table)
            .col(Warning::TenantId)
            .col(Warning::ChangedSeq)
            .col(Warning::Seq)
            .col(Warning::Place)
            .to_owned();
        manager.create_index(changed).await?;
        // Few are anybody's.
        let assigned = "CREATE INDEX warning_assignee ON warning (tenant_id, assignee, goes_on, raised_at, seq, place) \
                        WHERE assignee <> ''";
        manager.get_connection().execute_unprepared(assigned).await?;
        let policies = Table::create()
            .table(WarningPolicy::Table)
            .col(ColumnDef::new(WarningPolicy::TenantId).integer().not_null().primary_key())
            .col(ColumnDef::new(WarningPolicy::MediumFrom).big_integer().not_null())
            .col(ColumnDef::new(WarningPolicy::HighFrom).big_integer().not_null())
            .col(ColumnDef::new(WarningPolicy::Revision).big_integer().not_null())
            .to_owned();
        manager.create_table(policies).await
    }
}

struct M0005Policies;

impl MigrationName for M0005Policies {
    fn name(&self) -> &'static str {
        "m0005_policies"
    }
}

#[derive(DeriveIden)]
enum StagePolicy {
    Table,
    TenantId,
    Version,
    State,
    Body,
    CreatedAt,
    PublishedAt,
    RetiredAt,
    InForceFrom,
    Revision,
    Changed,
}

#[async_trait::async_trait]
impl MigrationTrait for M0005Policies {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let versions = Table::create()
            .table(StagePolicy::Table)
            .col(ColumnDef::new(StagePolicy::TenantId).integer().not_null())
            .col(ColumnDef::new(StagePolicy::Version).big_integer().not_null())
            .col(ColumnDef::new(StagePolicy::State).integer().not_null())
            .col(ColumnDef::new(StagePolicy::Body).binary().not_null())
            .col(ColumnDef::new(StagePolicy::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(StagePolicy::PublishedAt).big_integer())
            .col(ColumnDef::new(StagePolicy::RetiredAt).big_integer())
            .col(ColumnDef::new(StagePolicy::InForceFrom).big_integer())
            .col(ColumnDef::new(StagePolicy::Revision).big_integer().not_null())
            .col(ColumnDef::new(StagePolicy::Changed).big_integer().not_null())
            .primary_key(Index::create().col(StagePolicy::TenantId).col(StagePolicy::Version))
            .to_owned();
        manager.create_table(versions).await?;
        quintile_store::migration::create_request_table(manager).await?;
        quintile_store::migration::create_operation_table(manager).await
    }
}
