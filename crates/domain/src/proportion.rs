//! Shares of a whole, and how far they may be from what is true.

/// The 97.5th percentile of the normal distribution.
pub const NORMAL: f64 = 1.959_963_984_540_054;

/// A share with bounds that the truth is within nineteen times of twenty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// The share, 0 to 1.
    pub value: f64,
    /// The lower bound, at most the share.
    pub low: f64,
    /// The upper bound, at least the share.
    pub high: f64,
}

impl Proportion {
    /// So many of so many, by the score interval of Wilson (1927, "Probable inference, the law of succession, and statistical inference"). There has
    /// to be something that it is a part of.
    pub fn of(part: u64, whole: u64) -> Self {
        let count = whole as f64;
        let value = part as f64 / count;
        let squared = NORMAL * NORMAL;
        let centre = value + squared / (2.0 * count);
        let reach = NORMAL * (value * (1.0 - value) / count + squared / (4.0 * count * count)).sqrt();
        let scale = 1.0 + squared / count;
        // Exact at both ends, where rounding would leave the share just outside.
        let low = ((centre - reach) / scale).clamp(0.0, value);
        let high = ((centre + reach) / scale).clamp(value, 1.0);
        Self { value, low, high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_that_are_published() {
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        for (part, whole, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let share = Proportion::of(part, whole);
            assert!((share.low - low).abs() < 5e-5 && (share.high - high).abs() < 5e-5, "{share:?}");
        }
        assert!(Proportion::of(7, 7).high >= 1.0);
    }
}
