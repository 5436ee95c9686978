//! Whether two survival curves differ by more than chance (Mantel 1966, "Evaluation of survival data and two new rank
//! order statistics arising in its consideration").

use super::durations::{Durations, OfDay};

/// Two groups whose durations are compared over all of their days.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogRank {
    /// Durations of each group that ended.
    pub observed: [u64; 2],
    /// How many would have been expected to if both had the same chance on each day.
    pub expected: [f64; 2],
    /// Squared difference of the two by its variance: chi-squared with one degree of freedom.
    pub chi_squared: f64,
    /// The chance of one at least as large between groups that do not differ.
    pub p_value: f64,
}

/// Compares two groups. `None`: there is nothing to compare, as no duration ended while both had somebody at risk.
pub fn log_rank(one: &Durations, other: &Durations) -> Option<LogRank> {
    let of_day = |durations: &Durations, day: usize| durations.days().get(day).copied().unwrap_or_default();
    let (mut at_risk, mut observed) = ([one.count(), other.count()], [0, 0]);
    let (mut expected, mut variance) = ([0.0, 0.0], 0.0);
    for day in 0..one.days().len().max(other.days().len()) {
        let groups: [OfDay; 2] = [of_day(one, day), of_day(other, day)];
        let ended = groups[0].ended + groups[1].ended;
        if ended > 0 {
            let total = (at_risk[0] + at_risk[1]) as f64;
            let shares = at_risk.map(|group| group as f64 / total);
            let left = total - ended as f64;
            // Hypergeometric; of a single one at risk it is known which.
            variance += ended as f64 * shares[0] * shares[1] * left / (total - 1.0).max(1.0);
            for group in 0..2 {
                observed[group] += groups[group].ended;
                expected[group] += ended as f64 * shares[group];
            }
        }
        for group in 0..2 {
            at_risk[group] -= groups[group].ended + groups[group].going_on;
        }
    }
    let difference = observed[0] as f64 - expected[0];
    let chi_squared = (variance > 0.0).then(|| difference * difference / variance)?;
    Some(LogRank { observed, expected, chi_squared, p_value: beyond((chi_squared / 2.0).sqrt()) })
}

/// The complementary error function of `x`, which is not negative: the chance that a normal variable is further than
/// `x √2` deviations from its mean. Abramowitz and Stegun: near 0 by the series 7.1.6, beyond by the continued fraction
/// 7.1.14, which keeps its digits where the chance is tiny.
fn beyond(x: f64) -> f64 {
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let (mut term, mut sum) = (x, 0.0);
        // The terms fall from the eighth on, and the last is below 1e-20.
        for place in 1..=60 {
            sum += term;
            term *= 2.0 * x * x / f64::from(2 * place + 1);
        }
        return 1.0 - 2.0 * scale * sum;
    }
    let fraction = (1..=60).rev().fold(x, |below, place| x + f64::from(place) / 2.0 / below);
    scale / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_the_tables() {
        let table = [
            (0.0, 1.0),
            (0.1, 0.887_537_083_981_715_2),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 4.677_734_981_047_265e-3),
            (3.0, 2.209_049_699_858_544e-5),
            (5.0, 1.537_459_794_428_035e-12),
        ];
        for (x, expected) in table {
            assert!((beyond(x) / expected - 1.0).abs() < 1e-11, "{x}: {}, and not {expected}", beyond(x));
        }
        // Both ways meet.
        assert!((beyond(2.0 - 1e-12) - beyond(2.0)).abs() < 1e-12);
    }
}
