//! Checking facts about nobody in particular: what was spent to win customers, and exchange rates.

use super::Terms;
use super::amount::{Amount, check_day};
use super::event::check_name;
use prost::Message;
use quintile_domain::money::{Currency, ExchangeRate, MoneyError};
use quintile_domain::names::{MAX_NAME_BYTES, required_text};
use quintile_proto::ingestion::{AcquisitionSpend, ExchangeRate as ExchangeRateMessage};
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_store::idempotency::body_hash;

/// The most days of a period: ten years.
const MAX_PERIOD_DAYS: i32 = 3_653;

/// Spend that is fit to be taken in.
#[derive(Clone, Debug, PartialEq)]
pub struct SpendRow {
    /// The source.
    pub source: String,
    /// The spend's id in it.
    pub event_id: String,
    /// The first day.
    pub start_day: i32,
    /// The last day.
    pub end_day: i32,
    /// The channel.
    pub channel: String,
    /// The campaign. Empty: none in particular.
    pub campaign: String,
    /// How much.
    pub amount: Amount,
    /// What tells this spend from another with the same id.
    pub body_hash: Vec<u8>,
}

impl SpendRow {
    /// Checks spend.
    pub fn check(spend: &AcquisitionSpend, terms: &Terms) -> Result<Self, ApiError> {
        for (field, name) in [("source", &spend.source), ("event_id", &spend.event_id), ("channel", &spend.channel)] {
            required_text(name, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text(field, error))?;
        }
        check_name("campaign", &spend.campaign)?;
        let start_day = check_day("start_date", spend.start_date)?;
        let end_day = check_day("end_date", spend.end_date)?;
        if !(start_day..=start_day.saturating_add(MAX_PERIOD_DAYS)).contains(&end_day) {
            let problem = "must be the start date or up to ten years later";
            return Err(ApiError::invalid("end_date", ErrorReason::InvalidTime, problem));
        }
        Ok(Self {
            source: spend.source.clone(),
            event_id: spend.event_id.clone(),
            start_day,
            end_day,
            channel: spend.channel.clone(),
            campaign: spend.campaign.clone(),
            amount: Amount::check(spend.amount.as_ref(), "amount", terms)?,
            body_hash: body_hash(&spend.encode_to_vec()),
        })
    }
}

/// An exchange rate that is fit to be taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRow {
    /// The currency that it is the rate of.
    pub currency: Currency,
    /// The local day.
    pub day: i32,
    /// Units of the base currency for one of the currency.
    pub rate: ExchangeRate,
}

impl RateRow {
    /// Checks a rate.
    pub fn check(rate: &ExchangeRateMessage, terms: &Terms) -> Result<Self, ApiError> {
        let problem = |error| ApiError::invalid_money("currency_code", error);
        let currency = Currency::from_code(&rate.currency_code).map_err(problem)?;
        if currency == terms.currency {
            return Err(problem(MoneyError::BaseCurrency));
        }
        let day = check_day("date", rate.date)?;
        let rate = ExchangeRate::parse(&rate.rate).ok_or_else(|| {
            let problem = "must be a decimal above 0 and below 1,000,000,000 with at most 9 decimals";
            ApiError::invalid("rate", ErrorReason::InvalidMoney, problem)
        })?;
        Ok(Self { currency, day, rate })
    }
}
