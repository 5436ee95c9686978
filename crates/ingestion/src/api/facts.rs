//! Facts as they were taken in, and those about nobody in particular.

use super::waiting;
use crate::Service;
use crate::store::facts::{Place, Reader};
use crate::store::{consents, identities, rates, spend};
use quintile_chain::{page, store_error};
use quintile_domain::ids::TenantId;
use quintile_proto::ingestion::fact_service_server::FactService;
use quintile_proto::ingestion::{
    FactKind, ListAcquisitionSpendRequest, ListAcquisitionSpendResponse, ListCustomerFactsRequest,
    ListCustomerFactsResponse, ListExchangeRatesRequest, ListExchangeRatesResponse, ListWaitingFactsRequest,
    ListWaitingFactsResponse,
};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::sealing::TokenSealer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Request;

/// The query that page tokens of exchange rates belong to.
const LIST_RATES: &str = "ListExchangeRates";
/// The query that page tokens of acquisition spend belong to.
const LIST_SPEND: &str = "ListAcquisitionSpend";

/// The handlers.
pub struct Facts {
    pub service: Service,
}

/// The token of a page that begins behind a place. Sealed, it is nobody's to read.
pub fn token(sealer: &TokenSealer, tenant: TenantId, query: &str, place: &impl Serialize) -> String {
    // Numbers and texts always encode.
    let place = serde_json::to_vec(place).unwrap_or_default();
    sealer.seal(tenant, query.as_bytes(), &place)
}

/// The place that a [`token`] carries.
#[expect(clippy::needless_pass_by_value, reason = "the shape that pages decode their tokens by")]
pub fn place<T: DeserializeOwned>(token: Vec<u8>) -> Option<T> {
    serde_json::from_slice(&token).ok()
}

#[tonic::async_trait]
impl FactService for Facts {
    async fn list_customer_facts(
        &self,
        request: Request<ListCustomerFactsRequest>,
    ) -> Answer<ListCustomerFactsResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = convert::customer("parent", &request.parent, None)?;
        let kind = FactKind::try_from(request.kind);
        let kind = kind.map_err(|_| ApiError::invalid_field("kind", "must be one of the kinds, or unset"))?;
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let (sealer, tenant) = (&self.service.runtime.sealer, caller.tenant());
        let query = format!("ListCustomerFacts {id} {}", kind as i32);
        let behind = page::begin(sealer, tenant.id, &query, &request.page_token, Place::newest(), place)?;
        let (keys, customer) = self.service.customer_of(&caller, id).await?;
        let id = customer.id;
        let connection = self.service.runtime.database.reader();
        let read = async {
            let subjects = consents::subjects(connection, tenant.id, id).await?;
            let customers = std::slice::from_ref(&customer);
            let identities = identities::by_subject(connection, tenant.id, &keys, customers).await?;
            let reader = Reader { tenant, keys: &keys, subjects: &subjects, identities: &identities };
            reader.page(connection, kind, &behind, size).await
        };
        let listed = read.await.map_err(|error| store_error(&error))?;
        let last = listed.last().filter(|_| listed.len() as u64 == size);
        let next_page_token = last.map(|(place, _)| token(sealer, tenant.id, &query, place));
        let mut facts: Vec<_> = listed.into_iter().map(|(_, fact)| fact).collect();
        for fact in &mut facts {
            fact.customer = id.to_string();
        }
        let view = caller.view_of(id, &customer.attributes)?;
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(view.respond(ListCustomerFactsResponse { facts, next_page_token }))
    }

    async fn list_waiting_facts(&self, request: Request<ListWaitingFactsRequest>) -> Answer<ListWaitingFactsResponse> {
        let caller = Caller::of(&request)?;
        Ok(waiting::list(&self.service, &caller, request.get_ref()).await?)
    }

    async fn list_exchange_rates(
        &self,
        request: Request<ListExchangeRatesRequest>,
    ) -> Answer<ListExchangeRatesResponse> {
        let caller = Caller::of(&request)?;
        let (sealer, tenant) = (&self.service.runtime.sealer, caller.tenant().id);
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let behind = page::begin(sealer, tenant, LIST_RATES, &request.get_ref().page_token, (0, 0), place)?;
        let rows = rates::page(self.service.runtime.database.reader(), tenant, behind, size).await;
        let rows = rows.map_err(|error| store_error(&error))?;
        let last = rows.last().filter(|_| rows.len() as u64 == size);
        let next_page_token = last.map(|row| token(sealer, tenant, LIST_RATES, &(row.currency, row.day)));
        let exchange_rates = rows.iter().map(|row| rates::message(row, caller.tenant().currency)).collect();
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(caller.respond(ListExchangeRatesResponse { exchange_rates, next_page_token }))
    }

    async fn list_acquisition_spend(
        &self,
        request: Request<ListAcquisitionSpendRequest>,
    ) -> Answer<ListAcquisitionSpendResponse> {
        let caller = Caller::of(&request)?;
        let (sealer, tenant) = (&self.service.runtime.sealer, caller.tenant());
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let first = (String::new(), String::new());
        let behind = page::begin(sealer, tenant.id, LIST_SPEND, &request.get_ref().page_token, first, place)?;
        let rows = spend::page(self.service.runtime.database.reader(), tenant.id, &behind, size).await;
        let rows = rows.map_err(|error| store_error(&error))?;
        let last = rows.last().filter(|_| rows.len() as u64 == size);
        let next_page_token = last.map(|row| token(sealer, tenant.id, LIST_SPEND, &(&row.source, &row.event_id)));
        let acquisition_spend = rows.into_iter().map(|row| spend::message(row, tenant.currency)).collect();
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(caller.respond(ListAcquisitionSpendResponse { acquisition_spend, next_page_token }))
    }
}
