//! Bringing a change of the policy, or of the churn model in force, to all customers: part by part, behind live changes, in the worker that alone writes stages.
//!
//! The operation's progress is a customer number and commits with its part, so a kill loses nothing and repeats nothing.

use crate::churning::refused;
use crate::store::{churn_models, stage_policies};
use crate::worker::StageLink;
use prost::Message;
use quintile_chain::context::{Runtime, WorkError};
use quintile_chain::derive::{Cause, Commit};
use quintile_chain::follow::Step;
use quintile_chain::operations::packed;
use quintile_chain::store_error;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::Restaging;
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_store::operations::{self, Operation, Work};
use quintile_store::{StoreError, Transaction, failpoint, records};

/// What asks for it.
pub const PUBLISH: &str = "PublishStagePolicyVersion";
pub const PUBLISH_MODEL: &str = "PublishChurnModel";
pub const RETIRE_MODEL: &str = "RetireChurnModel";
/// The most operations of a tenant that wait.
const MAX_OPEN: u64 = 200;
/// Customers of a part: some ten milliseconds, for which live changes wait at most.
const CUSTOMERS_PER_PART: u64 = 2_500;
/// The same where a churn model is in force, which is asked for days to come.
const FORETOLD_CUSTOMERS_PER_PART: u64 = 500;

/// Begins to bring what was published or retired to all customers: a version of the policy, a churn model.
pub async fn begin(
    transaction: &Transaction,
    tenant: &Tenant,
    verb: &str,
    target: &str,
    machine_now: Instant,
) -> Result<Operation, StoreError> {
    let total = records::last(transaction, tenant.id).await?;
    let work = Work { verb, target, cancellable: false, total };
    operations::begin(transaction, tenant.id, work, machine_now).await
}

/// Refuses to begin one where so many wait already.
pub async fn check_room(transaction: &Transaction, tenant: &Tenant) -> Result<(), ApiError> {
    let open = operations::count_open(transaction, tenant.id).await.map_err(|error| store_error(&error))?;
    if open < MAX_OPEN { Ok(()) } else { Err(refused(format!("{MAX_OPEN} operations wait already: try again later"))) }
}

/// Does the next part of the oldest operation. Returns whether there may be more to do.
pub async fn step(
    link: &StageLink,
    runtime: &Runtime,
    tenant: &Tenant,
    step: &mut Step<'_>,
) -> Result<bool, WorkError> {
    let next =
        operations::next_of(runtime.database.reader(), tenant.id, &[PUBLISH, PUBLISH_MODEL, RETIRE_MODEL]).await?;
    let Some(operation) = next else { return Ok(false) };
    // The operation was written with what it brings.
    link.know_in_force(tenant.id).await?;
    let reached = step.reached();
    let transaction = step.begin().await?;
    let after = u32::try_from(operation.done).map_err(|_| StoreError::Sealed("progress"))?;
    let mut commit = Commit::new(link, Cause::Definition);
    let foretells = link.models.last_read(tenant.id).is_some();
    let per_part = if foretells { FORETOLD_CUSTOMERS_PER_PART } else { CUSTOMERS_PER_PART };
    let end = commit.derive_again(&transaction, tenant, after, per_part, reached).await?;
    let done = end.done(operation.done, operation.total);
    let changed = commit.redefined() as i64;
    commit.write(&transaction, tenant).await?;
    let machine_now = link.clock.now();
    if !operations::advance(&transaction, tenant.id, &operation, done, machine_now).await? {
        // Another replica has gone on.
        return Err(StoreError::Fenced.into());
    }
    let number = number_in(&operation.target).ok_or(StoreError::Sealed("operation"))?;
    let begins = operation.done == 0;
    let changed_customers = if operation.verb == PUBLISH {
        stage_policies::add_changed(&transaction, tenant.id, number, changed, begins).await?
    } else {
        churn_models::add_changed(&transaction, tenant.id, number, changed, begins).await?
    };
    if end.is_end {
        let restaging = Restaging { version: operation.target.clone(), changed_customers };
        let response = packed("quintile.lifecycle.v1.Restaging", &restaging).encode_to_vec();
        operations::end(&transaction, tenant.id, operation.id, Some(response), machine_now).await?;
    }
    failpoint::reach("stages", "before_restaged_part").await;
    step.commit_part(transaction).await?;
    Ok(true)
}

/// The number of what an operation brings.
fn number_in(target: &str) -> Option<i64> {
    target.rsplit_once('/')?.1.parse().ok()
}
