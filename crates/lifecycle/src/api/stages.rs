//! Stages.

use crate::stages::Stage;
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::derive::{self, Current, Link};
use quintile_chain::{feed, page, store_error};
use quintile_proto::lifecycle::stage_service_server::StageService;
use quintile_proto::lifecycle::{
    CustomerStage, Funnel, GetFunnelRequest, GetStageRequest, ListRecordsRequest, ListRecordsResponse, StageCount,
    WatchStagesRequest,
};
use quintile_proto::types::WatchRecordsResponse;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::records;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The part of a customer that is decided.
const PART: &str = "stage";
/// Records that the funnel reads at once.
const SCAN_RECORDS: u64 = 5_000;
/// The query that page tokens of records belong to.
const LIST_RECORDS: &str = "ListRecords";

/// The handlers.
pub struct Stages {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
}

#[tonic::async_trait]
impl StageService for Stages {
    type WatchStagesStream = AnswerStream<WatchRecordsResponse>;

    async fn get_stage(&self, request: Request<GetStageRequest>) -> Answer<CustomerStage> {
        let caller = Caller::of(&request)?;
        let name = request.get_ref().name.clone();
        let customer = convert::customer("name", &name, Some(PART))?;
        let Current { record, watermark, view } =
            derive::current(&self.runtime, self.link.as_ref(), &caller, customer).await?;
        Ok(view.respond(CustomerStage { name, values: record.stage, watermark: Some(watermark.to_message()) }))
    }

    async fn get_funnel(&self, request: Request<GetFunnelRequest>) -> Answer<Funnel> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let watermark = self.runtime.progress.of(tenant.id).watermark();
        let as_of = self.runtime.business.now();
        let mut counts = [0_i64; Stage::ALL.len() + 1];
        let mut after = 0;
        loop {
            let page = records::scan(self.runtime.database.reader(), tenant.id, after, SCAN_RECORDS)
                .await
                .map_err(|error| store_error(&error))?;
            let Some(last) = page.last() else { break };
            after = last.customer.0;
            for row in page.iter().filter(|row| !row.body.is_empty()) {
                let mut record = feed::decode(row).map_err(|error| store_error(&error))?;
                if !caller.reaches(record.attributes.get_or_insert_default()) {
                    continue;
                }
                if row.next_change.is_some_and(|instant| instant <= as_of) {
                    self.link.derive(tenant, &mut record, as_of);
                }
                let stage = record.stage.map_or(0, |stage| stage.stage);
                counts[usize::try_from(stage).unwrap_or(0).min(Stage::ALL.len())] += 1;
            }
        }
        let stages = Stage::ALL
            .into_iter()
            .map(|stage| StageCount { stage: stage as i32, customers: counts[stage as usize] })
            .collect();
        Ok(caller.respond(Funnel { stages, watermark: Some(watermark.to_message()) }))
    }

    async fn list_records(&self, request: Request<ListRecordsRequest>) -> Answer<ListRecordsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let sealer = &self.runtime.sealer;
        let after = page::begin_behind(sealer, tenant.id, LIST_RECORDS, &request.get_ref().page_token)?;
        let after = u32::try_from(after).map_err(|_| ApiError::invalid_token("page_token"))?;
        let watermark = self.runtime.progress.of(tenant.id).watermark();
        let rows = records::scan(self.runtime.database.reader(), tenant.id, after, size).await;
        let rows = rows.map_err(|error| store_error(&error))?;
        let (full, last) = (rows.len() as u64 == size, rows.last().map(|row| row.customer.as_i64()));
        let next_page_token = page::next_behind(sealer, tenant.id, LIST_RECORDS, full, last);
        let as_of = self.runtime.business.now();
        let mut records = Vec::with_capacity(rows.len());
        for row in rows.iter().filter(|row| !row.is_tombstone()) {
            let mut record = feed::decode(row).map_err(|error| store_error(&error))?;
            if caller.reaches(record.attributes.get_or_insert_default()) {
                self.link.derive(tenant, &mut record, as_of);
                if let Some(scores) = record.scores.as_mut().filter(|_| caller.scope().is_some()) {
                    // It may tell a cut-off that was found from everybody.
                    scores.next_change_time = None;
                }
                records.push(record);
            }
        }
        let view = feed::view_of(&caller, &records);
        Ok(view.respond(ListRecordsResponse { records, next_page_token, watermark: Some(watermark.to_message()) }))
    }

    async fn watch_stages(
        &self,
        request: Request<WatchStagesRequest>,
    ) -> Result<Response<Self::WatchStagesStream>, Status> {
        let caller = Caller::of(&request)?;
        let cursor = &request.get_ref().cursor;
        Ok(Response::new(feed::watch(self.runtime.clone(), StageLink::FEED, caller, cursor).await?))
    }
}
