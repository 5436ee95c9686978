//! Next best action: which playbook to put a customer into, by what it has been measured to bring about.

use super::interval::{Estimate, Verdict};
use std::cmp::Ordering;

/// A playbook that a customer is eligible for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<P> {
    /// The playbook, or the playbook and a variant.
    pub playbook: P,
    /// Its measured uplift in conversion: [`super::Effect::conversion`]. `None`: it has not been measured.
    pub uplift: Option<Estimate>,
    /// What it is worth if this customer converts, in minor units.
    pub value_minor: i64,
}

/// How much is known of a playbook, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// It is shown to help.
    Proven,
    /// It seems to help, and may not.
    Promising,
    /// It has not been measured, or on too few.
    Unknown,
    /// It seems not to help, and may.
    Doubtful,
    /// It is shown to harm: not to be recommended.
    Harmful,
}

impl Standing {
    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Proven => "measured to help",
            Self::Promising => "seems to help, not yet shown",
            Self::Unknown => "not measured on enough customers",
            Self::Doubtful => "has not been seen to help",
            Self::Harmful => "measured to harm",
        }
    }

    fn of(uplift: Option<Estimate>) -> Self {
        let Some(uplift) = uplift else { return Self::Unknown };
        match uplift.verdict() {
            Verdict::Helps => Self::Proven,
            Verdict::Harms => Self::Harmful,
            Verdict::TooFew => Self::Unknown,
            Verdict::Undecided if uplift.value > 0.0 => Self::Promising,
            Verdict::Undecided => Self::Doubtful,
        }
    }
}

/// A playbook in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked<P> {
    /// The playbook.
    pub playbook: P,
    /// How much is known of it.
    pub standing: Standing,
    /// Uplift × value, in minor units. `None`: it has not been measured.
    pub expected_minor: Option<f64>,
    /// The lower bound of the uplift × value, in minor units: what it brings at least, 39 times of 40. `None`: there is
    /// no interval.
    pub at_least_minor: Option<f64>,
    /// What it is worth if this customer converts, in minor units.
    pub value_minor: i64,
}

/// The eligible playbooks of a customer, the best first.
///
/// First by [`Standing`]. Among those that are proven, by what they bring at least: by expected value, the one that was
/// measured worst would most often be first, since of many estimates the largest is the luckiest. Among the unknown, by
/// the value, as an estimate from too few is chance. Among the others, by expected value, since a lower bound below 0
/// would put the most valuable last. Of equal ones, by the other of the two, then the value, then the order in which
/// they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking<P> {
    /// All of them.
    pub ranked: Vec<Ranked<P>>,
}

impl<P> Ranking<P> {
    /// Ranks candidates. Negative values count as 0.
    pub fn of(candidates: impl IntoIterator<Item = Candidate<P>>) -> Self {
        let mut ranked: Vec<_> = candidates.into_iter().map(Ranked::of).collect();
        // Stable, for those that are equal in everything.
        ranked.sort_by(Ranked::order);
        Self { ranked }
    }

    /// The playbook to put the customer into: the first that is not shown to harm. `None`: there is none.
    pub fn best(&self) -> Option<&Ranked<P>> {
        self.ranked.first().filter(|first| first.standing != Standing::Harmful)
    }
}

impl<P> Ranked<P> {
    fn of(candidate: Candidate<P>) -> Self {
        let value_minor = candidate.value_minor.max(0);
        let times = |uplift: f64| uplift * value_minor as f64;
        Self {
            playbook: candidate.playbook,
            standing: Standing::of(candidate.uplift),
            expected_minor: candidate.uplift.map(|uplift| times(uplift.value)),
            at_least_minor: candidate.uplift.and_then(|uplift| uplift.interval).map(|interval| times(interval.low)),
            value_minor,
        }
    }

    fn order(one: &Self, other: &Self) -> Ordering {
        let expected = || descending(one.expected_minor, other.expected_minor);
        let at_least = || descending(one.at_least_minor, other.at_least_minor);
        let by_worth = |standing| match standing {
            Standing::Proven => at_least().then_with(expected),
            Standing::Unknown => Ordering::Equal,
            Standing::Promising | Standing::Doubtful | Standing::Harmful => expected().then_with(at_least),
        };
        one.standing
            .cmp(&other.standing)
            .then_with(|| by_worth(one.standing))
            .then_with(|| other.value_minor.cmp(&one.value_minor))
    }
}

/// The largest first, and what is not known last. Adding 0 makes -0 and 0 one and the same.
fn descending(one: Option<f64>, other: Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => (other + 0.0).total_cmp(&(one + 0.0)),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}

#[cfg(test)]
mod tests {
    //! Who comes before whom, and why.

    use super::super::interval::Interval;
    use super::*;
    use proptest::prelude::*;

    fn measured(low: f64, value: f64, high: f64) -> Estimate {
        Estimate { value, interval: Some(Interval { low, high }) }
    }

    fn candidate(playbook: &str, uplift: impl Into<Option<Estimate>>, value_minor: i64) -> Candidate<&str> {
        Candidate { playbook, uplift: uplift.into(), value_minor }
    }

    fn names<'p>(candidates: &[Candidate<&'p str>]) -> Vec<&'p str> {
        Ranking::of(candidates.iter().copied()).ranked.into_iter().map(|one| one.playbook).collect()
    }

    #[test]
    fn what_is_shown_comes_before_what_is_hoped_for() {
        let ranked = names(&[
            candidate("harmful", measured(-0.09, -0.05, -0.01), 100),
            candidate("doubtful", measured(-0.04, -0.01, 0.02), 100),
            candidate("too few", Estimate { value: 0.5, interval: None }, 999_999),
            candidate("unmeasured", None, 1_000_000),
            candidate("promising", measured(-0.01, 0.04, 0.09), 1_000_000),
            candidate("proven", measured(0.001, 0.01, 0.02), 100),
        ]);
        assert_eq!(ranked, ["proven", "promising", "unmeasured", "too few", "doubtful", "harmful"]);
    }

    #[test]
    fn of_proven_ones_the_surest_is_first_and_not_the_luckiest() {
        let lucky = candidate("lucky", measured(0.001, 0.05, 0.099), 1_000);
        let sure = candidate("sure", measured(0.035, 0.04, 0.045), 1_000);
        assert_eq!(names(&[lucky, sure]), ["sure", "lucky"]);
        // Worth makes up for it.
        assert_eq!(names(&[sure, Candidate { value_minor: 100_000, ..lucky }]), ["lucky", "sure"]);
    }

    #[test]
    fn of_promising_ones_more_value_at_stake_is_no_drawback() {
        let uplift = measured(-0.01, 0.02, 0.05);
        assert_eq!(names(&[candidate("little", uplift, 100), candidate("much", uplift, 900)]), ["much", "little"]);
        assert_eq!(names(&[candidate("little", None, 100), candidate("much", None, 900)]), ["much", "little"]);
    }

    #[test]
    fn equal_ones_stay_in_the_order_they_came_in() {
        let uplift = measured(0.01, 0.02, 0.03);
        assert_eq!(names(&["b", "a", "c"].map(|name| candidate(name, uplift, 5))), ["b", "a", "c"]);
        // A value below 0 is one of 0.
        assert_eq!(names(&[candidate("b", uplift, -5), candidate("a", uplift, 0)]), ["b", "a"]);
        let of = |name, value| candidate(name, measured(-0.1, value, 0.1), 1);
        assert_eq!(names(&[of("b", -0.0), of("a", 0.0)]), ["b", "a"]);
    }

    #[test]
    fn what_harms_is_never_the_best() {
        let of = |low, value, high| candidate("p", measured(low, value, high), 1_000);
        assert_eq!(Ranking::of([of(-0.3, -0.2, -0.1)]).best(), None);
        assert_eq!(Ranking::<&str>::of([]).best(), None);
        let ranking = Ranking::of([of(-0.3, -0.2, -0.1), of(0.25, 0.5, 0.75)]);
        let best = ranking.best().unwrap();
        assert_eq!((best.expected_minor, best.at_least_minor), (Some(500.0), Some(250.0)));
        assert_eq!(best.standing.words(), "measured to help");
    }

    proptest! {
        #[test]
        fn the_order_is_one_whichever_way_candidates_come(
            candidates in prop::collection::vec((prop::option::of((-5..5_i32, 0..4_i32)), -2..5_i64), 0..12),
        ) {
            let of = |(place, (uplift, value_minor)): (usize, (Option<(i32, i32)>, i64))| Candidate {
                playbook: place,
                uplift: uplift.map(|(value, reach)| {
                    let (value, reach) = (f64::from(value), f64::from(reach));
                    measured(value - reach, value, value + reach)
                }),
                value_minor,
            };
            let candidates: Vec<_> = candidates.into_iter().enumerate().map(of).collect();
            let ranked = Ranking::of(candidates.clone()).ranked;
            let turned = Ranking::of(candidates.into_iter().rev()).ranked;
            for (one, other) in ranked.iter().zip(&turned) {
                // Only equal ones may have changed places.
                prop_assert_eq!(one.standing, other.standing);
                prop_assert_eq!(one.value_minor, other.value_minor);
                prop_assert_eq!(Ranked::order(one, other), Ordering::Equal);
            }
            prop_assert!(ranked.is_sorted_by(|one, other| Ranked::order(one, other) != Ordering::Greater));
        }
    }
}
