//! Brings traits to customers, and takes them away: goes through all customers in parts, each in a transaction that also says how far it got.

use crate::FEATURES;
use crate::defined_traits::DefinedTrait;
use crate::store::traits;
use crate::worker::{CUSTOMERS_PER_PART, FeatureWorker, STEP};
use futures::StreamExt;
use prost::Message;
use quintile_chain::context::WorkError;
use quintile_chain::feed;
use quintile_chain::operations::packed;
use quintile_chain::progress::Watermark;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::Trait;
use quintile_store::operations::{self, Operation, State, Work};
use quintile_store::{StoreError, Transaction};
use std::pin::pin;
use tokio::time::Instant as MachineInstant;

/// The RPC that defines a trait, and whose operation brings it to customers.
pub const CREATE: &str = "CreateTrait";
/// The RPC that takes a trait back, and whose operation takes it from customers.
pub const DELETE: &str = "DeleteTrait";

/// Begins to bring a trait to customers, or to take it from them, up to the number `last`.
pub async fn begin(
    transaction: &Transaction,
    tenant: TenantId,
    verb: &str,
    trait_id: &str,
    last: i64,
    machine_now: Instant,
) -> Result<Operation, StoreError> {
    let target = format!("traits/{trait_id}");
    let work = Work { verb, target: &target, cancellable: verb == CREATE, total: last };
    operations::begin(transaction, tenant, work, machine_now).await
}

/// Does the next part of the oldest operation. Returns whether there may be more to do.
pub async fn step(worker: &FeatureWorker) -> Result<bool, WorkError> {
    let (service, tenant) = (&worker.service, worker.tenant.id);
    let Some(operation) = operations::next(service.runtime.database.reader(), tenant).await? else { return Ok(false) };
    let machine_now = service.clock.now();
    let traits = service.traits.of(&worker.tenant).await?;
    let defined = traits.iter().find(|defined| defined.is_of(trait_id(&operation), operation.created_at));
    // Somebody wants its end, or the trait is gone already.
    if operation.state == State::Cancelling || (operation.verb == CREATE && defined.is_none()) {
        let transaction = worker.begin().await?;
        operations::end(&transaction, tenant, operation.id, None, machine_now).await?;
        if defined.is_some() {
            traits::delete(&transaction, tenant, trait_id(&operation)).await?;
            begin(&transaction, tenant, DELETE, trait_id(&operation), operation.total, machine_now).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        return Ok(true);
    }
    go_on(worker, operation, defined).await
}

/// Goes through the next customers.
async fn go_on(
    worker: &FeatureWorker,
    mut operation: Operation,
    defined: Option<&DefinedTrait>,
) -> Result<bool, WorkError> {
    let (service, tenant) = (&worker.service, worker.tenant.id);
    let begun = MachineInstant::now();
    let total = operation.total;
    let firsts = (operation.done..total).step_by(CUSTOMERS_PER_PART);
    let firsts = firsts.take_while(|_| begun.elapsed() < STEP);
    let end = |first: i64| total.min(first.saturating_add(CUSTOMERS_PER_PART as i64));
    let parts = firsts.map(|first| (first + 1..=end(first)).filter_map(|id| CustomerId::try_from(id).ok()).collect());
    let mut computed = pin!(worker.computed(parts, service.runtime.business.now()));
    while let Some(part) = computed.next().await {
        let done = end(operation.done);
        let machine_now = service.clock.now();
        let transaction = worker.begin().await?;
        feed::publish(&transaction, tenant, FEATURES, &part?.changes).await?;
        if !operations::advance(&transaction, tenant, &operation, done, machine_now).await? {
            // Somebody wants its end: the next step sees to it.
            transaction.rollback().await.map_err(StoreError::from)?;
            return Ok(true);
        }
        operation.done = done;
        transaction.commit().await.map_err(StoreError::from)?;
        service.runtime.progress.of(tenant).raise(Watermark::default());
    }
    if operation.done == operation.total {
        complete(worker, &operation, defined).await?;
    }
    Ok(true)
}

/// Ends an operation that has gone through all customers, unless somebody wanted its end before.
async fn complete(
    worker: &FeatureWorker,
    operation: &Operation,
    defined: Option<&DefinedTrait>,
) -> Result<(), StoreError> {
    let (tenant, machine_now) = (worker.tenant.id, worker.service.clock.now());
    let transaction = worker.begin().await?;
    if !operations::advance(&transaction, tenant, operation, operation.total, machine_now).await? {
        return Ok(transaction.rollback().await?);
    }
    let response = match defined {
        Some(defined) if operation.verb == CREATE => {
            traits::complete(&transaction, tenant, &defined.id, operation.created_at).await?;
            packed("quintile.ingestion.v1.Trait", &Trait { complete: true, ..defined.message() })
        }
        _ => packed("google.protobuf.Empty", &()),
    };
    operations::end(&transaction, tenant, operation.id, Some(response.encode_to_vec()), machine_now).await?;
    Ok(transaction.commit().await?)
}

fn trait_id(operation: &Operation) -> &str {
    operation.target.strip_prefix("traits/").unwrap_or(&operation.target)
}
