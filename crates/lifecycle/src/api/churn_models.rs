//! Churn models: trained, read, put in force and taken out of it.

use crate::churning::features;
use crate::churning::{Churning, refused, train};
use crate::store::churn_models::{self, COLLECTION, Stored};
use quintile_chain::listening::{self, Listener, Stopped};
use quintile_chain::{feed, page, store_error};
use quintile_domain::masking::Sensitivity;
use quintile_domain::names;
use quintile_domain::stability::Verdict;
use quintile_proto::lifecycle::churn_model_service_server::ChurnModelService;
use quintile_proto::lifecycle::{
    ChurnDrift, ChurnDriftVerdict, ChurnModel, ChurnModelState, ChurnProgress, GetChurnModelRequest,
    ListChurnModelsRequest, ListChurnModelsResponse, MeasureChurnDriftRequest, MeasureChurnDriftResponse,
    PublishChurnModelRequest, RetireChurnModelRequest, TrainChurnModelRequest, TrainChurnModelResponse,
};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction, records};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The horizons, in days, and the one where nobody says.
const HORIZON_DAYS: RangeInclusive<i32> = 7..=365;
const USUAL_HORIZON_DAYS: i32 = 90;
/// The query that page tokens belong to.
const LIST: &str = "ListChurnModels";
/// Records that are read at once.
const SCAN_RECORDS: u64 = 5_000;

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

/// A model as a caller sees it: what was learnt from everybody is for who reaches everybody.
fn message(caller: &Caller, stored: &Stored) -> ChurnModel {
    let mut message = stored.message();
    if !caller.reads_in_clear(Sensitivity::Financial) {
        message.drivers.retain(|driver| !features::is_money(&driver.feature));
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
        drivers: Vec::new(),
        ..message
    }
}

fn training(progress: ChurnProgress) -> TrainChurnModelResponse {
    TrainChurnModelResponse { progress: Some(progress), model: None }
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
        state: ChurnModelState,
        otherwise: &str,
    ) -> Result<(Transaction, i64, Stored), ApiError> {
        let number = number_in(name)?;
        let tenant = caller.tenant().id;
        let transaction = self.churning.runtime.database.begin().await.map_err(failed)?;
        let revision = churn_models::begin_change(&transaction, tenant).await.map_err(failed)?;
        let found = churn_models::get(&transaction, tenant, number).await.map_err(failed)?;
        let found = found.ok_or_else(ApiError::not_found)?;
        if !etag.is_empty() && etag != found.etag() {
            return Err(ApiError::stale_etag());
        }
        if found.state == state { Ok((transaction, revision, found)) } else { Err(refused(otherwise)) }
    }
}

#[tonic::async_trait]
impl ChurnModelService for ChurnModels {
    type TrainChurnModelStream = AnswerStream<TrainChurnModelResponse>;
    type MeasureChurnDriftStream = AnswerStream<MeasureChurnDriftResponse>;

    async fn train_churn_model(
        &self,
        request: Request<TrainChurnModelRequest>,
    ) -> Result<Response<Self::TrainChurnModelStream>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.get_ref().horizon_days;
        let horizon = if asked == 0 { USUAL_HORIZON_DAYS } else { asked };
        if !HORIZON_DAYS.contains(&horizon) {
            let (least, most) = (HORIZON_DAYS.start(), HORIZON_DAYS.end());
            return Err(ApiError::invalid_field("horizon_days", format!("must be within {least} and {most}")).into());
        }
        check_rights(&caller)?;
        caller.is_about(COLLECTION);
        let churning = self.churning.clone();
        let work = |mut listener: Listener<TrainChurnModelResponse, ChurnProgress>| async move {
            let trained = train(&churning, caller.tenant(), horizon, |progress| listener.tell(progress)).await?;
            let model = Some(message(&caller, &trained));
            listener.send(TrainChurnModelResponse { progress: None, model }).await
        };
        Ok(Response::new(listening::stream(Caller::of(&request)?, training, work)))
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
        let models = read.iter().map(|stored| message(&caller, stored)).collect();
        Ok(caller.respond(ListChurnModelsResponse { models, next_page_token }))
    }

    async fn publish_churn_model(&self, request: Request<PublishChurnModelRequest>) -> Answer<ChurnModel> {
        let caller = Caller::of(&request)?;
        let PublishChurnModelRequest { name, etag } = request.get_ref();
        number_in(name)?;
        check_rights(&caller)?;
        let otherwise = "only a draft can be published: train a new model";
        let (transaction, revision, draft) =
            self.begin(&caller, (name, etag), ChurnModelState::Draft, otherwise).await?;
        if !draft.body.better {
            return Err(refused("the draft is not better than every baseline").into());
        }
        let tenant = caller.tenant().id;
        let before = churn_models::in_force(&transaction, tenant).await.map_err(failed)?;
        if let Some(before) = before {
            let name = before.name();
            if !draft.body.baselines.iter().any(|baseline| baseline.baseline == name) {
                let problem =
                    "the draft was not compared with the model in force: train a new one, or retire that first";
                return Err(refused(problem).into());
            }
            let retired = Stored { state: ChurnModelState::Retired, revision, ..before };
            churn_models::update(&transaction, tenant, &retired).await.map_err(failed)?;
        }
        let published_at = Some(self.churning.clock.now());
        let published = Stored { state: ChurnModelState::Published, published_at, revision, ..draft };
        churn_models::update(&transaction, tenant, &published).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(message(&caller, &published)))
    }

    async fn retire_churn_model(&self, request: Request<RetireChurnModelRequest>) -> Answer<ChurnModel> {
        let caller = Caller::of(&request)?;
        let RetireChurnModelRequest { name, etag } = request.get_ref();
        let otherwise = "only the model in force can be retired";
        let (transaction, revision, found) =
            self.begin(&caller, (name, etag), ChurnModelState::Published, otherwise).await?;
        let retired = Stored { state: ChurnModelState::Retired, revision, ..found };
        churn_models::update(&transaction, caller.tenant().id, &retired).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(message(&caller, &retired)))
    }

    async fn measure_churn_drift(
        &self,
        request: Request<MeasureChurnDriftRequest>,
    ) -> Result<Response<Self::MeasureChurnDriftStream>, Status> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().clone();
        let churning = self.churning.clone();
        let work = |listener| async move { measure(&churning, &tenant, listener).await };
        Ok(Response::new(listening::stream(caller, measuring, work)))
    }
}

/// Compares the risks of everybody now with those that the model in force gave when it was judged.
async fn measure(
    churning: &Churning,
    tenant: &Tenant,
    mut listener: Listener<MeasureChurnDriftResponse, ChurnProgress>,
) -> Result<(), Stopped> {
    let failed = |error: StoreError| Some(store_error(&error));
    let model = churning.models.of(tenant.id).await.map_err(failed)?;
    let model = model.ok_or_else(|| refused("no churn model is in force"))?;
    let database = churning.runtime.database.reader();
    let customers = records::last(database, tenant.id).await.map_err(failed)?;
    let as_of = churning.runtime.business.now();
    let (mut risks, mut after) = (Vec::new(), 0);
    loop {
        let rows = records::scan(database, tenant.id, after, SCAN_RECORDS).await.map_err(failed)?;
        let Some(last) = rows.last() else { break };
        after = last.customer.0;
        for row in rows.iter().filter(|row| !row.is_tombstone()) {
            let record = feed::decode(row).map_err(failed)?;
            let risk = model.risk(&record, as_of, tenant, false);
            risks.extend(risk.map_err(|error| ApiError::internal(error.to_string()))?.map(|risk| risk.risk));
        }
        if !listener.tell(ChurnProgress { customers_read: i64::from(after), customers }) {
            return Err(None);
        }
    }
    if risks.is_empty() {
        return Err(Some(refused("nobody has bought in 365 days")));
    }
    let drift = model.learnt.profile.drift(&risks).map_err(|error| ApiError::internal(error.to_string()))?;
    let drift = ChurnDrift {
        model: model.name.clone(),
        customers: risks.len() as i64,
        stability_index: drift.stability_index,
        index_by_chance: drift.index_by_chance,
        mean_risk_change: drift.mean_risk_change,
        verdict: match drift.verdict {
            Verdict::Stable => ChurnDriftVerdict::Stable,
            Verdict::Shifting => ChurnDriftVerdict::Shifting,
            Verdict::Shifted => ChurnDriftVerdict::Shifted,
        }
        .into(),
    };
    listener.send(MeasureChurnDriftResponse { progress: None, drift: Some(drift) }).await
}
