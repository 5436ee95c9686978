//! Exact quotients of days: a silence of exactly twice a rhythm must not depend on how a float rounds.

/// A quotient of days in lowest terms, its denominator positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    numerator: i64,
    denominator: i64,
}

impl Rational {
    /// `numerator / denominator`, the latter being positive.
    pub(super) fn new(numerator: i64, denominator: i64) -> Self {
        assert!(denominator > 0, "every caller divides by a count plus 3");
        let divisor = greatest_common_divisor(numerator.unsigned_abs(), denominator.unsigned_abs()) as i64;
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    /// The numerator in lowest terms.
    pub const fn numerator(self) -> i64 {
        self.numerator
    }

    /// The denominator in lowest terms, positive.
    pub const fn denominator(self) -> i64 {
        self.denominator
    }

    /// The nearest float, for display alone: no rule may decide by it.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// Whether `days` are strictly more than `factor` times this.
    pub(super) fn is_exceeded(self, factor: i32, days: i64) -> bool {
        i128::from(days) * i128::from(self.denominator) > i128::from(factor) * i128::from(self.numerator)
    }

    /// The most times that `days`, 0 or more, are strictly more than this. 0 where this is not positive.
    pub(super) fn times_exceeded(self, days: i64) -> i64 {
        if self.numerator <= 0 {
            return 0;
        }
        let parts = i128::from(days) * i128::from(self.denominator);
        let times = (parts - 1).div_euclid(i128::from(self.numerator)).max(0);
        i64::try_from(times).unwrap_or(i64::MAX)
    }

    /// The least whole number of days that is strictly more than `factor` times this.
    pub(crate) fn first_beyond(self, factor: i32) -> i64 {
        let multiple = i128::from(factor) * i128::from(self.numerator);
        let beyond = multiple.div_euclid(i128::from(self.denominator)) + 1;
        // The clamp keeps its meaning: no silence is as long as either bound.
        beyond.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// Euclid's algorithm; `right` is not 0, so neither is the result.
fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while left != 0 {
        (left, right) = (right % left, left);
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_kept_in_lowest_terms() {
        assert_eq!(Rational::new(30, 15), Rational::new(2, 1));
        assert_eq!(Rational::new(0, 15), Rational::new(0, 1));
        let third = Rational::new(10, 30);
        assert_eq!((third.numerator(), third.denominator()), (1, 3));
        assert_eq!(Rational::new(7, 2).to_f64().to_bits(), 3.5_f64.to_bits());
    }

    #[test]
    fn a_whole_multiple_is_not_exceeded_by_itself() {
        let (whole, broken) = (Rational::new(119, 1), Rational::new(36, 5));
        assert!(!whole.is_exceeded(2, 238));
        assert!(whole.is_exceeded(2, 239));
        assert_eq!(whole.first_beyond(2), 239);
        // 2 x 7.2 = 14.4
        assert!(!broken.is_exceeded(2, 14));
        assert!(broken.is_exceeded(2, 15));
        assert_eq!(broken.first_beyond(2), 15);
    }

    #[test]
    fn the_times_that_days_are_more_are_those_that_they_exceed() {
        for rhythm in [Rational::new(119, 1), Rational::new(36, 5), Rational::new(1, 1)] {
            for days in 0..500 {
                let times = rhythm.times_exceeded(days);
                let factor = i32::try_from(times).unwrap();
                assert!(factor == 0 || rhythm.is_exceeded(factor, days), "{days} days");
                assert!(!rhythm.is_exceeded(factor + 1, days), "{days} days");
            }
        }
        assert_eq!(Rational::new(0, 1).times_exceeded(5), 0);
    }

    #[test]
    fn the_greatest_numbers_do_not_wrap_around() {
        let greatest = Rational::new(i64::MAX, 1);
        assert!(!greatest.is_exceeded(i32::MAX, i64::MAX));
        assert_eq!(greatest.first_beyond(i32::MAX), i64::MAX);
        assert_eq!(Rational::new(1, i64::MAX).times_exceeded(i64::MAX), i64::MAX);
    }
}
