//! Durations of customers, of which some have ended and some go on: counts by day.

/// The longest duration that is followed: a hundred years. What is longer counts as going on after them, so that a
/// broken date costs no memory.
pub const MAX_DAYS: u32 = 36_525;

/// How many durations of one day there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfDay {
    /// Those that ended.
    pub(super) ended: u64,
    /// Those that went on when they were last looked at (censored).
    pub(super) going_on: u64,
}

/// Durations in whole days, each ended or going on. At most 600 KB, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// By duration in days, up to the longest there is.
    days: Vec<OfDay>,
}

/// Durations in figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// Their mean, in days.
    pub mean_days: f64,
    /// Their median in whole days: the least duration that half of them do not exceed (nearest rank).
    pub median_days: u32,
    /// The least duration, in whole days, that nine of ten do not exceed.
    pub p90_days: u32,
}

impl Durations {
    /// Counts a duration in: how many whole days it has lasted, and whether it has ended.
    pub fn add(&mut self, days: u32, ended: bool) {
        let ended = ended && days <= MAX_DAYS;
        let place = days.min(MAX_DAYS) as usize;
        if self.days.len() <= place {
            self.days.resize(place + 1, OfDay::default());
        }
        let of_day = &mut self.days[place];
        of_day.ended += u64::from(ended);
        of_day.going_on += u64::from(!ended);
    }

    /// Counts those of another in.
    pub fn merge(&mut self, other: &Self) {
        if self.days.len() < other.days.len() {
            self.days.resize(other.days.len(), OfDay::default());
        }
        for (mine, others) in self.days.iter_mut().zip(&other.days) {
            mine.ended += others.ended;
            mine.going_on += others.going_on;
        }
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.days.iter().map(|of_day| of_day.ended + of_day.going_on).sum()
    }

    pub(super) fn days(&self) -> &[OfDay] {
        &self.days
    }

    /// In figures, by one of the two counts of a day; `mean_days` is known more exactly than by day. `None`: none of
    /// that kind.
    pub(super) fn spread(&self, count: impl Fn(&OfDay) -> u64, mean_days: impl Fn(u64) -> f64) -> Option<Spread> {
        let total: u64 = self.days.iter().map(&count).sum();
        let at_rank = |rank: u64| {
            let mut sum = 0;
            self.days.iter().position(|of_day| {
                sum += count(of_day);
                sum >= rank
            })
        };
        // Of 0 durations rank 0 would be day 0.
        let ranked = |percent: u64| at_rank((total * percent).div_ceil(100).max(1)).map(|days| days as u32);
        Some(Spread { count: total, mean_days: mean_days(total), median_days: ranked(50)?, p90_days: ranked(90)? })
    }
}
