//! By what grants, and the requests that made some by hand, are found.

use sea_orm_migration::prelude::*;

pub struct M0010FindingGrants;

impl MigrationName for M0010FindingGrants {
    fn name(&self) -> &'static str {
        "m0010_finding_grants"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0010FindingGrants {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let by_state = "CREATE INDEX offer_grant_state ON offer_grant (tenant_id, state, seq, place)";
        manager.get_connection().execute_unprepared(by_state).await?;
        quintile_store::migration::index_requests(manager).await
    }
}
