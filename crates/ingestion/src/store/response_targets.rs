//! Within which time feedback is to be answered.

use super::entities::response_target::{self, Column};
use crate::responses::Targets;
use quintile_domain::ids::TenantId;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};

/// What a tenant has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredTargets {
    /// The hours.
    pub targets: Targets,
    /// How often they were changed.
    pub revision: i64,
}

impl StoredTargets {
    /// The etag.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}

/// What a tenant has said. Nothing: what holds at first.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<StoredTargets, StoreError> {
    let row = response_target::Entity::find_by_id(tenant.0).one(connection).await?;
    let stored = |row: response_target::Model| StoredTargets {
        targets: Targets {
            complaint: row.complaint_hours,
            support_ticket: row.support_ticket_hours,
            low_score: row.low_score_hours,
            comment: row.comment_hours,
        },
        revision: row.revision,
    };
    Ok(row.map(stored).unwrap_or_default())
}

/// Writes down everything. Call it while nobody else does.
pub async fn save(transaction: &Transaction, tenant: TenantId, stored: &StoredTargets) -> Result<(), StoreError> {
    let row = response_target::ActiveModel {
        tenant_id: Set(tenant.0),
        complaint_hours: Set(stored.targets.complaint),
        support_ticket_hours: Set(stored.targets.support_ticket),
        low_score_hours: Set(stored.targets.low_score),
        comment_hours: Set(stored.targets.comment),
        revision: Set(stored.revision),
    };
    let hours = [Column::ComplaintHours, Column::SupportTicketHours, Column::LowScoreHours, Column::CommentHours];
    let all = hours.into_iter().chain([Column::Revision]);
    let replace = OnConflict::column(Column::TenantId).update_columns(all).to_owned();
    response_target::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}
