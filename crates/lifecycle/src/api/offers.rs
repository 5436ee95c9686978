//! Offers: made, changed and ended, and how much use is made of them.

use super::grants;
use super::reached::Reached;
use super::update_mask::paths;
use crate::offers::{self as definitions, OFFERS, state_at};
use crate::playbooks::{offers_of, tiers_of};
use crate::store::grants::{self as grants_store, Wanted};
use crate::store::loyalty;
use crate::store::offers::{self, Stored};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::{page, store_error};
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::names;
use quintile_proto::lifecycle::offer_service_server::OfferService;
use quintile_proto::lifecycle::{
    CreateOfferRequest, GetGrantRequest, GetOfferRequest, GetOfferUseRequest, Grant, GrantOfferRequest, GrantState,
    ListGrantsRequest, ListGrantsResponse, ListOffersRequest, ListOffersResponse, Offer, OfferState, OfferUse,
    Playbook, RedeemGrantRequest, RetireOfferRequest, RevokeGrantRequest, UpdateOfferRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::lookups::Lookups;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::history::Position;
use quintile_store::{StoreError, Transaction};
use std::sync::Arc;
use tonic::Request;

/// The most offers of a tenant.
const MAX_OFFERS: u64 = 1_000;
/// Grants that are counted at once.
const COUNTED: u64 = 5_000;
/// What an update may change.
const CHANGEABLE: [&str; 5] = ["texts", "valid_days", "max_grants", "max_per_customer", "state"];

/// The handlers.
pub struct Offers {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
    pub clock: MachineClock,
    /// The codes that were tried.
    pub lookups: Lookups,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

/// Refuses what the state of things does not allow.
pub fn refused(problem: impl Into<String>) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}

/// The id in the name of an offer.
pub fn id_in<'a>(field: &str, name: &'a str) -> Result<&'a str, ApiError> {
    let id = name.strip_prefix(OFFERS).filter(|id| names::resource_id(id).is_ok());
    id.ok_or_else(|| ApiError::invalid_field(field, "must be offers/{id}"))
}

/// Refuses an offer that makes no sense.
fn check(offer: &Offer, tenant: &Tenant) -> Result<(), ApiError> {
    definitions::check(offer, tenant.currency)
        .map_err(|problem| ApiError::invalid_field(format!("offer.{}", problem.field), problem.problem))
}

/// An offer, for somebody who knows its etag, or any.
async fn find(transaction: &Transaction, tenant: TenantId, id: &str, etag: &str) -> Result<Stored, ApiError> {
    let stored = offers::get(transaction, tenant, id).await.map_err(failed)?.ok_or_else(ApiError::not_found)?;
    if etag.is_empty() || etag == stored.etag() { Ok(stored) } else { Err(ApiError::stale_etag()) }
}

/// An offer with what an update changes of it.
fn changed(offer: &Offer, asked: &Offer, paths: &[String]) -> Result<Offer, ApiError> {
    let mut changed = offer.clone();
    for path in paths {
        match path.as_str() {
            "texts" => changed.texts.clone_from(&asked.texts),
            "valid_days" => changed.valid_days = asked.valid_days,
            "max_grants" => changed.max_grants = asked.max_grants,
            "max_per_customer" => changed.max_per_customer = asked.max_per_customer,
            _ if matches!(asked.state(), OfferState::Active | OfferState::Paused) => changed.state = asked.state,
            _ => {
                let problem = "must be OFFER_STATE_ACTIVE or OFFER_STATE_PAUSED";
                return Err(ApiError::invalid_field("offer.state", problem));
            }
        }
    }
    Ok(changed)
}

/// Refuses a playbook that grants what is not there, or is granted to nobody.
pub async fn check_there(runtime: &Runtime, tenant: TenantId, playbook: &Playbook) -> Result<(), ApiError> {
    let database = runtime.database.reader();
    for name in offers_of(playbook) {
        let found = offers::get(database, tenant, id_in("offer", name)?).await.map_err(failed)?;
        if found.is_none_or(|stored| stored.offer.state() != OfferState::Active) {
            return Err(refused(format!("{name} is not there, or is not active")));
        }
    }
    let wanted = tiers_of(playbook);
    if wanted.is_empty() {
        return Ok(());
    }
    let tiers = loyalty::all(database, tenant).await.map_err(failed)?;
    let is_there = |name: &&str| tiers.iter().any(|stored| stored.tier.name == *name);
    wanted.iter().find(|name| !is_there(name)).map_or(Ok(()), |name| Err(refused(format!("{name} is not there"))))
}

impl Offers {
    /// Begins a change of a tenant's offers: its transaction and its number.
    async fn begin(&self, tenant: TenantId) -> Result<(Transaction, i64), ApiError> {
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let revision = offers::begin_change(&transaction, tenant).await.map_err(failed)?;
        Ok((transaction, revision))
    }

    async fn create(&self, tenant: TenantId, id: &str, content: Offer) -> Result<Stored, ApiError> {
        let (transaction, revision) = self.begin(tenant).await?;
        if offers::get(&transaction, tenant, id).await.map_err(failed)?.is_some() {
            return Err(ApiError::already_exists("offer"));
        }
        if offers::count(&transaction, tenant).await.map_err(failed)? >= MAX_OFFERS {
            return Err(refused(format!("there are {MAX_OFFERS} offers already")));
        }
        let stored = Stored::active(id, revision, content, self.clock.now());
        self.write(transaction, tenant, &stored).await?;
        Ok(stored)
    }

    async fn write(&self, transaction: Transaction, tenant: TenantId, stored: &Stored) -> Result<(), ApiError> {
        offers::write(&transaction, tenant, stored).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// What was granted of an offer to those whom a caller reaches.
    async fn count(&self, caller: &Caller, stored: &Stored) -> Result<OfferUse, ApiError> {
        let (tenant, now) = (caller.tenant().id, self.runtime.business.now());
        let name = stored.offer.name.clone();
        if caller.scope().is_none() {
            let counted = grants_store::count_of(self.runtime.database.reader(), tenant, stored.number, now).await;
            return Ok(OfferUse { name, ..counted.map_err(failed)? });
        }
        let wanted = Wanted { customer: None, offer: Some(stored.number), states: Vec::new() };
        let mut of_offer = OfferUse { name, ..OfferUse::default() };
        let mut end = Position::END;
        loop {
            let database = self.runtime.database.reader();
            let read = grants_store::page(database, tenant, &wanted, now, end, COUNTED).await.map_err(failed)?;
            let is_last = (read.len() as u64) < COUNTED;
            end = read.last().map_or(end, |(end, _)| *end);
            let grants: Vec<_> = read.into_iter().map(|(_, stored)| stored).collect();
            let reached = Reached::of(&self.runtime, caller, &grants).await?;
            for stored in grants.iter().filter(|stored| reached.has(stored.customer)) {
                of_offer.granted += 1;
                match state_at(stored.state, stored.expires_at, now) {
                    GrantState::Open => of_offer.open += 1,
                    GrantState::Redeemed => of_offer.redeemed += 1,
                    GrantState::Expired => of_offer.expired += 1,
                    GrantState::Revoked => of_offer.revoked += 1,
                    GrantState::Unspecified => {}
                }
            }
            if is_last {
                return Ok(of_offer);
            }
        }
    }
}

#[tonic::async_trait]
impl OfferService for Offers {
    async fn create_offer(&self, request: Request<CreateOfferRequest>) -> Answer<Offer> {
        let caller = Caller::of(&request)?;
        let CreateOfferRequest { offer_id, offer } = request.into_inner();
        names::resource_id(&offer_id).map_err(|error| ApiError::invalid_text("offer_id", error))?;
        let content = offer.ok_or_else(|| ApiError::invalid_field("offer", "is required"))?;
        check(&content, caller.tenant())?;
        caller.is_about(format!("{OFFERS}{offer_id}"));
        let stored = self.create(caller.tenant().id, &offer_id, content).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn get_offer(&self, request: Request<GetOfferRequest>) -> Answer<Offer> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", &request.get_ref().name)?;
        let found = offers::get(self.runtime.database.reader(), caller.tenant().id, id).await.map_err(failed)?;
        Ok(caller.respond(found.ok_or_else(ApiError::not_found)?.message()))
    }

    async fn list_offers(&self, request: Request<ListOffersRequest>) -> Answer<ListOffersResponse> {
        let caller = Caller::of(&request)?;
        let ListOffersRequest { page_size, page_token } = request.into_inner();
        let (tenant, sealer) = (caller.tenant().id, &self.runtime.sealer);
        let size = convert::page_size(page_size, 50, 200)?;
        let query = "ListOffers";
        let decode = |bytes| String::from_utf8(bytes).ok();
        let behind = page::begin(sealer, tenant, query, &page_token, String::new(), decode)?;
        let read = offers::page(self.runtime.database.reader(), tenant, &behind, size).await.map_err(failed)?;
        let last = read.last().filter(|_| read.len() as u64 == size);
        let id = last.map(|last| last.id().as_bytes());
        let next_page_token = id.map(|id| sealer.seal(tenant, query.as_bytes(), id)).unwrap_or_default();
        let offers = read.iter().map(Stored::message).collect();
        Ok(caller.respond(ListOffersResponse { offers, next_page_token }))
    }

    async fn update_offer(&self, request: Request<UpdateOfferRequest>) -> Answer<Offer> {
        let caller = Caller::of(&request)?;
        let UpdateOfferRequest { offer, update_mask } = request.into_inner();
        let asked = offer.ok_or_else(|| ApiError::invalid_field("offer", "is required"))?;
        let (name, etag) = (asked.name.clone(), asked.etag.clone());
        let id = id_in("offer.name", &name)?;
        let paths = paths(update_mask, &CHANGEABLE)?;
        caller.is_about(&name);
        let tenant = caller.tenant();
        let (transaction, revision) = self.begin(tenant.id).await?;
        let mut stored = find(&transaction, tenant.id, id, &etag).await?;
        if stored.offer.state() == OfferState::Retired {
            return Err(refused("it is retired").into());
        }
        stored.offer = changed(&stored.offer, &asked, &paths)?;
        check(&stored.offer, tenant)?;
        stored.offer.update_time = Some(convert::timestamp(self.clock.now()));
        stored.revision = revision;
        self.write(transaction, tenant.id, &stored).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn retire_offer(&self, request: Request<RetireOfferRequest>) -> Answer<Offer> {
        let caller = Caller::of(&request)?;
        let RetireOfferRequest { name, etag } = request.into_inner();
        let id = id_in("name", &name)?;
        caller.is_about(&name);
        let tenant = caller.tenant().id;
        let (transaction, revision) = self.begin(tenant).await?;
        let mut stored = find(&transaction, tenant, id, &etag).await?;
        if stored.offer.state() != OfferState::Retired {
            stored.offer.state = OfferState::Retired.into();
            stored.offer.update_time = Some(convert::timestamp(self.clock.now()));
            stored.revision = revision;
            self.write(transaction, tenant, &stored).await?;
        }
        Ok(caller.respond(stored.message()))
    }

    async fn get_offer_use(&self, request: Request<GetOfferUseRequest>) -> Answer<OfferUse> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", &request.get_ref().name)?;
        let found = offers::get(self.runtime.database.reader(), caller.tenant().id, id).await.map_err(failed)?;
        let counted = self.count(&caller, &found.ok_or_else(ApiError::not_found)?).await?;
        Ok(caller.respond(counted))
    }

    async fn grant_offer(&self, request: Request<GrantOfferRequest>) -> Answer<Grant> {
        let caller = Caller::of(&request)?;
        grants::grant(self, &caller, request.into_inner()).await
    }

    async fn get_grant(&self, request: Request<GetGrantRequest>) -> Answer<Grant> {
        let caller = Caller::of(&request)?;
        grants::get(self, &caller, &request.get_ref().name).await
    }

    async fn list_grants(&self, request: Request<ListGrantsRequest>) -> Answer<ListGrantsResponse> {
        let caller = Caller::of(&request)?;
        grants::list(self, &caller, request.into_inner()).await
    }

    async fn redeem_grant(&self, request: Request<RedeemGrantRequest>) -> Answer<Grant> {
        let caller = Caller::of(&request)?;
        grants::redeem(self, &caller, request.into_inner()).await
    }

    async fn revoke_grant(&self, request: Request<RevokeGrantRequest>) -> Answer<Grant> {
        let caller = Caller::of(&request)?;
        grants::revoke(self, &caller, &request.get_ref().name).await
    }
}
