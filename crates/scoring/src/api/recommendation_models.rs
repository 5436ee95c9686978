//! Models of recommendations: fitted, read and put in force.

use super::fits;
use crate::Service;
use crate::fitting::Publishing;
use crate::fitting::recommendation::{self, Asked, Fitting};
use crate::store::fits::{Fit, Stored};
use quintile_chain::listening::{self, Listener};
use quintile_proto::scoring::recommendation_model_service_server::RecommendationModelService;
use quintile_proto::scoring::{
    FitRecommendationModelRequest, FitRecommendationModelResponse, GetRecommendationModelRequest,
    ListRecommendationModelsRequest, ListRecommendationModelsResponse, PreviewProgress,
    PublishRecommendationModelRequest, RecommendationModel, RecommendationTerms,
};
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use tonic::{Request, Response, Status};

/// The days that are held out where nobody says: four weeks.
const HOLDOUT_DAYS: i32 = 28;
/// The most days of purchases that count.
const MAX_HISTORY_DAYS: i32 = 3_653;
/// The fewest and the most customers that two products may have to have in common, and how many where nobody says.
const MIN_CUSTOMERS: std::ops::RangeInclusive<i32> = 2..=1_000;
const CUSTOMERS: i32 = 5;

/// The handlers.
pub struct RecommendationModels {
    pub service: Service,
}

fn checked(request: &FitRecommendationModelRequest) -> Result<Asked, ApiError> {
    let given = request.terms.unwrap_or_default();
    if !(0..=MAX_HISTORY_DAYS).contains(&given.history_days) {
        let problem = format!("must be within 0 and {MAX_HISTORY_DAYS}");
        return Err(ApiError::invalid_field("terms.history_days", problem));
    }
    if given.min_customers != 0 && !MIN_CUSTOMERS.contains(&given.min_customers) {
        let problem = format!("must be 0, or within {} and {}", MIN_CUSTOMERS.start(), MIN_CUSTOMERS.end());
        return Err(ApiError::invalid_field("terms.min_customers", problem));
    }
    let holdout_days = fits::holdout_days(request.holdout_days, HOLDOUT_DAYS)?;
    let min_customers = if given.min_customers == 0 { CUSTOMERS } else { given.min_customers };
    Ok(Asked { terms: RecommendationTerms { min_customers, ..given }, holdout_days })
}

/// A model as a caller sees it: what was learnt from everybody is for who reaches everybody.
fn message(caller: &Caller, stored: &Stored<RecommendationModel>) -> RecommendationModel {
    let known = if caller.scope().is_none() {
        stored.body.clone()
    } else {
        RecommendationModel { terms: stored.body.terms, end_date: stored.body.end_date, ..Default::default() }
    };
    RecommendationModel {
        name: stored.name(),
        state: stored.state.into(),
        create_time: Some(convert::timestamp(stored.created_at)),
        publish_time: stored.published_at.map(convert::timestamp),
        etag: stored.etag(),
        ..known
    }
}

fn progress(progress: PreviewProgress) -> FitRecommendationModelResponse {
    FitRecommendationModelResponse { progress: Some(progress), model: None }
}

#[tonic::async_trait]
impl RecommendationModelService for RecommendationModels {
    type FitRecommendationModelStream = AnswerStream<FitRecommendationModelResponse>;

    async fn fit_recommendation_model(
        &self,
        request: Request<FitRecommendationModelRequest>,
    ) -> Result<Response<Self::FitRecommendationModelStream>, Status> {
        let caller = Caller::of(&request)?;
        let asked = checked(request.get_ref())?;
        caller.is_about(RecommendationModel::COLLECTION);
        let (service, listening) = (self.service.clone(), caller.clone());
        let work = |mut listener: Listener<FitRecommendationModelResponse, PreviewProgress>| async move {
            let fitting = Fitting { service: &service, tenant: caller.tenant(), asked };
            let stored = fitting.run(|progress| listener.tell(progress)).await?;
            let model = message(&caller, &stored);
            listener.send(FitRecommendationModelResponse { model: Some(model), progress: None }).await
        };
        Ok(Response::new(listening::stream(listening, progress, work)))
    }

    async fn get_recommendation_model(
        &self,
        request: Request<GetRecommendationModelRequest>,
    ) -> Answer<RecommendationModel> {
        let caller = Caller::of(&request)?;
        let found = fits::get(&self.service, &caller, &request.get_ref().name).await?;
        Ok(caller.respond(message(&caller, &found)))
    }

    async fn list_recommendation_models(
        &self,
        request: Request<ListRecommendationModelsRequest>,
    ) -> Answer<ListRecommendationModelsResponse> {
        let caller = Caller::of(&request)?;
        let ListRecommendationModelsRequest { page_size, page_token } = request.get_ref();
        let (read, next_page_token) = fits::list(&self.service, &caller, *page_size, page_token).await?;
        let models = read.iter().map(|stored| message(&caller, stored)).collect();
        Ok(caller.respond(ListRecommendationModelsResponse { models, next_page_token }))
    }

    async fn publish_recommendation_model(
        &self,
        request: Request<PublishRecommendationModelRequest>,
    ) -> Answer<RecommendationModel> {
        let caller = Caller::of(&request)?;
        let PublishRecommendationModelRequest { name, etag, unless_worse } = request.get_ref();
        let publishing = Publishing { name, etag, unless_worse: *unless_worse, in_place_of: None };
        let published = recommendation::publish(&self.service, caller.tenant(), &publishing).await?;
        Ok(caller.respond(message(&caller, &published)))
    }
}
