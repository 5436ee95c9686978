//! Texts of a file into values: exact numbers, money in minor units, instants and dates.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, fmt::strtime};
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::google_type::Date as ProtoDate;
use rust_decimal::{Decimal, RoundingStrategy};

/// What is wrong with a text, in words that follow the field's name. Never the text.
pub type Fault = &'static str;

/// How a source writes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberForm {
    /// What stands before the decimals: `.` or `,`.
    pub decimal: char,
    /// What stands between thousands. `None`: nothing may.
    pub thousands: Option<char>,
}

/// Reads a number, exactly.
pub fn number(text: &str, form: NumberForm) -> Result<Decimal, Fault> {
    const NOT_A_NUMBER: Fault = "is not a number";
    let mut plain = String::with_capacity(text.len());
    // Digits since the last thousands separator, once there was one: a decimal point that is taken for one would make cents hundreds.
    let mut group: Option<usize> = None;
    for (index, character) in text.chars().enumerate() {
        match character {
            '0'..='9' => {
                plain.push(character);
                if !plain.contains('.') {
                    group = group.map(|digits| digits + 1);
                }
            }
            '-' if index == 0 => plain.push('-'),
            '+' if index == 0 => {}
            _ if character == form.decimal => plain.push('.'),
            _ if Some(character) == form.thousands && !plain.contains('.') => {
                let before = plain.trim_start_matches('-').len();
                if before == 0 || group.map_or(before > 3, |digits| digits != 3) {
                    return Err(NOT_A_NUMBER);
                }
                group = Some(0);
            }
            _ => return Err(NOT_A_NUMBER),
        }
    }
    if group.is_some_and(|digits| digits != 3) || !plain.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(NOT_A_NUMBER);
    }
    Decimal::from_str_exact(&plain).map_err(|_| "is not a number, or has more than 28 digits")
}

/// The exact product of two numbers.
pub fn product(left: Decimal, right: Decimal) -> Result<Decimal, Fault> {
    let mantissa = left.mantissa().checked_mul(right.mantissa());
    mantissa
        .and_then(|mantissa| Decimal::try_from_i128_with_scale(mantissa, left.scale() + right.scale()).ok())
        .ok_or("is too large")
}

/// Minor units of an amount. With `round` finer amounts are rounded half to even; without, they are refused.
pub fn minor_units(amount: Decimal, currency: Currency, round: bool) -> Result<i64, Fault> {
    let digits = currency.minor_digits();
    let amount = if round {
        amount.round_dp_with_strategy(digits, RoundingStrategy::MidpointNearestEven)
    } else {
        amount.normalize()
    };
    if amount.scale() > digits {
        return Err("has more decimals than the currency (`round = true` rounds half to even)");
    }
    let minor = amount.mantissa().checked_mul(10_i128.pow(digits - amount.scale()));
    minor.and_then(|minor| i64::try_from(minor).ok()).ok_or("is too large")
}

/// A whole number.
pub fn integer(number: Decimal) -> Result<i64, Fault> {
    let number = number.normalize();
    if number.scale() > 0 {
        return Err("is not a whole number");
    }
    i64::try_from(number.mantissa()).map_err(|_| "is too large")
}

/// How a source writes instants and dates.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeForm {
    /// ISO 8601: `1998-07-01`, `1998-07-01 12:30:00`, `1998-07-01T12:30:00Z`.
    Iso,
    /// Whole seconds since 1970-01-01T00:00:00Z.
    UnixSeconds,
    /// Whole milliseconds since then.
    UnixMillis,
    /// A pattern of `strptime`.
    Pattern(String),
}

impl TimeForm {
    /// The form of a mapping's word.
    pub fn from_word(word: &str) -> Result<Self, String> {
        match word {
            "iso" => Ok(Self::Iso),
            "unix-seconds" => Ok(Self::UnixSeconds),
            "unix-millis" => Ok(Self::UnixMillis),
            pattern if pattern.contains('%') => {
                match strtime::format(pattern, &Timestamp::MIN.to_zoned(TimeZone::UTC)) {
                    Ok(_) => Ok(Self::Pattern(pattern.to_owned())),
                    Err(_) => Err("must be a pattern of strptime, such as `%d/%m/%Y %H:%M`".to_owned()),
                }
            }
            _ => Err("must be `iso`, `unix-seconds`, `unix-millis` or a pattern such as `%d/%m/%Y %H:%M`".to_owned()),
        }
    }

    /// Reads an instant. A time without an offset is local in `zone`: moved forward out of a gap, the earlier one of a fold.
    pub fn instant(&self, text: &str, zone: &TimeZone) -> Result<Instant, Fault> {
        const NOT_AN_INSTANT: Fault = "is not an instant of the mapping's format";
        let timestamp = match self {
            Self::Iso => match text.parse::<Timestamp>() {
                Ok(timestamp) => timestamp,
                Err(_) => local(text.parse::<DateTime>().map_err(|_| NOT_AN_INSTANT)?, zone)?,
            },
            Self::UnixSeconds => {
                Timestamp::from_second(text.parse().map_err(|_| NOT_AN_INSTANT)?).map_err(|_| NOT_AN_INSTANT)?
            }
            Self::UnixMillis => {
                Timestamp::from_millisecond(text.parse().map_err(|_| NOT_AN_INSTANT)?).map_err(|_| NOT_AN_INSTANT)?
            }
            Self::Pattern(pattern) => {
                let parts = strtime::parse(pattern, text).map_err(|_| NOT_AN_INSTANT)?;
                if let Ok(timestamp) = parts.to_timestamp() {
                    timestamp
                } else {
                    let date = parts.to_date().map_err(|_| NOT_AN_INSTANT)?;
                    let time = parts.to_time().map_err(|_| NOT_AN_INSTANT)?;
                    local(date.to_datetime(time), zone)?
                }
            }
        };
        Instant::from_parts(timestamp.as_second(), timestamp.subsec_nanosecond())
            .map_err(|_| "must be within the years 1970 and 9999")
    }

    /// Reads a calendar day: of what says an instant, the local one of `zone`. A time of day without an offset is not part of the day.
    pub fn date(&self, text: &str, zone: &TimeZone) -> Result<ProtoDate, Fault> {
        const NOT_A_DATE: Fault = "is not a date of the mapping's format";
        let local_day = |instant: Timestamp| instant.to_zoned(zone.clone()).date();
        let date = match self {
            Self::Iso => match (text.parse::<Timestamp>(), text.parse::<Date>()) {
                (Ok(instant), _) => local_day(instant),
                (_, Ok(date)) => date,
                _ => text.parse::<DateTime>().map_err(|_| NOT_A_DATE)?.date(),
            },
            Self::Pattern(pattern) => {
                let parts = strtime::parse(pattern, text).map_err(|_| NOT_A_DATE)?;
                match parts.to_timestamp() {
                    Ok(instant) => local_day(instant),
                    Err(_) => parts.to_date().map_err(|_| NOT_A_DATE)?,
                }
            }
            Self::UnixSeconds | Self::UnixMillis => {
                let instant = self.instant(text, zone).map_err(|_| NOT_A_DATE)?;
                Timestamp::from_microsecond(instant.micros()).map(local_day).map_err(|_| NOT_A_DATE)?
            }
        };
        Ok(ProtoDate { year: date.year().into(), month: date.month().into(), day: date.day().into() })
    }
}

fn local(civil: DateTime, zone: &TimeZone) -> Result<Timestamp, Fault> {
    zone.to_ambiguous_timestamp(civil).compatible().map_err(|_| "must be within the years 1970 and 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: NumberForm = NumberForm { decimal: '.', thousands: None };
    const GERMAN: NumberForm = NumberForm { decimal: ',', thousands: Some('.') };

    fn pence(text: &str, round: bool) -> Result<i64, Fault> {
        minor_units(number(text, PLAIN).unwrap(), Currency::from_code("GBP").unwrap(), round)
    }

    #[test]
    fn a_finer_amount_is_rounded_half_to_even_and_only_where_the_mapping_says_so() {
        for (text, minor) in [("0.005", 0), ("0.015", 2), ("0.025", 2), ("0.0251", 3), ("-0.005", 0), ("-0.015", -2)] {
            assert_eq!(pence(text, true), Ok(minor), "{text}");
            assert!(pence(text, false).is_err(), "{text}");
        }
        assert_eq!(pence("12.5000", false), Ok(1250));
        let yen = Currency::from_code("JPY").unwrap();
        assert_eq!(minor_units(number("12.5", PLAIN).unwrap(), yen, true), Ok(12));
        assert_eq!(minor_units(number("99999999999999999999", PLAIN).unwrap(), yen, false), Err("is too large"));
    }

    #[test]
    fn numbers_are_read_as_the_source_writes_them() {
        assert_eq!(number("1.234.567,89", GERMAN).unwrap().to_string(), "1234567.89");
        assert_eq!(number("-0,5", GERMAN).unwrap().to_string(), "-0.5");
        assert_eq!(number("-1.000", GERMAN).unwrap().to_string(), "-1000");
        assert_eq!(number("1000,5", GERMAN).unwrap().to_string(), "1000.5");
        for wrong in ["1.50", "1.5", "1.2.3", "1..000", ".500", "1000.000", "1.0000", "1.00,5", "-.500"] {
            assert!(number(wrong, GERMAN).is_err(), "{wrong:?}");
        }
        assert_eq!(number("+7", PLAIN).unwrap().to_string(), "7");
        for wrong in ["", "-", "1,5", "1e3", "12 ", "1.2.3", "NaN", "1_000", "٣"] {
            assert!(number(wrong, PLAIN).is_err(), "{wrong:?}");
        }
        assert!(number("1,2.3", GERMAN).is_err(), "no thousands behind the decimals");
    }

    #[test]
    fn products_are_exact_or_refused() {
        let of = |left, right| product(number(left, PLAIN).unwrap(), number(right, PLAIN).unwrap());
        assert_eq!(of("0.001", "74215").unwrap().to_string(), "74.215");
        assert!(of("9999999999999999999999999999", "9999999999").is_err());
    }

    #[test]
    fn a_local_time_is_moved_forward_out_of_a_gap_and_is_the_earlier_one_of_a_fold() {
        let london = TimeZone::get("Europe/London").unwrap();
        let form = TimeForm::from_word("%d/%m/%Y %H:%M").unwrap();
        let at = |text: &str| form.instant(text, &london).unwrap().to_string();
        assert_eq!(at("01/12/2010 08:26"), "2010-12-01T08:26:00Z");
        assert_eq!(at("27/03/2011 01:30"), "2011-03-27T01:30:00Z");
        assert_eq!(at("30/10/2011 01:30"), "2011-10-30T00:30:00Z");
        assert_eq!(at("01/07/2011 12:00"), "2011-07-01T11:00:00Z");
    }

    #[test]
    fn dates_are_read_in_every_form_and_of_an_instant_it_is_the_local_one() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        let of = |word: &str, text: &str| {
            let date = TimeForm::from_word(word).unwrap().date(text, &tokyo)?;
            Ok::<_, Fault>((date.year, date.month, date.day))
        };
        for (word, text) in [
            ("iso", "2024-07-01"),
            ("iso", "2024-07-01 23:30:00"),
            ("iso", "2024-06-30T23:30:00Z"),
            ("iso", "2024-07-01T01:00:00+09:00"),
            ("%d.%m.%Y", "01.07.2024"),
            ("%d.%m.%Y %H:%M", "01.07.2024 23:30"),
            ("%Y-%m-%dT%H:%M:%S%z", "2024-06-30T23:30:00+0000"),
            ("unix-seconds", "1719790200"),
            ("unix-millis", "1719790200000"),
        ] {
            assert_eq!(of(word, text), Ok((2024, 7, 1)), "{word} {text}");
        }
        // Births lie before the first instant there is.
        assert_eq!(of("iso", "1941-12-31"), Ok((1941, 12, 31)));
        for (word, text) in [("iso", "01/07/2024"), ("iso", ""), ("unix-seconds", "today"), ("%Y", "2024")] {
            assert!(of(word, text).is_err(), "{word} {text}");
        }
    }

    #[test]
    fn instants_are_read_in_every_form() {
        let at = |word: &str, text: &str| {
            TimeForm::from_word(word).unwrap().instant(text, &TimeZone::UTC).map(|instant| instant.to_string())
        };
        for (word, text) in [
            ("iso", "1998-07-01"),
            ("iso", "1998-07-01 00:00:00"),
            ("iso", "1998-07-01T02:00:00+02:00"),
            ("%Y%m%d", "19980701"),
            ("%d.%m.%Y %H:%M:%S %z", "01.07.1998 02:00:00 +0200"),
            ("unix-seconds", "899251200"),
            ("unix-millis", "899251200000"),
        ] {
            assert_eq!(at(word, text).as_deref(), Ok("1998-07-01T00:00:00Z"), "{word}");
        }
        for (word, text) in [("iso", "01/07/1998"), ("%Y%m%d", "1998x701"), ("iso", ""), ("iso", "1969-12-31")] {
            assert!(at(word, text).is_err(), "{word} {text}");
        }
        for wrong in ["dd/mm/yyyy", "%!"] {
            assert!(TimeForm::from_word(wrong).is_err(), "{wrong}");
        }
    }
}
