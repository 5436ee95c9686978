//! Sending: what waits is sent, and what came of it written down behind. A kill in between has it sent again, under the same id.
//!
//! Each endpoint has places of its own, so that one that does not answer holds up no other. What waits for one that is not configured goes on
//! waiting.

use super::runs::message_id;
use super::{LOOK, Playbooks};
use crate::store::deliveries::{self, Stored};
use crate::webhooks::{Attempt, Endpoint};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quintile_chain::context::WorkError;
use quintile_domain::ids::CustomerId;
use quintile_proto::lifecycle::DeliveryState;
use quintile_rpc::policy::Tenant;
use quintile_store::history::Position;
use quintile_store::{StoreError, failpoint};
use std::collections::HashSet;
use std::time::Duration;

/// How soon it is looked again.
const SOON: Duration = Duration::from_millis(20);
/// Messages that are on their way to an endpoint at once.
const ON_THE_WAY: usize = 16;

/// Sends without end.
pub async fn send(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut progress = playbooks.runtime.progress.of(tenant.id).subscribe();
    let mut sending = FuturesUnordered::new();
    // By endpoint and message.
    let mut on_the_way: HashSet<(&str, CustomerId, Position)> = HashSet::new();
    let names = playbooks.endpoints.names(&tenant.name);
    if names.is_empty() {
        // Whoever configures one starts the suite anew.
        return std::future::pending().await;
    }
    loop {
        progress.mark_unchanged();
        let is_paused = playbooks.is_paused(tenant).await?;
        for name in names.iter().filter(|_| !is_paused) {
            let taken = on_the_way.iter().filter(|(endpoint, ..)| endpoint == name).count();
            let Some(endpoint) = playbooks.endpoints.of(&tenant.name, name).filter(|_| taken < ON_THE_WAY) else {
                continue;
            };
            let (database, now) = (playbooks.runtime.database.reader(), playbooks.clock.now());
            // Those that are on their way are due too.
            for stored in deliveries::due(database, tenant.id, name, now, ON_THE_WAY as u64).await? {
                if on_the_way.insert((name, stored.customer, stored.made)) {
                    sending.push(attempt(playbooks, tenant, endpoint, stored));
                }
            }
        }
        let has_places = on_the_way.len() < ON_THE_WAY * names.len();
        tokio::select! {
            Some((endpoint, stored, attempt)) = sending.next(), if !sending.is_empty() => {
                write_down(playbooks, tenant, endpoint, &stored, attempt).await?;
                on_the_way.retain(|(_, customer, made)| (*customer, *made) != (stored.customer, stored.made));
            }
            // Commits may come by the hundred: one look is for all of them.
            _ = progress.changed(), if has_places => tokio::time::sleep(SOON).await,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn attempt<'a>(
    playbooks: &Playbooks,
    tenant: &Tenant,
    endpoint: &'a Endpoint,
    stored: Stored,
) -> (&'a Endpoint, Stored, Attempt) {
    let id = message_id(tenant, stored.made);
    let attempt = playbooks.endpoints.send(endpoint, &id, stored.payload.clone(), playbooks.clock.now()).await;
    (endpoint, stored, attempt)
}

/// Writes down what came of an attempt. Whoever cancelled it meanwhile was too late if the receiver has it.
async fn write_down(
    playbooks: &Playbooks,
    tenant: &Tenant,
    endpoint: &Endpoint,
    sent: &Stored,
    attempt: Attempt,
) -> Result<(), WorkError> {
    failpoint::reach("deliveries", "before_written").await;
    let transaction = playbooks.runtime.database.begin().await?;
    let held = deliveries::hold(&transaction, tenant.id, sent.customer, sent.made).await?;
    // The customer may have been erased.
    let Some(mut held) = held else { return Ok(()) };
    let now = playbooks.clock.now();
    held.attempts += 1;
    held.last_status = attempt.status().into();
    held.last_attempt_at = Some(now);
    let again = endpoint.next_attempt(held.attempts, now);
    (held.state, held.next_attempt_at) = match (attempt, held.state) {
        (Attempt::Delivered(_), _) => (DeliveryState::Delivered, None),
        (Attempt::Failed(_), DeliveryState::Waiting) if again.is_some() => (DeliveryState::Waiting, again),
        (_, DeliveryState::Waiting) => (DeliveryState::Failed, None),
        (_, state) => (state, None),
    };
    deliveries::write(&transaction, tenant.id, &[held]).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}
