//! Within which time feedback is to be answered.

use super::Id::{CommentHours, ComplaintHours, LowScoreHours, ResponseTarget, Revision, SupportTicketHours, TenantId};
use super::{big_integer, integer, keyed_table};
use sea_orm_migration::prelude::*;

pub struct M0013ResponseTargets;

impl MigrationName for M0013ResponseTargets {
    fn name(&self) -> &'static str {
        "m0013_response_targets"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0013ResponseTargets {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut columns = vec![integer(TenantId)];
        columns.extend([ComplaintHours, SupportTicketHours, LowScoreHours, CommentHours].map(integer));
        columns.push(big_integer(Revision));
        manager.create_table(keyed_table(manager, ResponseTarget, columns, vec![TenantId])).await
    }
}
