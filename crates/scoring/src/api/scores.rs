//! Scores: read, explained, and how they changed.

use super::explanations;
use super::score_models::hides_changes;
use crate::Service;
use crate::store::changes::{self, Change};
use crate::worker::ScoreLink;
use quintile_chain::derive::{self, Current, Link};
use quintile_chain::{feed, page, store_error};
use quintile_proto::scoring::score_service_server::ScoreService;
use quintile_proto::scoring::{
    BatchGetScoresRequest, BatchGetScoresResponse, ExplainScoreRequest, GetScoreRequest, ListScoreChangesRequest,
    ListScoreChangesResponse, Score, ScoreChange, ScoreExplanation, WatchScoresRequest,
};
use quintile_proto::types::WatchRecordsResponse;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::history::Position;
use tonic::{Code, Request, Response, Status};

/// The part of a customer that is scored.
pub const PART: &str = "score";
/// The most names of one batch.
const MAX_BATCH: usize = 1_000;

/// The handlers.
pub struct Scores {
    pub service: Service,
}

impl Scores {
    async fn score(&self, caller: &Caller, field: &str, name: &str) -> Result<(Score, Current), ApiError> {
        let customer = convert::customer(field, name, Some(PART))?;
        let Service { runtime, link, .. } = &self.service;
        let mut current = derive::current(runtime, link.as_ref(), caller, customer).await?;
        let mut values = current.record.scores.take();
        if let Some(values) = &mut values {
            feed::hide_falls(caller, values);
        }
        if let Some(values) = values.as_mut().filter(|_| caller.scope().is_some()) {
            let in_force = self.service.models.last_read(caller.tenant().id);
            if in_force.all().any(|live| hides_changes(caller, &live.definition)) {
                values.next_change_time = None;
            }
        }
        Ok((Score { name: name.to_owned(), values, watermark: Some(current.watermark.to_message()) }, current))
    }

    /// What scores now is what was published.
    async fn refresh(&self, caller: &Caller) -> Result<(), ApiError> {
        self.service.models.recent(caller.tenant()).await.map_err(|error| store_error(&error))?;
        Ok(())
    }
}

#[tonic::async_trait]
impl ScoreService for Scores {
    type WatchScoresStream = AnswerStream<WatchRecordsResponse>;

    async fn get_score(&self, request: Request<GetScoreRequest>) -> Answer<Score> {
        let caller = Caller::of(&request)?;
        self.refresh(&caller).await?;
        let (score, current) = self.score(&caller, "name", &request.get_ref().name).await?;
        Ok(current.view.respond(score))
    }

    async fn batch_get_scores(&self, request: Request<BatchGetScoresRequest>) -> Answer<BatchGetScoresResponse> {
        let caller = Caller::of(&request)?;
        let names = &request.get_ref().names;
        if names.is_empty() || names.len() > MAX_BATCH {
            return Err(ApiError::invalid_field("names", format!("must have 1 to {MAX_BATCH} names")).into());
        }
        self.refresh(&caller).await?;
        let (mut scores, mut reached) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
        for (index, name) in names.iter().enumerate() {
            match self.score(&caller, &format!("names[{index}]"), name).await {
                Ok((score, current)) => {
                    scores.push(score);
                    reached.push(current.record);
                }
                Err(error) if error.code() == Code::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(feed::view_of(&caller, &reached).respond(BatchGetScoresResponse { scores }))
    }

    async fn explain_score(&self, request: Request<ExplainScoreRequest>) -> Answer<ScoreExplanation> {
        let caller = Caller::of(&request)?;
        self.refresh(&caller).await?;
        let (explanation, view) = explanations::explain(&self.service, &caller, request.into_inner()).await?;
        Ok(view.respond(explanation))
    }

    async fn list_score_changes(&self, request: Request<ListScoreChangesRequest>) -> Answer<ListScoreChangesResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let customer = convert::customer("parent", &request.parent, Some(PART))?;
        let Service { runtime, link, .. } = &self.service;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let query = format!("ListScoreChanges {customer}");
        let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
        let before = page::begin(&runtime.sealer, tenant, &query, &request.page_token, Position::END, decode)?;
        // Whom the caller does not reach is not there.
        let Current { view, .. } = derive::current(runtime, link.as_ref(), &caller, customer).await?;
        let read = changes::page(runtime.database.reader(), tenant, customer, before, size).await;
        let read = read.map_err(|error| store_error(&error))?;
        let next_page_token = match read.last() {
            Some((last, _)) if read.len() as u64 == size => {
                runtime.sealer.seal(tenant, query.as_bytes(), &last.to_bytes())
            }
            _ => String::new(),
        };
        let changes = read.into_iter().map(|(_, change)| change_message(&request.parent, change)).collect();
        Ok(view.respond(ListScoreChangesResponse { changes, next_page_token }))
    }

    async fn watch_scores(
        &self,
        request: Request<WatchScoresRequest>,
    ) -> Result<Response<Self::WatchScoresStream>, Status> {
        let caller = Caller::of(&request)?;
        let cursor = &request.get_ref().cursor;
        Ok(Response::new(feed::watch(self.service.runtime.clone(), ScoreLink::FEED, caller, cursor).await?))
    }
}

fn change_message(name: &str, change: Change) -> ScoreChange {
    ScoreChange {
        name: name.to_owned(),
        valid_at: Some(convert::timestamp(change.valid_at)),
        cause: change.cause.into(),
        before: Some(change.before),
        after: Some(change.after),
    }
}
