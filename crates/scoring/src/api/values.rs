//! What customers will be worth.

use crate::clv::History;
use crate::fitting;
use crate::models::feature::Conventions;
use crate::value::encoding::{model_of, money};
use crate::value::{ValueModel, Worth, buyer};
use crate::worker::conventions;
use crate::{Service, refused};
use quintile_chain::derive::{self, Current};
use quintile_chain::feed;
use quintile_proto::scoring as sent;
use quintile_proto::scoring::value_service_server::ValueService;
use quintile_proto::scoring::{BatchGetValuesRequest, BatchGetValuesResponse, CustomerValue, GetValueRequest};
use quintile_proto::types::{CustomerRecord, Features};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use tonic::{Code, Request};

/// The part of a customer that is told.
const PART: &str = "value";
/// The most names of one batch.
const MAX_BATCH: usize = 1_000;

/// The handlers.
pub struct Values {
    pub service: Service,
}

/// The model in force, with its name.
struct InForce {
    name: String,
    model: ValueModel,
}

impl Values {
    async fn in_force(&self, caller: &Caller) -> Result<InForce, ApiError> {
        let found = fitting::in_force::<sent::ValueModel>(&self.service, caller.tenant().id).await?;
        let stored = found.ok_or_else(|| refused("no model of lifetime value is in force: fit and publish one"))?;
        let model = model_of(&stored.body).ok_or_else(|| ApiError::internal("a value model lacks a fit"))?;
        Ok(InForce { name: stored.name(), model })
    }

    /// Of whom the caller reaches, whether or not there is a model to tell by.
    async fn current(&self, caller: &Caller, field: &str, name: &str) -> Result<Current, ApiError> {
        let customer = convert::customer(field, name, Some(PART))?;
        derive::current(&self.service.runtime, self.service.link.as_ref(), caller, customer).await
    }

    fn value(&self, caller: &Caller, in_force: &InForce, name: &str, current: &Current) -> CustomerValue {
        let now = self.service.runtime.business.now();
        let told = CustomerValue {
            name: name.to_owned(),
            model: in_force.name.clone(),
            as_of: Some(convert::timestamp(now)),
            watermark: Some(current.watermark.to_message()),
            ..CustomerValue::default()
        };
        let today = i64::from(caller.tenant().zone.local_day(now));
        worth(caller, &in_force.model, &current.record, today, told)
    }
}

/// What is expected of a customer by what it had bought by the end of yesterday, and its history; who has bought for the first time today is a
/// newcomer.
pub fn expected(model: &ValueModel, features: &Features, today: i64, conventions: Conventions<'_>) -> (Worth, History) {
    let known = buyer(features, today - 1, conventions);
    let newcomer = History { repeats: 0, recency: 0.0, age: 0.0 };
    let history = known.map_or(newcomer, |buyer| buyer.history);
    let minor_per_major = 10_f64.powi(conventions.currency.minor_digits() as i32);
    let mean_spend = known.and_then(|buyer| buyer.mean_spend_minor).map(|minor| minor / minor_per_major);
    (model.worth(&history, mean_spend), history)
}

/// The same as it is told; of who has never bought nothing is.
fn worth(
    caller: &Caller,
    model: &ValueModel,
    record: &CustomerRecord,
    today: i64,
    told: CustomerValue,
) -> CustomerValue {
    let tenant = caller.tenant();
    let Some(features) = record.features.as_ref().filter(|features| features.purchase_days > 0) else { return told };
    let (worth, history) = expected(model, features, today, conventions(tenant));
    CustomerValue {
        alive_probability: worth.alive,
        expected_purchases: Some(worth.purchases),
        expected_spend: worth.spend.map(|spend| money(spend, tenant.currency)),
        lifetime_value: worth.value.map(|value| money(value, tenant.currency)),
        repeats: history.repeats.into(),
        recency_weeks: history.recency,
        age_weeks: history.age,
        ..told
    }
}

#[tonic::async_trait]
impl ValueService for Values {
    async fn get_value(&self, request: Request<GetValueRequest>) -> Answer<CustomerValue> {
        let caller = Caller::of(&request)?;
        let name = &request.get_ref().name;
        let current = self.current(&caller, "name", name).await?;
        let in_force = self.in_force(&caller).await?;
        let value = self.value(&caller, &in_force, name, &current);
        Ok(current.view.respond(value))
    }

    async fn batch_get_values(&self, request: Request<BatchGetValuesRequest>) -> Answer<BatchGetValuesResponse> {
        let caller = Caller::of(&request)?;
        let names = &request.get_ref().names;
        if names.is_empty() || names.len() > MAX_BATCH {
            return Err(ApiError::invalid_field("names", format!("must have 1 to {MAX_BATCH} names")).into());
        }
        let in_force = self.in_force(&caller).await?;
        let (mut values, mut reached) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
        for (index, name) in names.iter().enumerate() {
            match self.current(&caller, &format!("names[{index}]"), name).await {
                Ok(current) => {
                    values.push(self.value(&caller, &in_force, name, &current));
                    reached.push(current.record);
                }
                Err(error) if error.code() == Code::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(feed::view_of(&caller, &reached).respond(BatchGetValuesResponse { values }))
    }
}
