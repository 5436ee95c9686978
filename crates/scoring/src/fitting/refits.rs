//! Fitting models anew when they have become old.
//!
//! When that is follows from what is stored alone: the model in force, the schedule and business time. What came of an attempt commits under the
//! schedule's revision, so that two workers can't both say it.

use super::{Compared, MAX_HOLDOUT_DAYS, Publishing, Stopped, recommendation, value};
use crate::Service;
use crate::store::fits::{self, Stored};
use quintile_chain::context::WorkError;
use quintile_proto::google_type::Date;
use quintile_proto::scoring::{RecommendationModel, ValueModel};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::schedules::{self, Schedule};
use quintile_store::{StoreError, failpoint};
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// How often it is asked whether a model has become old.
const EVERY: Duration = Duration::from_secs(2);

/// Fits a tenant's models anew, each when its time has come.
pub async fn run(service: Service, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    loop {
        tokio::time::sleep(EVERY).await;
        refit::<ValueModel>(&service, &tenant).await?;
        refit::<RecommendationModel>(&service, &tenant).await?;
    }
}

/// A kind of models that can be fitted anew.
trait Refitted: Compared {
    /// The last day that it has seen.
    fn end_date(&self) -> Option<Date>;

    /// Fits a draft as this one was fitted, with so many days held out.
    async fn fit_anew(
        &self,
        service: &Service,
        tenant: &Arc<Tenant>,
        holdout_days: i32,
    ) -> Result<Stored<Self>, Stopped>;

    /// Puts a draft in force.
    async fn put_in_force(service: &Service, tenant: &Tenant, asked: &Publishing<'_>) -> Result<(), ApiError>;
}

impl Refitted for ValueModel {
    fn end_date(&self) -> Option<Date> {
        self.purchases.as_ref().and_then(|purchases| purchases.end_date)
    }

    async fn fit_anew(
        &self,
        service: &Service,
        tenant: &Arc<Tenant>,
        holdout_days: i32,
    ) -> Result<Stored<Self>, Stopped> {
        let asked = value::Asked {
            dropout: crate::value::encoding::dropout(self.dropout()),
            holdout_days,
            terms: self.terms.unwrap_or_default(),
        };
        value::Fitting { service, tenant, asked }.run(|_| true).await
    }

    async fn put_in_force(service: &Service, tenant: &Tenant, asked: &Publishing<'_>) -> Result<(), ApiError> {
        value::publish(service, tenant, asked).await.map(drop)
    }
}

impl Refitted for RecommendationModel {
    fn end_date(&self) -> Option<Date> {
        self.end_date
    }

    async fn fit_anew(
        &self,
        service: &Service,
        tenant: &Arc<Tenant>,
        holdout_days: i32,
    ) -> Result<Stored<Self>, Stopped> {
        let asked = recommendation::Asked { terms: self.terms.unwrap_or_default(), holdout_days };
        recommendation::Fitting { service, tenant, asked }.run(|_| true).await
    }

    async fn put_in_force(service: &Service, tenant: &Tenant, asked: &Publishing<'_>) -> Result<(), ApiError> {
        recommendation::publish(service, tenant, asked).await.map(drop)
    }
}

/// How many days are held out of those that the model in force has not seen: half, so that neither model has seen what they are compared on, and the new
/// one knows more than the old one.
fn held_out(unseen: i32) -> i32 {
    (unseen / 2).clamp(1, MAX_HOLDOUT_DAYS)
}

async fn refit<M: Refitted>(service: &Service, tenant: &Arc<Tenant>) -> Result<(), StoreError> {
    let database = &service.runtime.database;
    let schedule = schedules::get(database.reader(), tenant.id, M::KIND).await?;
    if schedule.every_days == 0 {
        return Ok(());
    }
    let Some(in_force) = fits::in_force::<M>(database.reader(), tenant.id).await? else { return Ok(()) };
    let day = tenant.zone.local_day(service.runtime.business.now()) - 1;
    let Some(seen) = in_force.body.end_date().and_then(convert::day_number) else { return Ok(()) };
    if !schedule.is_due(seen, day) {
        return Ok(());
    }
    let (made, problem) = match attempt(service, tenant, &schedule, &in_force, held_out(day - seen)).await {
        Ok(made) => made,
        Err(error) => {
            tracing::warn!(kind = M::COLLECTION, tenant = tenant.name, code = ?error.code(), "no model was fitted anew; it is tried again");
            return Ok(());
        }
    };
    loop {
        let transaction = database.begin().await?;
        let said = schedules::get(&transaction, tenant.id, M::KIND).await?;
        if said.attempted_day != schedule.attempted_day {
            // Another worker's attempt is told already; this one's draft is among the models.
            return Ok(());
        }
        // What was said meanwhile stays said.
        let attempted = Schedule { attempted_day: Some(day), made, problem: problem.clone(), ..said };
        if schedules::replace(&transaction, tenant.id, M::KIND, &attempted).await? {
            return Ok(transaction.commit().await?);
        }
    }
}

/// The number of the model that came of an attempt, and what stood in its way. An error is an outage: it is tried again.
async fn attempt<M: Refitted>(
    service: &Service,
    tenant: &Arc<Tenant>,
    schedule: &Schedule,
    in_force: &Stored<M>,
    holdout_days: i32,
) -> Result<(Option<i64>, String), ApiError> {
    let refusal = |error: ApiError| {
        if error.code() == Code::FailedPrecondition { Ok(error.message().to_owned()) } else { Err(error) }
    };
    let draft = match in_force.body.fit_anew(service, tenant, holdout_days).await {
        Ok(draft) => draft,
        Err(Some(error)) => return Ok((None, refusal(error)?)),
        Err(None) => return Ok((None, String::new())),
    };
    if !schedule.publish {
        return Ok((Some(draft.number), String::new()));
    }
    failpoint::reach("refits", "before_published").await;
    let (name, etag) = (draft.name(), draft.etag());
    // Somebody may have retired it while its successor was fitted: that holds.
    let before = in_force.name();
    let asked = Publishing { name: &name, etag: &etag, unless_worse: true, in_place_of: Some(&before) };
    match M::put_in_force(service, tenant, &asked).await {
        Ok(()) => Ok((Some(draft.number), String::new())),
        Err(error) => Ok((Some(draft.number), refusal(error)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_the_model_in_force_has_not_seen_is_held_out() {
        assert_eq!([1, 2, 7, 28, 10_000].map(held_out), [1, 1, 3, 14, 1_826]);
    }
}
