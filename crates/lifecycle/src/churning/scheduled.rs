//! Training models anew when they have become old.
//!
//! When that is follows from what is stored alone: the model in force, the schedule and business time. What came of an attempt is kept in the
//! transaction that says so, under the schedule's revision: no two workers can both say it.

use super::training::{Trained, train};
use super::{Churning, Target, may_be_over, publishing};
use crate::store::churn_models;
use quintile_proto::lifecycle::ChurnModel;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::StoreError;
use quintile_store::schedules::{self, Schedule};
use tonic::Status;

/// The number of the schedule among those of this service.
pub const SCHEDULE: i32 = 1;

/// Trains a tenant's model anew, for what it foretells now, if its time has come.
pub async fn attempt(churning: &Churning, tenant: &Tenant) -> Result<(), StoreError> {
    let database = churning.runtime.database.reader();
    let schedule = schedules::get(database, tenant.id, SCHEDULE).await?;
    if schedule.every_days == 0 {
        return Ok(());
    }
    let Some(in_force) = churn_models::in_force(database, tenant.id).await? else { return Ok(()) };
    let day = tenant.zone.local_day(churning.runtime.business.now()) - 1;
    let Some(seen) = last_day_seen(&in_force.body) else { return Ok(()) };
    if !schedule.is_due(seen, day) {
        return Ok(());
    }
    let target = Target::of(&in_force.body).ok_or_else(churn_models::malformed)?;
    let found = match train(churning, tenant, &target, |_| true).await {
        Ok(trained) => Ok(trained),
        Err(Some(error)) if !may_be_over(error.code()) => Err(problem(error)),
        Err(stopped) => {
            let code = stopped.map(|error| error.code());
            tracing::warn!(tenant = tenant.name, ?code, "no churn model was trained anew; it is tried again");
            return Ok(());
        }
    };
    tell(churning, tenant, &schedule, (day, &in_force.name()), &found).await
}

/// The last whole day that a model was judged by, or of a label the last before its training, in days since 1970-01-01.
fn last_day_seen(model: &ChurnModel) -> Option<i32> {
    if model.label.is_some() {
        return model.label_date.and_then(convert::day_number);
    }
    let midnight = model.holdout.as_ref()?.date.and_then(convert::day_number)?;
    Some(midnight + model.horizon_days - 1)
}

/// What is said of a failure that will not pass.
fn problem(error: ApiError) -> String {
    let message = error.message().to_owned();
    // What clients are not told is logged where an error becomes a status.
    drop(Status::from(error));
    message
}

/// Says what came of an attempt on a day to replace a model, keeps it, and puts it in force where that was said.
async fn tell(
    churning: &Churning,
    tenant: &Tenant,
    schedule: &Schedule,
    (day, replaced): (i32, &str),
    found: &Result<Trained, String>,
) -> Result<(), StoreError> {
    loop {
        let transaction = churning.runtime.database.begin().await?;
        let said = schedules::get(&transaction, tenant.id, SCHEDULE).await?;
        if said.attempted_day != schedule.attempted_day {
            // Another worker's attempt is told already.
            return Ok(());
        }
        let (made, problem) = match found {
            Ok(trained) => {
                let draft = trained.keep(churning, &transaction, tenant.id).await?;
                let number = draft.number;
                let problem = if said.publish {
                    publishing::put_in_force(churning, &transaction, tenant, draft, replaced).await?
                } else {
                    ""
                };
                (Some(number), problem.to_owned())
            }
            Err(problem) => (None, problem.clone()),
        };
        // What was said meanwhile stays said.
        let attempted = Schedule { attempted_day: Some(day), made, problem, ..said };
        if schedules::replace(&transaction, tenant.id, SCHEDULE, &attempted).await? {
            return Ok(transaction.commit().await?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::lifecycle::{ChurnLabel, ChurnPeriod};

    #[test]
    fn the_last_day_that_a_model_has_seen_is_the_last_of_its_horizon() {
        let holdout = Some(ChurnPeriod { date: Some(convert::date(1_000)), ..ChurnPeriod::default() });
        let model = ChurnModel { horizon_days: 90, holdout, ..ChurnModel::default() };
        // It was trained on the day behind.
        assert_eq!(last_day_seen(&model), Some(1_089));
        assert_eq!(last_day_seen(&ChurnModel::default()), None);
    }

    #[test]
    fn the_last_day_that_a_model_of_a_label_has_seen_is_told() {
        let (label, label_date) = (Some(ChurnLabel::default()), Some(convert::date(1_089)));
        assert_eq!(last_day_seen(&ChurnModel { label, label_date, ..ChurnModel::default() }), Some(1_089));
    }
}
