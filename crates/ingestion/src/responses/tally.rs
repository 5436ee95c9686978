//! Feedback of one kind, counted by what became of it.

use quintile_domain::proportion::Proportion;
use quintile_domain::time::Instant;
use std::collections::BTreeMap;

const MINUTE_MICROS: i64 = 60_000_000;
const HOUR_MINUTES: f64 = 60.0;

/// What became of feedback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered within its target.
    pub in_time: u64,
    /// Answered later.
    pub late: u64,
    /// Not answered, with time left.
    pub open_in_time: u64,
    /// Not answered, with none left.
    pub overdue: u64,
    /// How often an answer took so many whole minutes. Minutes, and not what facts say, so that ten years of them bound it.
    minutes: BTreeMap<i64, u64>,
}

impl Tally {
    /// Adds feedback of an instant, until when it was to be answered, if it was, and when it was answered, as of now.
    pub fn add(&mut self, at: Instant, due: Option<Instant>, answered: Option<Instant>, now: Instant) {
        let is_within = |instant: Instant| due.is_none_or(|due| instant <= due);
        let count = match answered {
            Some(answered) if is_within(answered) => &mut self.in_time,
            Some(_) => &mut self.late,
            None if is_within(now) => &mut self.open_in_time,
            None => &mut self.overdue,
        };
        *count += 1;
        if let Some(answered) = answered {
            let minutes = (answered.micros() - at.micros()) / MINUTE_MICROS;
            *self.minutes.entry(minutes).or_default() += 1;
        }
    }

    /// All feedback.
    pub fn feedback(&self) -> u64 {
        self.answered() + self.open_in_time + self.overdue
    }

    /// What was answered.
    pub fn answered(&self) -> u64 {
        self.in_time + self.late
    }

    /// The share that was answered in time, of what was answered or is overdue. `None`: nothing is.
    pub fn share_in_time(&self) -> Option<Proportion> {
        let decided = self.answered() + self.overdue;
        (decided > 0).then(|| Proportion::of(self.in_time, decided))
    }

    /// How many hours so many tenths of the answers took at most, by linear interpolation (Hyndman and Fan 1996, type 7). `None`: there is none.
    pub fn quantile_hours(&self, tenths: u64) -> Option<f64> {
        let last = self.answered().checked_sub(1)?;
        // The position is a multiple of a tenth: whole numbers as long as they go.
        let position = last * tenths.min(10);
        let (rank, beyond) = (position / 10, (position % 10) as i64);
        let lower = self.minutes_at(rank)?;
        let upper = self.minutes_at((rank + 1).min(last))?;
        Some((10 * lower + beyond * (upper - lower)) as f64 / 10.0 / HOUR_MINUTES)
    }

    /// The minutes that the answer of a rank took, from 0 for the fastest.
    fn minutes_at(&self, rank: u64) -> Option<i64> {
        let mut passed = 0;
        let found = self.minutes.iter().find(|(_, count)| {
            passed += **count;
            passed > rank
        });
        found.map(|(minutes, _)| *minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Instant {
        Instant::from_micros(minutes * MINUTE_MICROS)
    }

    #[test]
    fn the_last_instant_of_a_target_is_in_time() {
        let mut tally = Tally::default();
        for answered in [60, 61, 30] {
            tally.add(at(0), Some(at(60)), Some(at(answered)), at(100));
        }
        tally.add(at(0), Some(at(60)), None, at(100));
        tally.add(at(40), Some(at(100)), None, at(100));
        tally.add(at(0), None, None, at(100));
        tally.add(at(0), None, Some(at(99)), at(100));
        assert_eq!((tally.in_time, tally.late, tally.open_in_time, tally.overdue), (3, 1, 2, 1));
        assert_eq!((tally.feedback(), tally.answered()), (7, 4));
        assert_eq!(tally.share_in_time(), Some(Proportion::of(3, 5)));
        assert_eq!(Tally::default().share_in_time(), None);
    }

    #[test]
    fn quantiles_are_interpolated() {
        let mut tally = Tally::default();
        for minutes in [240, 60, 180, 120, 120] {
            tally.add(at(7), None, Some(Instant::from_micros(at(7 + minutes).micros() + MINUTE_MICROS - 1)), at(9_999));
        }
        // Of 1, 2, 2, 3 and 4 hours: the third; and of 0.9 × 4 = 3.6 the way from the fourth to the fifth.
        assert_eq!((tally.quantile_hours(5), tally.quantile_hours(9)), (Some(2.0), Some(3.6)));
        assert_eq!((tally.quantile_hours(0), tally.quantile_hours(10)), (Some(1.0), Some(4.0)));
        assert_eq!(Tally::default().quantile_hours(5), None);
    }
}
