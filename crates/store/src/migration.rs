//! Migrations: how they run, and those of the chassis tables.

use crate::{Database, Result, statistics};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::prelude::*;

/// Brings a service's schema up to date. Several processes may try at once: one does it, the others wait.
pub async fn migrate<M: MigratorTrait>(database: &Database) -> Result<()> {
    // All of them in one transaction: SQLite's begins with the write lock, PostgreSQL's takes one that ends with it.
    let transaction = database.begin_migrations().await?;
    if database.backend() == DbBackend::Postgres {
        transaction
            .execute_unprepared("SELECT pg_advisory_xact_lock(hashtextextended('quintile ' || current_schema(), 0))")
            .await?;
    }
    // A newer version may have been here, whose migrations this one does not know: they leave it what it needs.
    let applied = M::get_migration_models(&transaction).await?;
    let is_applied = |name: &str| applied.iter().any(|model| model.version == name);
    if !M::migrations().iter().all(|migration| is_applied(migration.name())) {
        M::up(&transaction, None).await?;
    }
    match database.backend() {
        DbBackend::Postgres => statistics::withhold_bytes(&transaction).await?,
        _ => statistics::assume(&transaction).await?,
    }
    transaction.commit().await?;
    Ok(())
}

/// The names of a service's migrations, in order: what a database of this version has had.
pub fn names<M: MigratorTrait>() -> Vec<String> {
    M::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

#[derive(DeriveIden)]
enum FeedHead {
    Table,
    TenantId,
    Feed,
    Seq,
}

#[derive(DeriveIden)]
enum FeedTouched {
    Table,
    TenantId,
    Feed,
    Seq,
    Customers,
    InBulk,
    Traces,
}

#[derive(DeriveIden)]
enum Follower {
    Table,
    TenantId,
    Feed,
    Cursor,
    FactsPosition,
    TimeMicros,
}

#[derive(DeriveIden)]
enum Lease {
    Table,
    Name,
    Holder,
    ExpiresAtMicros,
}

#[derive(DeriveIden)]
enum CustomerRecord {
    Table,
    TenantId,
    CustomerId,
    Seq,
    NextChangeAt,
    Erased,
    Body,
}

#[derive(DeriveIden)]
enum IdempotentRequest {
    Table,
    TenantId,
    Method,
    RequestId,
    BodyHash,
    Resource,
    CreatedAt,
}

#[derive(DeriveIden)]
enum Operation {
    Table,
    TenantId,
    OperationId,
    Verb,
    Target,
    Cancellable,
    State,
    Done,
    Total,
    Response,
    CreatedAt,
    UpdatedAt,
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

#[derive(DeriveIden)]
enum WrappedKey {
    Table,
    TenantId,
    Purpose,
    KeyId,
    Wrapped,
}

/// Makes the tables of feeds, followers, leases, records and keys: the first migration of every service of the chain.
pub async fn create_chain_tables(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table(FeedHead::Table)
                .col(ColumnDef::new(FeedHead::TenantId).integer().not_null())
                .col(ColumnDef::new(FeedHead::Feed).text().not_null())
                .col(ColumnDef::new(FeedHead::Seq).big_integer().not_null())
                .primary_key(Index::create().col(FeedHead::TenantId).col(FeedHead::Feed))
                .to_owned(),
        )
        .await?;
    manager
        .create_table(
            Table::create()
                .table(FeedTouched::Table)
                .col(ColumnDef::new(FeedTouched::TenantId).integer().not_null())
                .col(ColumnDef::new(FeedTouched::Feed).text().not_null())
                .col(ColumnDef::new(FeedTouched::Seq).big_integer().not_null())
                .col(ColumnDef::new(FeedTouched::Customers).binary().not_null())
                .primary_key(Index::create().col(FeedTouched::TenantId).col(FeedTouched::Feed).col(FeedTouched::Seq))
                .to_owned(),
        )
        .await?;
    manager
        .create_table(
            Table::create()
                .table(Follower::Table)
                .col(ColumnDef::new(Follower::TenantId).integer().not_null())
                .col(ColumnDef::new(Follower::Feed).text().not_null())
                .col(ColumnDef::new(Follower::Cursor).text().not_null())
                .col(ColumnDef::new(Follower::FactsPosition).big_integer().not_null())
                .col(ColumnDef::new(Follower::TimeMicros).big_integer().not_null())
                .primary_key(Index::create().col(Follower::TenantId).col(Follower::Feed))
                .to_owned(),
        )
        .await?;
    manager
        .create_table(
            Table::create()
                .table(Lease::Table)
                .col(ColumnDef::new(Lease::Name).text().not_null().primary_key())
                .col(ColumnDef::new(Lease::Holder).text().not_null())
                .col(ColumnDef::new(Lease::ExpiresAtMicros).big_integer().not_null())
                .to_owned(),
        )
        .await?;
    create_record_table(manager).await?;
    create_key_table(manager).await
}

/// Has the touched rows of feeds say whether a commit came in bulk: a later migration of every service of the chain.
pub async fn tell_bulk_from_live(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    let in_bulk = ColumnDef::new(FeedTouched::InBulk).boolean().not_null().default(false).to_owned();
    manager.alter_table(Table::alter().table(FeedTouched::Table).add_column(in_bulk).to_owned()).await
}

/// Has the touched rows of feeds say which traces led to a commit: a later migration of every service of the chain.
pub async fn keep_traces(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    let traces = ColumnDef::new(FeedTouched::Traces).text().not_null().default("").to_owned();
    manager.alter_table(Table::alter().table(FeedTouched::Table).add_column(traces).to_owned()).await
}

/// Makes the table of wrapped keys: for services that keep keys and are not of the chain.
pub async fn create_key_table(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table(WrappedKey::Table)
                .col(ColumnDef::new(WrappedKey::TenantId).integer().not_null())
                .col(ColumnDef::new(WrappedKey::Purpose).text().not_null())
                .col(ColumnDef::new(WrappedKey::KeyId).text().not_null())
                .col(ColumnDef::new(WrappedKey::Wrapped).binary().not_null())
                .primary_key(Index::create().col(WrappedKey::TenantId).col(WrappedKey::Purpose))
                .to_owned(),
        )
        .await
}

async fn create_record_table(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table(CustomerRecord::Table)
                .col(ColumnDef::new(CustomerRecord::TenantId).integer().not_null())
                .col(ColumnDef::new(CustomerRecord::CustomerId).big_integer().not_null())
                .col(ColumnDef::new(CustomerRecord::Seq).big_integer().not_null())
                .col(ColumnDef::new(CustomerRecord::NextChangeAt).big_integer())
                .col(ColumnDef::new(CustomerRecord::Erased).integer().not_null().default(0))
                .col(ColumnDef::new(CustomerRecord::Body).binary().not_null())
                .primary_key(Index::create().col(CustomerRecord::TenantId).col(CustomerRecord::CustomerId))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("customer_record_next_change_at")
                .table(CustomerRecord::Table)
                .col(CustomerRecord::TenantId)
                .col(CustomerRecord::NextChangeAt)
                .to_owned(),
        )
        .await
}

/// Makes the table of repeated requests: for services with creating RPCs.
pub async fn create_request_table(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table(IdempotentRequest::Table)
                .col(ColumnDef::new(IdempotentRequest::TenantId).integer().not_null())
                .col(ColumnDef::new(IdempotentRequest::Method).text().not_null())
                .col(ColumnDef::new(IdempotentRequest::RequestId).text().not_null())
                .col(ColumnDef::new(IdempotentRequest::BodyHash).binary().not_null())
                .col(ColumnDef::new(IdempotentRequest::Resource).text().not_null())
                .col(ColumnDef::new(IdempotentRequest::CreatedAt).big_integer().not_null())
                .primary_key(
                    Index::create()
                        .col(IdempotentRequest::TenantId)
                        .col(IdempotentRequest::Method)
                        .col(IdempotentRequest::RequestId),
                )
                .to_owned(),
        )
        .await
}

/// Has the requests that made a resource found by it: for services that have made their table.
pub async fn index_requests(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    let index = "CREATE INDEX idempotent_request_resource ON idempotent_request (tenant_id, resource)";
    manager.get_connection().execute_unprepared(index).await.map(drop)
}

/// Makes the table of long-running operations: for services with RPCs that begin them.
pub async fn create_operation_table(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table(Operation::Table)
                .col(ColumnDef::new(Operation::TenantId).integer().not_null())
                .col(ColumnDef::new(Operation::OperationId).big_integer().not_null())
                .col(ColumnDef::new(Operation::Verb).text().not_null())
                .col(ColumnDef::new(Operation::Target).text().not_null())
                .col(ColumnDef::new(Operation::Cancellable).integer().not_null())
                .col(ColumnDef::new(Operation::State).integer().not_null())
                .col(ColumnDef::new(Operation::Done).big_integer().not_null())
                .col(ColumnDef::new(Operation::Total).big_integer().not_null())
                .col(ColumnDef::new(Operation::Response).binary().not_null())
                .col(ColumnDef::new(Operation::CreatedAt).big_integer().not_null())
                .col(ColumnDef::new(Operation::UpdatedAt).big_integer().not_null())
                .primary_key(Index::create().col(Operation::TenantId).col(Operation::OperationId))
                .to_owned(),
        )
        .await
}

/// Makes the table of schedules by which models are fitted anew: for services with such models. Scoring has made its own.
pub async fn create_schedule_table(manager: &SchemaManager<'_>) -> std::result::Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
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
                .to_owned(),
        )
        .await
}
