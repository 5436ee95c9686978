//! Instants, and the local days of a tenant.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone as JiffZone;
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

/// Microseconds of a day without clock changes.
const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
const EPOCH_DAY: Date = Date::constant(1970, 1, 1);
/// The first instant that is accepted: 1970-01-01T00:00:00Z.
pub const MIN_INSTANT: Instant = Instant(0);
/// The last instant that is accepted: 9999-12-30T22:00:00Z, the last that has a local date in every zone.
pub const MAX_INSTANT: Instant = Instant(253_402_207_200_000_000);

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(i64);

/// Why an instant is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TimeError {
    /// The year is before 1970 or after 9999, or the fraction is not one.
    #[error("must be within the years 1970 and 9999")]
    OutOfRange,
    /// There is no such zone.
    #[error("must be an IANA time zone")]
    UnknownZone,
    /// It is not written as RFC 3339 has it.
    #[error("must be an RFC 3339 instant such as 1998-07-01T00:00:00Z")]
    Malformed,
}

impl Instant {
    /// The instant of a number of microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant of a protobuf timestamp's parts; finer parts than microseconds are dropped.
    pub fn from_parts(seconds: i64, nanos: i32) -> Result<Self, TimeError> {
        if !(0..1_000_000_000).contains(&nanos) {
            return Err(TimeError::OutOfRange);
        }
        let micros = seconds
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(i64::from(nanos / 1000)))
            .ok_or(TimeError::OutOfRange)?;
        if !(MIN_INSTANT.0..=MAX_INSTANT.0).contains(&micros) {
            return Err(TimeError::OutOfRange);
        }
        Ok(Self(micros))
    }

    /// The parts of a protobuf timestamp.
    pub fn parts(self) -> (i64, i32) {
        (self.0.div_euclid(1_000_000), (self.0.rem_euclid(1_000_000) * 1000) as i32)
    }

    /// Reads `1998-07-01T00:00:00Z`.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let timestamp: Timestamp = text.parse().map_err(|_| TimeError::Malformed)?;
        Self::from_parts(timestamp.as_second(), timestamp.subsec_nanosecond())
    }

    /// As e-mails have it (RFC 5322): `Wed, 01 Jul 1998 00:00:00 +0000`.
    pub fn to_rfc5322(self) -> String {
        let timestamp = Timestamp::from_microsecond(self.0).unwrap_or_default();
        timestamp.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
    }

    /// This instant and `micros` more, within the accepted range.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros).clamp(MIN_INSTANT.0, MAX_INSTANT.0))
    }
}

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// A tenant's time zone: where its days begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone {
    // `None`: UTC, whose days need no table.
    zone: Option<JiffZone>,
}

impl TimeZone {
    /// UTC.
    pub const UTC: Self = Self { zone: None };

    /// The zone of an IANA name.
    pub fn from_name(name: &str) -> Result<Self, TimeError> {
        if name == "UTC" {
            return Ok(Self::UTC);
        }
        let zone = JiffZone::get(name).map_err(|_| TimeError::UnknownZone)?;
        Ok(Self { zone: Some(zone) })
    }

    /// The zone's IANA name.
    pub fn name(&self) -> &str {
        self.zone.as_ref().and_then(JiffZone::iana_name).unwrap_or("UTC")
    }

    /// The local calendar day of an instant, in days since 1970-01-01.
    pub fn local_day(&self, instant: Instant) -> i32 {
        self.civil_micros(instant).div_euclid(DAY_MICROS) as i32
    }

    /// The local hour of an instant, 0 to 23.
    pub fn local_hour(&self, instant: Instant) -> i32 {
        (self.civil_micros(instant).rem_euclid(DAY_MICROS) / HOUR_MICROS) as i32
    }

    /// The instant at which the clocks of a local day show an hour: after a gap forward, in a fold the earlier.
    pub fn at_hour(&self, local_day: i32, hour: i32) -> Instant {
        self.instant_of_civil(i64::from(local_day) * DAY_MICROS + i64::from(hour) * HOUR_MICROS)
    }

    /// What clocks show at an instant, in microseconds since they showed the beginning of 1970.
    fn civil_micros(&self, instant: Instant) -> i64 {
        let offset_micros = match (&self.zone, Timestamp::from_microsecond(instant.0)) {
            (Some(zone), Ok(timestamp)) => i64::from(zone.to_offset(timestamp).seconds()) * 1_000_000,
            _ => 0,
        };
        instant.0 + offset_micros
    }

    /// The instant at which a local day begins.
    pub fn start_of_day(&self, local_day: i32) -> Instant {
        let civil_micros = i64::from(local_day) * DAY_MICROS;
        self.instant_of_civil(civil_micros)
    }

    /// The instant `days` local calendar days before `instant`, at the same local time: after a gap forward, in a fold the
    /// earlier.
    pub fn days_before(&self, instant: Instant, days: i32) -> Instant {
        self.shift_days(instant, -days)
    }

    /// The instant from which `days_before(_, days)` is `instant` or later.
    pub fn days_after(&self, instant: Instant, days: i32) -> Instant {
        self.shift_days(instant, days)
    }

    fn shift_days(&self, instant: Instant, days: i32) -> Instant {
        let Some(zone) = &self.zone else {
            return instant.plus_micros(i64::from(days) * DAY_MICROS);
        };
        let shifted = Timestamp::from_microsecond(instant.0).and_then(|timestamp| {
            let civil: DateTime = zone.to_datetime(timestamp).checked_add(days.days())?;
            // jiff's "compatible" rule is exactly ours: forward out of a gap, the earlier of a fold.
            zone.to_ambiguous_timestamp(civil).compatible()
        });
        match shifted {
            Ok(timestamp) => Instant(timestamp.as_microsecond()).plus_micros(0),
            // Out of jiff's range of years: the plain length of the days is as good an end of time as any.
            Err(_) => instant.plus_micros(i64::from(days) * DAY_MICROS),
        }
    }

    fn instant_of_civil(&self, civil_micros: i64) -> Instant {
        let Some(zone) = &self.zone else {
            return Instant(civil_micros);
        };
        let found = Timestamp::from_microsecond(civil_micros).and_then(|as_if_utc| {
            let civil = JiffZone::UTC.to_datetime(as_if_utc);
            zone.to_ambiguous_timestamp(civil).compatible()
        });
        found.map_or(Instant(civil_micros), |timestamp| Instant(timestamp.as_microsecond()))
    }
}

/// A calendar day in days since 1970-01-01. `None`: there is no such day, or it is not within 1970 and 9999.
pub fn day_number(year: i16, month: i8, day: i8) -> Option<i32> {
    days_since_1970(year, month, day).filter(|_| year >= 1970)
}

/// As [`day_number`], for days that may lie before, such as those of birth.
pub fn days_since_1970(year: i16, month: i8, day: i8) -> Option<i32> {
    let date = Date::new(year, month, day).ok()?;
    date.since(EPOCH_DAY).ok().map(|span| span.get_days())
}

/// Year, month and day of a day since 1970-01-01; of the last that there is, for one beyond it.
pub fn date_of_day(day_number: i32) -> (i16, i8, i8) {
    let date = EPOCH_DAY.saturating_add(day_number.days());
    (date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_as_e_mails_have_it() {
        let text = |instant: &str| Instant::parse(instant).unwrap().to_rfc5322();
        // The example of RFC 5322, A.1.1, in UTC.
        assert_eq!(text("1997-11-21T15:55:06Z"), "Fri, 21 Nov 1997 15:55:06 +0000");
        assert_eq!(text("1970-01-01T00:00:00Z"), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn a_day_is_known_by_its_number() {
        assert_eq!(day_number(1970, 1, 1), Some(0));
        assert_eq!(day_number(2024, 3, 1), Some(19_783));
        assert_eq!(date_of_day(19_783), (2024, 3, 1));
        assert_eq!(day_number(9999, 12, 31).map(date_of_day), Some((9999, 12, 31)));
        for (year, month, day) in [(2023, 2, 29), (1969, 12, 31), (2024, 13, 1), (2024, 0, 1), (2024, 1, 0), (-1, 1, 1)]
        {
            assert_eq!(day_number(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn a_day_begins_at_local_midnight() {
        let shanghai = TimeZone::from_name("Asia/Shanghai").unwrap();
        let before = at("2024-02-29T15:59:59.999999Z");
        let after = at("2024-02-29T16:00:00Z");
        assert_eq!(shanghai.local_day(after) - shanghai.local_day(before), 1);
        assert_eq!(shanghai.start_of_day(shanghai.local_day(after)), after);
        assert_eq!(TimeZone::UTC.local_day(after), TimeZone::UTC.local_day(before));
    }

    #[test]
    fn a_window_starts_at_the_same_local_time_forward_in_a_gap_and_earlier_in_a_fold() {
        let berlin = TimeZone::from_name("Europe/Berlin").unwrap();
        // 2024-03-31 02:30 does not exist there: the clock went from 02:00 to 03:00.
        assert_eq!(berlin.days_before(at("2024-04-01T00:30:00Z"), 1), at("2024-03-31T01:30:00Z"));
        // 2024-10-27 02:30 exists twice: at 00:30Z and at 01:30Z.
        assert_eq!(berlin.days_before(at("2024-10-28T01:30:00Z"), 1), at("2024-10-27T00:30:00Z"));
        assert_eq!(berlin.days_before(at("2024-04-05T10:00:00Z"), 30), at("2024-03-06T11:00:00Z"));
    }

    #[test]
    fn instants_out_of_range_are_refused() {
        assert_eq!(Instant::from_parts(-1, 0), Err(TimeError::OutOfRange));
        assert_eq!(Instant::from_parts(0, -1), Err(TimeError::OutOfRange));
        assert_eq!(Instant::from_parts(0, 1_000_000_000), Err(TimeError::OutOfRange));
        assert_eq!(Instant::from_parts(i64::MAX, 0), Err(TimeError::OutOfRange));
        assert_eq!(Instant::parse("yesterday"), Err(TimeError::Malformed));
        assert_eq!(at("1998-07-01T00:00:00Z").to_string(), "1998-07-01T00:00:00Z");
    }

    #[test]
    fn zones_that_do_not_exist_are_refused() {
        assert_eq!(TimeZone::from_name("Mars/Olympus"), Err(TimeError::UnknownZone));
        assert_eq!(TimeZone::from_name(""), Err(TimeError::UnknownZone));
    }
}
