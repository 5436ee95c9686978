//! By what the requests that made a customer are found.

use sea_orm_migration::prelude::*;

pub struct M0014FindingRequests;

impl MigrationName for M0014FindingRequests {
    fn name(&self) -> &'static str {
        "m0014_finding_requests"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0014FindingRequests {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::index_requests(manager).await
    }
}
