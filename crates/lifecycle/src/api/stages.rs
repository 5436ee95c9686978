//! Stages.

use super::records::{Everybody, current};
use crate::stages::Stage;
use crate::store::transitions::{self, Transition};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::derive::{Current, Link};
use quintile_chain::{feed, page, store_error};
use quintile_proto::lifecycle::stage_service_server::StageService;
use quintile_proto::lifecycle::{
    CustomerStage, Funnel, GetFunnelRequest, GetStageRequest, ListRecordsRequest, ListRecordsResponse,
    ListStageTransitionsRequest, ListStageTransitionsResponse, StageCount, StageTransition, WatchStagesRequest,
};
use quintile_proto::types::WatchRecordsResponse;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::history::Position;
use quintile_store::records;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The part of a customer that is decided.
const PART: &str = "stage";
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
        let Current { record, watermark, view } = current(&self.runtime, &self.link, &caller, customer).await?;
        let watermark = Some(watermark.to_message());
        Ok(view.respond(CustomerStage { name, values: record.stage, watermark, churn: record.churn }))
    }

    async fn get_funnel(&self, request: Request<GetFunnelRequest>) -> Answer<Funnel> {
        let caller = Caller::of(&request)?;
        let watermark = self.runtime.progress.of(caller.tenant().id).watermark();
        let mut counts = [0_i64; Stage::ALL.len() + 1];
        let mut everybody = Everybody::now(&self.runtime, &self.link, &caller).await?;
        while let Some(part) = everybody.next().await? {
            for record in part.records {
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

    async fn list_stage_transitions(
        &self,
        request: Request<ListStageTransitionsRequest>,
    ) -> Answer<ListStageTransitionsResponse> {
        let caller = Caller::of(&request)?;
        let ListStageTransitionsRequest { parent, page_size, page_token } = request.into_inner();
        let customer = convert::customer("parent", &parent, Some(PART))?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(page_size, 100, 1_000)?;
        let query = format!("ListStageTransitions {customer}");
        let sealer = &self.runtime.sealer;
        let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
        let before = page::begin(sealer, tenant, &query, &page_token, Position::END, decode)?;
        // Whom the caller does not reach is not there.
        let Current { view, .. } = current(&self.runtime, &self.link, &caller, customer).await?;
        let read = transitions::page(self.runtime.database.reader(), tenant, customer, before, size).await;
        let read = read.map_err(|error| store_error(&error))?;
        let next_page_token = match read.last() {
            Some((last, _)) if read.len() as u64 == size => sealer.seal(tenant, query.as_bytes(), &last.to_bytes()),
            _ => String::new(),
        };
        let message = |(_, transition): (Position, Transition)| StageTransition {
            name: parent.clone(),
            valid_at: Some(convert::timestamp(transition.valid_at)),
            cause: transition.cause.into(),
            from: transition.from,
            to: Some(transition.to),
        };
        let transitions = read.into_iter().map(message).collect();
        Ok(view.respond(ListStageTransitionsResponse { transitions, next_page_token }))
    }

    async fn list_records(&self, request: Request<ListRecordsRequest>) -> Answer<ListRecordsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let sealer = &self.runtime.sealer;
        let after = page::begin_behind(sealer, tenant.id, LIST_RECORDS, &request.get_ref().page_token)?;
        let after = u32::try_from(after).map_err(|_| ApiError::invalid_token("page_token"))?;
        self.link.know_recent(tenant.id).await?;
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
                if let Some(scores) = &mut record.scores {
                    feed::hide_changes(&caller, scores);
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
