//! Brings traits to customers, and takes them away: goes through all customers in parts, each in a transaction that also says how far it got.

use crate::FEATURES;
use crate::store::traits;
use crate::worker::FeatureWorker;
use prost::Message;
use quintile_chain::context::WorkError;
use quintile_chain::feed;
use quintile_chain::operations::packed;
use quintile_chain::progress::Watermark;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::Trait;
use quintile_store::operations::{self, Operation, State, Work};
use quintile_store::{DatabaseTransaction, StoreError};

/// The RPC that defines a trait, and whose operation brings it to customers.
pub const CREATE: &str = "CreateTrait";
/// The RPC that takes a trait back, and whose operation takes it from customers.
pub const DELETE: &str = "DeleteTrait";
/// Customers of one part: what is live waits no longer than one of these takes.
const CUSTOMERS_PER_STEP: i64 = 2_000;

/// Begins to bring a trait to customers, or to take it from them, up to the number `last`.
pub async fn begin(
    transaction: &DatabaseTransaction,
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
    let done = operation.total.min(operation.done.saturating_add(CUSTOMERS_PER_STEP));
    let customers: Vec<_> = (operation.done + 1..=done).filter_map(|id| CustomerId::try_from(id).ok()).collect();
    let changed = worker.recompute(&customers, service.runtime.business.now()).await?;
    let transaction = worker.begin().await?;
    feed::publish(&transaction, tenant, FEATURES, changed).await?;
    if !operations::advance(&transaction, tenant, &operation, done, machine_now).await? {
        // Somebody wants its end: the next step sees to it.
        transaction.rollback().await.map_err(StoreError::from)?;
        return Ok(true);
    }
    if done == operation.total {
        let response = match defined {
            Some(defined) if operation.verb == CREATE => {
                traits::complete(&transaction, tenant, &defined.id, operation.created_at).await?;
                packed("quintile.ingestion.v1.Trait", &Trait { complete: true, ..defined.message() })
            }
            _ => packed("google.protobuf.Empty", &()),
        };
        operations::end(&transaction, tenant, operation.id, Some(response.encode_to_vec()), machine_now).await?;
    }
    transaction.commit().await.map_err(StoreError::from)?;
    service.runtime.progress.of(tenant).raise(Watermark::default());
    Ok(true)
}

fn trait_id(operation: &Operation) -> &str {
    operation.target.strip_prefix("traits/").unwrap_or(&operation.target)
}
