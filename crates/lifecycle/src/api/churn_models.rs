//! Churn models: trained, read, put in force and taken out of it.

use super::churn_schedules;
use crate::churning::{self, Churning, Label, Target, features, labels, measure, refused};
use crate::restaging::{self, PUBLISH_MODEL, RETIRE_MODEL};
use crate::store::churn_models::{self, COLLECTION, Stored};
use quintile_chain::listening::{self, Listener};
use quintile_chain::operations::message as operation_message;
use quintile_chain::{page, store_error};
use quintile_domain::masking::Sensitivity;
use quintile_domain::names;
use quintile_proto::lifecycle::churn_model_service_server::ChurnModelService;
use quintile_proto::lifecycle::{
    ChurnModel, ChurnModelState, ChurnProgress, ChurnTrainingSchedule, GetChurnModelRequest,
    GetChurnTrainingScheduleRequest, ListChurnModelsRequest, ListChurnModelsResponse, MeasureChurnDriftRequest,
    MeasureChurnDriftResponse, PublishChurnModelRequest, RetireChurnModelRequest, TrainChurnModelRequest,
    UpdateChurnTrainingScheduleRequest,
};
use quintile_proto::longrunning::Operation;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The horizons, in days, and the one where nobody says.
const HORIZON_DAYS: RangeInclusive<i32> = 7..=365;
const USUAL_HORIZON_DAYS: i32 = 90;
/// The query that page tokens belong to.
const LIST: &str = "ListChurnModels";

/// The handlers.
pub struct ChurnModels {
    pub churning: Arc<Churning>,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

fn number_in(name: &str) -> Result<i64, ApiError> {
    let number = name.strip_prefix(COLLECTION).and_then(|rest| rest.strip_prefix('/')).and_then(names::number);
    let wrong = || ApiError::invalid_field("name", format!("must be {COLLECTION}/{{number}}"));
    number.filter(|number| *number > 0).ok_or_else(wrong)
}

/// What models learn from, too, is what everybody spends: for who reads money in clear.
fn check_rights(caller: &Caller) -> Result<(), ApiError> {
    if caller.reads_in_clear(Sensitivity::Financial) { Ok(()) } else { Err(ApiError::field_denied("revenue")) }
}

/// A model as a caller sees it: what was learnt from everybody is for who reaches everybody, and how risks have moved for who may hear of these.
fn message(caller: &Caller, stored: &Stored) -> ChurnModel {
    let mut message = stored.message();
    let label = Label::of(&message);
    message.drivers.retain(|driver| features::is_told(caller, label.as_ref(), &driver.feature));
    if label.is_some_and(|label| label.check_foretold(caller).is_err()) {
        message = ChurnModel { drifts: Vec::new(), drift_alarm_time: None, ..message };
    }
    if caller.scope().is_none() {
        return message;
    }
    ChurnModel {
        fit: None,
        calibration: None,
        holdout: None,
        evaluation: None,
        baselines: Vec::new(),
        candidates: Vec::new(),
        drivers: Vec::new(),
        drifts: Vec::new(),
        drift_alarm_time: None,
        ..message
    }
}

/// The same in a list: of how risks have moved, the newest.
fn listed(caller: &Caller, stored: &Stored) -> ChurnModel {
    let mut message = message(caller, stored);
    message.drifts.truncate(1);
    message
}

/// Refuses a request that can't be one, whoever asks.
fn check(asked: &TrainChurnModelRequest) -> Result<(), ApiError> {
    let wrong = |field: &str, problem: String| Err(ApiError::invalid_field(field, problem));
    let TrainChurnModelRequest { horizon_days, label, request_id } = asked;
    match label {
        Some(_) if *horizon_days != 0 => return wrong("horizon_days", "must not be set with a label".to_owned()),
        Some(label) => labels::check(label)?,
        None if *horizon_days != 0 && !HORIZON_DAYS.contains(horizon_days) => {
            let (least, most) = (HORIZON_DAYS.start(), HORIZON_DAYS.end());
            return wrong("horizon_days", format!("must be within {least} and {most}"));
        }
        None => {}
    }
    if !request_id.is_empty() && uuid::Uuid::try_parse(request_id).is_err() {
        return wrong("request_id", "must be a UUID".to_owned());
    }
    Ok(())
}

/// What a checked request asks for, if the caller may learn from it: a label with the classes that its attributes are declared with now.
async fn target(churning: &Churning, caller: &Caller, asked: &TrainChurnModelRequest) -> Result<Target, ApiError> {
    check_rights(caller)?;
    match (&asked.label, asked.horizon_days) {
        (Some(label), _) => {
            let label = Label::declared(churning, caller.tenant(), label).await?;
            label.check_learnable(caller)?;
            Ok(Target::Label(label))
        }
        (None, 0) => Ok(Target::Horizon(USUAL_HORIZON_DAYS)),
        (None, days) => Ok(Target::Horizon(days)),
    }
}

fn measuring(progress: ChurnProgress) -> MeasureChurnDriftResponse {
    MeasureChurnDriftResponse { progress: Some(progress), drift: None }
}

impl ChurnModels {
    /// Begins to change a model, in the state in which it has to be.
    async fn begin(
        &self,
        caller: &Caller,
        (name, etag): (&str, &str),
        states: &[ChurnModelState],
        otherwise: &str,
    ) -> Result<(Transaction, i64, Stored), ApiError> {
        let number = number_in(name)?;
        check_rights(caller)?;
        let tenant = caller.tenant().id;
        let transaction = self.churning.runtime.database.begin().await.map_err(failed)?;
        let revision = churn_models::begin_change(&transaction, tenant).await.map_err(failed)?;
        let found = churn_models::get(&transaction, tenant, number).await.map_err(failed)?;
        let found = found.ok_or_else(ApiError::not_found)?;
        if let Some(label) = Label::of(&found.body) {
            label.check_learnable(caller)?;
        }
        if !etag.is_empty() && etag != found.etag() {
            return Err(ApiError::stale_etag());
        }
        if !states.contains(&found.state) {
            return Err(refused(otherwise));
        }
        restaging::check_room(&transaction, caller.tenant()).await?;
        Ok((transaction, revision, found))
    }

    /// Writes where a model stands now.
    async fn end(
        &self,
        caller: &Caller,
        transaction: Transaction,
        model: Stored,
        verb: &'static str,
    ) -> Result<Stored, ApiError> {
        let tenant = caller.tenant();
        let model = churning::stand(&self.churning, &transaction, tenant, model, verb).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        // This process's reads go by it at once. It is written whether or not that succeeds now: they come to it in a moment.
        if let Err(error) = self.churning.models.of(tenant.id).await {
            tracing::debug!(%error, "the churn model in force is read a moment later");
        }
        Ok(model)
    }
}

#[tonic::async_trait]
impl ChurnModelService for ChurnModels {
    type MeasureChurnDriftStream = AnswerStream<MeasureChurnDriftResponse>;

    async fn train_churn_model(&self, request: Request<TrainChurnModelRequest>) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        check(&asked)?;
        caller.is_about(COLLECTION);
        let target = target(&self.churning, &caller, &asked).await?;
        let begun = churning::begin(&self.churning, caller.tenant(), &target, &asked.request_id).await?;
        Ok(caller.respond(operation_message(&begun)))
    }

    async fn get_churn_training_schedule(
        &self,
        request: Request<GetChurnTrainingScheduleRequest>,
    ) -> Answer<ChurnTrainingSchedule> {
        let caller = Caller::of(&request)?;
        churn_schedules::check_name("name", &request.get_ref().name)?;
        let schedule = churn_schedules::read(&self.churning, caller.tenant().id).await?;
        Ok(caller.respond(schedule))
    }

    async fn update_churn_training_schedule(
        &self,
        request: Request<UpdateChurnTrainingScheduleRequest>,
    ) -> Answer<ChurnTrainingSchedule> {
        let caller = Caller::of(&request)?;
        let said = churn_schedules::checked(request.into_inner().schedule)?;
        check_rights(&caller)?;
        caller.is_about(churn_schedules::NAME);
        let schedule = churn_schedules::say(&self.churning, &caller, &said).await?;
        Ok(caller.respond(schedule))
    }

    async fn get_churn_model(&self, request: Request<GetChurnModelRequest>) -> Answer<ChurnModel> {
        let caller = Caller::of(&request)?;
        let number = number_in(&request.get_ref().name)?;
        let found = churn_models::get(self.churning.runtime.database.reader(), caller.tenant().id, number).await;
        let found = found.map_err(failed)?.ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(message(&caller, &found)))
    }

    async fn list_churn_models(&self, request: Request<ListChurnModelsRequest>) -> Answer<ListChurnModelsResponse> {
        let caller = Caller::of(&request)?;
        let (tenant, runtime) = (caller.tenant().id, &self.churning.runtime);
        let ListChurnModelsRequest { page_size, page_token } = request.get_ref();
        let size = convert::page_size(*page_size, 20, 100)?;
        let decode = |bytes: Vec<u8>| bytes.try_into().ok().map(i64::from_be_bytes);
        let before = page::begin(&runtime.sealer, tenant, LIST, page_token, i64::MAX, decode)?;
        let read = churn_models::page(runtime.database.reader(), tenant, before, size).await.map_err(failed)?;
        let (full, last) = (read.len() as u64 == size, read.last().map(|last| last.number));
        let next_page_token = page::next_behind(&runtime.sealer, tenant, LIST, full, last);
        let models = read.iter().map(|stored| listed(&caller, stored)).collect();
        Ok(caller.respond(ListChurnModelsResponse { models, next_page_token }))
    }

    async fn publish_churn_model(&self, request: Request<PublishChurnModelRequest>) -> Answer<ChurnModel> {
        let caller = Caller::of(&request)?;
        let PublishChurnModelRequest { name, etag } = request.get_ref();
        let states = [ChurnModelState::Draft, ChurnModelState::Retired];
        let (transaction, revision, model) =
            self.begin(&caller, (name, etag), &states, "the model is in force already").await?;
        let is_draft = model.state == ChurnModelState::Draft;
        if is_draft && !model.body.better {
            return Err(refused("the draft is not better than every baseline").into());
        }
        let tenant = caller.tenant().id;
        let before = churn_models::in_force(&transaction, tenant).await.map_err(failed)?;
        if let Some(before) = before {
            let name = before.name();
            if is_draft && !model.body.baselines.iter().any(|baseline| baseline.baseline == name) {
                let problem = "the draft was not compared with the model in force: train it anew, or, where that is of \
                               another horizon or label, retire it first";
                return Err(refused(problem).into());
            }
            let retired = Stored { state: ChurnModelState::Retired, revision, ..before };
            churn_models::update(&transaction, tenant, &retired).await.map_err(failed)?;
        }
        let published_at = Some(self.churning.clock.now());
        let published = Stored { state: ChurnModelState::Published, published_at, revision, ..model };
        let published = self.end(&caller, transaction, published, PUBLISH_MODEL).await?;
        Ok(caller.respond(message(&caller, &published)))
    }

    async fn retire_churn_model(&self, request: Request<RetireChurnModelRequest>) -> Answer<ChurnModel> {
        let caller = Caller::of(&request)?;
        let RetireChurnModelRequest { name, etag } = request.get_ref();
        let otherwise = "only the model in force can be retired";
        let (transaction, revision, found) =
            self.begin(&caller, (name, etag), &[ChurnModelState::Published], otherwise).await?;
        let retired = Stored { state: ChurnModelState::Retired, revision, ..found };
        let retired = self.end(&caller, transaction, retired, RETIRE_MODEL).await?;
        Ok(caller.respond(message(&caller, &retired)))
    }

    async fn measure_churn_drift(
        &self,
        request: Request<MeasureChurnDriftRequest>,
    ) -> Result<Response<Self::MeasureChurnDriftStream>, Status> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().clone();
        let churning = self.churning.clone();
        let model = churning.model(tenant.id).await.map_err(failed)?;
        if let Some(label) = model.as_ref().and_then(|model| model.label.as_ref()) {
            label.check_foretold(&caller)?;
        }
        let work = |mut listener: Listener<MeasureChurnDriftResponse, ChurnProgress>| async move {
            let as_of = churning.runtime.business.now();
            let drift = measure(&churning, &tenant, as_of, |progress| listener.tell(progress)).await?;
            listener.send(MeasureChurnDriftResponse { progress: None, drift: Some(drift) }).await
        };
        Ok(Response::new(listening::stream(caller, measuring, work)))
    }
}
