//! Bringing a change of models to all customers: part by part, behind live changes, in the worker that alone writes scores.
//!
//! The operation's progress is a customer number and commits with its part, so a kill loses nothing and repeats nothing.

use crate::refused;
use crate::store::{fits, models};
use crate::worker::ScoreLink;
use prost::Message;
use quintile_chain::context::{Runtime, WorkError};
use quintile_chain::derive::{Cause, Commit, Link};
use quintile_chain::follow::Step;
use quintile_chain::operations::packed;
use quintile_chain::store_error;
use quintile_domain::time::Instant;
use quintile_proto::scoring::{Rescoring, ValueModel};
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_store::operations::{self, Operation, Work};
use quintile_store::{StoreError, Transaction, failpoint, records};

/// The RPC that puts a version in force.
pub const PUBLISH: &str = "PublishScoreModelVersion";
/// The RPC that takes a model out of force.
pub const RETIRE: &str = "RetireScoreModel";
/// The RPC that says anew what customers will be worth.
pub const REVALUE: &str = "PublishValueModel";
/// The RPC that says it no more.
pub const RETIRE_VALUES: &str = "RetireValueModel";
/// The most operations of a tenant that wait.
const MAX_OPEN: u64 = 200;
/// The most customers of a part: some ten milliseconds, for which live changes wait at most.
const CUSTOMERS_PER_PART: usize = 2_500;

/// Begins to bring a change of models to all customers; `version` is the resource name of what was published or retired, be it
/// a model of lifetime value.
pub async fn begin(
    transaction: &Transaction,
    tenant: &Tenant,
    verb: &str,
    version: &str,
    machine_now: Instant,
) -> Result<Operation, StoreError> {
    let total = records::last(transaction, tenant.id).await?;
    let work = Work { verb, target: version, cancellable: false, total };
    operations::begin(transaction, tenant.id, work, machine_now).await
}

/// Refuses another operation where many wait already.
pub async fn check_open(transaction: &Transaction, tenant: &Tenant) -> Result<(), ApiError> {
    let open = operations::count_open(transaction, tenant.id).await.map_err(|error| store_error(&error))?;
    if open >= MAX_OPEN { Err(refused(format!("{MAX_OPEN} operations wait already: try again later"))) } else { Ok(()) }
}

/// Does the next part of the oldest operation. Returns whether there may be more to do.
pub async fn step(
    link: &ScoreLink,
    runtime: &Runtime,
    tenant: &Tenant,
    step: &mut Step<'_>,
) -> Result<bool, WorkError> {
    let Some(operation) = operations::next(runtime.database.reader(), tenant.id).await? else { return Ok(false) };
    // Before anybody is scored: the operation was written with the models that it brings.
    link.models.of(tenant).await?;
    let per_part = CUSTOMERS_PER_PART.min(link.at_once(tenant)) as u64;
    let reached = step.reached();
    let transaction = step.begin().await?;
    let after = u32::try_from(operation.done).map_err(|_| StoreError::Sealed("progress"))?;
    let mut commit = Commit::new(link, Cause::Definition);
    let end = commit.derive_again(&transaction, tenant, after, per_part, reached).await?;
    let done = end.done(operation.done, operation.total);
    let changed = commit.redefined() as i64;
    commit.write(&transaction, tenant).await?;
    let machine_now = link.clock.now();
    if !operations::advance(&transaction, tenant.id, &operation, done, machine_now).await? {
        // Another replica has gone on.
        return Err(StoreError::Fenced.into());
    }
    match target(&operation) {
        Some(Target::Version(model, number)) => {
            models::add_changed(&transaction, tenant.id, model, number, changed, operation.done == 0).await?;
        }
        Some(Target::ValueModel(number)) => {
            fits::add_changed::<ValueModel>(&transaction, tenant.id, number, changed, operation.done == 0).await?;
        }
        None => {}
    }
    if end.is_end {
        let response = response(&transaction, tenant, &operation).await?;
        operations::end(&transaction, tenant.id, operation.id, Some(response), machine_now).await?;
    }
    failpoint::reach("scores", "before_rescored_part").await;
    step.commit_part(transaction).await?;
    Ok(true)
}

async fn response(transaction: &Transaction, tenant: &Tenant, operation: &Operation) -> Result<Vec<u8>, StoreError> {
    let (mut version, mut changed) = (None, 0);
    match target(operation) {
        Some(Target::Version(model, number)) => {
            version = models::get(transaction, tenant.id, model, number).await?;
            changed = version.as_ref().map_or(0, |version| version.changed);
        }
        Some(Target::ValueModel(number)) => {
            let model = fits::get::<ValueModel>(transaction, tenant.id, number).await?;
            changed = model.map_or(0, |model| model.changed);
        }
        None => {}
    }
    let retired = [RETIRE, RETIRE_VALUES].contains(&operation.verb.as_str());
    let preview = version.as_ref().filter(|_| !retired).and_then(|version| version.preview.as_ref());
    let rescoring = Rescoring {
        version: if retired { String::new() } else { operation.target.clone() },
        changed_customers: changed,
        predicted_changed_customers: preview.map(|preview| preview.changed_customers),
    };
    Ok(packed("quintile.scoring.v1.Rescoring", &rescoring).encode_to_vec())
}

/// What an operation was begun for.
enum Target<'a> {
    /// The version of a score model, by the model and its number.
    Version(&'a str, i64),
    /// A model of lifetime value, by its number.
    ValueModel(i64),
}

fn target(operation: &Operation) -> Option<Target<'_>> {
    if let Some(number) = operation.target.strip_prefix("valueModels/") {
        return Some(Target::ValueModel(number.parse().ok()?));
    }
    let (model, number) = operation.target.strip_prefix("scoreModels/")?.split_once("/versions/")?;
    Some(Target::Version(model, number.parse().ok()?))
}
