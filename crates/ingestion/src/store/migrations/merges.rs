//! Customers that are one person.

use super::Id::{
    Cause, CreatedAt, Customer, CustomerMerge, DecidedAt, HomeId, IdentityConflict, LeftId, MergedInto, Reason,
    RightId, SaidAt, State, Subject, TenantId,
};
use super::{big_integer, binary, integer, keyed_table};
use sea_orm_migration::prelude::*;

pub struct M0007Merges;

impl MigrationName for M0007Merges {
    fn name(&self) -> &'static str {
        "m0007_merges"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0007Merges {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column at a time: SQLite adds no two at once.
        let merged_into = ColumnDef::new(MergedInto).big_integer().null().take();
        for column in [binary(SaidAt).default(Value::Bytes(Some(Vec::new()))).take(), merged_into] {
            manager.alter_table(Table::alter().table(Customer).add_column(column).to_owned()).await?;
        }
        let index =
            Index::create().name("customer_merged_into").table(Customer).col(TenantId).col(MergedInto).to_owned();
        manager.create_index(index).await?;
        let home = big_integer(HomeId).default(0).take();
        manager.alter_table(Table::alter().table(Subject).add_column(home).to_owned()).await?;
        // Until now every subject has belonged to the customer that it was made with.
        manager.get_connection().execute_unprepared("UPDATE subject SET home_id = customer_id").await?;
        let pair = || vec![integer(TenantId), big_integer(LeftId), big_integer(RightId)];
        let mut columns = pair();
        columns.extend([integer(Cause), big_integer(CreatedAt)]);
        let key = || vec![TenantId, LeftId, RightId];
        manager.create_table(keyed_table(manager, CustomerMerge, columns, key())).await?;
        let index =
            Index::create().name("customer_merge_right").table(CustomerMerge).col(TenantId).col(RightId).to_owned();
        manager.create_index(index).await?;
        let mut columns = pair();
        let decided = ColumnDef::new(DecidedAt).big_integer().null().take();
        columns.extend([integer(Reason), integer(State), big_integer(CreatedAt), decided]);
        manager.create_table(keyed_table(manager, IdentityConflict, columns, key())).await
    }
}
