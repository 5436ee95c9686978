//! Money: integer minor units in a currency. No floating point comes near it.

use iso_currency::Currency as IsoCurrency;
use thiserror::Error;

/// A currency of ISO 4217 that has minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency {
    iso: IsoCurrency,
    minor_digits: u32,
}

/// Why a money value is refused. It never holds the value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MoneyError {
    /// There is no such currency, or none was given.
    #[error("currency must be an ISO 4217 code with minor units")]
    UnknownCurrency,
    /// The currency is not the expected one.
    #[error("currency must be the tenant's base currency")]
    OtherCurrency,
    /// `units` and `nanos` differ in sign.
    #[error("units and nanos must have the same sign")]
    SignClash,
    /// `nanos` is a whole unit or more.
    #[error("nanos must be within -999,999,999 and 999,999,999")]
    NanosOutOfRange,
    /// There are more decimals than the currency has.
    #[error("more decimals than the currency has")]
    TooFine,
    /// The amount does not fit.
    #[error("amount is too large")]
    Overflow,
    /// The amount is below zero where that means nothing.
    #[error("amount must not be negative")]
    Negative,
}

impl Currency {
    /// The currency of an ISO 4217 code.
    pub fn from_code(code: &str) -> Result<Self, MoneyError> {
        let iso = IsoCurrency::from_code(code).ok_or(MoneyError::UnknownCurrency)?;
        let minor_digits = iso.exponent().ok_or(MoneyError::UnknownCurrency)?;
        Ok(Self { iso, minor_digits: u32::from(minor_digits) })
    }

    /// The ISO 4217 code.
    pub fn code(self) -> &'static str {
        self.iso.code()
    }

    /// Decimals of one unit: 2 for USD, 0 for JPY.
    pub fn minor_digits(self) -> u32 {
        self.minor_digits
    }

    /// Minor units in `units` and `nanos` of `google.type.Money`; exact, or an error.
    pub fn minor_from_parts(self, units: i64, nanos: i32) -> Result<i64, MoneyError> {
        if nanos.unsigned_abs() >= 1_000_000_000 {
            return Err(MoneyError::NanosOutOfRange);
        }
        if (units > 0 && nanos < 0) || (units < 0 && nanos > 0) {
            return Err(MoneyError::SignClash);
        }
        let nanos_per_minor = 10_i32.pow(9 - self.minor_digits);
        if nanos % nanos_per_minor != 0 {
            return Err(MoneyError::TooFine);
        }
        units
            .checked_mul(10_i64.pow(self.minor_digits))
            .and_then(|minor| minor.checked_add(i64::from(nanos / nanos_per_minor)))
            .ok_or(MoneyError::Overflow)
    }

    /// `units` and `nanos` of `google.type.Money` for an amount in minor units.
    pub fn parts_from_minor(self, minor: i64) -> (i64, i32) {
        let per_unit = 10_i64.pow(self.minor_digits);
        let nanos_per_minor = 10_i64.pow(9 - self.minor_digits);
        (minor / per_unit, (minor % per_unit * nanos_per_minor) as i32)
    }

    /// Reads a decimal such as `12.50`; exact, or an error. Leading and trailing blanks are not part of it.
    pub fn minor_from_decimal(self, text: &str) -> Result<i64, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(MoneyError::Overflow);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > self.minor_digits as usize {
            return Err(MoneyError::TooFine);
        }
        let padded = format!("{whole}{fraction:0<width$}", width = self.minor_digits as usize);
        let minor: i64 = padded.parse().map_err(|_| MoneyError::Overflow)?;
        Ok(if negative { -minor } else { minor })
    }
}

/// `total / count`, rounded half to even. `None`: `count` is 0.
pub fn mean_minor(total: i64, count: i64) -> Option<i64> {
    if count == 0 {
        return None;
    }
    let (quotient, remainder) = (total.div_euclid(count), total.rem_euclid(count));
    let round_up = match (i128::from(remainder) * 2).cmp(&i128::from(count)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
    };
    Some(quotient + i64::from(round_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_or_refused() {
        let usd = Currency::from_code("USD").unwrap();
        assert_eq!(usd.minor_from_parts(12, 500_000_000), Ok(1250));
        assert_eq!(usd.minor_from_parts(-1, -10_000_000), Ok(-101));
        assert_eq!(usd.minor_from_parts(1, -1), Err(MoneyError::SignClash));
        assert_eq!(usd.minor_from_parts(1, 1), Err(MoneyError::TooFine));
        assert_eq!(usd.minor_from_parts(1, 1_000_000_000), Err(MoneyError::NanosOutOfRange));
        assert_eq!(usd.minor_from_parts(i64::MAX, 0), Err(MoneyError::Overflow));
        assert_eq!(usd.parts_from_minor(-101), (-1, -10_000_000));
        let jpy = Currency::from_code("JPY").unwrap();
        assert_eq!(jpy.minor_from_parts(12, 500_000_000), Err(MoneyError::TooFine));
        assert_eq!(Currency::from_code("usd"), Err(MoneyError::UnknownCurrency));
        assert_eq!(Currency::from_code(""), Err(MoneyError::UnknownCurrency));
    }

    #[test]
    fn a_decimal_is_read_without_rounding() {
        let usd = Currency::from_code("USD").unwrap();
        assert_eq!(usd.minor_from_decimal("12.5"), Ok(1250));
        assert_eq!(usd.minor_from_decimal("0.07"), Ok(7));
        assert_eq!(usd.minor_from_decimal("12.500"), Ok(1250));
        assert_eq!(usd.minor_from_decimal("12.501"), Err(MoneyError::TooFine));
        assert!(usd.minor_from_decimal("1e3").is_err());
        assert!(usd.minor_from_decimal(".5").is_err());
    }

    #[test]
    fn a_mean_rounds_half_to_even() {
        assert_eq!(mean_minor(5, 2), Some(2));
        assert_eq!(mean_minor(7, 2), Some(4));
        assert_eq!(mean_minor(-5, 2), Some(-2));
        assert_eq!(mean_minor(10, 3), Some(3));
        assert_eq!(mean_minor(1, 0), None);
    }
}
