//! Receipts for customers who were erased.

use crate::SERVICE;
use crate::store::{transitions, warnings};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::derive::Link;
use quintile_chain::{erasure, store_error};
use quintile_domain::clock::MachineClock;
use quintile_proto::lifecycle::GetErasureReceiptRequest;
use quintile_proto::lifecycle::erasure_service_server::ErasureService;
use quintile_proto::types::ErasureReceipt;
use quintile_rpc::{Answer, Caller};
use tonic::Request;

/// The handlers.
pub struct Erasures {
    pub runtime: Runtime,
    pub clock: MachineClock,
}

#[tonic::async_trait]
impl ErasureService for Erasures {
    async fn get_erasure_receipt(&self, request: Request<GetErasureReceiptRequest>) -> Answer<ErasureReceipt> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let customer = erasure::check_request(&request.name, request.facts_position)?;
        let (tenant, position) = (caller.tenant().id, request.facts_position);
        // The record, the history of its stages, and warnings.
        let records = erasure::records_left(&self.runtime, tenant, StageLink::FEED, customer, position).await?;
        let database = self.runtime.database.reader();
        let transitions = transitions::count(database, tenant, customer).await.map_err(|error| store_error(&error))?;
        let warnings = warnings::count(database, tenant, customer).await.map_err(|error| store_error(&error))?;
        let left = records + transitions + warnings;
        let receipt = erasure::receipt(SERVICE, &self.runtime.database, &self.clock, left).await?;
        Ok(caller.respond(receipt))
    }
}
