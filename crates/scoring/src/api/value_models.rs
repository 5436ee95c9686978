//! Models of lifetime value: fitted, read and put in force.

use super::fits;
use crate::Service;
use crate::fitting::value::{self, Asked, Fitting};
use crate::fitting::{self, Publishing};
use crate::store::fits::{Fit, Stored};
use quintile_chain::listening::{self, Listener};
use quintile_clv::Dropout;
use quintile_domain::masking::Sensitivity;
use quintile_proto::scoring::value_model_service_server::ValueModelService;
use quintile_proto::scoring::{
    DropoutKind, FitValueModelRequest, FitValueModelResponse, GetValueModelRequest, ListValueModelsRequest,
    ListValueModelsResponse, PreviewProgress, PublishValueModelRequest, RetireValueModelRequest, ValueModel,
    ValueTerms,
};
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use tonic::{Request, Response, Status};

/// The days that are held out where nobody says: a quarter.
const HOLDOUT_DAYS: i32 = 91;
/// The most months that are looked at, and those that are where nobody says.
const MAX_MONTHS: i32 = 120;
const MONTHS: i32 = 12;

/// The handlers.
pub struct ValueModels {
    pub service: Service,
}

fn checked(request: &FitValueModelRequest) -> Result<Asked, ApiError> {
    let dropout = match DropoutKind::try_from(request.dropout) {
        Ok(DropoutKind::Unspecified | DropoutKind::AfterRepeats) => Dropout::AfterRepeats,
        Ok(DropoutKind::AfterEveryPurchase) => Dropout::AfterEveryPurchase,
        Err(_) => return Err(ApiError::invalid_field("dropout", "must be one of the known values")),
    };
    let holdout_days = fits::holdout_days(request.holdout_days, HOLDOUT_DAYS)?;
    let given = request.terms.unwrap_or_default();
    let percent = |field: &str, percent: f64| {
        // What is no number is within nothing.
        if (0.0..=100.0).contains(&percent) {
            return Ok(percent);
        }
        Err(ApiError::invalid_field(format!("terms.{field}"), "must be within 0 and 100"))
    };
    let margin = percent("gross_margin_percent", given.gross_margin_percent)?;
    let discount = percent("monthly_discount_percent", given.monthly_discount_percent.unwrap_or(1.0))?;
    if !(0..=MAX_MONTHS).contains(&given.months) {
        return Err(ApiError::invalid_field("terms.months", format!("must be within 0 and {MAX_MONTHS}")));
    }
    let terms = ValueTerms {
        gross_margin_percent: if margin == 0.0 { 100.0 } else { margin },
        monthly_discount_percent: Some(discount),
        months: if given.months == 0 { MONTHS } else { given.months },
    };
    Ok(Asked { dropout, holdout_days, terms })
}

/// A model as a caller sees it: what was learnt from everybody is for who reaches everybody.
fn message(caller: &Caller, stored: &Stored<ValueModel>) -> ValueModel {
    let message = ValueModel {
        name: stored.name(),
        state: stored.state.into(),
        create_time: Some(convert::timestamp(stored.created_at)),
        publish_time: stored.published_at.map(convert::timestamp),
        etag: stored.etag(),
        ..stored.body.clone()
    };
    if caller.scope().is_none() {
        return message;
    }
    ValueModel {
        purchases: None,
        spend: None,
        holdout: None,
        leads: None,
        spend_problem: String::new(),
        holdout_problem: String::new(),
        dropout_problem: String::new(),
        ..message
    }
}

/// What everybody spends and costs is for who reads money in clear.
pub fn check_rights(caller: &Caller) -> Result<(), ApiError> {
    if caller.reads_in_clear(Sensitivity::Financial) { Ok(()) } else { Err(ApiError::field_denied("revenue")) }
}

fn progress(progress: PreviewProgress) -> FitValueModelResponse {
    FitValueModelResponse { progress: Some(progress), model: None }
}

#[tonic::async_trait]
impl ValueModelService for ValueModels {
    type FitValueModelStream = AnswerStream<FitValueModelResponse>;

    async fn fit_value_model(
        &self,
        request: Request<FitValueModelRequest>,
    ) -> Result<Response<Self::FitValueModelStream>, Status> {
        let caller = Caller::of(&request)?;
        let asked = checked(request.get_ref())?;
        check_rights(&caller)?;
        caller.is_about(ValueModel::COLLECTION);
        let service = self.service.clone();
        let work = |mut listener: Listener<FitValueModelResponse, PreviewProgress>| async move {
            let fitting = Fitting { service: &service, tenant: caller.tenant(), asked };
            let model = message(&caller, &fitting.run(|progress| listener.tell(progress)).await?);
            listener.send(FitValueModelResponse { model: Some(model), progress: None }).await
        };
        Ok(Response::new(listening::stream(Caller::of(&request)?, progress, work)))
    }

    async fn get_value_model(&self, request: Request<GetValueModelRequest>) -> Answer<ValueModel> {
        let caller = Caller::of(&request)?;
        let found = fits::get(&self.service, &caller, &request.get_ref().name).await?;
        Ok(caller.respond(message(&caller, &found)))
    }

    async fn list_value_models(&self, request: Request<ListValueModelsRequest>) -> Answer<ListValueModelsResponse> {
        let caller = Caller::of(&request)?;
        let ListValueModelsRequest { page_size, page_token } = request.get_ref();
        let (read, next_page_token) = fits::list(&self.service, &caller, *page_size, page_token).await?;
        let models = read.iter().map(|stored| message(&caller, stored)).collect();
        Ok(caller.respond(ListValueModelsResponse { models, next_page_token }))
    }

    async fn publish_value_model(&self, request: Request<PublishValueModelRequest>) -> Answer<ValueModel> {
        let caller = Caller::of(&request)?;
        let PublishValueModelRequest { name, etag, unless_worse } = request.get_ref();
        fitting::number_in::<ValueModel>(name)?;
        check_rights(&caller)?;
        caller.is_about(name.clone());
        let publishing = Publishing { name, etag, unless_worse: *unless_worse, in_place_of: None };
        let published = value::publish(&self.service, caller.tenant(), &publishing).await?;
        Ok(caller.respond(message(&caller, &published)))
    }

    async fn retire_value_model(&self, request: Request<RetireValueModelRequest>) -> Answer<ValueModel> {
        let caller = Caller::of(&request)?;
        let RetireValueModelRequest { name, etag } = request.get_ref();
        fitting::number_in::<ValueModel>(name)?;
        check_rights(&caller)?;
        caller.is_about(name.clone());
        let retired = value::retire(&self.service, caller.tenant(), name, etag).await?;
        Ok(caller.respond(message(&caller, &retired)))
    }
}
