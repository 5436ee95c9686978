//! The instants at which local days begin, seen from before them: what schedules go by.

use crate::time::{Instant, MAX_INSTANT, TimeZone};

/// Microseconds of a day without clock changes.
const DAY_MICROS: i64 = 86_400_000_000;
/// 9999-12-31 in days since 1970-01-01: no later day begins at an accepted instant, and the calendar ends with it.
const LAST_DAY: i64 = 2_932_896;

/// The instant, later than `after`, at which the local day `day` (days since 1970-01-01) begins. `day` has to be later
/// than the local day of `after`. `None`: the accepted range of instants ends before.
pub fn begin_of_later_day(zone: &TimeZone, day: i64, after: Instant) -> Option<Instant> {
    if day > LAST_DAY {
        return None;
    }
    let start = zone.start_of_day(i32::try_from(day).ok()?);
    let start = if start > after { start } else { second_begin(zone, day, after) };
    (start <= MAX_INSTANT).then_some(start)
}

/// Where the clock goes back over midnight (St. John's until 2011: from 00:01 to 23:01) a day begins twice, and the
/// first of these is already over. A timer set for it would fire at once, again and again.
fn second_begin(zone: &TimeZone, day: i64, after: Instant) -> Instant {
    let (mut before, mut begun) = (after.micros(), after.micros().saturating_add(DAY_MICROS));
    while begun - before > 1 {
        let middle = before + (begun - before) / 2;
        if i64::from(zone.local_day(Instant::from_micros(middle))) < day {
            before = middle;
        } else {
            begun = middle;
        }
    }
    Instant::from_micros(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn begin_of_next_day(zone: &str, after: &str) -> Option<Instant> {
        let zone = TimeZone::from_name(zone).unwrap();
        let after = at(after);
        begin_of_later_day(&zone, i64::from(zone.local_day(after)) + 1, after)
    }

    #[test]
    fn a_day_begins_at_the_next_local_midnight() {
        assert_eq!(begin_of_next_day("UTC", "1998-07-01T00:00:00Z"), Some(at("1998-07-02T00:00:00Z")));
        assert_eq!(begin_of_next_day("Asia/Shanghai", "2024-02-29T15:59:59Z"), Some(at("2024-02-29T16:00:00Z")));
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_begins_when_the_gap_ends() {
        // São Paulo, 2018-11-04: from 00:00 (-03) to 01:00 (-02).
        assert_eq!(begin_of_next_day("America/Sao_Paulo", "2018-11-03T12:00:00Z"), Some(at("2018-11-04T03:00:00Z")));
    }

    #[test]
    fn a_day_that_begins_twice_begins_later_than_the_instant_that_asks() {
        // St. John's, 2010-11-07: from 00:01 (-02:30) to 23:01 (-03:30) of the day before.
        assert_eq!(begin_of_next_day("America/St_Johns", "2010-11-07T02:29:00Z"), Some(at("2010-11-07T02:30:00Z")));
        assert_eq!(begin_of_next_day("America/St_Johns", "2010-11-07T02:31:00Z"), Some(at("2010-11-07T03:30:00Z")));
    }

    #[test]
    fn days_behind_the_last_accepted_instant_never_begin() {
        assert_eq!(begin_of_later_day(&TimeZone::UTC, LAST_DAY, MAX_INSTANT), None);
        assert_eq!(begin_of_later_day(&TimeZone::UTC, i64::MAX, MAX_INSTANT), None);
        let los_angeles = TimeZone::from_name("America/Los_Angeles").unwrap();
        assert_eq!(begin_of_later_day(&los_angeles, LAST_DAY, MAX_INSTANT), None);
    }
}
