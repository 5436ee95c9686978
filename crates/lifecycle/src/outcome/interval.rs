//! Estimates, and the intervals that the truth is in nineteen times of twenty.

use super::arm::Arm;
use quintile_domain::proportion::{NORMAL, Proportion};

/// Bounds of what the truth is likely to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound, at most the estimate.
    pub low: f64,
    /// The upper bound, at least the estimate.
    pub high: f64,
}

impl Interval {
    /// Whether a value is within it.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// A difference of treated less holdout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The best guess.
    pub value: f64,
    /// The 95 % interval. `None`: there are too few customers for one that holds.
    pub interval: Option<Interval>,
}

/// What an estimate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The interval is above 0.
    Helps,
    /// The interval is below 0.
    Harms,
    /// The interval holds 0.
    Undecided,
    /// There is no interval.
    TooFew,
}

impl Verdict {
    /// "helps", "harms", "undecided" or "too few customers".
    pub fn word(self) -> &'static str {
        match self {
            Self::Helps => "helps",
            Self::Harms => "harms",
            Self::Undecided => "undecided",
            Self::TooFew => "too few customers",
        }
    }
}

impl Estimate {
    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match self.interval {
            None => Verdict::TooFew,
            Some(interval) if interval.low > 0.0 => Verdict::Helps,
            Some(interval) if interval.high < 0.0 => Verdict::Harms,
            Some(_) => Verdict::Undecided,
        }
    }

    /// Of so many customers, where this is of each.
    #[must_use]
    pub fn of_all(&self, customers: u64) -> Self {
        let times = customers as f64;
        let interval =
            self.interval.map(|interval| Interval { low: interval.low * times, high: interval.high * times });
        Self { value: self.value * times, interval }
    }
}

/// A share of customers with its interval.
pub(super) type Share = Proportion;

/// The share of an arm that converted. There has to be somebody.
pub(super) fn converted(arm: &Arm) -> Share {
    Share::of(arm.converted, arm.customers)
}

/// The interval of `treated - holdout` by Newcombe (1998, "Interval estimation for the difference between independent
/// proportions", method 10): unlike the textbook's it holds where few convert, and never leaves -1 to 1.
pub(super) fn difference_of(treated: Share, holdout: Share) -> Interval {
    let difference = treated.value - holdout.value;
    Interval {
        low: difference - (treated.value - treated.low).hypot(holdout.high - holdout.value),
        high: difference + (treated.high - treated.value).hypot(holdout.value - holdout.low),
    }
}

/// The interval of `treated / holdout - 1` by the same way of putting two intervals together (Donner and Zou 2012,
/// "Closed-form confidence intervals for functions of the normal mean and standard deviation"): a bound is where the
/// difference of `treated` and so many times `holdout` would have a bound of 0. Therefore it leaves out 0 exactly where
/// the difference's interval does. `None`: the holdout's interval reaches too far for an end.
pub(super) fn relative_of(treated: Share, holdout: Share) -> Option<Interval> {
    let product = treated.value * holdout.value;
    let bound = |treated_limit: f64, holdout_limit: f64, sign: f64| {
        let of_treated = treated_limit * (2.0 * treated.value - treated_limit);
        let of_holdout = holdout_limit * (2.0 * holdout.value - holdout_limit);
        let root = (product * product - of_treated * of_holdout).max(0.0).sqrt();
        (of_holdout > 0.0).then(|| (product + sign * root) / of_holdout - 1.0)
    };
    Some(Interval { low: bound(treated.low, holdout.high, -1.0)?, high: bound(treated.high, holdout.low, 1.0)? })
}

/// A mean: its value, the square of its standard error, and the customers it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) value: f64,
    pub(super) squared_error: f64,
    pub(super) customers: u64,
}

/// The interval of a difference of means whose variances differ (Welch 1947, "The generalization of Student's problem
/// when several different population variances are involved"). `None`: nothing varies, or an arm has fewer than two.
pub(super) fn difference_of_means(treated: Mean, holdout: Mean) -> Option<Interval> {
    let squared_error = treated.squared_error + holdout.squared_error;
    if squared_error <= 0.0 || treated.customers < 2 || holdout.customers < 2 {
        return None;
    }
    let part = |mean: Mean| mean.squared_error * mean.squared_error / (mean.customers - 1) as f64;
    let degrees = squared_error * squared_error / (part(treated) + part(holdout));
    let reach = student(degrees) * squared_error.sqrt();
    let difference = treated.value - holdout.value;
    Some(Interval { low: difference - reach, high: difference + reach })
}

/// The 97.5th percentile of Student's distribution, by its expansion about the normal one (Abramowitz and Stegun,
/// 26.7.5): to five decimals from twenty degrees of freedom on, below which nobody asks.
fn student(degrees: f64) -> f64 {
    let x = NORMAL;
    let square = x * x;
    let first = x * (square + 1.0) / 4.0;
    let second = x * ((5.0 * square + 16.0) * square + 3.0) / 96.0;
    let third = x * (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / 384.0;
    let fourth = x * ((((79.0 * square + 776.0) * square + 1_482.0) * square - 1_920.0) * square - 945.0) / 92_160.0;
    x + (first + (second + (third + fourth / degrees) / degrees) / degrees) / degrees
}

#[cfg(test)]
mod tests {
    //! Intervals that others have published.

    use super::*;
    use proptest::prelude::*;

    fn share(converted: u64, customers: u64) -> Share {
        super::converted(&Arm { customers, converted, ..Arm::default() })
    }

    #[track_caller]
    fn assert_close(interval: Interval, low: f64, high: f64, tolerance: f64) {
        let gap = (interval.low - low).abs().max((interval.high - high).abs());
        assert!(gap <= tolerance, "{interval:?}, and not {low} to {high}");
    }

    #[test]
    fn differences_of_shares_are_those_of_newcombe() {
        // The contrasts of his table II, method 10.
        let table = [
            (56, 70, 48, 80, 0.0524, 0.3339),
            (9, 10, 3, 10, 0.1705, 0.8090),
            (6, 7, 2, 7, 0.0582, 0.8062),
            (5, 56, 0, 29, -0.0381, 0.1926),
            (0, 10, 0, 20, -0.1611, 0.2775),
            (0, 10, 0, 10, -0.2775, 0.2775),
            (10, 10, 0, 20, 0.6791, 1.0),
            (10, 10, 0, 10, 0.6075, 1.0),
        ];
        for (one, of_one, other, of_other, low, high) in table {
            assert_close(difference_of(share(one, of_one), share(other, of_other)), low, high, 6e-5);
        }
    }

    #[test]
    fn percentiles_of_student_are_those_of_the_tables() {
        let table = [(20.0, 2.085_96), (30.0, 2.042_27), (40.0, 2.021_08), (60.0, 2.000_30), (120.0, 1.979_93)];
        for (degrees, expected) in table {
            assert!((student(degrees) - expected).abs() < 1e-5, "{degrees}: {}", student(degrees));
        }
        assert!((student(1e12) - NORMAL).abs() < 1e-9);
    }

    #[test]
    fn means_of_equal_variance_and_size_are_those_of_student() {
        // Means 12 and 10, both with a standard error of 0.5: 2 ± t(60) 0.7071.
        let of = |value| Mean { value, squared_error: 0.25, customers: 31 };
        assert_close(difference_of_means(of(12.0), of(10.0)).unwrap(), 0.585_57, 3.414_43, 1e-4);
        // With one of them known beforehand only the other's degrees count: 2 ± t(30) 0.5.
        let known = Mean { value: 10.0, squared_error: 0.0, customers: 31 };
        assert_close(difference_of_means(of(12.0), known).unwrap(), 0.978_865, 3.021_135, 1e-5);
    }

    #[test]
    fn what_does_not_vary_has_no_interval() {
        let of = |customers| Mean { value: 1.0, squared_error: 0.0, customers };
        assert_eq!(difference_of_means(of(100), of(100)), None);
        let single = Mean { value: 1.0, squared_error: 1.0, customers: 1 };
        assert_eq!(difference_of_means(single, of(100)), None);
    }

    #[test]
    fn a_verdict_is_what_the_interval_says_of_0() {
        let of = |low, high| Estimate { value: low, interval: Some(Interval { low, high }) }.verdict();
        assert_eq!((of(0.1, 0.2), of(-0.2, -0.1), of(-0.1, 0.1)), (Verdict::Helps, Verdict::Harms, Verdict::Undecided));
        assert_eq!(of(0.0, 0.2), Verdict::Undecided);
        assert_eq!(Estimate { value: 9.0, interval: None }.verdict(), Verdict::TooFew);
    }

    proptest! {
        #[test]
        fn a_bound_of_the_ratio_is_where_so_many_times_the_holdout_are_told_apart(
            treated in (1..600_u64, 600..2_000_u64), holdout in (12..600_u64, 600..2_000_u64),
        ) {
            let (treated, holdout) = (share(treated.0, treated.1), share(holdout.0, holdout.1));
            let relative = relative_of(treated, holdout).unwrap();
            prop_assert!(relative.contains(treated.value / holdout.value - 1.0));
            let times = |factor: f64| Share {
                value: holdout.value * factor, low: holdout.low * factor, high: holdout.high * factor,
            };
            prop_assert!(difference_of(treated, times(relative.low + 1.0)).low.abs() < 1e-9);
            prop_assert!(difference_of(treated, times(relative.high + 1.0)).high.abs() < 1e-9);
        }

        #[test]
        fn bounds_are_on_either_side_of_the_estimate_and_change_sign_with_the_sides(
            one in (0..=50_u64, 50..200_u64), other in (0..=50_u64, 50..200_u64),
        ) {
            let (one, other) = (share(one.0, one.1), share(other.0, other.1));
            let (there, back) = (difference_of(one, other), difference_of(other, one));
            prop_assert!(there.contains(one.value - other.value));
            prop_assert!(there.low >= -1.0 - 1e-12 && there.high <= 1.0 + 1e-12);
            prop_assert!((there.low + back.high).abs() < 1e-12 && (there.high + back.low).abs() < 1e-12);
        }
    }
}
