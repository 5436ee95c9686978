//! Sending: what waits is sent, and what came of it written down behind. A kill in between has it sent again, under the same id.
//!
//! Each endpoint has places of its own, so that one that does not answer holds up no other. What waits for one that is not configured goes on
//! waiting.

use super::runs::message_id;
use super::{CALL_TIMEOUT, LOOK, Playbooks, granted};
use crate::endpoints::{Attempt, Endpoint, Mail, Way};
use crate::playbooks::{emails, permits};
use crate::store::deliveries::{self, Email, Stored};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use prost::Message;
use quintile_chain::context::WorkError;
use quintile_domain::ids::CustomerId;
use quintile_proto::ingestion::GetCustomerRequest;
use quintile_proto::lifecycle::DeliveryState;
use quintile_proto::types::Purpose;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::metrics;
use quintile_store::history::Position;
use quintile_store::{StoreError, failpoint};
use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;
use tonic::Code;

/// How soon it is looked again.
const SOON: Duration = Duration::from_millis(20);

/// Sends without end.
pub async fn send(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut progress = playbooks.runtime.progress.of(tenant.id).subscribe();
    let mut sending = FuturesUnordered::new();
    // By endpoint and message.
    let mut on_the_way: HashSet<(&str, CustomerId, Position)> = HashSet::new();
    let mut unreachable: HashSet<String> = HashSet::new();
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
            let endpoint = playbooks.endpoints.of(&tenant.name, name);
            let Some(endpoint) = endpoint.filter(|endpoint| taken < endpoint.at_once()) else { continue };
            let (database, now) = (playbooks.runtime.database.reader(), playbooks.clock.now());
            // Those that are on their way are due too.
            for stored in deliveries::due(database, tenant.id, name, now, endpoint.at_once() as u64).await? {
                if on_the_way.insert((name, stored.customer, stored.made)) {
                    sending.push(attempt(playbooks, tenant, endpoint, stored));
                }
            }
        }
        let places = names.iter().filter_map(|name| playbooks.endpoints.of(&tenant.name, name)).map(Endpoint::at_once);
        let has_places = on_the_way.len() < places.sum();
        tokio::select! {
            Some(sent) = sending.next(), if !sending.is_empty() => {
                let (endpoint, stored, attempt) = sent?;
                note_reach(tenant, &stored.body.endpoint, attempt, &mut unreachable);
                write_down(playbooks, tenant, endpoint, &stored, attempt).await?;
                on_the_way.retain(|(_, customer, made)| (*customer, *made) != (stored.customer, stored.made));
            }
            // Commits may come by the hundred: one look is for all of them.
            _ = progress.changed(), if has_places => tokio::time::sleep(SOON).await,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Tells whoever runs the suite when an endpoint can't be reached or logged into, and when it can again: once, and nothing of whom it was for.
fn note_reach(tenant: &Tenant, endpoint: &str, attempt: Attempt, unreachable: &mut HashSet<String>) {
    match attempt {
        Attempt::Failed(status @ (0 | 530..=538)) if unreachable.insert(endpoint.to_owned()) => {
            tracing::warn!(
                tenant = tenant.name,
                endpoint,
                status,
                "an endpoint of playbooks can't be reached or logged into"
            );
        }
        Attempt::Delivered(_) if unreachable.remove(endpoint) => {
            tracing::info!(tenant = tenant.name, endpoint, "an endpoint of playbooks is reached again");
        }
        _ => {}
    }
}

async fn attempt<'a>(
    playbooks: &Playbooks,
    tenant: &Tenant,
    endpoint: &'a Endpoint,
    stored: Stored,
) -> Result<(&'a Endpoint, Stored, Attempt), StoreError> {
    let id = message_id(tenant, stored.made);
    let attempt = match &endpoint.way {
        // A name that another kind of endpoint has now.
        _ if endpoint.kind() != stored.kind() => Attempt::Failed(0),
        Way::Webhook(webhook) => {
            let payload = granted::event_with_codes(playbooks, tenant, &stored).await?;
            let outbound = &playbooks.endpoints.outbound;
            webhook.call(outbound, &id, payload, playbooks.clock.now()).await
        }
        Way::Mail(mail) => write_to(playbooks, tenant, mail, &id, &stored).await?,
    };
    Ok((endpoint, stored, attempt))
}

/// Writes to a customer, at the address that it has now, if it still permits that, and what it is told of can still be redeemed.
async fn write_to(
    playbooks: &Playbooks,
    tenant: &Tenant,
    mail: &Mail,
    id: &str,
    stored: &Stored,
) -> Result<Attempt, StoreError> {
    let Ok(Email { purpose, text: Some(mut text), grant }) = Email::decode(&*stored.payload) else {
        return Ok(Attempt::Refused(0));
    };
    let message = GetCustomerRequest { name: stored.customer.to_string() };
    let Ok(mut request) = playbooks.credentials.request(&tenant.name, message).await else {
        return Ok(Attempt::Failed(0));
    };
    request.set_timeout(CALL_TIMEOUT);
    let customer = match playbooks.customers().get_customer(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(Attempt::Withdrawn),
        Err(_) => return Ok(Attempt::Failed(0)),
    };
    let attributes = customer.attributes.unwrap_or_default();
    let purpose = Purpose::try_from(purpose).ok().filter(|purpose| *purpose != Purpose::Unspecified);
    let is_permitted = permits(&attributes, purpose.unwrap_or(Purpose::Marketing));
    // Who was merged into somebody else is not written to again: that one may have a run of its own.
    if customer.name != stored.customer.to_string() || !is_permitted {
        return Ok(Attempt::Withdrawn);
    }
    if let Some(grant) = &grant {
        let told = granted::text_with_code(playbooks, tenant, stored.customer, (&text, grant)).await?;
        let Some(told) = told else { return Ok(Attempt::Withdrawn) };
        text = told;
    }
    let Some(address) = customer.email.filter(|email| !email.is_empty()) else { return Ok(Attempt::NoAddress) };
    let written = emails::write(&text, customer.display_name.as_deref());
    Ok(mail.send(id, &address, written, playbooks.clock.now()).await)
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
        (Attempt::NoAddress, DeliveryState::Waiting) => (DeliveryState::NoAddress, None),
        (Attempt::Withdrawn, DeliveryState::Waiting) => (DeliveryState::Cancelled, None),
        (Attempt::Failed(_), DeliveryState::Waiting) if again.is_some() => (DeliveryState::Waiting, again),
        (_, DeliveryState::Waiting) => (DeliveryState::Failed, None),
        (_, state) => (state, None),
    };
    let outcome = match held.state {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Waiting => "retried",
        DeliveryState::Failed => "failed",
        _ => "withdrawn",
    };
    if matches!(held.state, DeliveryState::Delivered | DeliveryState::Cancelled) {
        held.payload.clear();
    }
    deliveries::write(&transaction, tenant.id, &[held]).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    count(endpoint, outcome);
    Ok(())
}

/// Counts what came of an attempt.
fn count(endpoint: &Endpoint, outcome: &'static str) {
    static ATTEMPTS: LazyLock<Counter<u64>> = LazyLock::new(|| metrics::DELIVERIES.counter());
    let kind = match endpoint.way {
        Way::Webhook(_) => "webhook",
        Way::Mail(_) => "mail",
    };
    ATTEMPTS.add(1, &[KeyValue::new("kind", kind), KeyValue::new("outcome", outcome)]);
}
