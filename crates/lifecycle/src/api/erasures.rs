//! Receipts for customers who were erased.

use crate::SERVICE;
use crate::store::{deliveries, grants, loyalty, runs, tasks, transitions, warnings};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::derive::Link;
use quintile_chain::{erasure, store_error};
use quintile_domain::clock::MachineClock;
use quintile_proto::lifecycle::GetErasureReceiptRequest;
use quintile_proto::lifecycle::erasure_service_server::ErasureService;
use quintile_proto::types::ErasureReceipt;
use quintile_rpc::{Answer, Caller};
use quintile_store::StoreError;
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
        // The record, the history of its stages, warnings, what playbooks did, and what was granted.
        let records = erasure::records_left(&self.runtime, tenant, StageLink::FEED, customer, position).await?;
        let database = self.runtime.database.reader();
        let counts = async {
            let stages = transitions::count(database, tenant, customer).await?;
            let warnings = warnings::count(database, tenant, customer).await?;
            let runs = runs::count(database, tenant, customer).await?;
            let actions =
                tasks::count(database, tenant, customer).await? + deliveries::count(database, tenant, customer).await?;
            let grants = grants::count(database, tenant, customer).await?;
            let tiers = loyalty::count(database, tenant, customer).await?;
            Ok(stages + warnings + runs + actions + grants + tiers)
        };
        let counted: Result<i64, StoreError> = counts.await;
        let left = records + counted.map_err(|error| store_error(&error))?;
        let receipt = erasure::receipt(SERVICE, &self.runtime.database, &self.clock, left).await?;
        Ok(caller.respond(receipt))
    }
}
