//! `days_since(field) < 30` over a column: which instants are certain by comparison, and which must ask the calendar.

use super::numbers::Span;
use quintile_expr::Now;

/// Local dates may fall back as instants grow, where a clock is set back: St John's once did so at one minute past midnight.
/// The farthest that a zone of the IANA database (all of them checked, 1970 to 2037) was ever set back is Vostok's seven
/// hours.
const FALL_BACK_MICROS: i64 = 12 * 3_600_000_000;

/// A condition on the days since an instant, as a condition on the instant.
#[derive(Clone, Copy)]
pub(super) struct DaysRange<'a> {
    now: &'a Now<'a>,
    days: Span,
}

impl<'a> DaysRange<'a> {
    pub(super) fn new(now: &'a Now<'a>, days: Span) -> Self {
        Self { now, days }
    }

    /// Asks the calendar.
    pub(super) fn holds(&self, instant: i64) -> bool {
        self.days.contains(self.now.days_since(instant))
    }

    /// The instants outside of which the condition is false, and those within which it is true. Between the two, ask.
    pub(super) fn spans(&self) -> (Span, Option<Span>) {
        // More days ago is earlier: the upper bound on days is the lower one on instants.
        let (possible_low, sure_low) = match self.days.high {
            i64::MAX => (i64::MIN, Some(i64::MIN)),
            days => self.around(days),
        };
        let (possible_high, sure_high) = match self.days.low.checked_sub(1) {
            None => (i64::MAX, Some(i64::MAX)),
            Some(days) => self.before(days),
        };
        let sure = sure_low.zip(sure_high).map(|(low, high)| Span { low, high });
        (Span { low: possible_low, high: possible_high }, sure.filter(|sure| sure.low <= sure.high))
    }

    /// Where "at most `days` ago" begins: the first instant where it may hold, and the first from where it surely does.
    fn around(&self, days: i64) -> (i64, Option<i64>) {
        match self.first_at_most(days) {
            Some(first) => (first.saturating_sub(FALL_BACK_MICROS), first.checked_add(FALL_BACK_MICROS)),
            None => (i64::MAX - FALL_BACK_MICROS, None),
        }
    }

    /// Where "more than `days` ago" ends: the last instant where it may hold, and the last up to where it surely does.
    fn before(&self, days: i64) -> (i64, Option<i64>) {
        match self.first_at_most(days) {
            Some(first) => (
                first.saturating_add(FALL_BACK_MICROS),
                first.checked_sub(FALL_BACK_MICROS).and_then(|at| at.checked_sub(1)),
            ),
            None => (i64::MAX, Some(i64::MAX - FALL_BACK_MICROS)),
        }
    }

    /// An instant at most `days` ago whose predecessor is further away, or the very first; none when even the last instant
    /// is further away. Bisection finds one such place even where dates fall back; others are at most that far from it.
    fn first_at_most(&self, days: i64) -> Option<i64> {
        let reached = |instant: i64| self.now.days_since(instant) <= days;
        if reached(i64::MIN) {
            return Some(i64::MIN);
        }
        if !reached(i64::MAX) {
            return None;
        }
        let (mut further, mut reached_at) = (i64::MIN, i64::MAX);
        while further + 1 < reached_at {
            let middle = further.midpoint(reached_at);
            if reached(middle) {
                reached_at = middle;
            } else {
                further = middle;
            }
        }
        Some(reached_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::time::{Instant, TimeZone};

    const HOUR_MICROS: i64 = 3_600_000_000;

    #[test]
    fn what_is_certain_agrees_with_the_calendar_where_clocks_are_set_back_past_midnight() {
        for zone in ["UTC", "America/St_Johns", "Pacific/Apia", "Pacific/Kiritimati", "Antarctica/Vostok"] {
            let zone = TimeZone::from_name(zone).unwrap();
            // St John's set its clock back at 00:01 on 2006-10-29, which was 02:31 in UTC.
            let now_micros = Instant::parse("2006-11-08T12:00:00Z").unwrap().micros();
            let local_day = |micros| zone.local_day(Instant::from_micros(micros));
            let now = Now::new(now_micros, &local_day);
            for days in [(9, 9), (10, 10), (11, 11), (i64::MIN, 10), (10, i64::MAX), (5, 20), (12, 5)] {
                let range = DaysRange::new(&now, Span { low: days.0, high: days.1 });
                let (possible, sure) = range.spans();
                for minute in (-30 * 24 * 60)..60 {
                    let instant = now_micros + minute * HOUR_MICROS / 60;
                    let holds = range.holds(instant);
                    assert!(!holds || possible.contains(instant), "{days:?} at {instant}");
                    assert!(holds || !sure.is_some_and(|sure| sure.contains(instant)), "{days:?} at {instant}");
                }
            }
        }
    }

    #[test]
    fn a_month_is_certain_but_for_its_edges() {
        let utc_day = |micros: i64| micros.div_euclid(24 * HOUR_MICROS) as i32;
        let now = Now::new(1_000_000 * HOUR_MICROS, &utc_day);
        let (possible, sure) = DaysRange::new(&now, Span { low: 1, high: 30 }).spans();
        let sure = sure.unwrap();
        assert_eq!(sure.low - possible.low, 24 * HOUR_MICROS);
        assert_eq!(possible.high - sure.high, 24 * HOUR_MICROS + 1);
    }
}
