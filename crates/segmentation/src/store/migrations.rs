//! The migrations of segmentation, in order. Each names its tables itself: entities change, migrations do not.

mod column_blocks;

use column_blocks::M0007ColumnBlocks;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(M0001Chain),
            Box::new(M0002Segments),
            Box::new(M0003Bulk),
            Box::new(M0004Definitions),
            Box::new(M0005Days),
            Box::new(M0006SizesByDay),
            Box::new(M0007ColumnBlocks),
            Box::new(M0008Traces),
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

struct M0008Traces;

impl MigrationName for M0008Traces {
    fn name(&self) -> &'static str {
        "m0008_traces"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0008Traces {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::keep_traces(manager).await
    }
}

struct M0004Definitions;

impl MigrationName for M0004Definitions {
    fn name(&self) -> &'static str {
        "m0004_definitions"
    }
}

#[derive(DeriveIden)]
enum DefinitionTable {
    #[sea_orm(iden = "definition")]
    Table,
    TenantId,
    Name,
    Form,
    Description,
    CreatedAt,
    Revision,
    Version,
    Live,
    Draft,
}

#[derive(DeriveIden)]
enum DefinitionVersion {
    Table,
    TenantId,
    Name,
    Version,
    Form,
    Body,
    PublishedAt,
    Entered,
    Exited,
    Classes,
    MovedClasses,
}

#[derive(DeriveIden)]
enum ListBlock {
    Table,
    TenantId,
    SegmentId,
    Block,
    Customers,
}

#[derive(DeriveIden)]
enum MembershipBlock {
    Table,
    TenantId,
    Seq,
    Place,
    Parent,
    Block,
    Customers,
    Entered,
    ValidAt,
    Cause,
    Classes,
}

#[async_trait::async_trait]
impl MigrationTrait for M0004Definitions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_definitions(manager).await?;
        create_blocks(manager).await?;
        // A segment was a rule, and is its first version.
        let bytes = match manager.get_database_backend() {
            DbBackend::Postgres => "convert_to(expression, 'UTF8')",
            _ => "CAST(expression AS BLOB)",
        };
        let moved = format!(
            "INSERT INTO definition (tenant_id, name, form, description, created_at, revision, version, live)
             SELECT tenant_id, 'segments/' || segment_id, 1, description, created_at, revision, 1, {bytes} FROM segment"
        );
        manager.get_connection().execute_unprepared(&moved).await?;
        let published = format!(
            "INSERT INTO definition_version (tenant_id, name, version, form, body, published_at, entered, exited, classes, moved_classes)
             SELECT tenant_id, 'segments/' || segment_id, 1, 1, {bytes}, created_at, 0, 0, -1, -1 FROM segment"
        );
        // What it read then is not known: it is for those who read everything. The table stays for the version before.
        manager.get_connection().execute_unprepared(&published).await?;
        Ok(())
    }
}

async fn create_definitions(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let definitions = Table::create()
        .table(DefinitionTable::Table)
        .col(ColumnDef::new(DefinitionTable::TenantId).integer().not_null())
        .col(ColumnDef::new(DefinitionTable::Name).text().not_null())
        .col(ColumnDef::new(DefinitionTable::Form).integer().not_null())
        .col(ColumnDef::new(DefinitionTable::Description).text().not_null())
        .col(ColumnDef::new(DefinitionTable::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(DefinitionTable::Revision).big_integer().not_null())
        .col(ColumnDef::new(DefinitionTable::Version).big_integer().not_null())
        .col(ColumnDef::new(DefinitionTable::Live).binary())
        .col(ColumnDef::new(DefinitionTable::Draft).binary())
        .primary_key(Index::create().col(DefinitionTable::TenantId).col(DefinitionTable::Name))
        .to_owned();
    manager.create_table(definitions).await?;
    let versions = Table::create()
        .table(DefinitionVersion::Table)
        .col(ColumnDef::new(DefinitionVersion::TenantId).integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::Name).text().not_null())
        .col(ColumnDef::new(DefinitionVersion::Version).big_integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::Form).integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::Body).binary().not_null())
        .col(ColumnDef::new(DefinitionVersion::PublishedAt).big_integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::Entered).big_integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::Exited).big_integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::Classes).integer().not_null())
        .col(ColumnDef::new(DefinitionVersion::MovedClasses).integer().not_null())
        .primary_key(
            Index::create()
                .col(DefinitionVersion::TenantId)
                .col(DefinitionVersion::Name)
                .col(DefinitionVersion::Version),
        )
        .to_owned();
    manager.create_table(versions).await
}

async fn create_blocks(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let lists = Table::create()
        .table(ListBlock::Table)
        .col(ColumnDef::new(ListBlock::TenantId).integer().not_null())
        .col(ColumnDef::new(ListBlock::SegmentId).text().not_null())
        .col(ColumnDef::new(ListBlock::Block).big_integer().not_null())
        .col(ColumnDef::new(ListBlock::Customers).binary().not_null())
        .primary_key(Index::create().col(ListBlock::TenantId).col(ListBlock::SegmentId).col(ListBlock::Block))
        .to_owned();
    manager.create_table(lists).await?;
    let blocks = Table::create()
        .table(MembershipBlock::Table)
        .col(ColumnDef::new(MembershipBlock::TenantId).integer().not_null())
        .col(ColumnDef::new(MembershipBlock::Seq).big_integer().not_null())
        .col(ColumnDef::new(MembershipBlock::Place).big_integer().not_null())
        .col(ColumnDef::new(MembershipBlock::Parent).text().not_null())
        .col(ColumnDef::new(MembershipBlock::Block).big_integer().not_null())
        .col(ColumnDef::new(MembershipBlock::Customers).binary().not_null())
        .col(ColumnDef::new(MembershipBlock::Entered).integer().not_null())
        .col(ColumnDef::new(MembershipBlock::ValidAt).big_integer().not_null())
        .col(ColumnDef::new(MembershipBlock::Cause).integer().not_null())
        .col(ColumnDef::new(MembershipBlock::Classes).integer().not_null())
        .primary_key(
            Index::create().col(MembershipBlock::TenantId).col(MembershipBlock::Seq).col(MembershipBlock::Place),
        )
        .to_owned();
    manager.create_table(blocks).await?;
    let of_block = Index::create()
        .name("membership_block_block")
        .table(MembershipBlock::Table)
        .col(MembershipBlock::TenantId)
        .col(MembershipBlock::Block)
        .col(MembershipBlock::Seq)
        .col(MembershipBlock::Place)
        .to_owned();
    manager.create_index(of_block).await
}

struct M0005Days;

impl MigrationName for M0005Days {
    fn name(&self) -> &'static str {
        "m0005_days"
    }
}

#[derive(DeriveIden)]
enum LabelSnapshot {
    Table,
    TenantId,
    Name,
    Day,
    AsOf,
    Labels,
    Classes,
}

#[derive(DeriveIden)]
enum LabelSnapshotBlock {
    Table,
    TenantId,
    Block,
    Name,
    Day,
    Codes,
}

#[derive(DeriveIden)]
enum DailySize {
    Table,
    TenantId,
    Name,
    Day,
    AsOf,
    Members,
    Classes,
}

#[derive(DeriveIden)]
enum MembershipFloor {
    Table,
    TenantId,
    Seq,
    Place,
}

#[derive(DeriveIden)]
enum Evaluation {
    Table,
    TenantId,
    AsOf,
}

#[derive(DeriveIden)]
enum OwnField {
    Table,
    TenantId,
    FieldId,
    Source,
    Kind,
    Sensitivity,
}

#[async_trait::async_trait]
impl MigrationTrait for M0005Days {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let labels = Table::create()
            .table(LabelSnapshot::Table)
            .col(ColumnDef::new(LabelSnapshot::TenantId).integer().not_null())
            .col(ColumnDef::new(LabelSnapshot::Name).text().not_null())
            .col(ColumnDef::new(LabelSnapshot::Day).integer().not_null())
            .col(ColumnDef::new(LabelSnapshot::AsOf).big_integer().not_null())
            .col(ColumnDef::new(LabelSnapshot::Labels).text().not_null())
            .col(ColumnDef::new(LabelSnapshot::Classes).integer().not_null())
            .primary_key(Index::create().col(LabelSnapshot::TenantId).col(LabelSnapshot::Name).col(LabelSnapshot::Day))
            .to_owned();
        manager.create_table(labels).await?;
        // The block before the name: an erasure reads all days of one block.
        let blocks = Table::create()
            .table(LabelSnapshotBlock::Table)
            .col(ColumnDef::new(LabelSnapshotBlock::TenantId).integer().not_null())
            .col(ColumnDef::new(LabelSnapshotBlock::Block).big_integer().not_null())
            .col(ColumnDef::new(LabelSnapshotBlock::Name).text().not_null())
            .col(ColumnDef::new(LabelSnapshotBlock::Day).integer().not_null())
            .col(ColumnDef::new(LabelSnapshotBlock::Codes).binary().not_null())
            .primary_key(
                Index::create()
                    .col(LabelSnapshotBlock::TenantId)
                    .col(LabelSnapshotBlock::Block)
                    .col(LabelSnapshotBlock::Name)
                    .col(LabelSnapshotBlock::Day),
            )
            .to_owned();
        manager.create_table(blocks).await?;
        let of_day = Index::create()
            .name("label_snapshot_block_day")
            .table(LabelSnapshotBlock::Table)
            .col(LabelSnapshotBlock::TenantId)
            .col(LabelSnapshotBlock::Name)
            .col(LabelSnapshotBlock::Day)
            .to_owned();
        manager.create_index(of_day).await?;
        let sizes = Table::create()
            .table(DailySize::Table)
            .col(ColumnDef::new(DailySize::TenantId).integer().not_null())
            .col(ColumnDef::new(DailySize::Name).text().not_null())
            .col(ColumnDef::new(DailySize::Day).integer().not_null())
            .col(ColumnDef::new(DailySize::AsOf).big_integer().not_null())
            .col(ColumnDef::new(DailySize::Members).big_integer().not_null())
            .col(ColumnDef::new(DailySize::Classes).integer().not_null())
            .primary_key(Index::create().col(DailySize::TenantId).col(DailySize::Name).col(DailySize::Day))
            .to_owned();
        manager.create_table(sizes).await?;
        let floor = Table::create()
            .table(MembershipFloor::Table)
            .col(ColumnDef::new(MembershipFloor::TenantId).integer().not_null().primary_key())
            .col(ColumnDef::new(MembershipFloor::Seq).big_integer().not_null())
            .col(ColumnDef::new(MembershipFloor::Place).big_integer().not_null())
            .to_owned();
        manager.create_table(floor).await?;
        create_own_fields(manager).await
    }
}

async fn create_own_fields(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let evaluation = Table::create()
        .table(Evaluation::Table)
        .col(ColumnDef::new(Evaluation::TenantId).integer().not_null().primary_key())
        .col(ColumnDef::new(Evaluation::AsOf).big_integer().not_null())
        .to_owned();
    manager.create_table(evaluation).await?;
    let own = Table::create()
        .table(OwnField::Table)
        .col(ColumnDef::new(OwnField::TenantId).integer().not_null())
        .col(ColumnDef::new(OwnField::FieldId).integer().not_null())
        .col(ColumnDef::new(OwnField::Source).text().not_null())
        .col(ColumnDef::new(OwnField::Kind).integer().not_null())
        .col(ColumnDef::new(OwnField::Sensitivity).integer().not_null())
        .primary_key(Index::create().col(OwnField::TenantId).col(OwnField::Source))
        .to_owned();
    manager.create_table(own).await
}

struct M0006SizesByDay;

impl MigrationName for M0006SizesByDay {
    fn name(&self) -> &'static str {
        "m0006_sizes_by_day"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0006SizesByDay {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let by_day = Index::create()
            .name("daily_size_by_day")
            .table(DailySize::Table)
            .col(DailySize::TenantId)
            .col(DailySize::Day)
            .to_owned();
        manager.create_index(by_day).await
    }
}
