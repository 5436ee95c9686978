//! Consents and objections.

use crate::Service;
use crate::store::consents::{self, Word};
use crate::store::customers::{self, StoredCustomer};
use crate::store::keys::TenantKeys;
use quintile_chain::store_error;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::Masked;
use quintile_domain::names::required_text;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{ConsentState, CustomerConsents, SetConsentRequest};
use quintile_proto::types::{ErrorReason, Purpose};
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction};
use tonic::Response;

/// The most bytes of how a consent is known.
const MAX_SOURCE_BYTES: usize = 1_024;
/// The most events of an answer.
const MAX_HISTORY: u64 = 1_000;
/// How far ahead of business time a word may be: clocks differ.
const MAX_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

/// Notes a customer's word.
pub async fn set(
    service: &Service,
    caller: &Caller,
    request: SetConsentRequest,
) -> Result<Response<Masked<CustomerConsents>>, ApiError> {
    let id = convert::customer("name", &request.name, None)?;
    caller.is_about(id.to_string());
    let word = check(&request, service.runtime.business.now())?;
    let (transaction, keys, mut customer) = service.alone_with(caller, id).await?;
    let change = async {
        let now = service.clock.now();
        let holds = consents::append(&transaction, caller.tenant().id, &keys, &customer, &word, now).await?;
        if holds && consents::take_over(&mut customer.attributes, word.purpose, word.state) {
            customer.changed(now);
            customers::write(&transaction, caller.tenant().id, &keys, std::slice::from_mut(&mut customer)).await?;
            service.touch(&transaction, caller, &[customer.id.0].into_iter().collect()).await?;
        }
        let answer = answer(&transaction, caller.tenant().id, &keys, &customer).await?;
        transaction.commit().await?;
        service.wake.notify_one();
        Ok::<_, StoreError>(answer)
    };
    let answer = change.await.map_err(|error| store_error(&error))?;
    Ok(caller.view_of_reached([(customer.id, &customer.attributes)]).respond(answer))
}

/// What a customer consents and objects to.
pub async fn get(
    service: &Service,
    caller: &Caller,
    name: &str,
) -> Result<Response<Masked<CustomerConsents>>, ApiError> {
    let id = convert::customer("name", name, None)?;
    let (keys, customer) = service.customer_of(caller, id).await?;
    let reader = service.runtime.database.reader();
    let history = consents::history(reader, caller.tenant().id, &keys, &customer, i64::MAX, MAX_HISTORY).await;
    let history = history.map_err(|error| store_error(&error))?;
    let answer = message(&customer, history.into_iter().map(|(_, event)| event).collect());
    Ok(caller.view_of_reached([(customer.id, &customer.attributes)]).respond(answer))
}

async fn answer(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
) -> Result<CustomerConsents, StoreError> {
    let history = consents::history(transaction, tenant, keys, customer, i64::MAX, MAX_HISTORY).await?;
    Ok(message(customer, history.into_iter().map(|(_, event)| event).collect()))
}

fn message(customer: &StoredCustomer, history: Vec<quintile_proto::ingestion::ConsentEvent>) -> CustomerConsents {
    CustomerConsents {
        name: customer.id.to_string(),
        consents: customer.attributes.consents.clone(),
        objections: customer.attributes.objections.clone(),
        history,
    }
}

fn check(request: &SetConsentRequest, now: Instant) -> Result<Word, ApiError> {
    let purpose = Purpose::try_from(request.purpose).ok().filter(|purpose| *purpose != Purpose::Unspecified);
    let purpose = purpose.ok_or_else(|| ApiError::invalid_field("purpose", "must be one of the purposes"))?;
    let state = ConsentState::try_from(request.state).ok().filter(|state| *state != ConsentState::Unspecified);
    let state = state.ok_or_else(|| ApiError::invalid_field("state", "must be one of the states"))?;
    let at = match &request.event_time {
        None => now,
        Some(time) => convert::instant(Some(time)).map_err(|error| ApiError::invalid_time("event_time", error))?,
    };
    if at > now.plus_micros(MAX_AHEAD_MICROS) {
        return Err(ApiError::invalid("event_time", ErrorReason::InvalidTime, "must be at most 5 minutes ahead"));
    }
    let source = request.source.clone();
    if !source.is_empty() {
        required_text(&source, MAX_SOURCE_BYTES).map_err(|error| ApiError::invalid_text("source", error))?;
    }
    Ok(Word { purpose, state, at, source })
}
