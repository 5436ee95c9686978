//! Deliveries.

use super::reached::{self, Page, check_numbers};
use super::records::current;
use crate::store::deliveries::{self, Stored, Wanted};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::progress::Watermark;
use quintile_chain::{page, store_error};
use quintile_domain::clock::MachineClock;
use quintile_proto::lifecycle::delivery_service_server::DeliveryService;
use quintile_proto::lifecycle::{
    Delivery, DeliveryState, ListDeliveriesRequest, ListDeliveriesResponse, ReplayDeliveryRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::StoreError;
use quintile_store::history::Position;
use std::sync::Arc;
use tonic::Request;

/// The handlers.
pub struct Deliveries {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
    pub clock: MachineClock,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn list_deliveries(&self, request: Request<ListDeliveriesRequest>) -> Answer<ListDeliveriesResponse> {
        let caller = Caller::of(&request)?;
        let ListDeliveriesRequest { parent, states, page_size, page_token } = request.into_inner();
        let customer = reached::parse_parent(&parent)?;
        check_numbers::<DeliveryState>("states", &states)?;
        let size = convert::page_size(page_size, 100, 1_000)?;
        if let Some(customer) = customer {
            current(&self.runtime, &self.link, &caller, customer).await?;
        }
        let wanted = Wanted { customer, states };
        let (tenant, sealer, database) = (caller.tenant().id, &self.runtime.sealer, self.runtime.database.reader());
        let query = format!("ListDeliveries {wanted:?}");
        let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
        let end = page::begin(sealer, tenant, &query, &page_token, Position::END, decode)?;
        let read = |end, limit| deliveries::page(database, tenant, &wanted, end, limit);
        let Page { items, view, end } = reached::page(&self.runtime, &caller, end, size, read).await?;
        let deliveries = items.iter().map(Stored::message).collect();
        let next_page_token = end.map(|end| sealer.seal(tenant, query.as_bytes(), &end.to_bytes())).unwrap_or_default();
        Ok(view.respond(ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn replay_delivery(&self, request: Request<ReplayDeliveryRequest>) -> Answer<Delivery> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        let (customer, made) = reached::parse_name("name", &name, "deliveries")?;
        caller.is_about(&name);
        let view = current(&self.runtime, &self.link, &caller, customer).await?.view;
        let tenant = caller.tenant().id;
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let stored = deliveries::hold(&transaction, tenant, customer, made).await.map_err(failed)?;
        let mut stored = stored.ok_or_else(ApiError::not_found)?;
        if !matches!(stored.state, DeliveryState::Failed | DeliveryState::NoAddress) {
            let problem = "only a delivery that has failed, or for which there was no address, is sent again";
            return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem).into());
        }
        stored.state = DeliveryState::Waiting;
        stored.attempts = 0;
        stored.next_attempt_at = Some(self.clock.now());
        deliveries::write(&transaction, tenant, std::slice::from_ref(&stored)).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.runtime.progress.of(tenant).raise(Watermark::default());
        Ok(view.respond(stored.message()))
    }
}
