//! Grants of offers: made by hand, listed, redeemed and revoked.

use super::offers::{Offers, id_in, refused};
use super::reached::{self, Page, check_numbers};
use super::records::{current, hold};
use crate::granting::{Codes, Grantee, Granting, Wanted as Granted};
use crate::offers::{codes, state_at};
use crate::store::grants::{self, Stored, Wanted};
use crate::store::{deliveries, offers};
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Sensitivity;
use quintile_domain::names;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{
    Grant, GrantOfferRequest, GrantState, ListGrantsRequest, ListGrantsResponse, RedeemGrantRequest, StepSkipReason,
};
use quintile_rpc::caller::View;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::history::Position;
use quintile_store::idempotency::Request as IdempotentRequest;
use quintile_store::{StoreError, Transaction, failpoint, idempotency};

/// The most bytes of the id of an order.
const MAX_ORDER_BYTES: usize = 256;

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

/// Why an offer is not granted, in words.
fn not_granted(reason: StepSkipReason) -> ApiError {
    refused(match reason {
        StepSkipReason::OfferExhausted => "the offer was granted as often as it may be",
        StepSkipReason::OfferHeld => "the customer has as many open grants of the offer as it may have",
        _ => "the offer is not active",
    })
}

async fn codes_of(offers: &Offers, caller: &Caller) -> Result<Codes, ApiError> {
    Codes::of(&offers.runtime.keys, caller.tenant().id).await.map_err(failed)
}

/// Grants an offer.
pub async fn grant(service: &Offers, caller: &Caller, request: GrantOfferRequest) -> Answer<Grant> {
    let body = GrantOfferRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
    let GrantOfferRequest { parent, offer, request_id } = request;
    let customer = convert::customer("parent", &parent, None)?;
    let offer_id = id_in("offer", &offer)?;
    if !request_id.is_empty() && uuid::Uuid::try_parse(&request_id).is_err() {
        return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
    }
    caller.is_about(&parent);
    let view = current(&service.runtime, &service.link, caller, customer).await?.view;
    let codes = codes_of(service, caller).await?;
    let (tenant, now) = (caller.tenant(), service.runtime.business.now());
    let transaction = service.runtime.database.begin().await.map_err(failed)?;
    hold(&transaction, caller, customer).await?;
    // Taken before the offer, as whoever goes on with runs does: two who wait for each other would wait for ever.
    let seq = deliveries::next_seq(&transaction, tenant.id).await.map_err(failed)?;
    let known = IdempotentRequest { tenant: tenant.id, method: "GrantOffer", id: &request_id, body: &body };
    if !request_id.is_empty()
        && let Some(earlier) = idempotency::earlier_result(&transaction, known).await.map_err(failed)?
    {
        let (customer, made) = reached::parse_name("parent", &earlier, "grants")?;
        let made = grants::get(&transaction, tenant.id, customer, made).await.map_err(failed)?;
        return Ok(view.respond(codes.message(&made.ok_or_else(ApiError::not_found)?, now)));
    }
    if offers::get(&transaction, tenant.id, offer_id).await.map_err(failed)?.is_none() {
        return Err(ApiError::not_found().into());
    }
    let wanted =
        Granted { customers: vec![customer.as_i64()], offers: [offer_id.to_owned()].into(), ..Granted::default() };
    let granting = Granting::begin(&transaction, tenant, codes.clone(), (seq, now), wanted).await;
    let mut granting = granting.map_err(failed)?;
    let to = Grantee { customer, playbook: "", run: "", step: 0, subject: caller.subject() };
    let stored = granting.grant(to, &offer).map_err(not_granted)?;
    granting.write(&transaction).await.map_err(failed)?;
    if !request_id.is_empty() {
        let remembered = idempotency::remember(&transaction, known, &stored.name(), service.clock.now()).await;
        remembered.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(view.respond(codes.message(&stored, now)))
}

/// A grant.
pub async fn get(service: &Offers, caller: &Caller, name: &str) -> Answer<Grant> {
    let (customer, made) = reached::parse_name("name", name, "grants")?;
    let view = current(&service.runtime, &service.link, caller, customer).await?.view;
    let codes = codes_of(service, caller).await?;
    let found = grants::get(service.runtime.database.reader(), caller.tenant().id, customer, made).await;
    let found = found.map_err(failed)?.ok_or_else(ApiError::not_found)?;
    Ok(view.respond(codes.message(&found, service.runtime.business.now())))
}

/// A page of grants.
pub async fn list(service: &Offers, caller: &Caller, request: ListGrantsRequest) -> Answer<ListGrantsResponse> {
    let ListGrantsRequest { parent, offer, states, page_size, page_token } = request;
    let customer = reached::parse_parent(&parent)?;
    let offer_id = if offer.is_empty() { None } else { Some(id_in("offer", &offer)?) };
    check_numbers::<GrantState>("states", &states)?;
    let size = convert::page_size(page_size, 100, 1_000)?;
    if let Some(customer) = customer {
        current(&service.runtime, &service.link, caller, customer).await?;
    }
    let (tenant, sealer, database) = (caller.tenant().id, &service.runtime.sealer, service.runtime.database.reader());
    let offer = match offer_id {
        Some(id) => {
            let found = offers::get(database, tenant, id).await.map_err(failed)?;
            Some(found.ok_or_else(ApiError::not_found)?.number)
        }
        None => None,
    };
    let (wanted, now) = (Wanted { customer, offer, states }, service.runtime.business.now());
    let query = format!("ListGrants {wanted:?}");
    let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
    let end = page::begin(sealer, tenant, &query, &page_token, Position::END, decode)?;
    let codes = codes_of(service, caller).await?;
    let read = |end, limit| grants::page(database, tenant, &wanted, now, end, limit);
    let Page { items, view, end } = reached::page(&service.runtime, caller, end, size, read).await?;
    let grants = items.iter().map(|stored| codes.message(stored, now)).collect();
    let next_page_token = end.map(|end| sealer.seal(tenant, query.as_bytes(), &end.to_bytes())).unwrap_or_default();
    Ok(view.respond(ListGrantsResponse { grants, next_page_token }))
}

/// Has somebody end a grant of a customer whom it reaches. `end` tells whether it is another one after it.
async fn end(
    service: &Offers,
    caller: &Caller,
    (customer, made): (CustomerId, Position),
    end: impl FnOnce(&mut Stored, Instant) -> Result<bool, ApiError> + Send,
) -> Answer<Grant> {
    let view: View = current(&service.runtime, &service.link, caller, customer).await?.view;
    let codes = codes_of(service, caller).await?;
    let (tenant, now) = (caller.tenant().id, service.runtime.business.now());
    let transaction: Transaction = service.runtime.database.begin().await.map_err(failed)?;
    let stored = grants::hold(&transaction, tenant, customer, made).await.map_err(failed)?;
    let mut stored = stored.ok_or_else(ApiError::not_found)?;
    caller.is_about(stored.name());
    if end(&mut stored, now)? {
        caller.subject().clone_into(&mut stored.grant.ended_by);
        grants::write(&transaction, tenant, std::slice::from_ref(&stored)).await.map_err(failed)?;
        failpoint::reach("grants", "before_commit").await;
        transaction.commit().await.map_err(failed)?;
    }
    Ok(view.respond(codes.message(&stored, now)))
}

/// The grant that a request names, or the one of its code.
async fn redeemed(
    service: &Offers,
    caller: &Caller,
    request: &RedeemGrantRequest,
) -> Result<(CustomerId, Position), ApiError> {
    match (request.name.as_str(), request.code.as_str()) {
        ("", "") => Err(ApiError::invalid_field("name", "is required, unless the code is given")),
        (name, "") => reached::parse_name("name", name, "grants"),
        ("", written) => {
            // Whoever does not see codes could try them out.
            if !caller.reads_in_clear(Sensitivity::Pseudonym) {
                return Err(ApiError::field_denied("code"));
            }
            // Also when it finds nothing: that somebody tried is what the log is for.
            caller.is_about("grants:code");
            service.lookups.allow(caller, service.clock.now())?;
            let code = codes::read(written);
            let code =
                code.ok_or_else(|| ApiError::invalid_field("code", "must be 16 letters and digits of a code"))?;
            let hash = codes_of(service, caller).await?.hash(&code);
            let found = grants::by_code(service.runtime.database.reader(), caller.tenant().id, &hash).await;
            let found = found.map_err(failed)?.ok_or_else(ApiError::not_found)?;
            Ok((found.customer, found.made))
        }
        _ => Err(ApiError::invalid_field("code", "must be empty where the name is given")),
    }
}

/// Notes that a grant was redeemed.
pub async fn redeem(service: &Offers, caller: &Caller, request: RedeemGrantRequest) -> Answer<Grant> {
    names::required_text(&request.order_id, MAX_ORDER_BYTES)
        .map_err(|error| ApiError::invalid_text("order_id", error))?;
    let of = redeemed(service, caller, &request).await?;
    let order_id = request.order_id;
    let redeem = |stored: &mut Stored, now| match state_at(stored.state, stored.expires_at, now) {
        GrantState::Redeemed if stored.grant.order_id == order_id => Ok(false),
        GrantState::Redeemed => Err(refused("another order has redeemed it")),
        GrantState::Expired => Err(refused("it has expired")),
        GrantState::Revoked | GrantState::Unspecified => Err(refused("it was revoked")),
        GrantState::Open => {
            stored.state = GrantState::Redeemed;
            stored.grant.redeem_time = Some(convert::timestamp(now));
            stored.grant.order_id = order_id;
            Ok(true)
        }
    };
    end(service, caller, of, redeem).await
}

/// Takes a grant back.
pub async fn revoke(service: &Offers, caller: &Caller, name: &str) -> Answer<Grant> {
    let of = reached::parse_name("name", name, "grants")?;
    let revoke = |stored: &mut Stored, now| match state_at(stored.state, stored.expires_at, now) {
        GrantState::Revoked => Ok(false),
        GrantState::Redeemed => Err(refused("it was redeemed")),
        GrantState::Expired | GrantState::Unspecified => Err(refused("it has expired")),
        GrantState::Open => {
            stored.state = GrantState::Revoked;
            stored.grant.revoke_time = Some(convert::timestamp(now));
            Ok(true)
        }
    };
    end(service, caller, of, revoke).await
}
