//! Score models.

use crate::rfm::Dimension as RfmDimension;
use crate::store::models::{Models, PublishedModel};
use crate::worker::RFM;
use quintile_chain::store_error;
use quintile_proto::scoring::score_model_service_server::ScoreModelService;
use quintile_proto::scoring::{
    Dimension, Direction, GetScoreModelRequest, ListScoreModelsRequest, ListScoreModelsResponse, ScoreModel,
};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use tonic::Request;

/// The handlers.
pub struct ScoreModels {
    pub models: Models,
}

#[tonic::async_trait]
impl ScoreModelService for ScoreModels {
    async fn get_score_model(&self, request: Request<GetScoreModelRequest>) -> Answer<ScoreModel> {
        let caller = Caller::of(&request)?;
        let name = &request.get_ref().name;
        let model = name.strip_prefix("scoreModels/").filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| ApiError::invalid_field("name", "must be scoreModels/{model}"))?;
        if model != RFM {
            return Err(ApiError::not_found().into());
        }
        let published = self.models.published(caller.tenant()).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(message(&published)))
    }

    async fn list_score_models(&self, request: Request<ListScoreModelsRequest>) -> Answer<ListScoreModelsResponse> {
        let caller = Caller::of(&request)?;
        let published = self.models.published(caller.tenant()).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(ListScoreModelsResponse { score_models: vec![message(&published)] }))
    }
}

fn message(published: &PublishedModel) -> ScoreModel {
    let dimension = |dimension: RfmDimension, feature: &str, direction: Direction| Dimension {
        name: dimension.name().to_owned(),
        feature: feature.to_owned(),
        direction: direction.into(),
        cut_offs: published.model.cut_offs(dimension).to_vec(),
    };
    ScoreModel {
        name: format!("scoreModels/{RFM}"),
        version: published.model.version(),
        dimensions: vec![
            dimension(RfmDimension::Recency, "days_since(last_order_at)", Direction::LowerIsBetter),
            dimension(RfmDimension::Frequency, "orders", Direction::HigherIsBetter),
            dimension(RfmDimension::Monetary, "revenue", Direction::HigherIsBetter),
        ],
        publish_time: Some(convert::timestamp(published.published_at)),
    }
}
