//! Silence: longer than the customer's rhythm explains.

use super::HOLD_DAYS;
use crate::stages::{Rational, Rhythm};

/// The local days on which a customer is silent, or has just been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// The first day of the silence that goes on, if nothing is bought until then.
    begins: i64,
    /// The first day on which the silence before the last purchase shows no more.
    held_until: i64,
}

/// The day of a silence on which it is one: longer than its rhythm explains, and than anybody is asked after.
fn first_day(p80: Rational) -> i64 {
    p80.first_beyond(1).max(HOLD_DAYS + 1)
}

impl Silence {
    /// Of the gaps between purchase days, oldest first, and the last of these days.
    pub(super) fn of(gap_days: &[i32], population_p80_days: i32, last_order_day: i64) -> Self {
        let rhythm = Rhythm::of(gap_days, population_p80_days);
        let begins = last_order_day.saturating_add(first_day(rhythm.p80));
        Self { begins, held_until: held_until(gap_days, population_p80_days, last_order_day).unwrap_or(i64::MIN) }
    }

    /// Whether it shows on a day, which is not before the last purchase.
    pub(super) fn shows_on(self, day: i64) -> bool {
        day >= self.begins || day < self.held_until
    }

    /// The first day after one on which that is otherwise.
    pub(super) fn turns_after(self, day: i64) -> Option<i64> {
        let shows = self.shows_on(day);
        let mut turns = [self.begins, self.held_until];
        turns.sort_unstable();
        turns.into_iter().find(|turn| *turn > day && self.shows_on(*turn) != shows)
    }
}

/// The first day on which the last silence that purchases ended shows no more. Between the ends of two silences are more days than one is held for, so
/// the last gap that is long enough for one tells, whatever was bought since. `None`: there was none.
fn held_until(gap_days: &[i32], population_p80_days: i32, last_order_day: i64) -> Option<i64> {
    let place = gap_days.iter().rposition(|gap| i64::from(*gap) > HOLD_DAYS)?;
    let since: i64 = gap_days.iter().skip(place + 1).copied().map(i64::from).sum();
    let (gap, p80_before) = Rhythm::of(gap_days.get(..=place)?, population_p80_days).last_gap?;
    let (gap, first) = (i64::from(gap), first_day(p80_before));
    (gap >= first).then_some(last_order_day - since - gap + first + HOLD_DAYS)
}
