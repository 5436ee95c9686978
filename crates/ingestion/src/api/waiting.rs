//! Facts that are taken in and do not count yet, or not wholly.

use super::facts::{place, token};
use crate::Service;
use crate::features::settle;
use crate::store::customers::{self, StoredCustomer};
use crate::store::facts::{self, Key, Reader};
use crate::store::identities;
use crate::store::keys::TenantKeys;
use crate::store::waiting::{self, Unrated};
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Masked;
use quintile_proto::ingestion::{
    CustomerFact, FactKind, ListWaitingFactsRequest, ListWaitingFactsResponse, WaitingFact, WaitingReason,
};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::StoreError;
use std::collections::{BTreeSet, HashMap, HashSet};
use tonic::Response;

/// Subjects with refunds that are looked at at once.
const SUBJECTS_AT_ONCE: u64 = 200;
/// Times that a page looks at most.
const STEPS: usize = 20;

/// Lists facts that wait.
pub async fn list(
    service: &Service,
    caller: &Caller,
    request: &ListWaitingFactsRequest,
) -> Result<Response<Masked<ListWaitingFactsResponse>>, ApiError> {
    let size = convert::page_size(request.page_size, 100, 1_000)?;
    let reason = WaitingReason::try_from(request.reason).unwrap_or_default();
    let (sealer, tenant) = (&service.runtime.sealer, caller.tenant());
    let query = format!("ListWaitingFacts {}", reason as i32);
    let given = &request.page_token;
    let keys = service.keys.of(tenant.id).await.map_err(|error| store_error(&error))?;
    let listing = Listing { service, caller, tenant, keys: &keys, size };
    let found = match reason {
        WaitingReason::NoExchangeRate => {
            let behind = page::begin(sealer, tenant.id, &query, given, Unrated::first(), place)?;
            let found = listing.without_rate(behind).await;
            found.map(|(waiting, next)| (waiting, next.map(|next| token(sealer, tenant.id, &query, &next))))
        }
        WaitingReason::NoPurchase => {
            let behind = page::begin(sealer, tenant.id, &query, given, Key::default(), place)?;
            let found = listing.without_purchase(behind).await;
            found.map(|(waiting, next)| (waiting, next.map(|next| token(sealer, tenant.id, &query, &next))))
        }
        WaitingReason::Unspecified => return Err(ApiError::invalid_field("reason", "must be one of the reasons")),
    };
    let (waiting, next_page_token) = found.map_err(|error| store_error(&error))?;
    let view = caller.view_of_reached(waiting.customers.iter().map(|customer| (customer.id, &customer.attributes)));
    let next_page_token = next_page_token.unwrap_or_default();
    Ok(view.respond(ListWaitingFactsResponse { facts: waiting.facts, next_page_token }))
}

/// Facts that wait, and the customers that they are of.
#[derive(Default)]
struct Waiting {
    facts: Vec<WaitingFact>,
    customers: Vec<StoredCustomer>,
}

struct Listing<'a> {
    service: &'a Service,
    caller: &'a Caller,
    tenant: &'a Tenant,
    keys: &'a TenantKeys,
    size: u64,
}

/// A fact that was found to wait: kind, key, and how much of it waits, in minor units of the base currency.
type Found = (FactKind, Key, Option<i64>);

impl Listing<'_> {
    /// Facts without a rate, by currency and instant.
    async fn without_rate(&self, behind: Unrated) -> Result<(Waiting, Option<Unrated>), StoreError> {
        let connection = self.service.runtime.database.reader();
        let (mut found, next) = waiting::without_rate(connection, self.tenant, behind, self.size).await?;
        // A refund may be converted at the rate of its purchase.
        let refunds = found.iter().filter(|unrated| unrated.kind() == FactKind::Refund);
        let converted = self.converted_refunds(refunds.map(|unrated| unrated.key.0).collect()).await?;
        found.retain(|unrated| !converted.contains(&unrated.key));
        let found = found.into_iter().map(|unrated| (unrated.kind(), unrated.key, None)).collect();
        Ok((self.read(found).await?, next))
    }

    /// The refunds of the customers of these subjects for which there is a rate.
    async fn converted_refunds(&self, subjects: Vec<i64>) -> Result<HashSet<Key>, StoreError> {
        let connection = self.service.runtime.database.reader();
        let owners: BTreeSet<_> = waiting::owners(connection, self.tenant.id, &subjects).await?.into_values().collect();
        let owners: Vec<_> = owners.into_iter().collect();
        let facts = facts::of_customers(connection, self.tenant, &owners).await?;
        let refunds = facts.into_values().flat_map(|facts| facts.refunds);
        Ok(refunds.map(|refund| (refund.subject_id, refund.id.0, refund.id.1)).collect())
    }

    /// Refunds without a purchase, by subject.
    async fn without_purchase(&self, mut behind: Key) -> Result<(Waiting, Option<Key>), StoreError> {
        let connection = self.service.runtime.database.reader();
        let now = self.service.runtime.business.now();
        let mut found: Vec<Found> = Vec::new();
        for _ in 0..STEPS {
            // The subject of the place may have more behind it.
            let subjects = waiting::with_refunds(connection, self.tenant.id, behind.0, SUBJECTS_AT_ONCE).await?;
            let owners = waiting::owners(connection, self.tenant.id, &subjects).await?;
            let owners: BTreeSet<CustomerId> = owners.into_values().collect();
            let owners: Vec<_> = owners.into_iter().collect();
            let mut waiting: Vec<(Key, i64)> = Vec::new();
            for facts in facts::of_customers(connection, self.tenant, &owners).await?.values_mut() {
                facts.orders.sort_unstable_by_key(|order| order.at);
                let settled = settle(facts.opening.ledger(), &facts.orders, &mut facts.refunds, now).into_iter();
                let left = settled.filter(|it| it.waiting_minor > 0 && subjects.contains(&it.subject_id));
                waiting.extend(left.map(|it| ((it.subject_id, it.id.0, it.id.1), it.waiting_minor)));
            }
            waiting.sort_unstable();
            for (key, minor) in waiting.into_iter().filter(|(key, _)| *key > behind) {
                found.push((FactKind::Refund, key.clone(), Some(minor)));
                if found.len() as u64 == self.size {
                    return Ok((self.read(found).await?, Some(key)));
                }
            }
            match subjects.last() {
                Some(last) if subjects.len() as u64 == SUBJECTS_AT_ONCE => {
                    behind = (last + 1, String::new(), String::new());
                }
                _ => return Ok((self.read(found).await?, None)),
            }
        }
        Ok((self.read(found).await?, Some(behind)))
    }

    /// The messages of facts, of those customers that the caller reaches.
    async fn read(&self, found: Vec<Found>) -> Result<Waiting, StoreError> {
        let connection = self.service.runtime.database.reader();
        let subjects: Vec<i64> = found.iter().map(|(_, (subject, ..), _)| *subject).collect();
        let owners = waiting::owners(connection, self.tenant.id, &subjects).await?;
        let ids: BTreeSet<_> = owners.values().copied().collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let mut customers = customers::load(connection, self.tenant.id, self.keys, &ids).await?;
        customers.retain(|customer| self.caller.reaches(&customer.attributes));
        let identities = identities::by_subject(connection, self.tenant.id, self.keys, &customers).await?;
        let reader = Reader { tenant: self.tenant, keys: self.keys, subjects: &[], identities: &identities };
        let keys =
            |kind| found.iter().filter(move |it| it.0 == kind).map(|(_, key, _)| key.clone()).collect::<Vec<_>>();
        let mut messages: HashMap<(FactKind, Key), CustomerFact> = HashMap::new();
        for kind in [FactKind::Order, FactKind::Refund] {
            let facts = reader.by_keys(connection, kind, &keys(kind)).await?;
            messages.extend(facts.into_iter().map(|(key, fact)| ((kind, key), fact)));
        }
        let mut facts = Vec::with_capacity(found.len());
        for (kind, key, waiting_minor) in found {
            let owner = owners.get(&key.0).filter(|owner| customers.iter().any(|customer| customer.id == **owner));
            // Gone meanwhile, or not for the caller.
            let Some((owner, mut fact)) = owner.zip(messages.remove(&(kind, key))) else { continue };
            fact.customer = owner.to_string();
            let waiting_amount = waiting_minor.map(|minor| convert::money(self.tenant.currency, minor));
            facts.push(WaitingFact { fact: Some(fact), waiting_amount });
        }
        Ok(Waiting { facts, customers })
    }
}
