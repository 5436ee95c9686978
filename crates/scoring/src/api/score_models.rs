//! Score models, by their RPCs: what there is, and where the rest is done.

use super::{previews, publishing, versions};
use crate::Service;
use crate::encoding;
use crate::models::presets::PRESETS;
use crate::models::{Definition, Dimension};
use crate::store::models::{self, Version};
use quintile_chain::operations::message as operation_message;
use quintile_chain::store_error;
use quintile_domain::names::{number, resource_id};
use quintile_proto::longrunning::Operation;
use quintile_proto::scoring::score_model_service_server::ScoreModelService;
use quintile_proto::scoring::{
    CreateScoreModelVersionRequest, DeleteScoreModelVersionRequest, DeleteScoreModelVersionResponse,
    GetScoreModelRequest, GetScoreModelVersionRequest, ListScoreModelPresetsRequest, ListScoreModelPresetsResponse,
    ListScoreModelVersionsRequest, ListScoreModelVersionsResponse, ListScoreModelsRequest, ListScoreModelsResponse,
    PreviewScoreModelVersionRequest, PreviewScoreModelVersionResponse, PublishScoreModelVersionRequest,
    RefitScoreModelRequest, RetireScoreModelRequest, ScoreModel, ScoreModelPreset, ScoreModelVersion,
};
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller};
use tonic::{Request, Response, Status};

/// The handlers.
pub struct ScoreModels {
    pub service: Service,
}

/// What a model's id may be, in words.
const MODEL_ID: &str = "the model 1 to 63 of a-z, 0-9 and -, the first of them a letter";

/// The model of `scoreModels/{model}`.
pub fn model_in<'a>(field: &str, name: &'a str) -> Result<&'a str, ApiError> {
    let model = name.strip_prefix("scoreModels/").filter(|model| resource_id(model).is_ok());
    model.ok_or_else(|| ApiError::invalid_field(field, format!("must be scoreModels/{{model}}, {MODEL_ID}")))
}

/// The model and the number of `scoreModels/{model}/versions/{number}`.
pub fn version_in<'a>(field: &str, name: &'a str) -> Result<(&'a str, i64), ApiError> {
    let parts = name.strip_prefix("scoreModels/").and_then(|rest| rest.split_once("/versions/"));
    let parts = parts.filter(|(model, _)| resource_id(model).is_ok());
    let parsed = parts.and_then(|(model, digits)| Some((model, number(digits).filter(|number| *number > 0)?)));
    let form = || format!("must be scoreModels/{{model}}/versions/{{number}}, {MODEL_ID}");
    parsed.ok_or_else(|| ApiError::invalid_field(field, form()))
}

/// Whether a dimension's cut-offs are not for a caller: they were found from what others have, which the caller does not read of everybody.
pub fn hides_found(caller: &Caller, dimension: &Dimension) -> bool {
    let reads = caller.scope().is_none() && caller.reads_in_clear(dimension.feature.sensitivity());
    dimension.is_found_from_others() && !reads
}

/// Whether the instant at which a customer's scores change would tell such a cut-off.
pub fn hides_changes(caller: &Caller, definition: &Definition) -> bool {
    let by_day = |dimension: &&Dimension| dimension.feature.may_change_by_day();
    definition.dimensions.iter().filter(by_day).any(|dimension| hides_found(caller, dimension))
}

/// A version as a caller sees it: what was found from everybody is for who reads everybody.
pub fn message(caller: &Caller, version: &Version) -> ScoreModelVersion {
    let mut message = version.message(caller.tenant());
    for (dimension, sent) in version.definition.dimensions.iter().zip(&mut message.dimensions) {
        if hides_found(caller, dimension) {
            sent.cut_offs.clear();
        }
    }
    message.preview = message.preview.filter(|_| caller.scope().is_none());
    message
}

impl ScoreModels {
    async fn models(&self, caller: &Caller) -> Result<Vec<ScoreModel>, ApiError> {
        let tenant = caller.tenant();
        let database = &self.service.runtime.database;
        let read = async {
            // The model that ships is there before anybody asks for it.
            self.service.models.of(tenant).await?;
            models::all(database.reader(), tenant.id).await
        };
        let all = read.await.map_err(|error| store_error(&error))?;
        let models = all.into_iter().map(|(model, published, latest_version)| ScoreModel {
            name: format!("scoreModels/{model}"),
            published: published.map(|published| message(caller, &published)),
            latest_version,
        });
        Ok(models.collect())
    }
}

#[tonic::async_trait]
impl ScoreModelService for ScoreModels {
    type PreviewScoreModelVersionStream = AnswerStream<PreviewScoreModelVersionResponse>;

    async fn get_score_model(&self, request: Request<GetScoreModelRequest>) -> Answer<ScoreModel> {
        let caller = Caller::of(&request)?;
        let name = &request.get_ref().name;
        model_in("name", name)?;
        let models = self.models(&caller).await?;
        let found = models.into_iter().find(|model| model.name == *name).ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(found))
    }

    async fn list_score_models(&self, request: Request<ListScoreModelsRequest>) -> Answer<ListScoreModelsResponse> {
        let caller = Caller::of(&request)?;
        let score_models = self.models(&caller).await?;
        Ok(caller.respond(ListScoreModelsResponse { score_models }))
    }

    async fn list_score_model_presets(
        &self,
        request: Request<ListScoreModelPresetsRequest>,
    ) -> Answer<ListScoreModelPresetsResponse> {
        let caller = Caller::of(&request)?;
        let currency = caller.tenant().currency;
        let presets = PRESETS.iter().map(|preset| ScoreModelPreset {
            preset_id: preset.id.to_owned(),
            model_id: preset.model.to_owned(),
            version: Some(encoding::message(&(preset.definition)(currency.minor_digits()), currency)),
        });
        Ok(caller.respond(ListScoreModelPresetsResponse { presets: presets.collect() }))
    }

    async fn create_score_model_version(
        &self,
        request: Request<CreateScoreModelVersionRequest>,
    ) -> Answer<ScoreModelVersion> {
        let caller = Caller::of(&request)?;
        let version = versions::create(&self.service, &caller, request.into_inner()).await?;
        Ok(caller.respond(message(&caller, &version)))
    }

    async fn get_score_model_version(
        &self,
        request: Request<GetScoreModelVersionRequest>,
    ) -> Answer<ScoreModelVersion> {
        let caller = Caller::of(&request)?;
        let version = versions::get(&self.service, &caller, &request.get_ref().name).await?;
        Ok(caller.respond(message(&caller, &version)))
    }

    async fn list_score_model_versions(
        &self,
        request: Request<ListScoreModelVersionsRequest>,
    ) -> Answer<ListScoreModelVersionsResponse> {
        let caller = Caller::of(&request)?;
        let listed = versions::list(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(listed))
    }

    async fn delete_score_model_version(
        &self,
        request: Request<DeleteScoreModelVersionRequest>,
    ) -> Answer<DeleteScoreModelVersionResponse> {
        let caller = Caller::of(&request)?;
        versions::delete(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(DeleteScoreModelVersionResponse {}))
    }

    async fn refit_score_model(&self, request: Request<RefitScoreModelRequest>) -> Answer<ScoreModelVersion> {
        let caller = Caller::of(&request)?;
        let version = versions::refit(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(message(&caller, &version)))
    }

    async fn preview_score_model_version(
        &self,
        request: Request<PreviewScoreModelVersionRequest>,
    ) -> Result<Response<Self::PreviewScoreModelVersionStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(previews::preview(self.service.clone(), caller, request.into_inner()).await?))
    }

    async fn publish_score_model_version(
        &self,
        request: Request<PublishScoreModelVersionRequest>,
    ) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let operation = publishing::publish(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(operation_message(&operation)))
    }

    async fn retire_score_model(&self, request: Request<RetireScoreModelRequest>) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let operation = publishing::retire(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(operation_message(&operation)))
    }
}
