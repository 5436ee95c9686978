//! The migrations of lifecycle, in order. Each names its tables itself: entities change, migrations do not.

mod churn_models;
mod churn_trainings;
mod enrolments;
mod finding_grants;
mod follow_ups;
mod offers;

use self::churn_models::{M0007ChurnModels, M0013ChurnDrifts};
use self::churn_trainings::M0008ChurnTrainings;
use self::enrolments::M0011Enrolments;
use self::finding_grants::M0010FindingGrants;
use self::follow_ups::M0012FollowUps;
use self::offers::M0009Offers;
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
            Box::new(M0006Playbooks),
            Box::new(M0007ChurnModels),
            Box::new(M0008ChurnTrainings),
            Box::new(M0009Offers),
            Box::new(M0010FindingGrants),
            Box::new(M0011Enrolments),
            Box::new(M0012FollowUps),
            Box::new(M0013ChurnDrifts),
            Box::new(M0014Traces),
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

struct M0014Traces;

impl MigrationName for M0014Traces {
    fn name(&self) -> &'static str {
        "m0014_traces"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0014Traces {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::keep_traces(manager).await
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

struct M0006Playbooks;

impl MigrationName for M0006Playbooks {
    fn name(&self) -> &'static str {
        "m0006_playbooks"
    }
}

#[derive(DeriveIden)]
enum Playbook {
    Table,
    TenantId,
    PlaybookId,
    Number,
    State,
    Version,
    Body,
    Ran,
    CreatedAt,
    StartedAt,
    StoppedAt,
    Revision,
}

#[derive(DeriveIden)]
enum ContactPolicy {
    Table,
    TenantId,
    Body,
    Revision,
}

#[derive(DeriveIden)]
enum PlaybookRun {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    Playbook,
    PlaybookVersion,
    State,
    Refusal,
    TriggeredAt,
    Variant,
    StepsDone,
    StepAt,
    Withheld,
    MeasureAt,
    DueAt,
    OrdersBefore,
    NetBefore,
    YearBefore,
    Converted,
    Revenue,
}

#[derive(DeriveIden)]
enum Task {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    State,
    GoesOn,
    Assignee,
    Body,
}

#[derive(DeriveIden)]
enum Delivery {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    Playbook,
    State,
    CreatedAt,
    Endpoint,
    Attempts,
    LastStatus,
    NextAttemptAt,
    LastAttemptAt,
    Body,
    Payload,
}

#[async_trait::async_trait]
impl MigrationTrait for M0006Playbooks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(playbooks()).await?;
        let policies = Table::create()
            .table(ContactPolicy::Table)
            .col(ColumnDef::new(ContactPolicy::TenantId).integer().not_null().primary_key())
            .col(ColumnDef::new(ContactPolicy::Body).binary().not_null())
            .col(ColumnDef::new(ContactPolicy::Revision).big_integer().not_null())
            .to_owned();
        manager.create_table(policies).await?;
        manager.create_table(runs()).await?;
        manager.create_table(tasks()).await?;
        manager.create_table(deliveries()).await?;
        for index in [
            // Few are due at any time, and few of those who were contacted wait for a delivery.
            "CREATE INDEX playbook_run_due ON playbook_run (tenant_id, due_at) WHERE due_at IS NOT NULL",
            "CREATE INDEX playbook_run_playbook ON playbook_run (tenant_id, playbook, seq, place)",
            "CREATE INDEX task_made ON task (tenant_id, goes_on, seq, place)",
            "CREATE INDEX task_assignee ON task (tenant_id, assignee, goes_on, seq, place) WHERE assignee <> ''",
            "CREATE INDEX delivery_next ON delivery (tenant_id, endpoint, next_attempt_at) \
             WHERE next_attempt_at IS NOT NULL",
            "CREATE INDEX delivery_made ON delivery (tenant_id, seq, place)",
        ] {
            manager.get_connection().execute_unprepared(index).await?;
        }
        Ok(())
    }
}

fn playbooks() -> TableCreateStatement {
    Table::create()
        .table(Playbook::Table)
        .col(ColumnDef::new(Playbook::TenantId).integer().not_null())
        .col(ColumnDef::new(Playbook::PlaybookId).text().not_null())
        .col(ColumnDef::new(Playbook::Number).big_integer().not_null())
        .col(ColumnDef::new(Playbook::State).integer().not_null())
        .col(ColumnDef::new(Playbook::Version).big_integer().not_null())
        .col(ColumnDef::new(Playbook::Body).binary().not_null())
        .col(ColumnDef::new(Playbook::Ran).binary().not_null())
        .col(ColumnDef::new(Playbook::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Playbook::StartedAt).big_integer())
        .col(ColumnDef::new(Playbook::StoppedAt).big_integer())
        .col(ColumnDef::new(Playbook::Revision).big_integer().not_null())
        .primary_key(Index::create().col(Playbook::TenantId).col(Playbook::PlaybookId))
        .to_owned()
}

fn runs() -> TableCreateStatement {
    Table::create()
        .table(PlaybookRun::Table)
        .col(ColumnDef::new(PlaybookRun::TenantId).integer().not_null())
        .col(ColumnDef::new(PlaybookRun::CustomerId).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::Seq).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::Place).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::Playbook).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::PlaybookVersion).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::State).integer().not_null())
        .col(ColumnDef::new(PlaybookRun::Refusal).integer().not_null())
        .col(ColumnDef::new(PlaybookRun::TriggeredAt).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::Variant).text().not_null())
        .col(ColumnDef::new(PlaybookRun::StepsDone).integer().not_null())
        .col(ColumnDef::new(PlaybookRun::StepAt).big_integer())
        .col(ColumnDef::new(PlaybookRun::Withheld).integer().not_null())
        .col(ColumnDef::new(PlaybookRun::MeasureAt).big_integer())
        .col(ColumnDef::new(PlaybookRun::DueAt).big_integer())
        .col(ColumnDef::new(PlaybookRun::OrdersBefore).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::NetBefore).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::YearBefore).big_integer().not_null())
        .col(ColumnDef::new(PlaybookRun::Converted).big_integer())
        .col(ColumnDef::new(PlaybookRun::Revenue).big_integer())
        .primary_key(
            Index::create()
                .col(PlaybookRun::TenantId)
                .col(PlaybookRun::CustomerId)
                .col(PlaybookRun::Seq)
                .col(PlaybookRun::Place),
        )
        .to_owned()
}

fn tasks() -> TableCreateStatement {
    Table::create()
        .table(Task::Table)
        .col(ColumnDef::new(Task::TenantId).integer().not_null())
        .col(ColumnDef::new(Task::CustomerId).big_integer().not_null())
        .col(ColumnDef::new(Task::Seq).big_integer().not_null())
        .col(ColumnDef::new(Task::Place).big_integer().not_null())
        .col(ColumnDef::new(Task::State).integer().not_null())
        .col(ColumnDef::new(Task::GoesOn).integer().not_null())
        .col(ColumnDef::new(Task::Assignee).text().not_null())
        .col(ColumnDef::new(Task::Body).binary().not_null())
        .primary_key(Index::create().col(Task::TenantId).col(Task::CustomerId).col(Task::Seq).col(Task::Place))
        .to_owned()
}

fn deliveries() -> TableCreateStatement {
    Table::create()
        .table(Delivery::Table)
        .col(ColumnDef::new(Delivery::TenantId).integer().not_null())
        .col(ColumnDef::new(Delivery::CustomerId).big_integer().not_null())
        .col(ColumnDef::new(Delivery::Seq).big_integer().not_null())
        .col(ColumnDef::new(Delivery::Place).big_integer().not_null())
        .col(ColumnDef::new(Delivery::Playbook).big_integer().not_null())
        .col(ColumnDef::new(Delivery::State).integer().not_null())
        .col(ColumnDef::new(Delivery::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Delivery::Endpoint).text().not_null())
        .col(ColumnDef::new(Delivery::Attempts).integer().not_null())
        .col(ColumnDef::new(Delivery::LastStatus).integer().not_null())
        .col(ColumnDef::new(Delivery::NextAttemptAt).big_integer())
        .col(ColumnDef::new(Delivery::LastAttemptAt).big_integer())
        .col(ColumnDef::new(Delivery::Body).binary().not_null())
        .col(ColumnDef::new(Delivery::Payload).binary().not_null())
        .primary_key(
            Index::create().col(Delivery::TenantId).col(Delivery::CustomerId).col(Delivery::Seq).col(Delivery::Place),
        )
        .to_owned()
}
