//! Loyalty tiers: made, changed and deleted, and who is in which.

use super::offers::{id_in as offer_id_in, refused};
use super::records::{current, hold};
use super::update_mask::paths;
use crate::granting::{Codes, Grantee, Granting, Wanted};
use crate::offers::tiers::{LOYALTY_TIERS, check as check_tier};
use crate::store::loyalty::{self, Change, KEPT, Stored, tier_of};
use crate::store::{deliveries, offers};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::{page, store_error};
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::names;
use quintile_proto::lifecycle::loyalty_service_server::LoyaltyService;
use quintile_proto::lifecycle::{
    ClearCustomerTierRequest, CreateLoyaltyTierRequest, CustomerTier, DeleteLoyaltyTierRequest,
    DeleteLoyaltyTierResponse, GetCustomerTierRequest, GetLoyaltyTierRequest, ListLoyaltyTiersRequest,
    ListLoyaltyTiersResponse, ListTierChangesRequest, ListTierChangesResponse, LoyaltyTier, SetCustomerTierRequest,
    UpdateLoyaltyTierRequest,
};
use quintile_rpc::caller::View;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::history::Position;
use quintile_store::{StoreError, Transaction};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::Request;

/// The most tiers of a tenant.
const MAX_TIERS: usize = 50;
/// What an update may change.
const CHANGEABLE: [&str; 4] = ["rank", "texts", "offers", "valid_days"];
/// The part of a customer that says in which tier it is.
const OF_CUSTOMER: &str = "loyaltyTier";

/// The handlers.
pub struct Loyalty {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
    pub clock: MachineClock,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

/// The id in the name of a tier.
fn id_in<'a>(field: &str, name: &'a str) -> Result<&'a str, ApiError> {
    let id = name.strip_prefix(LOYALTY_TIERS).filter(|id| names::resource_id(id).is_ok());
    id.ok_or_else(|| ApiError::invalid_field(field, "must be loyaltyTiers/{id}"))
}

/// Refuses a tier that makes no sense.
fn check(tier: &LoyaltyTier) -> Result<(), ApiError> {
    check_tier(tier).map_err(|problem| ApiError::invalid_field(format!("tier.{}", problem.field), problem.problem))
}

/// Refuses a tier whose rank is another's, or whose offers are not there.
async fn check_beside(
    transaction: &Transaction,
    tenant: TenantId,
    all: &[Stored],
    tier: &LoyaltyTier,
    number: i64,
) -> Result<(), ApiError> {
    if all.iter().any(|other| other.number != number && other.tier.rank == tier.rank) {
        return Err(ApiError::already_exists("loyalty tier of this rank"));
    }
    let ids = tier.offers.iter().map(|name| offer_id_in("tier.offers", name).map(str::to_owned));
    let ids = ids.collect::<Result<BTreeSet<String>, _>>()?;
    if offers::some(transaction, tenant, &ids, false).await.map_err(failed)?.len() == ids.len() {
        return Ok(());
    }
    Err(refused("an offer that it names is not there"))
}

impl Loyalty {
    /// Begins a change of a tenant's tiers: its transaction and its number, and the tiers.
    async fn begin(&self, tenant: TenantId) -> Result<(Transaction, i64, Vec<Stored>), ApiError> {
        let begun = async {
            let transaction = self.runtime.database.begin().await?;
            let revision = offers::begin_change(&transaction, tenant).await?;
            let all = loyalty::all(&transaction, tenant).await?;
            Ok((transaction, revision, all))
        };
        begun.await.map_err(|error: StoreError| failed(error))
    }

    async fn create(&self, tenant: TenantId, id: &str, content: LoyaltyTier) -> Result<Stored, ApiError> {
        let (transaction, revision, all) = self.begin(tenant).await?;
        if all.iter().any(|other| other.id() == id) {
            return Err(ApiError::already_exists("loyalty tier"));
        }
        if all.len() >= MAX_TIERS {
            return Err(refused(format!("there are {MAX_TIERS} loyalty tiers already")));
        }
        check_beside(&transaction, tenant, &all, &content, revision).await?;
        let stored = Stored::new(id, revision, content, self.clock.now());
        loyalty::write(&transaction, tenant, &stored).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(stored)
    }

    /// The customer that a name is of, and the caller's view of it.
    async fn reached(&self, caller: &Caller, name: &str) -> Result<(CustomerId, View), ApiError> {
        let customer = convert::customer("name", name, Some(OF_CUSTOMER))?;
        Ok((customer, current(&self.runtime, &self.link, caller, customer).await?.view))
    }

    /// Has a customer come into a tier, or out of whichever it is in.
    async fn put(&self, caller: &Caller, name: &str, tier: Option<&str>) -> Answer<CustomerTier> {
        let (customer, view) = self.reached(caller, name).await?;
        caller.is_about(name);
        let (tenant, now) = (caller.tenant(), self.runtime.business.now());
        let codes = Codes::of(&self.runtime.keys, tenant.id).await.map_err(failed)?;
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        hold(&transaction, caller, customer).await?;
        let seq = deliveries::next_seq(&transaction, tenant.id).await.map_err(failed)?;
        let wanted = Wanted {
            customers: vec![customer.as_i64()],
            tiers: tier.map(str::to_owned).into_iter().collect(),
            moves: true,
            ..Wanted::default()
        };
        let granting = Granting::begin(&transaction, tenant, codes, (seq, now), wanted).await;
        let mut granting = granting.map_err(failed)?;
        let to = Grantee { customer, playbook: "", run: "", step: 0, subject: caller.subject() };
        if let Some(tier) = tier {
            // What the customer does not get of the tier's offers it has already, or nobody gets.
            // Into one that is there it comes, be it a lower one.
            granting.put(to, tier, true).map_err(|_| ApiError::not_found())?;
        } else {
            let before = tier_of(customer, granting.last_change(customer), granting.tiers(), now);
            if before.tier.is_empty() {
                return Ok(view.respond(before));
            }
            granting.take_out(to);
        }
        let after = tier_of(customer, granting.last_change(customer), granting.tiers(), now);
        granting.write(&transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(view.respond(after))
    }
}

#[tonic::async_trait]
impl LoyaltyService for Loyalty {
    async fn create_loyalty_tier(&self, request: Request<CreateLoyaltyTierRequest>) -> Answer<LoyaltyTier> {
        let caller = Caller::of(&request)?;
        let CreateLoyaltyTierRequest { loyalty_tier_id: id, tier } = request.into_inner();
        names::resource_id(&id).map_err(|error| ApiError::invalid_text("loyalty_tier_id", error))?;
        let content = tier.ok_or_else(|| ApiError::invalid_field("tier", "is required"))?;
        check(&content)?;
        caller.is_about(format!("{LOYALTY_TIERS}{id}"));
        let stored = self.create(caller.tenant().id, &id, content).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn get_loyalty_tier(&self, request: Request<GetLoyaltyTierRequest>) -> Answer<LoyaltyTier> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", &request.get_ref().name)?;
        let found = loyalty::get(self.runtime.database.reader(), caller.tenant().id, id).await.map_err(failed)?;
        Ok(caller.respond(found.ok_or_else(ApiError::not_found)?.message()))
    }

    async fn list_loyalty_tiers(&self, request: Request<ListLoyaltyTiersRequest>) -> Answer<ListLoyaltyTiersResponse> {
        let caller = Caller::of(&request)?;
        let ListLoyaltyTiersRequest { page_size, page_token } = request.into_inner();
        let (tenant, sealer) = (caller.tenant().id, &self.runtime.sealer);
        let size = convert::page_size(page_size, MAX_TIERS as u64, MAX_TIERS as u64)?;
        let query = "ListLoyaltyTiers";
        let decode = |bytes: Vec<u8>| bytes.try_into().map(i32::from_be_bytes).ok();
        let behind = page::begin(sealer, tenant, query, &page_token, 0, decode)?;
        let all = loyalty::all(self.runtime.database.reader(), tenant).await.map_err(failed)?;
        let rest: Vec<_> = all.iter().filter(|stored| stored.tier.rank > behind).collect();
        let read = &rest[..rest.len().min(size as usize)];
        let last = read.last().filter(|_| read.len() < rest.len());
        let rank = last.map(|last| last.tier.rank.to_be_bytes());
        let next_page_token = rank.map(|rank| sealer.seal(tenant, query.as_bytes(), &rank)).unwrap_or_default();
        let tiers = read.iter().map(|stored| stored.message()).collect();
        Ok(caller.respond(ListLoyaltyTiersResponse { tiers, next_page_token }))
    }

    async fn update_loyalty_tier(&self, request: Request<UpdateLoyaltyTierRequest>) -> Answer<LoyaltyTier> {
        let caller = Caller::of(&request)?;
        let UpdateLoyaltyTierRequest { tier, update_mask } = request.into_inner();
        let asked = tier.ok_or_else(|| ApiError::invalid_field("tier", "is required"))?;
        let id = id_in("tier.name", &asked.name)?;
        let paths = paths(update_mask, &CHANGEABLE)?;
        caller.is_about(&asked.name);
        let tenant = caller.tenant().id;
        let (transaction, revision, all) = self.begin(tenant).await?;
        let stored = all.iter().find(|stored| stored.id() == id).cloned();
        let mut stored = stored.ok_or_else(ApiError::not_found)?;
        if !asked.etag.is_empty() && asked.etag != stored.etag() {
            return Err(ApiError::stale_etag().into());
        }
        for path in &paths {
            match path.as_str() {
                "rank" => stored.tier.rank = asked.rank,
                "texts" => stored.tier.texts.clone_from(&asked.texts),
                "offers" => stored.tier.offers.clone_from(&asked.offers),
                _ => stored.tier.valid_days = asked.valid_days,
            }
        }
        check(&stored.tier)?;
        check_beside(&transaction, tenant, &all, &stored.tier, stored.number).await?;
        stored.tier.update_time = Some(convert::timestamp(self.clock.now()));
        stored.revision = revision;
        loyalty::write(&transaction, tenant, &stored).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(stored.message()))
    }

    async fn delete_loyalty_tier(
        &self,
        request: Request<DeleteLoyaltyTierRequest>,
    ) -> Answer<DeleteLoyaltyTierResponse> {
        let caller = Caller::of(&request)?;
        let DeleteLoyaltyTierRequest { name, etag } = request.into_inner();
        let id = id_in("name", &name)?;
        caller.is_about(&name);
        let tenant = caller.tenant().id;
        let (transaction, _, all) = self.begin(tenant).await?;
        let stored = all.iter().find(|stored| stored.id() == id).ok_or_else(ApiError::not_found)?;
        if !etag.is_empty() && etag != stored.etag() {
            return Err(ApiError::stale_etag().into());
        }
        loyalty::delete(&transaction, tenant, stored).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(DeleteLoyaltyTierResponse {}))
    }

    async fn get_customer_tier(&self, request: Request<GetCustomerTierRequest>) -> Answer<CustomerTier> {
        let caller = Caller::of(&request)?;
        let (customer, view) = self.reached(&caller, &request.get_ref().name).await?;
        let (tenant, database) = (caller.tenant().id, self.runtime.database.reader());
        let last = loyalty::page(database, tenant, customer, Position::END, 1).await.map_err(failed)?;
        let tiers = loyalty::all(database, tenant).await.map_err(failed)?;
        Ok(view.respond(tier_of(customer, last.first(), &tiers, self.runtime.business.now())))
    }

    async fn list_tier_changes(&self, request: Request<ListTierChangesRequest>) -> Answer<ListTierChangesResponse> {
        let caller = Caller::of(&request)?;
        let ListTierChangesRequest { parent, page_size, page_token } = request.into_inner();
        let customer = convert::customer("parent", &parent, None)?;
        let size = convert::page_size(page_size, KEPT as u64, KEPT as u64)?;
        let view = current(&self.runtime, &self.link, &caller, customer).await?.view;
        let (tenant, sealer) = (caller.tenant().id, &self.runtime.sealer);
        let query = format!("ListTierChanges {customer}");
        let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
        let end = page::begin(sealer, tenant, &query, &page_token, Position::END, decode)?;
        let read = loyalty::page(self.runtime.database.reader(), tenant, customer, end, size).await.map_err(failed)?;
        let last = read.last().filter(|_| read.len() as u64 == size).map(|last| last.made.to_bytes());
        let next_page_token = last.map(|last| sealer.seal(tenant, query.as_bytes(), &last)).unwrap_or_default();
        let changes = read.into_iter().map(Change::named).collect();
        Ok(view.respond(ListTierChangesResponse { changes, next_page_token }))
    }

    async fn set_customer_tier(&self, request: Request<SetCustomerTierRequest>) -> Answer<CustomerTier> {
        let caller = Caller::of(&request)?;
        let SetCustomerTierRequest { name, tier } = request.into_inner();
        convert::customer("name", &name, Some(OF_CUSTOMER))?;
        id_in("tier", &tier)?;
        self.put(&caller, &name, Some(&tier)).await
    }

    async fn clear_customer_tier(&self, request: Request<ClearCustomerTierRequest>) -> Answer<CustomerTier> {
        let caller = Caller::of(&request)?;
        self.put(&caller, &request.get_ref().name, None).await
    }
}
