//! Fewer purchases: half as many days with one as before.

use super::HOLD_DAYS;

/// The days of the window that is compared, and of the one before it.
const WINDOW_DAYS: i64 = 90;

/// On how many days a customer had bought, by a midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurchaseDays {
    /// Of the 90 days before it.
    pub now: i64,
    /// Of the 90 days before those.
    pub before: i64,
}

impl PurchaseDays {
    /// Whether it is at most half as often as before, when it was often enough to tell.
    fn declined(self, least: i64) -> bool {
        self.before >= least && self.now * 2 <= self.before
    }
}

/// On which local days a customer had bought on half as many days as before, if nothing more is bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FewerPurchases {
    /// The day that the first of `declined` is of.
    first_day: i64,
    /// At least so many days are half of anything.
    least: i64,
    /// By the midnight at which each day begins. Before and after them: too few.
    counts: Vec<PurchaseDays>,
}

impl FewerPurchases {
    /// Of the gaps between purchase days, oldest first, and the last of these days: what shows from `today` on. At least `least` days are half of
    /// anything.
    pub(super) fn of(gap_days: &[i32], last_order_day: i64, least: i64, today: i64) -> Self {
        let first_day = today + 1 - HOLD_DAYS;
        let days = purchase_days(gap_days, last_order_day, first_day - 2 * WINDOW_DAYS);
        if (days.len() as i64) < least {
            return Self { first_day, least, counts: Vec::new() };
        }
        // Of each midnight, by how much both counts change from the one before it.
        let length = usize::try_from(last_order_day.max(today) + 2 * WINDOW_DAYS + 2 - first_day).unwrap_or(0);
        let mut changes = vec![[0_i64; 2]; length];
        let mut change = |day: i64, window: usize, by: i64| {
            let place = usize::try_from((day - first_day).max(0)).unwrap_or(usize::MAX);
            if let Some(change) = changes.get_mut(place) {
                change[window] += by;
            }
        };
        for day in days {
            let (moves_on, leaves) = (day + 1 + WINDOW_DAYS, day + 1 + 2 * WINDOW_DAYS);
            change(day + 1, 0, 1);
            change(moves_on, 0, -1);
            change(moves_on, 1, 1);
            change(leaves, 1, -1);
        }
        let mut count = PurchaseDays::default();
        let counts = changes.into_iter().map(|[of_now, of_before]| {
            count.now += of_now;
            count.before += of_before;
            count
        });
        Self { first_day, least, counts: counts.collect() }
    }

    /// The counts by the midnight of a day and of those before it for which the sign is held, the first one first.
    fn held(&self, day: i64) -> &[PurchaseDays] {
        let place = |day: i64| usize::try_from((day - self.first_day).max(0)).unwrap_or(usize::MAX);
        let (from, to) = (place(day + 1 - HOLD_DAYS), place(day + 1));
        self.counts.get(from..to.min(self.counts.len())).unwrap_or_default()
    }

    /// Whether it shows on a day: it did at one of the last midnights.
    pub(super) fn shows_on(&self, day: i64) -> bool {
        self.held(day).iter().any(|count| count.declined(self.least))
    }

    /// What it shows by on a day: the counts at the last midnight at which it did, or at that of the day.
    pub(super) fn shown_by(&self, day: i64) -> PurchaseDays {
        let held = self.held(day);
        let declined = held.iter().rfind(|count| count.declined(self.least));
        declined.or(held.last()).copied().unwrap_or_default()
    }

    /// The first day after one on which that is otherwise.
    pub(super) fn turns_after(&self, day: i64) -> Option<i64> {
        let shows = self.shows_on(day);
        let end = self.first_day + self.counts.len() as i64 + HOLD_DAYS;
        (day + 1..=end).find(|later| self.shows_on(*later) != shows)
    }
}

/// The purchase days from `first` on, the last one first.
fn purchase_days(gap_days: &[i32], last_order_day: i64, first: i64) -> Vec<i64> {
    let earlier = gap_days.iter().rev().scan(last_order_day, |day, gap| {
        *day -= i64::from(*gap);
        Some(*day)
    });
    std::iter::once(last_order_day).chain(earlier).take_while(|day| *day >= first).collect()
}
