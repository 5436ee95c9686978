//! How long facts are kept.

use crate::Service;
use crate::retention::{self as kinds, Days, Kind, MAX_DAYS, MIN_DAYS};
use crate::store::privacy::{self, Hold};
use crate::store::retention::{self, StoredRetention};
use crate::store::traits;
use crate::traits::Definition;
use quintile_chain::store_error;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::retention_service_server::RetentionService;
use quintile_proto::ingestion::{GetRetentionRequest, Retention as RetentionMessage, UpdateRetentionRequest};
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction};
use tonic::Request;

/// The one resource's name.
const NAME: &str = "retention";

/// The handlers.
pub struct Retentions {
    pub service: Service,
}

enum Updated {
    Now(StoredRetention),
    Stale,
    /// A trait has a longer window.
    TooShort(String),
}

impl Retentions {
    async fn update(&self, tenant: &Tenant, days: Days, known_etag: &str) -> Result<Updated, StoreError> {
        let transaction = self.service.runtime.database.begin().await?;
        // Nobody defines traits meanwhile, or moves horizons.
        privacy::hold(&transaction, tenant.id, Hold::Alone).await?;
        let mut stored = retention::get(&transaction, tenant.id).await?;
        if !known_etag.is_empty() && known_etag != stored.etag() {
            return Ok(Updated::Stale);
        }
        stored.days = days;
        let now = self.service.runtime.business.now();
        for defined in traits::page(&transaction, tenant.id, "", crate::defined_traits::MAX_TRAITS).await? {
            if !keeps(&stored, &defined.definition, now, tenant) {
                return Ok(Updated::TooShort(defined.id));
            }
        }
        stored.revision += 1;
        retention::save(&transaction, tenant.id, &stored).await?;
        transaction.commit().await?;
        self.service.wake.notify_one();
        Ok(Updated::Now(stored))
    }

    fn message(&self, tenant: &Tenant, stored: &StoredRetention) -> RetentionMessage {
        let today = tenant.zone.local_day(self.service.runtime.business.now());
        let is_due = stored.horizons.on(today, stored.days, &tenant.zone) != stored.horizons;
        RetentionMessage {
            name: NAME.to_owned(),
            order_days: stored.days.order,
            interaction_days: stored.days.interaction,
            feedback_days: stored.days.feedback,
            order_horizon_time: stored.horizons.order.map(convert::timestamp),
            interaction_horizon_time: stored.horizons.interaction.map(convert::timestamp),
            feedback_horizon_time: stored.horizons.feedback.map(convert::timestamp),
            complete: stored.next_subject.is_none() && !is_due,
            etag: stored.etag(),
        }
    }
}

/// Whether the facts that a trait is computed from are kept for as long as its window.
fn keeps(stored: &StoredRetention, definition: &Definition, now: Instant, tenant: &Tenant) -> bool {
    let kept = (stored.days, stored.horizons);
    Kind::of_trait(definition.fact)
        .is_none_or(|kind| kinds::covers(kind, definition.window_days, kept, now, &tenant.zone))
}

/// Whether a trait can be defined now: the same, by what the tenant has said.
pub async fn allows(
    transaction: &Transaction,
    tenant: &Tenant,
    definition: &Definition,
    now: Instant,
) -> Result<bool, StoreError> {
    Ok(keeps(&retention::get(transaction, tenant.id).await?, definition, now, tenant))
}

#[tonic::async_trait]
impl RetentionService for Retentions {
    async fn get_retention(&self, request: Request<GetRetentionRequest>) -> Answer<RetentionMessage> {
        let caller = Caller::of(&request)?;
        let stored = retention::get(self.service.runtime.database.reader(), caller.tenant().id).await;
        let stored = stored.map_err(|error| store_error(&error))?;
        Ok(caller.respond(self.message(caller.tenant(), &stored)))
    }

    async fn update_retention(&self, request: Request<UpdateRetentionRequest>) -> Answer<RetentionMessage> {
        let caller = Caller::of(&request)?;
        let given = request.into_inner().retention.ok_or_else(|| ApiError::invalid_field(NAME, "is required"))?;
        let days = Days {
            order: checked("order_days", given.order_days)?,
            interaction: checked("interaction_days", given.interaction_days)?,
            feedback: checked("feedback_days", given.feedback_days)?,
        };
        caller.is_about(NAME);
        let updated = self.update(caller.tenant(), days, &given.etag).await;
        match updated.map_err(|error| store_error(&error))? {
            Updated::Now(stored) => Ok(caller.respond(self.message(caller.tenant(), &stored))),
            Updated::Stale => Err(ApiError::stale_etag().into()),
            Updated::TooShort(id) => {
                let problem = format!("traits/{id} has a longer window than its facts would be kept for");
                Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem).into())
            }
        }
    }
}

fn checked(field: &str, days: i32) -> Result<i32, ApiError> {
    if days == 0 || (MIN_DAYS..=MAX_DAYS).contains(&days) {
        return Ok(days);
    }
    let problem = format!("must be 0, for ever, or {MIN_DAYS} to {MAX_DAYS}");
    Err(ApiError::invalid_field(format!("{NAME}.{field}"), problem))
}
