//! Between the messages of the wire and the words of the domain.

use crate::ApiError;
use prost_types::{Duration as ProtoDuration, Timestamp};
use quintile_domain::ids::CustomerId;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeError};
use quintile_proto::google_type::{Date, Money};

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

/// The number of a calendar day, from 1970-01-01. `None`: there is no such day, or it is not within 1970 and 9999.
pub fn day_number(date: Date) -> Option<i32> {
    let (month, day) = (i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?);
    quintile_domain::time::day_number(i16::try_from(date.year).ok()?, month, day)
}

/// The date of a day's number.
pub fn date(day_number: i32) -> Date {
    let (year, month, day) = quintile_domain::time::date_of_day(day_number);
    Date { year: year.into(), month: month.into(), day: day.into() }
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
