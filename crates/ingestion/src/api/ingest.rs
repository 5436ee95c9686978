//! Taking facts in: by stream, and one batch at a time.

use super::{is_blind, rejects};
use crate::Service;
use crate::intake::{Fact, MAX_BATCH_BYTES, MAX_ROWS, Terms, custom_keys, reject};
use crate::store::batches::{self, Batch, BatchId, Outcome};
use crate::store::streams;
use crate::vitals;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use opentelemetry::trace::FutureExt;
use parking_lot::Mutex;
use prost::Message;
use quintile_chain::store_error;
use quintile_domain::ids::TenantId;
use quintile_domain::names::{MAX_NAME_BYTES, required_text};
use quintile_proto::ingestion::ingest_service_server::IngestService;
use quintile_proto::ingestion::{
    DeleteRejectRequest, DeleteRejectResponse, GetIngestStreamRequest, GetRejectRequest, IngestBatchRequest,
    IngestRequest, IngestResponse, IngestStream, ListRejectsRequest, ListRejectsResponse, RejectedRow,
    ReplayRejectRequest, Row, row,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::traces;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller};
use quintile_store::committer::{Committer, Pending};
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// Rows that one transaction takes in.
const ROWS_PER_COMMIT: usize = 100_000;
/// Batches of one stream that may be on their way: enough to fill a commit, few enough to bound memory.
const BATCHES_IN_FLIGHT: usize = 10;

type BatchCommitter = Arc<Committer<Batch, Outcome>>;
/// The writers of tenants' facts in this process.
type Committers = Arc<Mutex<HashMap<TenantId, (Arc<Tenant>, BatchCommitter)>>>;

/// The handlers.
pub struct Ingest {
    service: Service,
    committers: Committers,
}

impl Ingest {
    /// The handlers of a service.
    pub fn new(service: Service) -> Self {
        let committers = Committers::default();
        let waiting = committers.clone();
        vitals::observe_queues(move || {
            let committers = waiting.lock();
            committers.values().map(|(tenant, committer)| (tenant.name.clone(), committer.waiting())).collect()
        });
        Self { service, committers }
    }

    /// The one writer of a tenant's facts in this process.
    fn committer(&self, tenant: &Arc<Tenant>) -> BatchCommitter {
        let mut committers = self.committers.lock();
        let (_, committer) = committers.entry(tenant.id).or_insert_with(|| {
            let (service, of) = (self.service.clone(), tenant.clone());
            let tenant = tenant.clone();
            let committer = Arc::new(Committer::start(ROWS_PER_COMMIT, Batch::size, move |batches| {
                let (service, tenant) = (service.clone(), tenant.clone());
                async move {
                    let keys = service.keys.of(tenant.id).await?;
                    let now = service.clock.now();
                    let outcomes = batches::take_in(&service.runtime.database, &tenant, &keys, batches, now).await?;
                    service.wake.notify_one();
                    Ok(outcomes)
                }
            }));
            (of, committer)
        });
        committer.clone()
    }
}

/// Checks the rows of a batch, each by itself.
fn check_batch(
    id: BatchId,
    mut rows: Vec<Row>,
    encoded_bytes: usize,
    terms: &Terms,
    caller: &Caller,
) -> Result<Batch, ApiError> {
    let refused = |problem: String| ApiError::invalid("rows", ErrorReason::InvalidBatch, problem);
    if rows.is_empty() || rows.len() > MAX_ROWS {
        return Err(refused(format!("must have 1 to {MAX_ROWS} rows")));
    }
    if encoded_bytes > MAX_BATCH_BYTES {
        return Err(refused(format!("must have at most {MAX_BATCH_BYTES} bytes")));
    }
    let (mut facts, mut rejects) = (Vec::with_capacity(rows.len()), Vec::new());
    for (index, row) in rows.iter_mut().enumerate() {
        match Fact::check(row, terms) {
            Ok(fact) => facts.push((index, fact)),
            Err(error) => rejects.push(reject(index, &error)),
        }
        // A row may still be refused for what is there already, and is kept then.
        if let Some(row::Fact::Customer(customer)) = &mut row.fact {
            terms.declared.state_classes(customer);
        }
    }
    Ok(Batch { id, rows, facts, rejects, blind: is_blind(caller), trace: traces::current() })
}

fn check_stream_batch(
    request: IngestRequest,
    stream: &mut Option<String>,
    terms: &Terms,
    caller: &Caller,
) -> Result<Batch, ApiError> {
    required_text(&request.stream_id, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("stream_id", error))?;
    if stream.get_or_insert_with(|| request.stream_id.clone()) != &request.stream_id {
        return Err(ApiError::invalid_field("stream_id", "must be the same in every message of a stream"));
    }
    if request.offset < 0 {
        return Err(ApiError::invalid_field("offset", "must not be negative"));
    }
    let encoded_bytes = request.encoded_len();
    let id = BatchId::Stream { stream_id: request.stream_id, offset: request.offset };
    check_batch(id, request.rows, encoded_bytes, terms, caller)
}

/// Checks a batch of a stream and has it taken in.
async fn submit(
    service: &Service,
    caller: &Caller,
    committer: &BatchCommitter,
    request: IngestRequest,
    stream: &mut Option<String>,
) -> Result<Pending<Outcome>, Status> {
    let terms =
        service.terms(caller.tenant(), &custom_keys(&request.rows)).await.map_err(|error| store_error(&error))?;
    let batch = check_stream_batch(request, stream, &terms, caller)?;
    Ok(committer.submit(batch).await.map_err(|error| store_error(&error))?)
}

async fn answer(caller: &Caller, pending: Pending<Outcome>) -> Result<IngestResponse, ApiError> {
    match pending.outcome().await.map_err(|error| store_error(&error))? {
        Outcome::Acknowledged(response) => {
            vitals::count_rows(caller.tenant(), &response);
            Ok(response)
        }
        Outcome::Gap { expected } => Err(ApiError::out_of_range(format!("the stream expects offset {expected}"))),
        Outcome::Gone => Err(ApiError::not_found()),
        Outcome::Conflict => Err(ApiError::failed_precondition(
            ErrorReason::BodyConflict,
            "the request id came before with another body: take a new one",
        )),
    }
}

#[tonic::async_trait]
impl IngestService for Ingest {
    type IngestStream = AnswerStream<IngestResponse>;

    async fn ingest(&self, request: Request<Streaming<IngestRequest>>) -> Result<Response<Self::IngestStream>, Status> {
        let caller = Caller::of(&request)?;
        let committer = self.committer(caller.tenant());
        let (mut sender, receiver) = mpsc::channel::<Result<Pending<Outcome>, Status>>(BATCHES_IN_FLIGHT);
        let mut requests = request.into_inner();
        let (service, checking) = (self.service.clone(), caller.clone());
        let taking = async move {
            let mut stream = None;
            // The next batch is read when the one before it has a place on its way: a slow database slows the client.
            while let Some(request) = requests.next().await {
                let submitted = match request {
                    Ok(request) => submit(&service, &checking, &committer, request, &mut stream).await,
                    Err(status) => Err(status),
                };
                let failed = submitted.is_err();
                if sender.send(submitted).await.is_err() || failed {
                    return;
                }
            }
        };
        // Batches belong to the trace of their stream.
        tokio::spawn(taking.with_current_context());
        let answers = receiver.then(move |submitted| {
            let caller = caller.clone();
            async move { Ok(caller.mask(answer(&caller, submitted?).await?)) }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn ingest_batch(&self, request: Request<IngestBatchRequest>) -> Answer<IngestResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        if uuid::Uuid::try_parse(&request.request_id).is_err() {
            return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
        }
        let body = IngestBatchRequest { request_id: String::new(), rows: request.rows.clone() }.encode_to_vec();
        let encoded_bytes = body.len();
        let id = BatchId::Request { request_id: request.request_id, body };
        let terms = self.service.terms(caller.tenant(), &custom_keys(&request.rows)).await;
        let batch =
            check_batch(id, request.rows, encoded_bytes, &terms.map_err(|error| store_error(&error))?, &caller)?;
        let committer = self.committer(caller.tenant());
        let pending = committer.submit(batch).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(answer(&caller, pending).await?))
    }

    async fn get_ingest_stream(&self, request: Request<GetIngestStreamRequest>) -> Answer<IngestStream> {
        let caller = Caller::of(&request)?;
        let name = request.get_ref().name.clone();
        let stream_id = name.strip_prefix("ingestStreams/").filter(|id| required_text(id, MAX_NAME_BYTES).is_ok());
        let stream_id =
            stream_id.ok_or_else(|| ApiError::invalid_field("name", "must be ingestStreams/{stream_id}"))?;
        let stream = streams::get(self.service.runtime.database.reader(), caller.tenant().id, stream_id).await;
        let stream = stream.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(IngestStream {
            name,
            acked_offset: stream.next_offset,
            facts_position: stream.facts_position,
        }))
    }

    async fn list_rejects(&self, request: Request<ListRejectsRequest>) -> Answer<ListRejectsResponse> {
        let caller = Caller::of(&request)?;
        Ok(rejects::list(&self.service, &caller, request.get_ref()).await?)
    }

    async fn get_reject(&self, request: Request<GetRejectRequest>) -> Answer<RejectedRow> {
        let caller = Caller::of(&request)?;
        Ok(rejects::get(&self.service, &caller, &request.get_ref().name).await?)
    }

    async fn replay_reject(&self, request: Request<ReplayRejectRequest>) -> Answer<IngestResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let reject_id = rejects::number(&request.name)?;
        let row = match request.row {
            Some(row) => row,
            None => rejects::row(&self.service, &caller, reject_id).await?,
        };
        let terms = self.service.terms(caller.tenant(), &custom_keys(std::slice::from_ref(&row))).await;
        let terms = terms.map_err(|error| store_error(&error))?;
        let encoded_bytes = row.encoded_len();
        let batch = check_batch(BatchId::Reject { reject_id }, vec![row], encoded_bytes, &terms, &caller)?;
        let pending = self.committer(caller.tenant()).submit(batch).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(answer(&caller, pending).await?))
    }

    async fn delete_reject(&self, request: Request<DeleteRejectRequest>) -> Answer<DeleteRejectResponse> {
        let caller = Caller::of(&request)?;
        rejects::delete(&self.service, &caller, &request.get_ref().name).await?;
        Ok(caller.respond(DeleteRejectResponse {}))
    }
}
