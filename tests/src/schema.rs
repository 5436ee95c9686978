//! The tables of the tests: those of the chassis, as services make them, and one with every type of column.

use quintile_store::bulk::{Kind, OnConflict, Target, optimistic_function};
use quintile_store::migration::{create_chain_tables, create_request_table, keep_traces, tell_bulk_from_live};
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Where bulk writes of every type go. It keeps rows that are there; a test that replaces says so itself.
pub const VARIETY: Target = Target {
    table: "variety",
    columns: &["tenant_id", "id", "nullable_big_int", "plain_text", "plain_bytes", "plain_int", "plain_big_int"],
    key: &["tenant_id", "id"],
    on_conflict: OnConflict::Keep,
};

/// What writes to it optimistically on PostgreSQL.
pub const OPTIMISTIC_FUNCTION: &str = "take_variety";

/// All migrations of the tests' own service.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Chassis), Box::new(M0002Variety)]
    }
}

struct M0001Chassis;

impl MigrationName for M0001Chassis {
    fn name(&self) -> &'static str {
        "m0001_chassis"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Chassis {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_chain_tables(manager).await?;
        tell_bulk_from_live(manager).await?;
        keep_traces(manager).await?;
        create_request_table(manager).await
    }
}

struct M0002Variety;

impl MigrationName for M0002Variety {
    fn name(&self) -> &'static str {
        "m0002_variety"
    }
}

#[derive(DeriveIden)]
enum Variety {
    Table,
    TenantId,
    Id,
    NullableBigInt,
    PlainText,
    PlainBytes,
    PlainInt,
    PlainBigInt,
}

#[async_trait::async_trait]
impl MigrationTrait for M0002Variety {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Variety::Table)
            .col(ColumnDef::new(Variety::TenantId).integer().not_null())
            .col(ColumnDef::new(Variety::Id).big_integer().not_null())
            .col(ColumnDef::new(Variety::NullableBigInt).big_integer())
            .col(ColumnDef::new(Variety::PlainText).text().not_null())
            .col(ColumnDef::new(Variety::PlainBytes).binary().not_null())
            .col(ColumnDef::new(Variety::PlainInt).integer().not_null())
            .col(ColumnDef::new(Variety::PlainBigInt).big_integer().not_null())
            .primary_key(Index::create().col(Variety::TenantId).col(Variety::Id))
            .to_owned();
        manager.create_table(table).await?;
        if manager.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let kinds = [Kind::Int, Kind::BigInt, Kind::NullableBigInt, Kind::Text, Kind::Bytes, Kind::Int, Kind::BigInt];
        let columns: Vec<_> = VARIETY.columns.iter().copied().zip(kinds).collect();
        let function = optimistic_function(OPTIMISTIC_FUNCTION, VARIETY.table, &columns);
        manager.get_connection().execute_unprepared(&function).await.map(drop)
    }
}
