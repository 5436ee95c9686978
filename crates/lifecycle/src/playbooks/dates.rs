//! Days on which runs begin: birthdays, and days of the calendar.

use super::check::{Checked, within, wrong};
use quintile_domain::time::{Instant, TimeZone, date_of_day, days_since_1970};
use quintile_proto::google_type::Date;
use quintile_proto::lifecycle::DateTrigger;
use std::collections::HashSet;

const MAX_DATES: usize = 32;
const MAX_DAYS_BEFORE: i32 = 90;
const MAX_HOUR: i32 = 23;
/// A year with a February 29, by which days of every year are checked.
const LEAP_YEAR: i32 = 2000;
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;

/// An instant at which runs begin, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The instant.
    pub at: Instant,
    /// Those with a birthday on one of these days, by month and day. `None`: everybody's.
    pub born_on: Option<Vec<(i32, i32)>>,
}

/// Checks a trigger.
pub(super) fn check(field: &str, trigger: &DateTrigger) -> Checked {
    within(&format!("{field}.days_before"), trigger.days_before, 0, MAX_DAYS_BEFORE)?;
    within(&format!("{field}.hour"), trigger.hour, 0, MAX_HOUR)?;
    if trigger.birthday != trigger.dates.is_empty() {
        return wrong(format!("{field}.dates"), "is required unless it is the birthday, and must be empty then");
    }
    if trigger.dates.len() > MAX_DATES {
        return wrong(format!("{field}.dates"), format!("must have at most {MAX_DATES} days"));
    }
    let mut seen = HashSet::new();
    for (index, date) in trigger.dates.iter().enumerate() {
        let year = if date.year == 0 { LEAP_YEAR } else { date.year };
        if !YEARS.contains(&year) || !is_day(year, date.month, date.day) {
            return wrong(
                format!("{field}.dates[{index}]"),
                "must be a day of the calendar, of 1970 to 9999 or of year 0",
            );
        }
        if !seen.insert((date.year, date.month, date.day)) {
            return wrong(format!("{field}.dates[{index}]"), "is there already");
        }
    }
    Ok(())
}

fn is_day(year: i32, month: i32, day: i32) -> bool {
    let parts = (i16::try_from(year), i8::try_from(month), i8::try_from(day));
    let (Ok(year), Ok(month), Ok(day)) = parts else { return false };
    days_since_1970(year, month, day).is_some()
}

/// The first instant behind one and up to another at which runs begin, where days begin in a zone.
pub fn next(trigger: &DateTrigger, zone: &TimeZone, behind: Instant, up_to: Instant) -> Option<Occurrence> {
    let mut found: Option<Occurrence> = None;
    // An hour that clocks skip comes later, and a day that they skip on the next one.
    for day in zone.local_day(behind) - 1..=zone.local_day(up_to) {
        let at = zone.at_hour(day, trigger.hour);
        if found.as_ref().is_some_and(|found| at > found.at) || at > up_to {
            break;
        }
        if at <= behind {
            continue;
        }
        let days = days_of(day.saturating_add(trigger.days_before));
        if trigger.birthday {
            let found = found.get_or_insert_with(|| Occurrence { at, born_on: Some(Vec::new()) });
            found.born_on.get_or_insert_default().extend(days.into_iter().map(|(_, month, day)| (month, day)));
        } else if trigger.dates.iter().any(|date| days.iter().any(|day| falls_on(date, *day))) {
            found = Some(Occurrence { at, born_on: None });
        }
    }
    found
}

/// A local day as year, month and day; and where it stands for one that its year does not have, that one too.
fn days_of(day: i32) -> Vec<(i32, i32, i32)> {
    let (year, month, of_month) = date_of_day(day);
    let own = (year.into(), month.into(), of_month.into());
    if (month, of_month) == (2, 28) && !is_day(year.into(), 2, 29) {
        return vec![own, (year.into(), 2, 29)];
    }
    vec![own]
}

fn falls_on(date: &Date, (year, month, day): (i32, i32, i32)) -> bool {
    (date.month, date.day) == (month, day) && [0, year].contains(&date.year)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(dates: &[(i32, i32, i32)]) -> DateTrigger {
        let dates = dates.iter().map(|(year, month, day)| Date { year: *year, month: *month, day: *day }).collect();
        DateTrigger { birthday: false, dates, days_before: 0, hour: 9 }
    }

    fn all(trigger: &DateTrigger, zone: &str, behind: &str, up_to: &str) -> Vec<String> {
        let (zone, up_to) = (TimeZone::from_name(zone).unwrap(), Instant::parse(up_to).unwrap());
        let mut behind = Instant::parse(behind).unwrap();
        std::iter::from_fn(|| {
            let found = next(trigger, &zone, behind, up_to)?;
            behind = found.at;
            let born = found.born_on.iter().flatten().map(|(month, day)| format!(" {month}-{day}"));
            Some(format!("{}{}", found.at, born.collect::<String>()))
        })
        .collect()
    }

    #[test]
    fn a_day_without_a_year_comes_every_year_and_one_with_a_year_once() {
        let found = all(&dates(&[(0, 12, 24), (2025, 1, 29)]), "UTC", "2024-01-01T00:00:00Z", "2025-12-24T09:00:00Z");
        assert_eq!(found, ["2024-12-24T09:00:00Z", "2025-01-29T09:00:00Z", "2025-12-24T09:00:00Z"]);
        let before = DateTrigger { days_before: 30, ..dates(&[(0, 1, 1)]) };
        assert_eq!(all(&before, "UTC", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"), ["2024-12-02T09:00:00Z"]);
    }

    #[test]
    fn the_last_of_february_stands_for_a_leap_day() {
        let found = all(&dates(&[(0, 2, 29)]), "UTC", "2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
        assert_eq!(found, ["2023-02-28T09:00:00Z", "2024-02-29T09:00:00Z"]);
        let born = DateTrigger { birthday: true, dates: Vec::new(), days_before: 0, hour: 0 };
        let found = all(&born, "UTC", "2023-02-27T00:00:00Z", "2023-03-01T00:00:00Z");
        assert_eq!(found, ["2023-02-28T00:00:00Z 2-28 2-29", "2023-03-01T00:00:00Z 3-1"]);
        let found = all(&born, "UTC", "2024-02-27T12:00:00Z", "2024-03-01T00:00:00Z");
        assert_eq!(found, ["2024-02-28T00:00:00Z 2-28", "2024-02-29T00:00:00Z 2-29", "2024-03-01T00:00:00Z 3-1"]);
    }

    #[test]
    fn an_hour_or_a_day_that_clocks_skip_comes_behind_it() {
        let at_two = DateTrigger { hour: 2, ..dates(&[(0, 3, 31)]) };
        let found = all(&at_two, "Europe/Berlin", "2024-03-30T00:00:00Z", "2024-04-02T00:00:00Z");
        assert_eq!(found, ["2024-03-31T01:00:00Z"]);
        // Samoa had no December 30 in 2011.
        let born = DateTrigger { birthday: true, dates: Vec::new(), days_before: 0, hour: 9 };
        let found = all(&born, "Pacific/Apia", "2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z");
        assert_eq!(
            found,
            ["2011-12-29T19:00:00Z 12-29", "2011-12-30T19:00:00Z 12-30 12-31", "2011-12-31T19:00:00Z 1-1"]
        );
    }
}
