//! What customers will be worth.

use crate::fitting;
use crate::leads::{LeadModel, encoding};
use crate::value::encoding::{model_of, money};
use crate::value::{MONTH_DAYS, ValueModel, expected};
use crate::worker::conventions;
use crate::{Service, refused};
use quintile_chain::derive::{self, Current};
use quintile_chain::feed;
use quintile_domain::masking::Sensitivity;
use quintile_proto::scoring as sent;
use quintile_proto::scoring::value_service_server::ValueService;
use quintile_proto::scoring::{
    BatchGetValuesRequest, BatchGetValuesResponse, CustomerValue, GetValueRequest, LeadValue,
};
use quintile_proto::types::{CustomerAttributes, CustomerRecord};
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
    leads: Option<LeadModel>,
}

impl Values {
    async fn in_force(&self, caller: &Caller) -> Result<InForce, ApiError> {
        let found = fitting::in_force::<sent::ValueModel>(&self.service, caller.tenant().id).await?;
        let stored = found.ok_or_else(|| refused("no model of lifetime value is in force: fit and publish one"))?;
        let model = model_of(&stored.body).ok_or_else(|| ApiError::internal("a value model lacks a fit"))?;
        let leads = stored.body.leads.as_ref().and_then(|leads| encoding::model_of(leads, caller.tenant().currency));
        Ok(InForce { name: stored.name(), model, leads })
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
        let has_bought = current.record.features.as_ref().is_some_and(|features| features.purchase_days > 0);
        if !has_bought {
            let lead =
                current.record.attributes.as_ref().and_then(|attributes| in_force.lead(caller, attributes, today));
            return CustomerValue { lead, ..told };
        }
        worth(caller, &in_force.model, &current.record, today, told)
    }
}

impl InForce {
    /// What a lead may become. `None`: when it came is not known, or how leads become customers.
    fn lead(&self, caller: &Caller, attributes: &CustomerAttributes, today: i64) -> Option<LeadValue> {
        let came = i64::from(attributes.acquisition_date.and_then(convert::day_number)?);
        let leads = self.leads.as_ref()?;
        // The last whole day is the last on which it is known not to have bought.
        let age = i32::try_from((today - 1 - came).max(0)).ok()?;
        // What those are worth whom it resembles is for who may know it of everybody.
        let may_know = caller.scope().is_none() && caller.reads_in_clear(Sensitivity::Financial);
        let (group, channel, campaign) = if may_know {
            leads.group(&attributes.acquisition_channel, &attributes.acquisition_campaign)
        } else {
            (&leads.all, "", "")
        };
        let days = (f64::from(self.model.months) * MONTH_DAYS).round() as i32;
        let probability = leads.probability(group, age, days);
        let money = |minor: f64| convert::money(caller.tenant().currency, minor.round() as i64);
        Some(LeadValue {
            age_days: age,
            channel: channel.to_owned(),
            campaign: campaign.to_owned(),
            conversion_probability: probability,
            value_if_converted: group.value_minor.filter(|_| may_know).map(money),
            value: group.value_minor.filter(|_| may_know).map(|value| money(probability * value)),
        })
    }
}

/// What is expected of a customer, as it is told.
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
        for (index, name) in names.iter().enumerate() {
            convert::customer(&format!("names[{index}]"), name, Some(PART))?;
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
