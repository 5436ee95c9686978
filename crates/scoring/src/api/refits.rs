//! When models are fitted anew.

use super::value_models::check_rights;
use crate::Service;
use crate::store::fits::Fit;
use quintile_chain::store_error;
use quintile_proto::scoring::refit_service_server::RefitService;
use quintile_proto::scoring::{
    GetRefitScheduleRequest, RecommendationModel, RefitSchedule, UpdateRefitScheduleRequest, ValueModel,
};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::schedules::{self, EVERY_DAYS, Schedule};
use tonic::Request;

/// The kinds of models, by number and collection.
const KINDS: [(i32, &str); 2] =
    [(ValueModel::KIND, ValueModel::COLLECTION), (RecommendationModel::KIND, RecommendationModel::COLLECTION)];

/// The handlers.
pub struct Refits {
    pub service: Service,
}

fn kind_in(field: &str, name: &str) -> Result<(i32, &'static str), ApiError> {
    let collection = name.strip_prefix("refitSchedules/");
    let found = KINDS.into_iter().find(|(_, known)| collection == Some(known));
    let wrong = || {
        let names = KINDS.map(|(_, known)| format!("refitSchedules/{known}")).join(" or ");
        ApiError::invalid_field(field, format!("must be {names}"))
    };
    found.ok_or_else(wrong)
}

fn message(collection: &str, schedule: &Schedule) -> RefitSchedule {
    RefitSchedule {
        name: format!("refitSchedules/{collection}"),
        every_days: schedule.every_days,
        publish: schedule.publish,
        last_attempt_date: schedule.attempted_day.map(convert::date),
        last_model: schedule.made.map(|number| format!("{collection}/{number}")).unwrap_or_default(),
        problem: schedule.problem.clone(),
        etag: schedule.etag(),
    }
}

#[tonic::async_trait]
impl RefitService for Refits {
    async fn get_refit_schedule(&self, request: Request<GetRefitScheduleRequest>) -> Answer<RefitSchedule> {
        let caller = Caller::of(&request)?;
        let (kind, collection) = kind_in("name", &request.get_ref().name)?;
        let found = schedules::get(self.service.runtime.database.reader(), caller.tenant().id, kind).await;
        let found = found.map_err(|error| store_error(&error))?;
        Ok(caller.respond(message(collection, &found)))
    }

    async fn update_refit_schedule(&self, request: Request<UpdateRefitScheduleRequest>) -> Answer<RefitSchedule> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner().schedule;
        let asked = asked.ok_or_else(|| ApiError::invalid_field("schedule", "is required"))?;
        let (kind, collection) = kind_in("schedule.name", &asked.name)?;
        if !EVERY_DAYS.contains(&asked.every_days) {
            let problem = format!("must be within 0 and {}", EVERY_DAYS.end());
            return Err(ApiError::invalid_field("schedule.every_days", problem).into());
        }
        if kind == ValueModel::KIND {
            check_rights(&caller)?;
        }
        caller.is_about(asked.name.clone());
        let (database, tenant) = (&self.service.runtime.database, caller.tenant().id);
        let said = (asked.every_days, asked.publish);
        let written = schedules::say(database, tenant, kind, said, &asked.etag).await;
        let written = written.map_err(|error| store_error(&error))?.ok_or_else(ApiError::stale_etag)?;
        Ok(caller.respond(message(collection, &written)))
    }
}
