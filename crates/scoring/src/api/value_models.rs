//! Models of lifetime value: fitted, read and put in force.

use super::everybody;
use super::value_encoding::{model_of, report};
use super::versions::refused;
use crate::Service;
use crate::clv::{Dropout, FitError};
use crate::store::values::{self, Stored};
use crate::value::{Buyers, Found};
use crate::worker::conventions;
use futures::SinkExt;
use futures::channel::mpsc;
use quintile_chain::{page, store_error};
use quintile_domain::masking::Sensitivity;
use quintile_domain::names::number;
use quintile_proto::scoring::value_model_service_server::ValueModelService;
use quintile_proto::scoring::{
    DropoutKind, FitValueModelRequest, FitValueModelResponse, GetValueModelRequest, ListValueModelsRequest,
    ListValueModelsResponse, PublishValueModelRequest, ScoreModelState, ValueModel, ValueTerms,
};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::StoreError;
use tonic::{Request, Response, Status};

/// The query that page tokens of models belong to.
const LIST: &str = "ListValueModels";
/// The models of a tenant that are kept: the newest.
const MAX_MODELS: i64 = 1_000;
/// How much a draft's error may exceed that of a model that may have seen the days that are held out.
const TOLERATED: f64 = 1.02;
/// The most days that are held out.
const MAX_HOLDOUT_DAYS: i32 = 1_826;
/// Those that are where nobody says: a quarter.
const HOLDOUT_DAYS: i32 = 91;
/// The most months that are looked at, and those that are where nobody says.
const MAX_MONTHS: i32 = 120;
const MONTHS: i32 = 12;

type Sender = mpsc::Sender<Result<quintile_domain::masking::Masked<FitValueModelResponse>, Status>>;

/// The handlers.
pub struct ValueModels {
    pub service: Service,
}

/// A checked request.
struct Asked {
    dropout: Dropout,
    holdout_days: i32,
    terms: ValueTerms,
}

fn checked(request: &FitValueModelRequest) -> Result<Asked, ApiError> {
    let dropout = match DropoutKind::try_from(request.dropout) {
        Ok(DropoutKind::Unspecified | DropoutKind::AfterRepeats) => Dropout::AfterRepeats,
        Ok(DropoutKind::AfterEveryPurchase) => Dropout::AfterEveryPurchase,
        Err(_) => return Err(ApiError::invalid_field("dropout", "must be one of the known values")),
    };
    let holdout_days = request.holdout_days.unwrap_or(HOLDOUT_DAYS);
    if !(0..=MAX_HOLDOUT_DAYS).contains(&holdout_days) {
        return Err(ApiError::invalid_field("holdout_days", format!("must be within 0 and {MAX_HOLDOUT_DAYS}")));
    }
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
fn message(caller: &Caller, stored: &Stored) -> ValueModel {
    let message = stored.message();
    if caller.scope().is_none() {
        return message;
    }
    ValueModel {
        purchases: None,
        spend: None,
        holdout: None,
        spend_problem: String::new(),
        holdout_problem: String::new(),
        ..message
    }
}

/// What everybody spends and costs is for who reads money in clear.
pub fn check_rights(caller: &Caller) -> Result<(), ApiError> {
    if caller.reads_in_clear(Sensitivity::Financial) { Ok(()) } else { Err(ApiError::field_denied("revenue")) }
}

fn number_in(name: &str) -> Result<i64, ApiError> {
    let number = name.strip_prefix("valueModels/").and_then(number).filter(|number| *number > 0);
    number.ok_or_else(|| ApiError::invalid_field("name", "must be valueModels/{number}"))
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
        caller.is_about("valueModels");
        let (mut sender, receiver) = mpsc::channel(2);
        let fit = Fit { service: self.service.clone(), caller, asked };
        tokio::spawn(async move {
            // A reader that went away is no failure; anything else is told and ends the stream.
            if let Err(Some(error)) = fit.run(&mut sender).await {
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(Box::pin(receiver)))
    }

    async fn get_value_model(&self, request: Request<GetValueModelRequest>) -> Answer<ValueModel> {
        let caller = Caller::of(&request)?;
        let number = number_in(&request.get_ref().name)?;
        let found = values::get(self.service.runtime.database.reader(), caller.tenant().id, number).await;
        let found = found.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(message(&caller, &found)))
    }

    async fn list_value_models(&self, request: Request<ListValueModelsRequest>) -> Answer<ListValueModelsResponse> {
        let caller = Caller::of(&request)?;
        let ListValueModelsRequest { page_size, page_token } = request.get_ref();
        let tenant = caller.tenant().id;
        let size = convert::page_size(*page_size, 20, 100)?;
        let sealer = &self.service.runtime.sealer;
        let decode = |bytes: Vec<u8>| bytes.try_into().ok().map(i64::from_be_bytes);
        let before = page::begin(sealer, tenant, LIST, page_token, i64::MAX, decode)?;
        let read = values::page(self.service.runtime.database.reader(), tenant, before, size).await;
        let read = read.map_err(|error| store_error(&error))?;
        let (full, last) = (read.len() as u64 == size, read.last().map(|last| last.number));
        let next_page_token = page::next_behind(sealer, tenant, LIST, full, last);
        let models = read.iter().map(|stored| message(&caller, stored)).collect();
        Ok(caller.respond(ListValueModelsResponse { models, next_page_token }))
    }

    async fn publish_value_model(&self, request: Request<PublishValueModelRequest>) -> Answer<ValueModel> {
        let caller = Caller::of(&request)?;
        let published = publish(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(message(&caller, &published)))
    }
}

async fn publish(service: &Service, caller: &Caller, request: &PublishValueModelRequest) -> Result<Stored, ApiError> {
    let number = number_in(&request.name)?;
    check_rights(caller)?;
    let tenant = caller.tenant().id;
    let begun = async {
        let transaction = service.runtime.database.begin().await?;
        let revision = values::begin_change(&transaction, tenant).await?;
        let found = values::get(&transaction, tenant, number).await?;
        let before = values::in_force(&transaction, tenant).await?;
        Ok::<_, StoreError>((transaction, revision, found, before))
    };
    let (transaction, revision, found, before) = begun.await.map_err(|error| store_error(&error))?;
    let draft = found.ok_or_else(ApiError::not_found)?;
    if !request.etag.is_empty() && request.etag != draft.etag() {
        return Err(ApiError::stale_etag());
    }
    if draft.state != ScoreModelState::Draft {
        return Err(refused("only a draft can be published: fit a new model"));
    }
    if let Some(before) = before.as_ref().filter(|_| request.unless_worse)
        && foretells_worse(&draft.body, &before.name())
    {
        return Err(refused("the draft foretold worse than the model in force, or was not compared with it"));
    }
    let published = async {
        if let Some(before) = before {
            values::write(&transaction, tenant, &Stored { state: ScoreModelState::Retired, revision, ..before })
                .await?;
        }
        let published_at = Some(service.clock.now());
        let published = Stored { state: ScoreModelState::Published, published_at, revision, ..draft };
        values::write(&transaction, tenant, &published).await?;
        transaction.commit().await?;
        Ok::<_, StoreError>(published)
    };
    published.await.map_err(|error| store_error(&error))
}

/// Whether a draft foretold worse than a model, or was not compared with it.
fn foretells_worse(draft: &ValueModel, in_force: &str) -> bool {
    let holdout = draft.holdout.as_ref().filter(|holdout| holdout.in_force_model == in_force);
    let compared = holdout.and_then(|holdout| Some((holdout.accuracy?, holdout.in_force?)));
    compared.is_none_or(|(ours, in_force)| ours.rmse > in_force.rmse * TOLERATED)
}

struct Fit {
    service: Service,
    caller: Caller,
    asked: Asked,
}

impl Fit {
    /// `Err(None)`: nobody reads any more.
    async fn run(self, sender: &mut Sender) -> Result<(), Option<ApiError>> {
        let failed = |error: StoreError| Some(store_error(&error));
        let tenant = self.caller.tenant();
        // One after the other, and beside no preview: each holds everybody in memory.
        let turn = self.service.populations.of(tenant.id).lock_owned().await;
        let before = values::in_force(self.service.runtime.database.reader(), tenant.id).await.map_err(failed)?;
        let in_force = before.as_ref().map(Stored::name).unwrap_or_default();
        let before = before.and_then(|before| model_of(&before.body)).map(|model| model.purchases);
        // The last whole day: what is bought today is not all that will be.
        let end = i64::from(tenant.zone.local_day(self.service.runtime.business.now())) - 1;
        let buyers = self.buyers(end, sender).await?;
        if sender.is_closed() {
            return Err(None);
        }
        let (dropout, held) = (self.asked.dropout, i64::from(self.asked.holdout_days));
        let minor_per_major = 10_f64.powi(tenant.currency.minor_digits() as i32);
        let fitted = move || buyers.fit(dropout, held, before.as_ref(), minor_per_major);
        let fitted = tokio::task::spawn_blocking(fitted).await;
        drop(turn);
        let fitted = fitted.map_err(|error| Some(ApiError::internal(error.to_string())))?;
        let found = fitted.map_err(|error: FitError| Some(refused(error.to_string())))?;
        if sender.is_closed() {
            return Err(None);
        }
        let model = self.keep(&found, end, &in_force).await?;
        let response = FitValueModelResponse { model: Some(model.message()), progress: None };
        sender.send(Ok(self.caller.mask(response))).await.map_err(|_| None)
    }

    /// What everybody has bought.
    async fn buyers(&self, end: i64, sender: &mut Sender) -> Result<Buyers, Option<ApiError>> {
        let tenant = self.caller.tenant();
        let mut buyers = Buyers::default();
        let tell = |progress| {
            let response = FitValueModelResponse { progress: Some(progress), model: None };
            // Who is slow to read hears of the next part.
            let _ = sender.try_send(Ok(self.caller.mask(response)));
            !sender.is_closed()
        };
        let take = |record: &CustomerRecord| {
            if let Some(features) = &record.features {
                buyers.add(features, end, i64::from(self.asked.holdout_days), conventions(tenant));
            }
        };
        everybody::read(&self.service, tenant.id, tell, take).await?;
        Ok(buyers)
    }

    async fn keep(&self, found: &Found, end: i64, in_force: &str) -> Result<Stored, Option<ApiError>> {
        let failed = |error: StoreError| Some(store_error(&error));
        let (tenant, database) = (self.caller.tenant(), &self.service.runtime.database);
        let transaction = database.begin().await.map_err(failed)?;
        let revision = values::begin_change(&transaction, tenant.id).await.map_err(failed)?;
        let newest = values::page(&transaction, tenant.id, i64::MAX, 1).await.map_err(failed)?;
        let number = newest.first().map_or(0, |newest| newest.number) + 1;
        let body = ValueModel {
            dropout: match self.asked.dropout {
                Dropout::AfterRepeats => DropoutKind::AfterRepeats.into(),
                Dropout::AfterEveryPurchase => DropoutKind::AfterEveryPurchase.into(),
            },
            terms: Some(self.asked.terms),
            ..report(found, end, self.asked.holdout_days, in_force, tenant.currency)
        };
        let stored = Stored {
            number,
            state: ScoreModelState::Draft,
            body,
            created_at: self.service.clock.now(),
            published_at: None,
            revision,
        };
        let kept = async {
            values::write(&transaction, tenant.id, &stored).await?;
            values::forget(&transaction, tenant.id, number - MAX_MODELS).await?;
            Ok(transaction.commit().await?)
        };
        kept.await.map_err(failed)?;
        Ok(stored)
    }
}
