//! By what the contacts and the conflicts of a customer are found.

use super::Id::{Contact, CustomerId, IdentityConflict, RightId, TenantId};
use sea_orm_migration::prelude::*;

pub struct M0015FindingContacts;

impl MigrationName for M0015FindingContacts {
    fn name(&self) -> &'static str {
        "m0015_finding_contacts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0015FindingContacts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_customer = Index::create().name("contact_customer").table(Contact).col(TenantId).col(CustomerId).take();
        manager.create_index(of_customer).await?;
        let mut of_right = Index::create();
        of_right.name("identity_conflict_right").table(IdentityConflict).col(TenantId).col(RightId);
        manager.create_index(of_right).await
    }
}
