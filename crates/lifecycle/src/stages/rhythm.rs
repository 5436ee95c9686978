//! The silence that a customer's rhythm explains: its own 0.8 quantile of gaps, shrunk towards the population's.

use super::rational::Rational;

/// With fewer gaps than this, a customer's own quantile is undefined, and the population's stands alone.
const LEAST_GAPS: usize = 3;
/// How many gaps the population's p80 weighs in the blend.
const POPULATION_WEIGHT: i64 = 3;

/// The rhythm of a customer, now and as it was known before the last gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// The p80 of all gaps.
    pub(crate) p80: Rational,
    /// The last gap in days, and the p80 of all gaps before it. `None`: no gap yet.
    pub(crate) last_gap: Option<(i32, Rational)>,
}

impl Rhythm {
    /// The rhythm of gaps in days, oldest first, under a population's p80. It sorts once, whatever the number of gaps.
    pub(crate) fn of(gap_days: &[i32], population_p80_days: i32) -> Self {
        let Some((&last, earlier)) = gap_days.split_last() else {
            return Self { p80: blended(0, |_| 0, population_p80_days), last_gap: None };
        };
        let mut sorted = Vec::new();
        if gap_days.len() >= LEAST_GAPS {
            sorted.extend_from_slice(gap_days);
            sorted.sort_unstable();
        }
        // Leaving out any one of the gaps as long as the last gives the order of the earlier ones, without sorting
        // again.
        let left_out = sorted.partition_point(|gap| *gap < last);
        let p80_before =
            blended(earlier.len(), |rank| sorted[rank + usize::from(rank >= left_out)], population_p80_days);
        Self {
            p80: blended(gap_days.len(), |rank| sorted[rank], population_p80_days),
            last_gap: Some((last, p80_before)),
        }
    }
}

/// `(n * own + 3 * population) / (n + 3)` over `n` own gaps, `ordered` giving the gap of a rank from 0.
///
/// The type-7 quantile at 4/5 lies at `(n - 1) * 4/5` between two ranks, so that five times it is a whole number.
/// Source: Hyndman and Fan (1996), definition 7; the blend is the product's own.
fn blended(n: usize, ordered: impl Fn(usize) -> i32, population_p80_days: i32) -> Rational {
    if n < LEAST_GAPS {
        return Rational::new(i64::from(population_p80_days), 1);
    }
    let fifths = (n - 1) * 4;
    let (rank, beyond) = (fifths / 5, (fifths % 5) as i64);
    let lower = i64::from(ordered(rank));
    // At a whole position there may be no next rank, and it would weigh nothing.
    let upper = if beyond == 0 { lower } else { i64::from(ordered(rank + 1)) };
    let five_own = (5 - beyond) * lower + beyond * upper;
    let n = n as i64;
    let numerator = n * five_own + 5 * POPULATION_WEIGHT * i64::from(population_p80_days);
    Rational::new(numerator, 5 * (n + POPULATION_WEIGHT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_quantile_is_interpolated_and_blended_exactly() {
        // Without gaps of its own, or with two: the population's.
        for gaps in [[].as_slice(), &[7], &[7, 9]] {
            assert_eq!(Rhythm::of(gaps, 119).p80, Rational::new(119, 1));
        }
        // h = 2 * 4/5 = 1.6: 20 + 0.6 * 10 = 26; (3 * 26 + 3 * 119) / 6 = 72.5.
        assert_eq!(Rhythm::of(&[30, 10, 20], 119).p80, Rational::new(145, 2));
        // h = 5 * 4/5 = 4, a whole rank: 50; (6 * 50 + 3 * 119) / 9 = 73.
        assert_eq!(Rhythm::of(&[60, 50, 40, 30, 20, 10], 119).p80, Rational::new(73, 1));
    }

    #[test]
    fn the_rhythm_before_the_last_gap_does_not_know_that_gap() {
        assert_eq!(Rhythm::of(&[], 119).last_gap, None);
        assert_eq!(Rhythm::of(&[10, 20, 300], 119).last_gap, Some((300, Rational::new(119, 1))));
        assert_eq!(Rhythm::of(&[30, 10, 20, 300], 119).last_gap, Some((300, Rational::new(145, 2))));
        assert_eq!(Rhythm::of(&[30, 10, 20, 20], 119).last_gap, Some((20, Rational::new(145, 2))));
    }

    proptest! {
        #[test]
        fn leaving_out_the_last_gap_is_the_same_as_never_having_had_it(
            gaps in prop::collection::vec(1..30_i32, 1..40),
            population in 1..400_i32,
        ) {
            let (last, earlier) = gaps.split_last().unwrap();
            let expected = Rhythm::of(earlier, population).p80;
            prop_assert_eq!(Rhythm::of(&gaps, population).last_gap, Some((*last, expected)));
        }
    }
}
