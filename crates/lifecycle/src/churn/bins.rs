//! Values in bins, of which there are so few that a split is found by adding up rather than by sorting.

use super::encoding::{Cell, Encoded, Encoding, Reader};
use super::parallel;
use super::tree::Question;
use std::num::NonZeroUsize;

/// The most bins of known numbers. With that of missing values a bin is one byte.
const MAX_BINS: usize = 254;
/// More than there can be, so that a byte is always a place.
pub(super) const PLACES: usize = 256;

/// A feature in bins.
pub(super) struct Bins {
    /// For each row its bin.
    pub(super) bins: Vec<u8>,
    /// How many bins there are, that of missing values included: the last one.
    pub(super) count: usize,
    scale: Scale,
}

enum Scale {
    /// The largest values of all bins but the last of known ones.
    Numbers(Vec<f64>),
    /// A bin for each level, then one for the others.
    Levels,
}

impl Bins {
    /// Of each feature, the values of all rows of a table.
    pub(super) fn all(encoding: &Encoding, reader: &Reader<'_>, rows: usize, threads: NonZeroUsize) -> Vec<Self> {
        let features: Vec<usize> = (0..encoding.features.len()).collect();
        parallel::map(threads, &features, |feature| {
            let cells = || (0..rows).map(|row| reader.cell(row, *feature));
            match encoding.features.get(*feature).and_then(Encoded::levels) {
                Some(levels) => Self::of_levels(cells(), levels),
                None => Self::of_numbers(cells),
            }
        })
    }

    fn of_levels(cells: impl Iterator<Item = Cell>, levels: usize) -> Self {
        let bin = |cell| match cell {
            Cell::Level(level) => level as u8,
            Cell::Other => levels as u8,
            Cell::Missing | Cell::Number(_) => levels as u8 + 1,
        };
        Self { bins: cells.map(bin).collect(), count: levels + 2, scale: Scale::Levels }
    }

    fn of_numbers<C: Iterator<Item = Cell>>(cells: impl Fn() -> C) -> Self {
        let number = |cell| match cell {
            Cell::Number(value) => Some(value),
            _ => None,
        };
        let mut known: Vec<f64> = cells().filter_map(number).collect();
        known.sort_unstable_by(f64::total_cmp);
        let thresholds = thresholds(&known);
        let missing = thresholds.len() as u8 + 1;
        let bin = |cell| {
            number(cell).map_or(missing, |value| thresholds.partition_point(|threshold| *threshold < value) as u8)
        };
        Self { bins: cells().map(bin).collect(), count: thresholds.len() + 2, scale: Scale::Numbers(thresholds) }
    }

    /// Whether the bins are those of a category: each level is asked for by itself.
    pub(super) fn are_levels(&self) -> bool {
        matches!(self.scale, Scale::Levels)
    }

    /// The bins that a question can be asked by: the first ones.
    pub(super) fn known(&self) -> usize {
        match self.scale {
            Scale::Numbers(_) => self.count.saturating_sub(1),
            // Others are not asked for.
            Scale::Levels => self.count.saturating_sub(2),
        }
    }

    /// The bin of values that are missing.
    pub(super) fn missing(&self) -> usize {
        self.count.saturating_sub(1)
    }

    /// Whether a row's answer to the question by a bin is yes: it is in it, or in one before it where these are
    /// numbers.
    pub(super) fn answer(&self, row: u32, by: u8, missing: bool) -> bool {
        let bin = self.bins.get(row as usize).copied().unwrap_or(u8::MAX);
        if usize::from(bin) >= self.missing() {
            return missing;
        }
        match self.scale {
            Scale::Numbers(_) => bin <= by,
            Scale::Levels => bin == by,
        }
    }

    /// The question by a bin, as customers are asked it.
    pub(super) fn question(&self, by: u8) -> Question {
        match &self.scale {
            Scale::Numbers(thresholds) => {
                Question::AtMost(thresholds.get(usize::from(by)).copied().unwrap_or(f64::MAX))
            }
            Scale::Levels => Question::Is(u32::from(by)),
        }
    }
}

/// Where sorted values are parted: between all that differ, or, of more than there are bins, so that each bin has
/// about as many rows. Half-way to the next value, as newcomers lie between.
fn thresholds(sorted: &[f64]) -> Vec<f64> {
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for value in sorted {
        match groups.last_mut() {
            Some((last, count)) if *last >= *value => *count += 1,
            _ => groups.push((*value, 1)),
        }
    }
    let all_fit = groups.len() <= MAX_BINS;
    let (mut thresholds, mut closed, mut open) = (Vec::new(), 0, 0);
    for ((value, count), (next, _)) in groups.iter().zip(groups.iter().skip(1)) {
        open += count;
        // What is left is shared by the bins that are left, so that a frequent value does not empty those after it.
        let full = (sorted.len() - closed).div_ceil(MAX_BINS.saturating_sub(thresholds.len()).max(1));
        if all_fit || open >= full {
            thresholds.push(between(*value, *next));
            closed += open;
            open = 0;
        }
    }
    thresholds
}

/// Half-way, and never the larger one, which has to stay on its side.
fn between(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    if middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    //! Values whose bins are counted by hand.

    use super::*;

    #[test]
    fn few_values_have_a_bin_each() {
        assert_eq!(thresholds(&[1.0, 1.0, 2.0, 4.0]), [1.5, 3.0]);
        assert_eq!(thresholds(&[7.0, 7.0]), [0.0; 0]);
        assert_eq!(thresholds(&[]), [0.0; 0]);
    }

    #[test]
    fn many_values_fill_bins_evenly() {
        let sorted: Vec<f64> = (0..25_400).map(f64::from).collect();
        let found = thresholds(&sorted);
        assert_eq!(found.len(), MAX_BINS - 1);
        for (place, threshold) in found.iter().enumerate() {
            assert!((threshold - (100.0 * (place + 1) as f64 - 0.5)).abs() < 1e-9);
        }
    }

    #[test]
    fn one_frequent_value_does_not_take_the_bins_of_the_others() {
        let mut sorted = vec![0.0; 10_000];
        sorted.extend((1..=10_000).map(f64::from));
        let found = thresholds(&sorted);
        assert_eq!(found.len(), MAX_BINS - 1);
        assert!((found[0] - 0.5).abs() < 1e-12);
        // 10,000 values that are left in 253 bins: 39 or 40 each.
        assert!(found.windows(2).all(|pair| (39.0..=40.0).contains(&(pair[1] - pair[0]))));
    }

    #[test]
    fn neighbours_are_parted_though_nothing_is_between() {
        let high = f64::from_bits(1.0_f64.to_bits() + 1);
        let threshold = between(1.0, high);
        assert!((1.0..high).contains(&threshold));
    }
}
