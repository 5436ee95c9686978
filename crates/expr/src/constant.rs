//! Constants whose spelling is not their value: numbers with decimals and timestamps, both converted exactly.

/// Minor units of an unsigned decimal such as `199.99`. None when it has more than `minor_digits`
/// decimals or does not fit.
pub(crate) fn minor_units(decimal: &str, negative: bool, minor_digits: u8) -> Option<i64> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let missing = usize::from(minor_digits).checked_sub(fraction.len())?;
    // The sign goes in first: i64::MIN has no positive counterpart.
    let sign = if negative { "-" } else { "" };
    format!("{sign}{whole}{fraction}{}", "0".repeat(missing)).parse().ok()
}

/// Microseconds since 1970 of an RFC 3339 timestamp in the years 1970 to 9999. None when it is not
/// one, or has more than six decimals of a second, or is a leap second.
pub(crate) fn timestamp_micros(text: &str) -> Option<i64> {
    let year = digits(text, 0, 4)?;
    let month = digits(text, 5, 2)?;
    let day = digits(text, 8, 2)?;
    let hour = digits(text, 11, 2)?;
    let minute = digits(text, 14, 2)?;
    let second = digits(text, 17, 2)?;
    let separators = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    let punctuated = separators.iter().all(|&(at, c)| text[at..].starts_with(c));
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !(punctuated && in_range) {
        return None;
    }
    let (fraction_micros, zone) = fraction(&text[19..])?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let micros = (seconds - zone_seconds(zone)?) * 1_000_000 + fraction_micros;
    // The zone may have moved it out of the years again.
    (0..253_402_300_800_000_000).contains(&micros).then_some(micros)
}

/// `count` decimal digits from `start`; also none when `start` is inside a character.
fn digits(text: &str, start: usize, count: usize) -> Option<i64> {
    let digits = text.get(start..start + count)?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// Splits an optional fraction of a second, in microseconds, from the zone after it.
fn fraction(rest: &str) -> Option<(i64, &str)> {
    let Some(decimals) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let length = decimals.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=6).contains(&length) {
        return None;
    }
    let micros: i64 = format!("{:0<6}", &decimals[..length]).parse().ok()?;
    Some((micros, &decimals[length..]))
}

/// Seconds east of UTC of `Z` or `±hh:mm`.
fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
    let well_formed = zone.len() == 6 && zone.as_bytes()[3] == b':' && hours < 24 && minutes < 60;
    well_formed.then_some(sign * (hours * 3600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of a Gregorian date from 1970 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    let leap_days_before_1970 = 1969 / 4 - 1969 / 100 + 1969 / 400;
    let earlier_months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    (year - 1970) * 365 + leap_days - leap_days_before_1970 + earlier_months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_converts_exactly_or_not_at_all() {
        let table = [
            ("199.99", false, 2, Some(19_999)),
            ("199.9", false, 2, Some(19_990)),
            ("200", false, 2, Some(20_000)),
            ("0.07", true, 2, Some(-7)),
            ("1.005", false, 2, None),
            ("1.500", false, 2, None),
            ("1.5", false, 0, None),
            ("1.005", false, 3, Some(1_005)),
            ("92233720368547758.07", false, 2, Some(i64::MAX)),
            ("92233720368547758.08", false, 2, None),
            ("92233720368547758.08", true, 2, Some(i64::MIN)),
        ];
        for (decimal, negative, minor_digits, expected) in table {
            let minor = minor_units(decimal, negative, minor_digits);
            assert_eq!(minor, expected, "{decimal} {negative} {minor_digits}");
        }
    }

    #[test]
    fn timestamps_are_rfc_3339_in_the_years_that_facts_have() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-01-01T00:00:00Z", Some(1_704_067_200_000_000)),
            ("2024-02-29T12:34:56.789Z", Some(1_709_210_096_789_000)),
            ("2000-03-01T00:00:00+01:00", Some(951_865_200_000_000)),
            ("2100-03-01T00:00:00-00:30", Some(4_107_544_200_000_000)),
            ("9999-12-31T23:59:59.999999Z", Some(253_402_300_799_999_999)),
            ("1970-01-01T00:00:00+01:00", None),
            ("1969-12-31T23:59:59Z", None),
            ("9999-12-31T23:59:59-01:00", None),
            ("2023-02-29T00:00:00Z", None),
            ("2100-02-29T00:00:00Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-00T00:00:00Z", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T00:00:60Z", None),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01T00:00:00.Z", None),
            ("2024-01-01T00:00:00.1234567Z", None),
            ("2024-01-01T00:00:00+1:00", None),
            ("2024-01-01T00:00:00+01:00 ", None),
            ("2024-01-01T00:00:00+01é0", None),
            ("2024-01-01 00:00:00Z", None),
            ("2024-01-01", None),
            ("２024-01-01T00:00:00Z", None),
            ("+024-01-01T00:00:00Z", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(timestamp_micros(text), expected, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = 0;
        for year in 1970..2371 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    expected += 1;
                }
            }
        }
    }
}
