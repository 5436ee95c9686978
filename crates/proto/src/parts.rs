//! The parts of messages that masking keeps: what of a date, and which multiple of an amount.

use crate::google_type::{Date, Money};
use quintile_domain::masking::DatePart;
use quintile_domain::money::Currency;

/// Blanks what is not kept of a date.
pub fn keep_date_part(date: &mut Date, part: DatePart) {
    date.day = 0;
    if part == DatePart::Year {
        date.month = 0;
    }
}

/// Brings an amount down to a multiple of `bucket` minor units; false where that can't be said.
pub fn floor_money(money: &mut Money, bucket: i64) -> bool {
    let Ok(currency) = Currency::from_code(&money.currency_code) else { return false };
    let minor = currency.minor_from_parts(money.units, money.nanos).ok();
    let floored = minor.and_then(|minor| floor(minor, bucket));
    let Some(minor) = floored else { return false };
    (money.units, money.nanos) = currency.parts_from_minor(minor);
    true
}

/// Brings a number down to a multiple of `bucket`; false where that can't be said.
pub fn floor_int64(number: &mut i64, bucket: i64) -> bool {
    match floor(*number, bucket) {
        Some(floored) => {
            *number = floored;
            true
        }
        None => false,
    }
}

fn floor(number: i64, bucket: i64) -> Option<i64> {
    if bucket < 1 {
        return None;
    }
    number.checked_sub(number.rem_euclid(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euros(units: i64, nanos: i32) -> Money {
        Money { currency_code: "EUR".to_owned(), units, nanos }
    }

    #[test]
    fn an_amount_is_brought_down_to_its_bucket() {
        for (given, bucket, expected) in [
            (euros(199, 990_000_000), 5_000, Some(euros(150, 0))),
            (euros(150, 0), 5_000, Some(euros(150, 0))),
            (euros(-1, -500_000_000), 100, Some(euros(-2, 0))),
            (euros(1, 0), 0, None),
            (Money { currency_code: "???".to_owned(), units: 1, nanos: 0 }, 10, None),
        ] {
            let mut money = given;
            let told = floor_money(&mut money, bucket);
            assert_eq!(told.then_some(money), expected);
        }
        let mut lowest = i64::MIN;
        assert!(!floor_int64(&mut lowest, 1_000));
    }

    #[test]
    fn of_a_date_the_year_is_kept_or_the_month_too() {
        let date = Date { year: 1987, month: 3, day: 14 };
        for (part, expected) in [(DatePart::Year, (1987, 0, 0)), (DatePart::Month, (1987, 3, 0))] {
            let mut kept = date;
            keep_date_part(&mut kept, part);
            assert_eq!((kept.year, kept.month, kept.day), expected);
        }
    }
}
