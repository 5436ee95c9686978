//! Unit economics.

use super::value_models;
use crate::Service;
use crate::economics::{Customer, Economics, Group, Grouping, Key, Spend};
use crate::fitting::{self, Stopped, everybody};
use crate::value::encoding::model_of;
use crate::value::{ValueModel, expected};
use crate::worker::conventions;
use quintile_chain::listening::{self, Listener};
use quintile_domain::money::{Currency, ExchangeRate};
use quintile_proto::google_type::Date;
use quintile_proto::ingestion::fact_service_client::FactServiceClient;
use quintile_proto::ingestion::{AcquisitionSpend, ListAcquisitionSpendRequest, ListExchangeRatesRequest};
use quintile_proto::scoring::economics_service_server::EconomicsService;
use quintile_proto::scoring::{
    self as sent, EconomicsGroup, EconomicsGrouping, GetUnitEconomicsRequest, GetUnitEconomicsResponse,
    PreviewProgress, UnitEconomics,
};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::client::upstream_error;
use quintile_rpc::{AnswerStream, ApiError, Caller, convert};
use std::collections::HashMap;
use tonic::{Request, Response, Status};

/// The longest period, in days.
const MAX_DAYS: i32 = 3_653;
/// Facts of a page.
const PAGE: i32 = 1_000;

/// The handlers.
pub struct UnitEconomicsReads {
    pub service: Service,
}

/// A checked request: days since 1970-01-01.
#[derive(Clone, Copy)]
struct Asked {
    start: i32,
    end: i32,
    grouping: Grouping,
}

fn checked(request: &GetUnitEconomicsRequest) -> Result<Asked, ApiError> {
    let day = |field: &str, date: Option<Date>| {
        let day = date.and_then(convert::day_number);
        day.ok_or_else(|| ApiError::invalid_field(field, "must be a day"))
    };
    let (start, end) = (day("start_date", request.start_date)?, day("end_date", request.end_date)?);
    if end < start || end - start >= MAX_DAYS {
        return Err(ApiError::invalid_field("end_date", "must be within ten years from start_date on"));
    }
    let grouping = match EconomicsGrouping::try_from(request.group_by) {
        Ok(EconomicsGrouping::Unspecified | EconomicsGrouping::Channel) => Grouping::Channel,
        Ok(EconomicsGrouping::Campaign) => Grouping::Campaign,
        Ok(EconomicsGrouping::Cohort) => Grouping::Cohort,
        Err(_) => return Err(ApiError::invalid_field("group_by", "must be one of the known values")),
    };
    Ok(Asked { start, end, grouping })
}

#[tonic::async_trait]
impl EconomicsService for UnitEconomicsReads {
    type GetUnitEconomicsStream = AnswerStream<GetUnitEconomicsResponse>;

    async fn get_unit_economics(
        &self,
        request: Request<GetUnitEconomicsRequest>,
    ) -> Result<Response<Self::GetUnitEconomicsStream>, Status> {
        let caller = Caller::of(&request)?;
        let asked = checked(request.get_ref())?;
        value_models::check_rights(&caller)?;
        let reading = Reading { service: self.service.clone(), caller: caller.clone(), asked };
        let work = |listener| reading.run(listener);
        Ok(Response::new(listening::stream(caller, progress, work)))
    }
}

fn progress(progress: PreviewProgress) -> GetUnitEconomicsResponse {
    GetUnitEconomicsResponse { progress: Some(progress), economics: None }
}

struct Reading {
    service: Service,
    caller: Caller,
    asked: Asked,
}

impl Reading {
    async fn run(self, mut listener: Listener<GetUnitEconomicsResponse, PreviewProgress>) -> Result<(), Stopped> {
        let tenant = self.caller.tenant();
        // One after the other, and beside no preview: each reads everybody.
        let turn = self.service.populations.of(tenant.id).lock_owned().await;
        let in_force = fitting::in_force::<sent::ValueModel>(&self.service, tenant.id).await?;
        let model = in_force.as_ref().and_then(|stored| model_of(&stored.body));
        let now = self.service.runtime.business.now();
        let today = tenant.zone.local_day(now);
        let Asked { start, end, grouping } = self.asked;
        let mut economics = Economics::new(grouping, start, end, today);
        let spends_without_rate = self.add_spends(&mut economics, &listener).await?;
        let tell = |progress| listener.tell(progress);
        let take = |record: &CustomerRecord| self.add_customer(&mut economics, model.as_ref(), record, today);
        everybody::read(&self.service, tenant.id, tell, take).await?;
        drop(turn);
        let margin = model.map(|model| model.gross_margin);
        let currency = tenant.currency;
        let groups = economics.groups().map(|(key, group)| group_message(key, group, margin, currency));
        let told = UnitEconomics {
            groups: groups.collect(),
            total: Some(group_message(&Key::default(), &economics.total(), margin, currency)),
            spends_without_rate,
            value_model: in_force.map(|stored| stored.name()).unwrap_or_default(),
            as_of: Some(convert::timestamp(now)),
        };
        listener.send(GetUnitEconomicsResponse { economics: Some(told), progress: None }).await
    }

    fn add_customer(&self, economics: &mut Economics, model: Option<&ValueModel>, record: &CustomerRecord, today: i32) {
        let tenant = self.caller.tenant();
        let (Some(features), Some(attributes)) = (&record.features, &record.attributes) else { return };
        let Some(first) = convert::sent_instant(features.first_order_time.as_ref()) else { return };
        let first_day = tenant.zone.local_day(first);
        if !economics.is_of_period(first_day) {
            return;
        }
        let minor_per_major = 10_f64.powi(tenant.currency.minor_digits() as i32);
        let worth = model.map(|model| expected(model, features, i64::from(today), conventions(tenant)).0);
        economics.add_customer(&Customer {
            channel: &attributes.acquisition_channel,
            campaign: &attributes.acquisition_campaign,
            first_day,
            revenue_minor: convert::sent_minor(features.revenue.as_ref(), tenant.currency).unwrap_or(0),
            expected_minor: worth.and_then(|worth| worth.value).map(|value| value * minor_per_major),
        });
    }

    /// Takes all spends of the period in. Returns how many have no exchange rate. They are asked for as the service, which reads them in clear, as its
    /// caller does.
    async fn add_spends(
        &self,
        economics: &mut Economics,
        listener: &Listener<GetUnitEconomicsResponse, PreviewProgress>,
    ) -> Result<i64, Stopped> {
        let failed = |status: Status| Some(upstream_error(&status));
        let tenant = self.caller.tenant();
        let rates = self.rates().await.map_err(Some)?;
        let mut facts = FactServiceClient::new(self.service.ingestion.clone());
        let (mut page_token, mut without_rate) = (String::new(), 0);
        loop {
            let request = ListAcquisitionSpendRequest { page_size: PAGE, page_token };
            let request = self.service.credentials.request(&tenant.name, request).await.map_err(failed)?;
            let page = facts.list_acquisition_spend(request).await.map_err(failed)?.into_inner();
            for sent in &page.acquisition_spend {
                let days =
                    sent.start_date.and_then(convert::day_number).zip(sent.end_date.and_then(convert::day_number));
                let Some((start, end)) = days else { continue };
                let spend = Spend { channel: &sent.channel, campaign: &sent.campaign, start, end, minor: 0 };
                if economics.concerns(&spend) {
                    match in_base(sent, end, tenant.currency, &rates) {
                        Some(minor) => economics.add_spend(&Spend { minor, ..spend }),
                        None => without_rate += 1,
                    }
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(without_rate);
            }
            listener.check()?;
        }
    }

    /// The exchange rates, by currency and day.
    async fn rates(&self) -> Result<HashMap<(String, i32), ExchangeRate>, ApiError> {
        let failed = |status: Status| upstream_error(&status);
        let mut facts = FactServiceClient::new(self.service.ingestion.clone());
        let (mut rates, mut page_token) = (HashMap::new(), String::new());
        loop {
            let request = ListExchangeRatesRequest { page_size: PAGE, page_token };
            let request =
                self.service.credentials.request(&self.caller.tenant().name, request).await.map_err(failed)?;
            let page = facts.list_exchange_rates(request).await.map_err(failed)?.into_inner();
            rates.extend(page.exchange_rates.into_iter().filter_map(|sent| {
                let day = sent.date.and_then(convert::day_number)?;
                Some(((sent.currency_code, day), ExchangeRate::parse(&sent.rate)?))
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(rates);
            }
        }
    }
}

/// A spend in the base currency, by the rate of its last day. `None`: there is none.
fn in_base(
    sent: &AcquisitionSpend,
    end: i32,
    base: Currency,
    rates: &HashMap<(String, i32), ExchangeRate>,
) -> Option<i64> {
    let amount = sent.amount.as_ref()?;
    let currency = Currency::from_code(&amount.currency_code).ok()?;
    let minor = currency.minor_from_parts(amount.units, amount.nanos).ok()?;
    if currency == base {
        return Some(minor);
    }
    Some(rates.get(&(amount.currency_code.clone(), end))?.convert(minor, currency, base))
}

fn group_message(key: &Key, group: &Group, margin: Option<f64>, currency: Currency) -> EconomicsGroup {
    let minor = |minor: f64| convert::money(currency, minor.round() as i64);
    EconomicsGroup {
        channel: key.channel.clone(),
        campaign: key.campaign.clone(),
        cohort_month: key.month.map(convert::date),
        spend: Some(convert::money(currency, group.spend_minor)),
        new_customers: group.customers,
        acquisition_cost: group.acquisition_cost().map(minor),
        mean_revenue: group.mean_revenue().map(minor),
        mean_lifetime_value: margin.and_then(|margin| group.mean_lifetime_value(margin)).map(minor),
        value_to_cost: margin.and_then(|margin| group.value_to_cost(margin)),
        payback_months: margin.and_then(|margin| group.payback_months(margin)),
    }
}
