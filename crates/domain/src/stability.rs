//! Whether customers are spread over groups as they were: the population stability index of their shares.

/// From which index on shares are shifting, and from which they have shifted: a convention (Siddiqi 2006, "Credit risk scorecards").
const BOUNDS: [f64; 2] = [0.1, 0.25];
/// The share of a group that has nobody, as its logarithm has to be a number.
const LEAST_SHARE: f64 = 1e-4;

/// Whether what was learnt of customers should be learnt again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It fits.
    Stable,
    /// It is beginning not to.
    Shifting,
    /// It does not.
    Shifted,
}

impl Verdict {
    /// Of an index.
    pub fn of_index(index: f64) -> Self {
        Self::of(index, BOUNDS)
    }

    /// Of a measure by the values from which things are shifting, and from which they have shifted.
    pub fn of(value: f64, [shifting, shifted]: [f64; 2]) -> Self {
        if value >= shifted {
            Self::Shifted
        } else if value >= shifting {
            Self::Shifting
        } else {
            Self::Stable
        }
    }
}

/// The index of as many counts then and now: the sum of (now - then) ln(now / then) over their shares, each of at least 0.0001. Somebody is counted on
/// both sides.
pub fn index(then: &[u64], now: &[u64]) -> f64 {
    let share = |count: u64, of: &[u64]| (count as f64 / of.iter().sum::<u64>().max(1) as f64).max(LEAST_SHARE);
    let parts = then.iter().zip(now).map(|(before, after)| {
        let (before, after) = (share(*before, then), share(*after, now));
        (after - before) * (after / before).ln()
    });
    parts.sum()
}

/// What the index of so many groups would be on average if nothing had changed and chance alone had chosen who was looked at then and now: (k - 1)(1/n +
/// 1/m) (Yurdakul 2018). Of few customers an index of this size says nothing.
pub fn index_by_chance(groups: usize, then: u64, now: u64) -> f64 {
    groups.saturating_sub(1) as f64 * (1.0 / then.max(1) as f64 + 1.0 / now.max(1) as f64)
}
