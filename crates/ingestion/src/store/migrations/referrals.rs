//! Who was sent by whom.

use super::Id::{CustomerId, Identity, IsShown, Referral, ReferrerHmac, SubjectId, TenantId};
use super::{big_integer, binary, integer, keyed_table};
use sea_orm_migration::prelude::*;

pub struct M0016Referrals;

impl MigrationName for M0016Referrals {
    fn name(&self) -> &'static str {
        "m0016_referrals"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0016Referrals {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = vec![integer(TenantId), big_integer(CustomerId), binary(ReferrerHmac), integer(IsShown)];
        let key = vec![TenantId, CustomerId, ReferrerHmac];
        manager.create_table(keyed_table(manager, Referral, columns, key)).await?;
        let index =
            Index::create().name("referral_referrer").table(Referral).col(TenantId).col(ReferrerHmac).to_owned();
        manager.create_index(index).await?;
        // By what a customer may be named.
        let index = Index::create().name("identity_subject").table(Identity).col(TenantId).col(SubjectId).to_owned();
        manager.create_index(index).await
    }
}
