//! Gaps between purchase days.

/// The gaps between consecutive days of a sorted list without repetitions: the last `most` of them, oldest first.
pub fn between(days: &[i32], most: usize) -> Vec<i32> {
    let gaps = days.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.skip((days.len().saturating_sub(1)).saturating_sub(most)).collect()
}

/// The mean gap. `None`: there is none.
pub fn mean(gaps: &[i32]) -> Option<f64> {
    let total: i64 = gaps.iter().map(|gap| i64::from(*gap)).sum();
    (!gaps.is_empty()).then(|| total as f64 / gaps.len() as f64)
}

/// The quantile of so many tenths by linear interpolation (Hyndman and Fan 1996, type 7). `None` with fewer than 3 gaps.
pub fn quantile(gaps: &[i32], tenths: usize) -> Option<f64> {
    if gaps.len() < 3 {
        return None;
    }
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    // The position is a multiple of a tenth: whole numbers as long as they go.
    let position = (sorted.len() - 1) * tenths.min(10);
    let (rank, beyond) = (position / 10, (position % 10) as i64);
    let lower = i64::from(sorted[rank]);
    let upper = sorted.get(rank + 1).map_or(lower, |gap| i64::from(*gap));
    Some((10 * lower + beyond * (upper - lower)) as f64 / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_interpolated() {
        assert_eq!(quantile(&[30, 10], 8), None);
        // h = 2 * 0.8 = 1.6: between 20 and 30.
        assert_eq!(quantile(&[30, 10, 20], 8), Some(26.0));
        assert_eq!(quantile(&[10, 20, 30, 40, 50, 60], 8), Some(50.0));
        assert_eq!(quantile(&[40, 10, 20, 30], 5), Some(25.0));
        assert_eq!(mean(&[1, 2, 6]), Some(3.0));
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn the_newest_gaps_are_kept() {
        assert_eq!(between(&[1, 2, 4, 8], 1_000), [1, 2, 4]);
        assert_eq!(between(&[1, 2, 4, 8], 2), [2, 4]);
        assert_eq!(between(&[1], 2), Vec::<i32>::new());
        assert_eq!(between(&[], 2), Vec::<i32>::new());
    }
}
