//! Receipts for customers who were erased.

use crate::store::{lists, memberships, snapshots};
use crate::worker::RECORDS;
use crate::{SERVICE, Service};
use quintile_chain::{erasure, store_error};
use quintile_proto::segmentation::GetErasureReceiptRequest;
use quintile_proto::segmentation::erasure_service_server::ErasureService;
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
        let (runtime, tenant) = (&self.service.runtime, caller.tenant().id);
        let records = erasure::records_left(runtime, tenant, RECORDS, customer, request.facts_position).await?;
        let changes = memberships::count_of(runtime.database.reader(), tenant, customer).await;
        let changes = changes.map_err(|error| store_error(&error))?;
        let lists = lists::count_of(runtime.database.reader(), tenant, customer).await;
        let lists = lists.map_err(|error| store_error(&error))?;
        let days = snapshots::count_of(runtime.database.reader(), tenant, customer).await;
        let days = days.map_err(|error| store_error(&error))?;
        let elsewhere = changes.saturating_add(lists).saturating_add(days);
        let left = records.saturating_add(i64::try_from(elsewhere).unwrap_or(i64::MAX));
        Ok(caller.respond(erasure::receipt(SERVICE, &runtime.database, &self.service.clock, left).await?))
    }
}
