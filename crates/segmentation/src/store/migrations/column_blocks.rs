//! The columns of the population, kept by blocks, and who was touched since.

use sea_orm_migration::prelude::*;

/// Columns of the population by blocks of customers.
pub struct M0007ColumnBlocks;

impl MigrationName for M0007ColumnBlocks {
    fn name(&self) -> &'static str {
        "m0007_column_blocks"
    }
}

#[derive(DeriveIden)]
enum ColumnBlock {
    Table,
    TenantId,
    Block,
    Step,
    Layout,
    Body,
}

#[derive(DeriveIden)]
enum ColumnTouched {
    Table,
    TenantId,
    Step,
    Customers,
}

#[async_trait::async_trait]
impl MigrationTrait for M0007ColumnBlocks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let blocks = Table::create()
            .table(ColumnBlock::Table)
            .col(ColumnDef::new(ColumnBlock::TenantId).integer().not_null())
            .col(ColumnDef::new(ColumnBlock::Block).big_integer().not_null())
            .col(ColumnDef::new(ColumnBlock::Step).big_integer().not_null())
            .col(ColumnDef::new(ColumnBlock::Layout).text().not_null())
            .col(ColumnDef::new(ColumnBlock::Body).binary().not_null())
            .primary_key(Index::create().col(ColumnBlock::TenantId).col(ColumnBlock::Block))
            .to_owned();
        manager.create_table(blocks).await?;
        let touched = Table::create()
            .table(ColumnTouched::Table)
            .col(ColumnDef::new(ColumnTouched::TenantId).integer().not_null())
            .col(ColumnDef::new(ColumnTouched::Step).big_integer().not_null())
            .col(ColumnDef::new(ColumnTouched::Customers).binary().not_null())
            .primary_key(Index::create().col(ColumnTouched::TenantId).col(ColumnTouched::Step))
            .to_owned();
        manager.create_table(touched).await
    }
}
