//! Enrolments: somebody puts a customer into a playbook that runs, by hand.

use super::eligibility::{Asked, memberships};
use super::playbook_runs::message;
use super::playbooks::{Handlers, failed, id_in, refused};
use super::reached;
use super::records::{current, hold};
use crate::store::contact_policies;
use crate::store::playbooks::{self, Stored};
use crate::store::runs::{self, Triggered};
use prost::Message;
use quintile_chain::progress::Watermark;
use quintile_proto::lifecycle::{EnrolCustomerRequest, PlaybookRun, RunRefusal};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::Transaction;
use quintile_store::idempotency::{self, Request as IdempotentRequest};

/// Why no run begins, in words.
fn not_begun(refusal: RunRefusal) -> ApiError {
    refused(match refusal {
        RunRefusal::Again => "AGAIN: another run is under way for the customer, or began too lately",
        RunRefusal::Consent => "CONSENT: the customer has not consented, or has objected",
        RunRefusal::Audience => "AUDIENCE: the customer is not in the audience, or the audience is not there any more",
        RunRefusal::Excluded => "EXCLUDED: the customer is excluded, or who is excluded is not known any more",
        RunRefusal::Gone | RunRefusal::Unspecified => {
            "GONE: the customer is restricted, or was merged into another one"
        }
    })
}

/// Refuses to begin a run of a playbook that is another one by now, does not run, or stands still.
async fn check_runs(transaction: &Transaction, caller: &Caller, found: &Stored) -> Result<(), ApiError> {
    let tenant = caller.tenant().id;
    let id = id_in("playbook", &found.playbook.name)?;
    let present = playbooks::get(transaction, tenant, id).await.map_err(failed)?.ok_or_else(ApiError::not_found)?;
    if !present.is_running() {
        return Err(refused("the playbook does not run"));
    }
    if present.revision != found.revision {
        // Who is meant was asked of another one.
        return Err(ApiError::stale_etag());
    }
    if contact_policies::get(transaction, tenant).await.map_err(failed)?.paused {
        return Err(refused("all playbooks stand still"));
    }
    Ok(())
}

/// Puts a customer into a playbook. Whoever goes on with runs decides about the run as about any other; here it is seen beforehand that it would not be
/// refused, so that whoever asks is told why.
pub async fn enrol(service: &Handlers, caller: &Caller, request: EnrolCustomerRequest) -> Answer<PlaybookRun> {
    let body = EnrolCustomerRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
    let EnrolCustomerRequest { parent, playbook, request_id } = request;
    let customer = convert::customer("parent", &parent, None)?;
    let id = id_in("playbook", &playbook)?;
    if !request_id.is_empty() && uuid::Uuid::try_parse(&request_id).is_err() {
        return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
    }
    caller.is_about(&parent);
    let (runtime, tenant) = (&service.runtime, caller.tenant());
    let current = current(runtime, &service.link, caller, customer).await?;
    let found = service.get(tenant.id, id).await?;
    let memberships = memberships(&service.playbooks, caller, customer, std::slice::from_ref(&found)).await?;
    let transaction = runtime.database.begin().await.map_err(failed)?;
    // Of two who enrol it at once the second finds the run of the first.
    hold(&transaction, caller, customer).await?;
    // Of two customers' with one request the second finds the request. Taken behind the customer, as by whatever begins runs of records that it writes: two
    // who wait for each other would wait for ever.
    let seq = runs::next_seq(&transaction, tenant.id).await.map_err(failed)?;
    let known = IdempotentRequest { tenant: tenant.id, method: "EnrolCustomer", id: &request_id, body: &body };
    if !request_id.is_empty()
        && let Some(earlier) = idempotency::earlier_result(&transaction, known).await.map_err(failed)?
    {
        let (customer, position) = reached::parse_name("parent", &earlier, "runs")?;
        let begun = runs::get(&transaction, tenant.id, customer, position).await.map_err(failed)?;
        let begun = begun.ok_or_else(ApiError::not_found)?;
        return Ok(current.view.respond(message(&begun, Some(&playbook), tenant.currency)));
    }
    check_runs(&transaction, caller, &found).await?;
    let runs = runs::of_customers(&transaction, tenant.id, &[customer.as_i64()], false).await.map_err(failed)?;
    let now = runtime.business.now();
    let asked = Asked { customer, record: &current.record, runs: &runs, memberships, now };
    match asked.refusal_by(&found) {
        Some(RunRefusal::Unspecified) => {}
        Some(refusal) => return Err(not_begun(refusal).into()),
        None => return Err(ApiError::field_denied("playbook").into()),
    }
    let triggered = Triggered { customer, playbook: found.number, version: found.playbook.version, at: now };
    let begun = runs::enrol(&transaction, tenant.id, seq, triggered, caller.subject()).await.map_err(failed)?;
    if !request_id.is_empty() {
        let remembered = idempotency::remember(&transaction, known, &begun.name(), service.playbooks.clock.now()).await;
        remembered.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    // Whoever goes on with runs looks at once.
    runtime.progress.of(tenant.id).raise(Watermark::default());
    Ok(current.view.respond(message(&begun, Some(&playbook), tenant.currency)))
}
