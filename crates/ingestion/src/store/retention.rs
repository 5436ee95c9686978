//! For how long facts are kept, and how far dropping them is.

use super::entities::retention::{self, Column};
use crate::retention::{Days, Horizons};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

/// What a tenant has said, and how far that is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredRetention {
    /// For how long facts are kept.
    pub days: Days,
    /// From when on there are facts. Moved before the first is dropped.
    pub horizons: Horizons,
    /// From which subject on facts from before the horizons may be there. `None`: they are dropped.
    pub next_subject: Option<i64>,
    /// How often the days were changed.
    pub revision: i64,
}

impl StoredRetention {
    /// The etag of the days.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}

/// What a tenant has said. Nothing: facts are kept for ever.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<StoredRetention, StoreError> {
    let Some(row) = retention::Entity::find_by_id(tenant.0).one(connection).await? else {
        return Ok(StoredRetention::default());
    };
    let instant = |micros: Option<i64>| micros.map(Instant::from_micros);
    Ok(StoredRetention {
        days: Days { order: row.order_days, interaction: row.interaction_days, feedback: row.feedback_days },
        horizons: Horizons {
            order: instant(row.order_horizon),
            interaction: instant(row.interaction_horizon),
            feedback: instant(row.feedback_horizon),
        },
        next_subject: row.next_subject,
        revision: row.revision,
    })
}

/// Writes down everything. Call it while nobody takes facts in.
pub async fn save(transaction: &Transaction, tenant: TenantId, stored: &StoredRetention) -> Result<(), StoreError> {
    let micros = |instant: Option<Instant>| Set(instant.map(Instant::micros));
    let row = retention::ActiveModel {
        tenant_id: Set(tenant.0),
        order_days: Set(stored.days.order),
        interaction_days: Set(stored.days.interaction),
        feedback_days: Set(stored.days.feedback),
        order_horizon: micros(stored.horizons.order),
        interaction_horizon: micros(stored.horizons.interaction),
        feedback_horizon: micros(stored.horizons.feedback),
        next_subject: Set(stored.next_subject),
        revision: Set(stored.revision),
    };
    let days = [Column::OrderDays, Column::InteractionDays, Column::FeedbackDays];
    let horizons = [Column::OrderHorizon, Column::InteractionHorizon, Column::FeedbackHorizon];
    let all = days.into_iter().chain(horizons).chain([Column::NextSubject, Column::Revision]);
    let replace = OnConflict::column(Column::TenantId).update_columns(all).to_owned();
    retention::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}

/// Notes from which subject on there may be something to drop.
pub async fn pass(transaction: &Transaction, tenant: TenantId, next_subject: Option<i64>) -> Result<(), StoreError> {
    retention::Entity::update_many()
        .col_expr(Column::NextSubject, Expr::value(next_subject))
        .filter(Column::TenantId.eq(tenant.0))
        .exec(transaction)
        .await?;
    Ok(())
}
