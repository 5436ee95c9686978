//! Customers.

use super::is_blind;
use crate::Service;
use crate::intake::{CustomerPatch, Declared, Identity, Terms, check_kind, normal_email, normal_phone};
use crate::store::customers::{self, MAX_OF_ONE_CONTACT, StoredCustomer};
use crate::store::identities::{self, Newcomers};
use crate::store::privacy::{self, Hold};
use crate::store::referrals;
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::{Masked, Sensitivity};
use quintile_domain::time::day_number;
use quintile_proto::ingestion::customer_service_server::CustomerService;
use quintile_proto::ingestion::{
    CreateCustomerRequest, Customer, GetCustomerRequest, ListBirthdaysRequest, ListBirthdaysResponse,
    ListCustomersRequest, ListCustomersResponse, LookupCustomerRequest, UpdateCustomerRequest,
    lookup_customer_request::Key,
};
use quintile_proto::types::{CustomerAttributes, ErrorReason};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use quintile_store::{StoreError, feed};
use std::sync::Arc;
use tonic::{Request, Response};

/// The query that page tokens of customers belong to.
const LIST_CUSTOMERS: &str = "ListCustomers";
/// A year that has every day that a year may have.
const LEAP_YEAR: i16 = 2000;

/// The handlers.
pub struct Customers {
    pub service: Service,
}

impl Customers {
    /// What a customer that comes from this caller is checked against.
    async fn terms(&self, caller: &Caller, customer: &Customer) -> Result<Terms, ApiError> {
        let keys: Vec<_> = customer.custom_attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        self.service.terms(caller.tenant(), &keys).await.map_err(|error| store_error(&error))
    }

    /// What the caller's tenant has declared.
    async fn declared(&self, caller: &Caller) -> Result<Arc<Declared>, ApiError> {
        self.service.declarations.of(caller.tenant().id).await.map_err(|error| store_error(&error))
    }

    /// A customer as its caller sees it, if it reaches it.
    async fn seen(&self, caller: &Caller, customer: &StoredCustomer) -> Result<Response<Masked<Customer>>, ApiError> {
        let declared = self.declared(caller).await?;
        Ok(caller.view_of(customer.id, &customer.attributes)?.respond(customer.message(&declared)))
    }

    async fn find(&self, caller: &Caller, id: CustomerId) -> Result<StoredCustomer, ApiError> {
        let tenant = caller.tenant().id;
        let keys = self.service.keys.of(tenant).await.map_err(|error| store_error(&error))?;
        let found = customers::get(self.service.runtime.database.reader(), tenant, &keys, id).await;
        found.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)
    }

    /// Refuses, before anything is read, what a caller that may not read other systems' ids could find out of them.
    fn may_ask_by_identity(caller: &Caller) -> Result<(), ApiError> {
        if caller.reads_in_clear(Sensitivity::Pseudonym) {
            Ok(())
        } else {
            Err(ApiError::field_denied("identities.id"))
        }
    }

    /// Makes a customer, or finds the one that the same request made before.
    async fn create(
        &self,
        caller: &Caller,
        patch: CustomerPatch,
        request_id: &str,
        body: &[u8],
    ) -> Result<Created, StoreError> {
        let tenant = caller.tenant().id;
        let keys = self.service.keys.of(tenant).await?;
        let request = IdempotentRequest { tenant, method: "CreateCustomer", id: request_id, body };
        let now = self.service.clock.now();
        let transaction = self.service.runtime.database.begin().await?;
        privacy::hold(&transaction, tenant, Hold::WithOthers).await?;
        if !request_id.is_empty()
            && let Some(name) = idempotency::earlier_result(&transaction, request).await?
        {
            return Ok(CustomerId::from_name(&name, None).map_or(Created::Taken, Created::Before));
        }
        let asked: Vec<&Identity> = patch.identities.iter().collect();
        if !identities::resolve(&transaction, tenant, &keys, &asked).await?.is_empty() {
            return Ok(Created::Taken);
        }
        let newcomers = Newcomers { identities: patch.identities.clone(), join: None };
        let owners = identities::register(&transaction, tenant, &keys, &[newcomers]).await?;
        let owner = owners.get(patch.first_identity()).ok_or(StoreError::Sealed("an identity is gone"))?;
        let mut customer = StoredCustomer::new(tenant, &keys, owner.customer, patch.identities.clone(), now);
        customer.merge(&patch, owner.home, now);
        customer.is_made_so();
        if !request_id.is_empty() {
            idempotency::remember(&transaction, request, &customer.id.to_string(), now).await?;
        }
        self.save(transaction, caller, &keys, &mut customer).await?;
        Ok(Created::Now(Box::new(customer)))
    }

    /// Writes a customer and publishes that it was touched.
    async fn save(
        &self,
        transaction: quintile_store::Transaction,
        caller: &Caller,
        keys: &crate::store::keys::TenantKeys,
        customer: &mut StoredCustomer,
    ) -> Result<(), StoreError> {
        let tenant = caller.tenant().id;
        let named = customers::write(&transaction, tenant, keys, std::slice::from_mut(customer)).await?;
        let seq = feed::next_seq(&transaction, tenant, crate::FACTS).await?;
        let mut touched = referrals::of_buyers(&transaction, tenant, named).await?;
        touched.insert(customer.id.0);
        feed::publish(&transaction, tenant, crate::FACTS, seq, &touched).await?;
        transaction.commit().await?;
        self.service.wake.notify_one();
        Ok(())
    }
}

enum Created {
    Now(Box<StoredCustomer>),
    Before(CustomerId),
    Taken,
}

#[tonic::async_trait]
impl CustomerService for Customers {
    async fn create_customer(&self, request: Request<CreateCustomerRequest>) -> Answer<Customer> {
        let caller = Caller::of(&request)?;
        Self::may_ask_by_identity(&caller)?;
        let request = request.into_inner();
        if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
            return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
        }
        let customer = request.customer.ok_or_else(|| ApiError::invalid_field("customer", "is required"))?;
        let body = customer.encode_to_vec();
        let terms = self.terms(&caller, &customer).await?;
        let patch = CustomerPatch::check(&customer, &terms).map_err(|error| error.within("customer"))?;
        let created = self.create(&caller, patch, &request.request_id, &body).await;
        let customer = match created.map_err(|error| store_error(&error))? {
            Created::Now(customer) => *customer,
            // The request is answered with what the resource is now, for whoever asks now.
            Created::Before(id) => self.find(&caller, id).await?,
            Created::Taken => return Err(ApiError::already_exists("a customer with this identity").into()),
        };
        Ok(self.seen(&caller, &customer).await?)
    }

    async fn get_customer(&self, request: Request<GetCustomerRequest>) -> Answer<Customer> {
        let caller = Caller::of(&request)?;
        let id = convert::customer("name", &request.get_ref().name, None)?;
        Ok(self.seen(&caller, &self.find(&caller, id).await?).await?)
    }

    async fn update_customer(&self, request: Request<UpdateCustomerRequest>) -> Answer<Customer> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let given = request.customer.ok_or_else(|| ApiError::invalid_field("customer", "is required"))?;
        let id = convert::customer("customer.name", &given.name, None)?;
        let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let etag = given.etag.clone();
        let patch = CustomerPatch::check_fields(&given, Vec::new(), &self.terms(&caller, &given).await?);
        let patch = patch.map_err(|error| error.within("customer"))?;
        let tenant = caller.tenant().id;
        let keys = self.service.keys.of(tenant).await.map_err(|error| store_error(&error))?;
        let transaction = self.service.runtime.database.begin().await.map_err(|error| store_error(&error))?;
        privacy::hold(&transaction, tenant, Hold::Alone).await.map_err(|error| store_error(&error))?;
        let found = customers::get(&transaction, tenant, &keys, id).await.map_err(|error| store_error(&error))?;
        let mut customer =
            found.filter(|customer| caller.reaches(&customer.attributes)).ok_or_else(ApiError::not_found)?;
        if !etag.is_empty() && etag != customer.etag() {
            return Err(ApiError::stale_etag().into());
        }
        let before = customer.clone();
        apply_mask(&mut customer, &patch, &paths)?;
        // Somebody who does not see the values must not see by the etag whether they are those that were there.
        if customer != before || is_blind(&caller) {
            customer.changed(self.service.clock.now());
            let saved = self.save(transaction, &caller, &keys, &mut customer).await;
            saved.map_err(|error| store_error(&error))?;
        }
        // Whom the caller has just given away is out of its reach, and yet its own doing: the answer says what became of it.
        let view = caller.view_of_reached([(customer.id, &customer.attributes)]);
        Ok(view.respond(customer.message(&*self.declared(&caller).await?)))
    }

    async fn list_customers(&self, request: Request<ListCustomersRequest>) -> Answer<ListCustomersResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let sealer = &self.service.runtime.sealer;
        let after = page::begin_behind(sealer, tenant, LIST_CUSTOMERS, &request.get_ref().page_token)?;
        let keys = self.service.keys.of(tenant).await.map_err(|error| store_error(&error))?;
        let reaches = |attributes: &CustomerAttributes| caller.reaches(attributes);
        let reaches: Option<&(dyn Fn(&CustomerAttributes) -> bool + Sync)> = caller.scope().map(|_| &reaches as _);
        let listed = customers::page(self.service.runtime.database.reader(), tenant, &keys, after, size, reaches).await;
        let listed = listed.map_err(|error| store_error(&error))?;
        let next_page_token = page::next_behind(sealer, tenant, LIST_CUSTOMERS, listed.more, listed.last);
        let view = caller.view_of_reached(listed.customers.iter().map(|customer| (customer.id, &customer.attributes)));
        let declared = self.declared(&caller).await?;
        let customers = listed.customers.iter().map(|customer| customer.message(&declared)).collect();
        Ok(view.respond(ListCustomersResponse { customers, next_page_token }))
    }

    async fn lookup_customer(&self, request: Request<LookupCustomerRequest>) -> Answer<Customer> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let keys = self.service.keys.of(tenant).await.map_err(|error| store_error(&error))?;
        let reader = self.service.runtime.database.reader();
        self.service.lookups.allow(&caller, self.service.clock.now())?;
        // Also when it finds nobody: that somebody asked is what the log is for.
        caller.is_about("customers:lookup");
        let key = request.into_inner().key.ok_or_else(|| ApiError::invalid_field("key", "is required"))?;
        let found = match key {
            Key::Identity(identity) => {
                Self::may_ask_by_identity(&caller)?;
                let identity = Identity::check(Some(&identity), "identity")?;
                let owners = identities::resolve(reader, tenant, &keys, &[&identity]).await;
                owners.map(|owners| owners.values().map(|owner| owner.customer).collect())
            }
            Key::Phone(phone) => {
                let hash = keys.phone_hash(&normal_phone(&phone, "phone")?);
                customers::with_hash(reader, tenant, hash, 0, MAX_OF_ONE_CONTACT).await
            }
            Key::Email(email) => {
                let hash = keys.email_hash(&normal_email(&email, "email")?);
                customers::with_hash(reader, tenant, hash, 0, MAX_OF_ONE_CONTACT).await
            }
        };
        let found: Vec<CustomerId> = found.map_err(|error| store_error(&error))?;
        let mut found = customers::load(reader, tenant, &keys, &found).await.map_err(|error| store_error(&error))?;
        // Whom the caller does not reach must not show in that there are several either.
        found.retain(|customer| caller.reaches(&customer.attributes));
        match found.as_slice() {
            [] => Err(ApiError::not_found().into()),
            [customer] => Ok(self.seen(&caller, customer).await?),
            _ => Err(ApiError::failed_precondition(
                ErrorReason::FailedPrecondition,
                "several customers have this contact: look up by identity",
            )
            .into()),
        }
    }

    async fn list_birthdays(&self, request: Request<ListBirthdaysRequest>) -> Answer<ListBirthdaysResponse> {
        let caller = Caller::of(&request)?;
        if !caller.reads_in_clear(Sensitivity::BirthDate) {
            return Err(ApiError::field_denied("birth_date").into());
        }
        caller.is_about("customers:birthdays");
        let ListBirthdaysRequest { month, day, page_size, page_token } = request.into_inner();
        check_birthday(month, day)?;
        let (tenant, sealer) = (caller.tenant().id, &self.service.runtime.sealer);
        let size = convert::page_size(page_size, 1_000, 1_000)?;
        let query = format!("ListBirthdays {month} {day}");
        let behind = page::begin_behind(sealer, tenant, &query, &page_token)?;
        let listed = async {
            let hash = self.service.keys.of(tenant).await?.birthday_hash(month, day);
            let reader = self.service.runtime.database.reader();
            let found = customers::with_hash(reader, tenant, hash, behind, size).await?;
            let attributes = customers::attributes_of(reader, tenant, &found).await?;
            Ok((found, attributes))
        };
        let (found, attributes) = listed.await.map_err(|error: StoreError| store_error(&error))?;
        let last = found.last().map(|last| last.as_i64());
        let next_page_token = page::next_behind(sealer, tenant, &query, found.len() as u64 == size, last);
        let reached = attributes.iter().filter(|(_, attributes)| caller.reaches(attributes));
        let customers = reached.map(|(customer, _)| customer.to_string()).collect();
        Ok(caller.respond(ListBirthdaysResponse { customers, next_page_token }))
    }
}

/// Refuses what is no day of a leap year.
fn check_birthday(month: i32, day: i32) -> Result<(), ApiError> {
    let part = |number: i32| i8::try_from(number).unwrap_or_default();
    if day_number(LEAP_YEAR, part(month), 1).is_none() {
        return Err(ApiError::invalid_field("month", "must be 1 to 12"));
    }
    if day_number(LEAP_YEAR, part(month), part(day)).is_none() {
        return Err(ApiError::invalid_field("day", "must be a day that the month has in a leap year"));
    }
    Ok(())
}

/// Takes over the fields that the mask names, absent ones as absent.
fn apply_mask(customer: &mut StoredCustomer, patch: &CustomerPatch, paths: &[String]) -> Result<(), ApiError> {
    let attributes = &patch.attributes.clone().unwrap_or_default();
    if paths.is_empty() {
        return Err(ApiError::invalid_field("update_mask", "must name the fields to change"));
    }
    for path in paths {
        let (person, given) = (&mut customer.person, &patch.person);
        match path.as_str() {
            "display_name" => person.display_name.clone_from(&given.display_name),
            "phone" => person.phone.clone_from(&given.phone),
            "email" => person.email.clone_from(&given.email),
            "address" => person.address.clone_from(&given.address),
            "birth_date" => person.birth_date = given.birth_date,
            "referrer" => {
                person.referrer.clone_from(&given.referrer);
                if let Some(referrer) = person.referrer.as_mut().filter(|referrer| referrer.source.is_empty())
                    && let Some(first) = customer.identities.first()
                {
                    referrer.source.clone_from(&first.source);
                }
            }
            "custom_attributes" => person.custom.clone_from(&given.custom),
            "attributes" => {
                if patch.attributes.is_none() {
                    return Err(ApiError::invalid_field("customer.attributes", "is required by the mask"));
                }
                check_kind(attributes).map_err(|error| error.within("customer"))?;
                customer.take_attributes(attributes);
            }
            "attributes.kind" => {
                check_kind(attributes).map_err(|error| error.within("customer"))?;
                customer.attributes.kind = attributes.kind;
            }
            field => {
                let name = field.strip_prefix("attributes.");
                if !name.is_some_and(|name| customers::attributes::take(&mut customer.attributes, attributes, name)) {
                    let problem = "names a field that is not there or does not change";
                    return Err(ApiError::invalid_field("update_mask", problem));
                }
            }
        }
    }
    Ok(())
}
