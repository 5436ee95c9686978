//! The migrations of segmentation, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm_migration::prelude::*;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(M0001Chain), Box::new(M0002Segments), Box::new(M0003Bulk)]
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
        quintile_store::migration::create_chain_tables(manager).await?;
        quintile_store::migration::create_request_table(manager).await
    }
}

struct M0002Segments;

impl MigrationName for M0002Segments {
    fn name(&self) -> &'static str {
        "m0002_segments"
    }
}

#[derive(DeriveIden)]
enum Segment {
    Table,
    TenantId,
    SegmentId,
    Expression,
    Description,
    CreatedAt,
    Revision,
    Place,
}

#[derive(DeriveIden)]
enum MembershipChange {
    Table,
    TenantId,
    Seq,
    Place,
    Parent,
    CustomerId,
    Entered,
    ValidAt,
    Cause,
    Classes,
}

#[async_trait::async_trait]
impl MigrationTrait for M0002Segments {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let segments = Table::create()
            .table(Segment::Table)
            .col(ColumnDef::new(Segment::TenantId).integer().not_null())
            .col(ColumnDef::new(Segment::SegmentId).text().not_null())
            .col(ColumnDef::new(Segment::Expression).text().not_null())
            .col(ColumnDef::new(Segment::Description).text().not_null())
            .col(ColumnDef::new(Segment::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(Segment::Revision).big_integer().not_null())
            .col(ColumnDef::new(Segment::Place).big_integer().not_null())
            .primary_key(Index::create().col(Segment::TenantId).col(Segment::SegmentId))
            .to_owned();
        manager.create_table(segments).await?;
        let changes = Table::create()
            .table(MembershipChange::Table)
            .col(ColumnDef::new(MembershipChange::TenantId).integer().not_null())
            .col(ColumnDef::new(MembershipChange::Seq).big_integer().not_null())
            .col(ColumnDef::new(MembershipChange::Place).big_integer().not_null())
            .col(ColumnDef::new(MembershipChange::Parent).text().not_null())
            .col(ColumnDef::new(MembershipChange::CustomerId).big_integer().not_null())
            .col(ColumnDef::new(MembershipChange::Entered).integer().not_null())
            .col(ColumnDef::new(MembershipChange::ValidAt).big_integer().not_null())
            .col(ColumnDef::new(MembershipChange::Cause).integer().not_null())
            .col(ColumnDef::new(MembershipChange::Classes).integer().not_null())
            .primary_key(
                Index::create().col(MembershipChange::TenantId).col(MembershipChange::Seq).col(MembershipChange::Place),
            )
            .to_owned();
        manager.create_table(changes).await?;
        let of_customer = Index::create()
            .name("membership_change_customer")
            .table(MembershipChange::Table)
            .col(MembershipChange::TenantId)
            .col(MembershipChange::CustomerId)
            .to_owned();
        manager.create_index(of_customer).await
    }
}

struct M0003Bulk;

impl MigrationName for M0003Bulk {
    fn name(&self) -> &'static str {
        "m0003_bulk"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Bulk {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::tell_bulk_from_live(manager).await
    }
}
