//! How tenants count refunds in revenue: net of them, until one says otherwise.

use quintile_proto::access::RevenuePolicy;
use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
enum Tenant {
    Table,
    RevenuePolicy,
}

/// How tenants count refunds in revenue, by the number of the message's value.
pub struct AddRevenuePolicies;

impl MigrationName for AddRevenuePolicies {
    fn name(&self) -> &'static str {
        "m0010_add_revenue_policies"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddRevenuePolicies {
    // SQLite would else keep the first half of a migration that fails.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let net = RevenuePolicy::Net as i32;
        manager
            .alter_table(
                Table::alter()
                    .table(Tenant::Table)
                    .add_column(ColumnDef::new(Tenant::RevenuePolicy).integer().not_null().default(net))
                    .to_owned(),
            )
            .await
    }
}
