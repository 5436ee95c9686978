//! Trainings that were asked for: each waits as an operation for the worker that does them one after the other.
//!
//! What came of one is kept in the transaction that ends its operation, so that a kill keeps nothing by halves: it begins anew.

use super::following::{LOOK, Pause, Wanted, follow};
use super::training::{Trained, train};
use super::{Churning, Target, alarms, may_be_over, scheduled};
use crate::store::churn_models::COLLECTION;
use crate::store::churn_trainings;
use prost::Message;
use quintile_chain::context::WorkError;
use quintile_chain::operations::{failure, packed};
use quintile_chain::store_error;
use quintile_proto::lifecycle::{ChurnProgress, ChurnTraining};
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use quintile_store::operations::{self, Operation, State, Work};
use quintile_store::{StoreError, records};
use std::sync::Arc;
use std::time::Duration;

/// The RPC that asks for trainings.
const TRAIN: &str = "TrainChurnModel";
/// The most trainings of a tenant that wait or go on.
const MAX_OPEN: u64 = 10;
/// When to ask again where so many wait: a training takes about as long.
const ASK_LATER: Duration = Duration::from_mins(1);

/// Writes down that a training is asked for, of what may be asked. `request_id` is the client's, or empty.
pub async fn begin(
    churning: &Churning,
    tenant: &Tenant,
    target: &Target,
    request_id: &str,
) -> Result<Operation, ApiError> {
    let failed = |error: StoreError| store_error(&error);
    let asked = target.model();
    let body = asked.encode_to_vec();
    let request = IdempotentRequest { tenant: tenant.id, method: TRAIN, id: request_id, body: &body };
    let transaction = churning.runtime.database.begin().await.map_err(failed)?;
    churn_trainings::begin_change(&transaction, tenant.id).await.map_err(failed)?;
    if !request_id.is_empty()
        && let Some(earlier) = idempotency::earlier_result(&transaction, request).await.map_err(failed)?
    {
        let begun = operations::get(&transaction, tenant.id, earlier.parse().unwrap_or_default()).await;
        return begun.map_err(failed)?.ok_or_else(ApiError::not_found);
    }
    if churn_trainings::count(&transaction, tenant.id).await.map_err(failed)? >= MAX_OPEN {
        return Err(ApiError::quota(format!("{MAX_OPEN} trainings wait already: try again later"), ASK_LATER));
    }
    let begun = async {
        let now = churning.clock.now();
        let total = records::last(&transaction, tenant.id).await?;
        let work = Work { verb: TRAIN, target: COLLECTION, cancellable: true, total };
        let operation = operations::begin(&transaction, tenant.id, work, now).await?;
        churn_trainings::insert(&transaction, tenant.id, operation.id, &asked).await?;
        if !request_id.is_empty() {
            idempotency::remember(&transaction, request, &operation.id.to_string(), now).await?;
        }
        transaction.commit().await?;
        Ok(operation)
    };
    begun.await.map_err(failed)
}

/// Does a tenant's trainings without end: those that were asked for, and those of its schedule; and measures drift by itself, which may bring one forward.
pub async fn run(churning: Arc<Churning>, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    let (mut pause, mut pause_of_alarms, mut pause_of_schedule) =
        (Pause::default(), Pause::default(), Pause::default());
    loop {
        let did = go_on(&churning, &tenant, &mut pause).await?;
        alarms::attempt(&churning, &tenant, &mut pause_of_alarms).await?;
        scheduled::attempt(&churning, &tenant, &mut pause_of_schedule).await?;
        if !did {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Does the oldest training that waits, from the beginning. Returns whether the next one can be looked for at once.
async fn go_on(churning: &Churning, tenant: &Tenant, pause: &mut Pause) -> Result<bool, StoreError> {
    let database = &churning.runtime.database;
    let Some((id, asked)) = churn_trainings::oldest(database.reader(), tenant.id).await? else { return Ok(false) };
    let operation = operations::get(database.reader(), tenant.id, id).await?;
    let mut operation = operation.ok_or(StoreError::Sealed("a training has no operation"))?;
    if operation.state != State::Open {
        // Somebody wants its end.
        end(churning, tenant, &operation, None).await?;
        return Ok(true);
    }
    if pause.goes_on(id) {
        end_unwanted(churning, tenant).await?;
        return Ok(false);
    }
    let target = Target::of(&asked).ok_or_else(churn_trainings::malformed)?;
    let found = match follow(churning, tenant, &mut operation, |tell| train(churning, tenant, &target, tell)).await {
        Ok(trained) => Ok(trained),
        Err(Some(error)) if may_be_over(error.code()) => {
            pause.begin(id);
            tracing::warn!(tenant = tenant.name, code = ?error.code(), "a churn model was not trained; it is tried again");
            return Ok(false);
        }
        Err(Some(error)) => Err(error),
        // Somebody wants its end, or another replica goes on with it.
        Err(None) => return Ok(true),
    };
    end(churning, tenant, &operation, Some(found)).await?;
    Ok(true)
}

impl Wanted for Operation {
    async fn look(
        &mut self,
        churning: &Churning,
        tenant: &Tenant,
        progress: ChurnProgress,
    ) -> Result<bool, StoreError> {
        let done = part(self.total, progress);
        is_wanted(churning, tenant, self, done).await
    }
}

/// Ends those of which somebody wants the end before they have had their turn.
pub(super) async fn end_unwanted(churning: &Churning, tenant: &Tenant) -> Result<(), StoreError> {
    let database = churning.runtime.database.reader();
    for id in churn_trainings::all(database, tenant.id).await? {
        let operation = operations::get(database, tenant.id, id).await?;
        if let Some(operation) = operation.filter(|operation| operation.state == State::Cancelling) {
            end(churning, tenant, &operation, None).await?;
        }
    }
    Ok(())
}

/// So much of a total as was read of everybody, whom ingestion counts and this service does not.
fn part(total: i64, progress: ChurnProgress) -> i64 {
    let (read, customers) = (i128::from(progress.customers_read), i128::from(progress.customers));
    if customers < 1 { 0 } else { i64::try_from(i128::from(total) * read / customers).unwrap_or(total).min(total) }
}

/// Moves an operation on, if it has got further. Returns whether it is still wanted.
async fn is_wanted(
    churning: &Churning,
    tenant: &Tenant,
    operation: &mut Operation,
    done: i64,
) -> Result<bool, StoreError> {
    let database = &churning.runtime.database;
    if done == operation.done {
        let present = operations::get(database.reader(), tenant.id, operation.id).await?;
        return Ok(present.is_some_and(|present| (present.state, present.done) == (State::Open, done)));
    }
    let transaction = database.begin().await?;
    if !operations::advance(&transaction, tenant.id, operation, done, churning.clock.now()).await? {
        return Ok(false);
    }
    transaction.commit().await?;
    operation.done = done;
    Ok(true)
}

/// Ends an operation: with a model, as failed, or, without either, as cancelled.
async fn end(
    churning: &Churning,
    tenant: &Tenant,
    operation: &Operation,
    found: Option<Result<Trained, ApiError>>,
) -> Result<(), StoreError> {
    let (tenant, id, now) = (tenant.id, operation.id, churning.clock.now());
    let transaction = churning.runtime.database.begin().await?;
    // Where somebody wants its end, or another replica has gone on, the next look tells.
    if found.is_some() && !operations::advance(&transaction, tenant, operation, operation.done, now).await? {
        return Ok(());
    }
    match found {
        None => operations::end(&transaction, tenant, id, None, now).await?,
        Some(Ok(trained)) => {
            let draft = trained.keep(churning, &transaction, tenant).await?;
            let training = ChurnTraining { model: draft.name(), better: draft.body.better };
            let response = packed("quintile.lifecycle.v1.ChurnTraining", &training).encode_to_vec();
            operations::end(&transaction, tenant, id, Some(response), now).await?;
        }
        Some(Err(error)) => operations::fail(&transaction, tenant, id, failure(error), now).await?,
    }
    churn_trainings::delete(&transaction, tenant, id).await?;
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_same_part_of_what_is_counted_otherwise() {
        let table = [(0, 0, 0), (0, 10, 0), (5, 10, 50), (10, 10, 100), (11, 10, 100), (1, 3, 33), (i64::MAX, 1, 100)];
        for (customers_read, customers, expected) in table {
            assert_eq!(
                part(100, ChurnProgress { customers_read, customers }),
                expected,
                "{customers_read} of {customers}"
            );
        }
    }
}
