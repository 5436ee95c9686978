//! Receipts for customers who were erased.

use crate::store::changes;
use crate::worker::ScoreLink;
use crate::{SERVICE, Service};
use quintile_chain::derive::Link;
use quintile_chain::{erasure, store_error};
use quintile_proto::scoring::GetErasureReceiptRequest;
use quintile_proto::scoring::erasure_service_server::ErasureService;
use quintile_proto::types::ErasureReceipt;
use quintile_rpc::{Answer, Caller};
use tonic::Request;

/// The handlers.
pub struct Erasures {
    pub service: Service,
}

#[tonic::async_trait]
impl ErasureService for Erasures {
    async fn get_erasure_receipt(&self, request: Request<GetErasureReceiptRequest>) -> Answer<ErasureReceipt> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let customer = erasure::check_request(&request.name, request.facts_position)?;
        let (tenant, runtime) = (caller.tenant().id, &self.service.runtime);
        // The record, and the history of its scores.
        let records = erasure::records_left(runtime, tenant, ScoreLink::FEED, customer, request.facts_position).await?;
        let changes = changes::count(runtime.database.reader(), tenant, customer).await;
        let left = records + changes.map_err(|error| store_error(&error))?;
        let receipt = erasure::receipt(SERVICE, &runtime.database, &self.service.clock, left).await?;
        Ok(caller.respond(receipt))
    }
}
