//! The drift of the model in force, measured by itself: an alarm where its risks have shifted.
//!
//! When that is follows from what is stored alone: since when the model is in force, when it was measured last, and business time. What was found is written in
//! the place of the measurement before it: no two workers can both write one.

use super::following::{Pause, Wanted, follow, problem};
use super::{Churning, drift, may_be_over};
use crate::store::churn_models::{self, Stored};
use crate::worker::watermark;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::lifecycle::{ChurnDrift, ChurnDriftVerdict, ChurnProgress};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, failpoint};
use std::sync::Arc;

/// After how many days a drift is measured again.
const EVERY_DAYS: i32 = 7;

/// A model in force whose drift is to be measured.
struct Due {
    in_force: Stored,
    /// Up to when records are true. Behind a jump of time they follow, and until then they tell of days long gone.
    as_of: Instant,
    /// The last whole day, in days since 1970-01-01.
    day: i32,
}

impl Due {
    /// The tenant's, if its time has come.
    async fn now(churning: &Churning, tenant: &Tenant) -> Result<Option<Self>, StoreError> {
        let Some(in_force) = churn_models::in_force(churning.runtime.database.reader(), tenant.id).await? else {
            return Ok(None);
        };
        let Some(as_of) = watermark(&churning.runtime, tenant.id).await?.time else { return Ok(None) };
        let day = tenant.zone.local_day(as_of) - 1;
        Ok(is_due(&in_force, day, &tenant.zone).then_some(Self { in_force, as_of, day }))
    }
}

/// Whether the drift of a model in force is to be measured by the end of a day.
fn is_due(in_force: &Stored, day: i32, zone: &TimeZone) -> bool {
    let begun = in_force.stands_since.map(|since| zone.local_day(since) - 1);
    in_force.measured.day.or(begun).is_none_or(|since| day - since >= EVERY_DAYS)
}

impl Wanted for Due {
    /// It is wanted until another model is in force, or another replica has measured it.
    async fn look(&mut self, churning: &Churning, tenant: &Tenant, _: ChurnProgress) -> Result<bool, StoreError> {
        let of = |due: &Self| (due.in_force.number, due.in_force.stands_since, due.in_force.measured.day);
        Ok(Self::now(churning, tenant).await?.is_some_and(|now| of(&now) == of(self)))
    }
}

/// Measures the drift of a tenant's model in force, if its time has come.
pub async fn attempt(churning: &Churning, tenant: &Arc<Tenant>, pause: &mut Pause) -> Result<(), StoreError> {
    let Some(mut due) = Due::now(churning, tenant).await? else { return Ok(()) };
    let (number, as_of) = (due.in_force.number, due.as_of);
    if pause.goes_on(number) {
        return Ok(());
    }
    let measure = |tell| async move {
        let found = drift::measure(churning, tenant, as_of, tell).await;
        failpoint::reach("drifts", "before_kept").await;
        found
    };
    let found = match follow(churning, tenant, &mut due, measure).await {
        Ok(found) => found,
        Err(Some(error)) if may_be_over(error.code()) => {
            pause.begin(number);
            let code = error.code();
            tracing::warn!(
                tenant = tenant.name,
                ?code,
                "the drift of a churn model was not measured; it is tried again"
            );
            return Ok(());
        }
        Err(Some(error)) => ChurnDrift {
            model: due.in_force.name(),
            as_of: Some(convert::timestamp(as_of)),
            problem: problem(error),
            ..ChurnDrift::default()
        },
        Err(None) => return Ok(()),
    };
    *pause = Pause::default();
    keep(churning, tenant, &due, found).await
}

/// Keeps what was found with the model, and has operators hear of what they should.
async fn keep(churning: &Churning, tenant: &Tenant, due: &Due, found: ChurnDrift) -> Result<(), StoreError> {
    // Another one was put in force before it was measured.
    if found.model != due.in_force.name() {
        return Ok(());
    }
    let (verdict, has_failed) = (found.verdict(), !found.problem.is_empty());
    let transaction = churning.runtime.database.begin().await?;
    let with = due.in_force.measured.with(found, due.day);
    if !churn_models::measure(&transaction, tenant.id, &due.in_force, &with).await? {
        return Ok(());
    }
    transaction.commit().await?;
    let model = due.in_force.name();
    if verdict == ChurnDriftVerdict::Shifted {
        tracing::warn!(tenant = tenant.name, model, "the risks of the churn model in force have shifted");
    } else if has_failed {
        tracing::warn!(tenant = tenant.name, model, "the drift of the churn model in force can't be measured");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::churn_models::Measured;
    use quintile_proto::lifecycle::{ChurnModel, ChurnModelState};

    #[test]
    fn a_drift_is_measured_a_week_after_the_model_was_put_in_force_and_after_the_last_time() {
        let zone = TimeZone::from_name("America/New_York").unwrap();
        let measured_on = |day: Option<i32>| {
            day.map_or_else(Measured::default, |day| Measured::default().with(ChurnDrift::default(), day))
        };
        let of = |stands_since, day| Stored {
            number: 1,
            state: ChurnModelState::Published,
            body: ChurnModel::default(),
            created_at: Instant::from_micros(0),
            published_at: None,
            revision: 1,
            stands_since,
            measured: measured_on(day),
        };
        let first = |model: &Stored| (9_990..10_030).find(|day| is_due(model, *day, &zone));
        // Whenever on its first day it began, by the end of the seventh.
        let [begin, end] = [10_000, 10_001].map(|day| zone.start_of_day(day));
        assert_eq!(first(&of(Some(begin), None)), Some(10_006));
        assert_eq!(first(&of(Some(Instant::from_micros(end.micros() - 1)), None)), Some(10_006));
        assert_eq!(first(&of(Some(begin), Some(10_009))), Some(10_016));
        // It is in force since before that was written down.
        assert_eq!(first(&of(None, None)), Some(9_990));
    }
}
