//! Scores.

use crate::rfm::explain::DimensionReason;
use crate::worker::{ScoreLink, rfm_input, version_name};
use quintile_chain::context::Runtime;
use quintile_chain::derive::{self, Current, Link};
use quintile_chain::feed;
use quintile_proto::scoring::score_service_server::ScoreService;
use quintile_proto::scoring::{
    BatchGetScoresRequest, BatchGetScoresResponse, DimensionExplanation, ExplainScoreRequest, GetScoreRequest, Score,
    ScoreExplanation, WatchScoresRequest,
};
use quintile_proto::types::WatchRecordsResponse;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use std::sync::Arc;
use tonic::{Code, Request, Response, Status};

/// The part of a customer that is scored.
const PART: &str = "score";
/// The most names of one batch.
const MAX_BATCH: usize = 1_000;

/// The handlers.
pub struct Scores {
    pub runtime: Runtime,
    pub link: Arc<ScoreLink>,
}

impl Scores {
    async fn score(&self, caller: &Caller, field: &str, name: &str) -> Result<(Score, Current), ApiError> {
        let customer = convert::customer(field, name, Some(PART))?;
        let mut current = derive::current(&self.runtime, self.link.as_ref(), caller, customer).await?;
        let values = current.record.scores.take();
        Ok((Score { name: name.to_owned(), values, watermark: Some(current.watermark.to_message()) }, current))
    }
}

#[tonic::async_trait]
impl ScoreService for Scores {
    type WatchScoresStream = AnswerStream<WatchRecordsResponse>;

    async fn get_score(&self, request: Request<GetScoreRequest>) -> Answer<Score> {
        let caller = Caller::of(&request)?;
        let (score, current) = self.score(&caller, "name", &request.get_ref().name).await?;
        Ok(current.view.respond(score))
    }

    async fn batch_get_scores(&self, request: Request<BatchGetScoresRequest>) -> Answer<BatchGetScoresResponse> {
        let caller = Caller::of(&request)?;
        let names = &request.get_ref().names;
        if names.is_empty() || names.len() > MAX_BATCH {
            return Err(ApiError::invalid_field("names", format!("must have 1 to {MAX_BATCH} names")).into());
        }
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
        let name = request.get_ref().name.clone();
        let customer = convert::customer("name", &name, Some(PART))?;
        let Current { record, view, .. } =
            derive::current(&self.runtime, self.link.as_ref(), &caller, customer).await?;
        let tenant = caller.tenant();
        let (model, input, as_of) = (self.link.model(tenant), rfm_input(tenant, &record), self.runtime.business.now());
        let units = ["days".to_owned(), "orders".to_owned(), format!("{} minor", tenant.currency.code())];
        let reasons = model.explain(&input, as_of, &tenant.zone);
        let dimensions = reasons.into_iter().zip(units).map(|(reason, unit)| explanation(reason, unit)).collect();
        Ok(view.respond(ScoreExplanation {
            name,
            model_version: version_name(&model),
            as_of: Some(convert::timestamp(as_of)),
            dimensions,
            next_change_time: model.next_change(&input, as_of, &tenant.zone).map(convert::timestamp),
        }))
    }

    async fn watch_scores(
        &self,
        request: Request<WatchScoresRequest>,
    ) -> Result<Response<Self::WatchScoresStream>, Status> {
        let caller = Caller::of(&request)?;
        let cursor = &request.get_ref().cursor;
        Ok(Response::new(feed::watch(self.runtime.clone(), ScoreLink::FEED, caller, cursor).await?))
    }
}

fn explanation(reason: DimensionReason, unit: String) -> DimensionExplanation {
    DimensionExplanation {
        dimension: reason.name.to_owned(),
        score: i32::from(reason.score),
        input: reason.input,
        unit,
        cut_offs: reason.cut_offs.to_vec(),
        to_next_better: reason.to_next_better,
        to_next_worse: reason.to_next_worse,
        reason: reason.reason,
    }
}
