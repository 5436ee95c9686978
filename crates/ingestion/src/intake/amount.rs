//! Checking money and days.

use super::Terms;
use quintile_domain::money::{Currency, MoneyError};
use quintile_proto::google_type::{Date, Money};
use quintile_rpc::{ApiError, convert};

/// The most minor units of a fact or a line: thousands of the largest still add up without overflow.
const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000_000;

/// Money in the currency that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The currency, if it is not the tenant's base currency.
    pub foreign: Option<Currency>,
    /// Minor units of that currency.
    pub minor: i64,
}

impl Amount {
    /// Checks money of any currency, 0 or more.
    pub fn check(money: Option<&Money>, field: &str, terms: &Terms) -> Result<Self, ApiError> {
        let problem = |error| ApiError::invalid_money(field, error);
        let money = money.ok_or_else(|| problem(MoneyError::UnknownCurrency))?;
        let currency = Currency::from_code(&money.currency_code).map_err(problem)?;
        let foreign = (currency != terms.currency).then_some(currency);
        let minor = minor_within(money, currency).map_err(problem)?;
        if minor < 0 { Err(problem(MoneyError::Negative)) } else { Ok(Self { foreign, minor }) }
    }

    /// Checks money that has to be in the same currency, and may be negative.
    pub fn check_alike(self, money: &Money, field: &str, terms: &Terms) -> Result<i64, ApiError> {
        let problem = |error| ApiError::invalid_money(field, error);
        let currency = Currency::from_code(&money.currency_code).map_err(problem)?;
        if currency != self.foreign.unwrap_or(terms.currency) {
            return Err(problem(MoneyError::OtherCurrency));
        }
        minor_within(money, currency).map_err(problem)
    }

    /// As [`Amount::check_alike`], 0 or more.
    pub fn check_alike_positive(self, money: &Money, field: &str, terms: &Terms) -> Result<i64, ApiError> {
        let minor = self.check_alike(money, field, terms)?;
        if minor < 0 { Err(ApiError::invalid_money(field, MoneyError::Negative)) } else { Ok(minor) }
    }
}

fn minor_within(money: &Money, currency: Currency) -> Result<i64, MoneyError> {
    let minor = currency.minor_from_parts(money.units, money.nanos)?;
    if minor.abs() > MAX_AMOUNT_MINOR { Err(MoneyError::Overflow) } else { Ok(minor) }
}

/// Checks a date that must be there.
pub fn check_day(field: &str, date: Option<Date>) -> Result<i32, ApiError> {
    date.and_then(convert::day_number)
        .ok_or_else(|| ApiError::invalid_field(field, "must be a date between 1970 and 9999"))
}
