//! Training models anew when they have become old, or their risks have shifted.
//!
//! When that is follows from what is stored alone: the model in force, how its risks were measured to have moved, the schedule and business time. What came of an attempt is kept in the
//! transaction that says so, under the schedule's revision: no two workers can both say it.

use super::following::{Pause, Wanted, follow, problem};
use super::training::{Trained, train};
use super::{Churning, Target, may_be_over, publishing};
use crate::store::churn_models::{self, Stored};
use quintile_proto::lifecycle::{ChurnModel, ChurnProgress};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use quintile_store::schedules::{self, Schedule};

/// The number of the schedule among those of this service.
pub const SCHEDULE: i32 = 1;

/// A model in force that has become old, or whose risks have shifted.
struct Due {
    in_force: Stored,
    schedule: Schedule,
    /// The last whole day, in days since 1970-01-01.
    day: i32,
}

impl Due {
    /// The tenant's, if its time has come.
    async fn now(churning: &Churning, tenant: &Tenant) -> Result<Option<Self>, StoreError> {
        let database = churning.runtime.database.reader();
        let schedule = schedules::get(database, tenant.id, SCHEDULE).await?;
        if schedule.every_days == 0 {
            return Ok(None);
        }
        let Some(in_force) = churn_models::in_force(database, tenant.id).await? else { return Ok(None) };
        let day = tenant.zone.local_day(churning.runtime.business.now()) - 1;
        let is_old = last_day_seen(&in_force.body).is_some_and(|seen| schedule.is_due(seen, day));
        // Each measurement brings one attempt.
        let has_shifted = in_force.measured.shifted_day().is_some_and(|shifted| schedule.attempted_day < Some(shifted));
        Ok((is_old || has_shifted).then_some(Self { in_force, schedule, day }))
    }
}

impl Wanted for Due {
    /// It is wanted until the schedule says otherwise, another model is in force, or another replica has made the attempt.
    async fn look(&mut self, churning: &Churning, tenant: &Tenant, _: ChurnProgress) -> Result<bool, StoreError> {
        let of = |due: &Self| (due.in_force.number, due.schedule.attempted_day);
        Ok(Self::now(churning, tenant).await?.is_some_and(|now| of(&now) == of(self)))
    }
}

/// Trains a tenant's model anew, for what it foretells now, if its time has come.
pub async fn attempt(churning: &Churning, tenant: &Tenant, pause: &mut Pause) -> Result<(), StoreError> {
    let Some(mut due) = Due::now(churning, tenant).await? else { return Ok(()) };
    let number = due.in_force.number;
    if pause.goes_on(number) {
        return Ok(());
    }
    let target = Target::of(&due.in_force.body).ok_or_else(churn_models::malformed)?;
    let found = match follow(churning, tenant, &mut due, |tell| train(churning, tenant, &target, tell)).await {
        Ok(trained) => Ok(trained),
        Err(Some(error)) if may_be_over(error.code()) => {
            pause.begin(number);
            let code = error.code();
            tracing::warn!(tenant = tenant.name, ?code, "no churn model was trained anew; it is tried again");
            return Ok(());
        }
        Err(Some(error)) => Err(problem(error)),
        Err(None) => return Ok(()),
    };
    *pause = Pause::default();
    tell(churning, tenant, &due, &found).await
}

/// The last whole day that a model was judged by, or of a label the last before its training, in days since 1970-01-01.
fn last_day_seen(model: &ChurnModel) -> Option<i32> {
    if model.label.is_some() {
        return model.label_date.and_then(convert::day_number);
    }
    let midnight = model.holdout.as_ref()?.date.and_then(convert::day_number)?;
    Some(midnight + model.horizon_days - 1)
}

/// Says what came of an attempt, keeps it, and puts it in force where that was said. Where trainings are wanted no more, nothing is kept.
async fn tell(
    churning: &Churning,
    tenant: &Tenant,
    due: &Due,
    found: &Result<Trained, String>,
) -> Result<(), StoreError> {
    let replaced = due.in_force.name();
    loop {
        let transaction = churning.runtime.database.begin().await?;
        let said = schedules::get(&transaction, tenant.id, SCHEDULE).await?;
        if said.every_days == 0 || said.attempted_day != due.schedule.attempted_day {
            // Somebody has ended the schedule meanwhile, or another worker's attempt is told already.
            return Ok(());
        }
        let (made, problem) = match found {
            Ok(trained) => {
                let draft = trained.keep(churning, &transaction, tenant.id).await?;
                let number = draft.number;
                let problem = if said.publish {
                    publishing::put_in_force(churning, &transaction, tenant, draft, &replaced).await?
                } else {
                    ""
                };
                (Some(number), problem.to_owned())
            }
            Err(problem) => (None, problem.clone()),
        };
        // What was said meanwhile stays said.
        let attempted = Schedule { attempted_day: Some(due.day), made, problem, ..said };
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
