//! For how long is kept what is written down of the past.

use quintile_rpc::convert;

/// For how many days of business time what is written down is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Enters and exits, counted from when they were true.
    pub membership_days: i32,
    /// How many members segments and labels had at the beginning of a day.
    pub size_days: i32,
    /// Who had which label at the beginning of a day: of every day.
    pub label_days: i32,
    /// The same of the first day of each month.
    pub monthly_label_days: i32,
}

impl Default for History {
    fn default() -> Self {
        Self { membership_days: 400, size_days: Self::MAX_DAYS, label_days: 100, monthly_label_days: 5 * 366 }
    }
}

impl History {
    /// The longest that anything is kept, in days: ten years.
    pub const MAX_DAYS: i32 = 3_653;

    /// Whether the labels of a local day, in days since 1970, are still kept on another.
    pub fn keeps_labels(&self, day: i32, today: i32) -> bool {
        day >= today - self.label_days || (day >= today - self.monthly_label_days && convert::date(day).day == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_kept_daily_then_monthly_then_not() {
        let history = History { label_days: 10, monthly_label_days: 40, ..History::default() };
        // The 1st of March 1970 is day 59.
        let kept = |today: i32| (0..today).filter(|day| history.keeps_labels(*day, today)).collect::<Vec<_>>();
        assert_eq!(kept(62), [31].into_iter().chain(52..62).collect::<Vec<_>>());
        assert_eq!(kept(71), [31, 59].into_iter().chain(61..71).collect::<Vec<_>>());
        assert_eq!(kept(72), [59].into_iter().chain(62..72).collect::<Vec<_>>());
        assert_eq!(kept(100), (90..100).collect::<Vec<_>>());
    }
}
