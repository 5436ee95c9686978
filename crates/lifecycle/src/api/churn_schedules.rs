//! When churn models are trained anew by themselves.

use crate::churning::{Churning, Label, SCHEDULE};
use crate::store::churn_models::{self, COLLECTION, Stored};
use quintile_chain::store_error;
use quintile_domain::ids::TenantId;
use quintile_proto::lifecycle::ChurnTrainingSchedule;
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::schedules::{self, EVERY_DAYS, Schedule};

/// The tenant's schedule.
pub const NAME: &str = "churnTrainingSchedule";

/// Refuses a name that is not the schedule's.
pub fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if name == NAME { Ok(()) } else { Err(ApiError::invalid_field(field, format!("must be {NAME}"))) }
}

/// A schedule as a request says it, if it makes sense.
pub fn checked(said: Option<ChurnTrainingSchedule>) -> Result<ChurnTrainingSchedule, ApiError> {
    let said = said.ok_or_else(|| ApiError::invalid_field("schedule", "is required"))?;
    check_name("schedule.name", &said.name)?;
    if EVERY_DAYS.contains(&said.every_days) {
        return Ok(said);
    }
    let problem = format!("must be within 0 and {}", EVERY_DAYS.end());
    Err(ApiError::invalid_field("schedule.every_days", problem))
}

/// The schedule as it is.
pub async fn read(churning: &Churning, tenant: TenantId) -> Result<ChurnTrainingSchedule, ApiError> {
    let found = schedules::get(churning.runtime.database.reader(), tenant, SCHEDULE).await;
    message(churning, tenant, &found.map_err(|error| store_error(&error))?).await
}

/// Writes a schedule that was checked, if the caller may train what would be trained by it now.
pub async fn say(
    churning: &Churning,
    caller: &Caller,
    said: &ChurnTrainingSchedule,
) -> Result<ChurnTrainingSchedule, ApiError> {
    let tenant = caller.tenant().id;
    if let Some(label) = in_force(churning, tenant).await?.and_then(|in_force| Label::of(&in_force.body)) {
        label.check_learnable(caller)?;
    }
    let database = &churning.runtime.database;
    let written = schedules::say(database, tenant, SCHEDULE, (said.every_days, said.publish), &said.etag).await;
    let written = written.map_err(|error| store_error(&error))?.ok_or_else(ApiError::stale_etag)?;
    message(churning, tenant, &written).await
}

async fn in_force(churning: &Churning, tenant: TenantId) -> Result<Option<Stored>, ApiError> {
    churn_models::in_force(churning.runtime.database.reader(), tenant).await.map_err(|error| store_error(&error))
}

async fn message(
    churning: &Churning,
    tenant: TenantId,
    schedule: &Schedule,
) -> Result<ChurnTrainingSchedule, ApiError> {
    let in_force = in_force(churning, tenant).await?.map(|in_force| in_force.body).unwrap_or_default();
    Ok(ChurnTrainingSchedule {
        name: NAME.to_owned(),
        every_days: schedule.every_days,
        publish: schedule.publish,
        horizon_days: in_force.horizon_days,
        label: in_force.label,
        last_attempt_date: schedule.attempted_day.map(convert::date),
        last_model: schedule.made.map(|number| format!("{COLLECTION}/{number}")).unwrap_or_default(),
        problem: schedule.problem.clone(),
        etag: schedule.etag(),
    })
}
