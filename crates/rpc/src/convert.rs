//! Between the messages of the wire and the words of the domain.

use crate::ApiError;
use prost_types::{Duration as ProtoDuration, Timestamp};
use quintile_domain::ids::CustomerId;
use quintile_domain::money::{Currency, MoneyError};
use quintile_domain::time::{Instant, TimeError};
use quintile_proto::google_type::Money;

/// A protobuf timestamp of an instant.
pub fn timestamp(instant: Instant) -> Timestamp {
    let (seconds, nanos) = instant.parts();
    Timestamp { seconds, nanos }
}

/// The instant of a protobuf timestamp that must be there.
pub fn instant(timestamp: Option<&Timestamp>) -> Result<Instant, TimeError> {
    let timestamp = timestamp.ok_or(TimeError::OutOfRange)?;
    Instant::from_parts(timestamp.seconds, timestamp.nanos)
}

/// The instant of a timestamp that one of our services sent. Absent, or out of range, is none.
pub fn sent_instant(timestamp: Option<&Timestamp>) -> Option<Instant> {
    instant(timestamp).ok()
}

/// A money message of minor units.
pub fn money(currency: Currency, minor: i64) -> Money {
    let (units, nanos) = currency.parts_from_minor(minor);
    Money { currency_code: currency.code().to_owned(), units, nanos }
}

/// Minor units of a money message that must be there, in this currency.
pub fn minor(money: Option<&Money>, currency: Currency) -> Result<i64, MoneyError> {
    let money = money.ok_or(MoneyError::UnknownCurrency)?;
    let given = Currency::from_code(&money.currency_code)?;
    if given != currency {
        return Err(MoneyError::OtherCurrency);
    }
    currency.minor_from_parts(money.units, money.nanos)
}

/// Minor units of a money message that one of our services sent. Absent is none.
pub fn sent_minor(money: Option<&Money>, currency: Currency) -> Option<i64> {
    money.and_then(|money| currency.minor_from_parts(money.units, money.nanos).ok())
}

/// A protobuf duration.
pub fn duration(duration: std::time::Duration) -> ProtoDuration {
    ProtoDuration { seconds: duration.as_secs() as i64, nanos: duration.subsec_nanos() as i32 }
}

/// The customer that a resource name names: `customers/{number}`, or a part of it.
pub fn customer(field: &str, name: &str, part: Option<&str>) -> Result<CustomerId, ApiError> {
    CustomerId::from_name(name, part).ok_or_else(|| {
        let form = part.map_or_else(|| "customers/{number}".to_owned(), |part| format!("customers/{{number}}/{part}"));
        ApiError::invalid_field(field, format!("must be {form}"))
    })
}

/// The page size to use: 0 is the default, too large is the largest, negative is refused.
pub fn page_size(asked: i32, default: u64, largest: u64) -> Result<u64, ApiError> {
    match u64::try_from(asked) {
        Err(_) => Err(ApiError::invalid_field("page_size", "must not be negative")),
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(largest)),
    }
}
