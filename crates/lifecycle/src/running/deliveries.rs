//! Sending: what waits is sent, and what came of it written down behind. A kill in between has it sent again, under the same id.

use super::runs::message_id;
use super::{LOOK, Playbooks};
use crate::store::deliveries::{self, Stored};
use crate::webhooks::Attempt;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quintile_chain::context::WorkError;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::DeliveryState;
use quintile_rpc::policy::Tenant;
use quintile_store::history::Position;
use quintile_store::{StoreError, failpoint};
use std::collections::HashSet;

/// Messages that are on their way at once.
const ON_THE_WAY: usize = 32;

/// Sends without end.
pub async fn send(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut progress = playbooks.runtime.progress.of(tenant.id).subscribe();
    let mut sending = FuturesUnordered::new();
    let mut on_the_way: HashSet<(CustomerId, Position)> = HashSet::new();
    loop {
        progress.mark_unchanged();
        if on_the_way.len() < ON_THE_WAY && !playbooks.is_paused(tenant).await? {
            let limit = (ON_THE_WAY + on_the_way.len()) as u64;
            let database = playbooks.runtime.database.reader();
            let due = deliveries::due(database, tenant.id, playbooks.clock.now(), limit).await?;
            for stored in due {
                if on_the_way.len() < ON_THE_WAY && on_the_way.insert((stored.customer, stored.made)) {
                    sending.push(attempt(playbooks, tenant, stored));
                }
            }
        }
        tokio::select! {
            Some((stored, attempt)) = sending.next(), if !sending.is_empty() => {
                on_the_way.remove(&(stored.customer, stored.made));
                write_down(playbooks, tenant, stored, attempt).await?;
            }
            changed = progress.changed(), if on_the_way.len() < ON_THE_WAY => drop(changed),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn attempt(playbooks: &Playbooks, tenant: &Tenant, stored: Stored) -> (Stored, Attempt) {
    let endpoint = playbooks.endpoints.of(&tenant.name, &stored.body.endpoint);
    // One that is not configured any more may be again.
    let Some(endpoint) = endpoint else { return (stored, Attempt::Failed(0)) };
    let id = message_id(tenant, stored.made);
    let attempt = playbooks.endpoints.send(endpoint, &id, stored.payload.clone(), playbooks.clock.now()).await;
    (stored, attempt)
}

/// Writes down what came of an attempt. Whoever cancelled it meanwhile was too late if the receiver has it.
async fn write_down(playbooks: &Playbooks, tenant: &Tenant, sent: Stored, attempt: Attempt) -> Result<(), WorkError> {
    failpoint::reach("deliveries", "before_written").await;
    let transaction = playbooks.runtime.database.begin().await?;
    let held = deliveries::hold(&transaction, tenant.id, sent.customer, sent.made).await?;
    // The customer may have been erased.
    let Some(mut held) = held else { return Ok(()) };
    let now = playbooks.clock.now();
    held.attempts += 1;
    held.last_status = attempt.status().into();
    held.last_attempt_at = Some(now);
    let endpoint = playbooks.endpoints.of(&tenant.name, &held.body.endpoint);
    let again = || -> Option<Instant> {
        match endpoint {
            Some(endpoint) => endpoint.next_attempt(held.attempts, now),
            None => Some(now.plus_micros(UNCONFIGURED_RETRY_MICROS)),
        }
    };
    (held.state, held.next_attempt_at) = match (attempt, held.state) {
        (Attempt::Delivered(_), _) => (DeliveryState::Delivered, None),
        (_, DeliveryState::Waiting) => match attempt {
            Attempt::Failed(_) => {
                again().map_or((DeliveryState::Failed, None), |at| (DeliveryState::Waiting, Some(at)))
            }
            _ => (DeliveryState::Failed, None),
        },
        (_, state) => (state, None),
    };
    deliveries::write(&transaction, tenant.id, &[held]).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// How long a message waits whose endpoint is not configured.
const UNCONFIGURED_RETRY_MICROS: i64 = 60 * 1_000_000;
