//! The rhythm of a whole population: the 0.8 quantile of all gaps between purchase days.

use std::collections::BTreeMap;

/// Gaps, as they are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PopulationGaps(BTreeMap<i32, u64>);

impl PopulationGaps {
    /// Counts a customer's gaps in days.
    pub fn add(&mut self, gap_days: &[i32]) {
        for gap in gap_days {
            *self.0.entry(*gap).or_default() += 1;
        }
    }

    /// The 0.8 quantile (type 7, Hyndman and Fan 1996), in whole days rounded down. `None`: there are no gaps.
    pub fn p80_days(&self) -> Option<i32> {
        let count: u64 = self.0.values().sum();
        // It lies at (n - 1) * 4/5 between two ranks, so that five times it is a whole number.
        let fifths = count.checked_sub(1)? * 4;
        let (rank, beyond) = (fifths / 5, (fifths % 5) as i64);
        let lower = i64::from(self.at(rank)?);
        let upper = self.at(rank + 1).map_or(lower, i64::from);
        i32::try_from(((5 - beyond) * lower + beyond * upper) / 5).ok()
    }

    /// The gap of a rank, from 0.
    fn at(&self, rank: u64) -> Option<i32> {
        let mut behind = 0;
        self.0.iter().find_map(|(gap, count)| {
            behind += count;
            (rank < behind).then_some(*gap)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_interpolated() {
        assert_eq!(PopulationGaps::default().p80_days(), None);
        let mut gaps = PopulationGaps::default();
        gaps.add(&[10]);
        assert_eq!(gaps.p80_days(), Some(10));
        // h = 2 * 4/5 = 1.6: 20 + 0.6 * 10 = 26.
        gaps.add(&[30, 20]);
        assert_eq!(gaps.p80_days(), Some(26));
        // h = 3 * 4/5 = 2.4: 20 + 0.4 * 10 = 24.
        gaps.add(&[20]);
        assert_eq!(gaps.p80_days(), Some(24));
        // h = 5 * 4/5 = 4: the fifth.
        gaps.add(&[40, 40]);
        assert_eq!(gaps.p80_days(), Some(40));
    }
}
