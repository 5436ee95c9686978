//! Money: integer minor units in a currency. No floating point comes near it.

use iso_currency::Currency as IsoCurrency;
use std::sync::LazyLock;
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
    /// The currency is not that of what it belongs to.
    #[error("currency must be that of the whole")]
    OtherCurrency,
    /// The currency is the one that others are converted into.
    #[error("currency must not be the tenant's base currency")]
    BaseCurrency,
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
        // The library compares a code with one after the other, and every amount has one.
        static BY_CODE: LazyLock<Vec<Option<Currency>>> =
            LazyLock::new(|| (0..CODES).map(|place| Currency::look_up(&code_at(place))).collect());
        place_of(code).and_then(|place| BY_CODE[place]).ok_or(MoneyError::UnknownCurrency)
    }

    fn look_up(code: &str) -> Option<Self> {
        let iso = IsoCurrency::from_code(code)?;
        Some(Self { iso, minor_digits: u32::from(iso.exponent()?) })
    }

    /// The ISO 4217 code.
    pub fn code(self) -> &'static str {
        self.iso.code()
    }

    /// The ISO 4217 number, such as 840.
    pub fn number(self) -> i32 {
        i32::from(self.iso.numeric())
    }

    /// The currency of an ISO 4217 number.
    pub fn from_number(number: i32) -> Result<Self, MoneyError> {
        let number = u16::try_from(number).map_err(|_| MoneyError::UnknownCurrency)?;
        IsoCurrency::from_numeric(number).ok_or(MoneyError::UnknownCurrency).and_then(|iso| Self::from_code(iso.code()))
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

/// How many codes of three capital letters there are, of currencies or not.
const CODES: usize = LETTERS * LETTERS * LETTERS;
const LETTERS: usize = 26;

/// The place of a code in their alphabetical order. `None`: it is not three capital letters.
fn place_of(code: &str) -> Option<usize> {
    let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
    letters
        .iter()
        .try_fold(0, |place, letter| letter.is_ascii_uppercase().then(|| LETTERS * place + usize::from(letter - b'A')))
}

/// The code at a place.
fn code_at(place: usize) -> String {
    [place / LETTERS / LETTERS, place / LETTERS, place]
        .map(|place| char::from(b'A' + (place % LETTERS) as u8))
        .into_iter()
        .collect()
}

/// A number of so many units of the last decimal, written with all decimals: 1,250 with 2 is `12.50`.
pub fn with_decimals(units: i64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.unsigned_abs() / unit, units.unsigned_abs() % unit);
    if decimals == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{rest:0width$}", width = decimals as usize)
    }
}

/// `total / count`, rounded half to even. `None`: `count` is 0.
pub fn mean_minor(total: i64, count: i64) -> Option<i64> {
    if count == 0 {
        return None;
    }
    // A mean is within the range of what it is the mean of.
    i64::try_from(divide_half_even(i128::from(total), i128::from(count))).ok()
}

/// `numerator / denominator`, rounded half to even. The denominator is above 0.
fn divide_half_even(numerator: i128, denominator: i128) -> i128 {
    let (quotient, remainder) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let round_up = match (remainder * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
    };
    quotient + i128::from(round_up)
}

/// Decimals of an exchange rate.
const RATE_DECIMALS: usize = 9;
/// Exchange rates are below this.
const RATE_LIMIT_UNITS: i64 = 1_000_000_000;

/// Units of one currency for one unit of another, exact to 9 decimals; above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRate {
    nanos: i64,
}

impl ExchangeRate {
    /// The rate of so many billionths. `None`: it is out of range.
    pub fn from_nanos(nanos: i64) -> Option<Self> {
        (0 < nanos && nanos / 1_000_000_000 < RATE_LIMIT_UNITS).then_some(Self { nanos })
    }

    /// Reads a decimal such as `7.1042`: above 0, below 1,000,000,000, with at most 9 decimals. `None`: it is no such number.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 9) || !digits(fraction, RATE_DECIMALS) {
            return None;
        }
        Self::from_nanos(format!("{whole}{fraction:0<RATE_DECIMALS$}").parse().ok()?)
    }

    /// The rate in billionths.
    pub fn nanos(self) -> i64 {
        self.nanos
    }

    /// An amount of one currency in another, rounded half to even to its minor units. What does not fit is the largest that does.
    pub fn convert(self, minor: i64, from: Currency, to: Currency) -> i64 {
        let finer = 10_i128.pow(to.minor_digits.saturating_sub(from.minor_digits));
        let coarser = 10_i128.pow(from.minor_digits.saturating_sub(to.minor_digits));
        let numerator = (i128::from(minor) * i128::from(self.nanos)).saturating_mul(finer);
        let converted = divide_half_even(numerator, 1_000_000_000 * coarser);
        i64::try_from(converted).unwrap_or(if converted < 0 { i64::MIN } else { i64::MAX })
    }
}

impl std::fmt::Display for ExchangeRate {
    /// The shortest decimal that reads as the same rate.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fraction = format!("{:0>RATE_DECIMALS$}", self.nanos % 1_000_000_000);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction}", self.nanos / 1_000_000_000)
    }
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
    fn a_code_is_what_the_library_says_it_is() {
        for (place, code) in (0..CODES).map(code_at).enumerate() {
            assert_eq!(place_of(&code), Some(place), "{code}");
            let known = IsoCurrency::from_code(&code).filter(|iso| iso.exponent().is_some());
            assert_eq!(Currency::from_code(&code).ok().map(|currency| currency.iso), known, "{code}");
        }
        for wrong in ["US", "USDX", "U$D", "uSD", "ÄS", "  "] {
            assert_eq!(place_of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_number_is_written_with_all_its_decimals() {
        let table = [(1_250, 2, "12.50"), (-7, 2, "-0.07"), (-7, 0, "-7"), (4_000, 3, "4.000"), (0, 2, "0.00")];
        for (units, decimals, written) in table {
            assert_eq!(with_decimals(units, decimals), written);
        }
        assert_eq!(with_decimals(i64::MIN, 3), "-9223372036854775.808");
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

    #[test]
    fn a_rate_converts_between_currencies_of_different_minor_units_and_rounds_half_to_even() {
        let currency = |code| Currency::from_code(code).unwrap();
        let (usd, jpy, kwd) = (currency("USD"), currency("JPY"), currency("KWD"));
        let convert = |rate: &str, minor, from, to| ExchangeRate::parse(rate).unwrap().convert(minor, from, to);
        // 12.50 USD at 149.5 JPY are 1,868.75 JPY.
        assert_eq!(convert("149.5", 12_50, usd, jpy), 1_869);
        // 3,000 JPY at 0.0067 USD are 20.10 USD.
        assert_eq!(convert("0.0067", 3_000, jpy, usd), 20_10);
        // 1.00 USD at 0.3075 KWD are 0.3075 KWD, which is halfway between 0.307 and 0.308.
        assert_eq!(convert("0.3075", 1_00, usd, kwd), 308);
        assert_eq!(convert("0.3065", 1_00, usd, kwd), 306);
        assert_eq!(convert("0.3065", -1_00, usd, kwd), -306);
        assert_eq!(convert("999999999", i64::MAX, kwd, kwd), i64::MAX);
    }

    #[test]
    fn a_rate_is_read_exactly_and_written_as_it_was() {
        for text in ["7.1042", "1", "0.000000001", "999999999.999999999"] {
            assert_eq!(ExchangeRate::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "0", "0.0", "-1", "+1", "1.", ".5", "1e3", "1,5", "1000000000", "0.0000000001", " 1", "NaN"] {
            assert_eq!(ExchangeRate::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_currency_is_known_by_its_number() {
        let usd = Currency::from_code("USD").unwrap();
        assert_eq!((usd.number(), Currency::from_number(840)), (840, Ok(usd)));
        assert_eq!(Currency::from_number(0), Err(MoneyError::UnknownCurrency));
        assert_eq!(Currency::from_number(-1), Err(MoneyError::UnknownCurrency));
    }
}
