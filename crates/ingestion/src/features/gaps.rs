//! Gaps between purchase days.

/// The gaps between consecutive days of a sorted list without repetitions: the last `most` of them, oldest first.
pub fn between(days: &[i32], most: usize) -> Vec<i32> {
    let gaps = days.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.skip((days.len().saturating_sub(1)).saturating_sub(most)).collect()
}

/// The 0.8 quantile by linear interpolation (Hyndman and Fan 1996, type 7). `None` with fewer than 3 gaps.
pub fn p80(gaps: &[i32]) -> Option<f64> {
    if gaps.len() < 3 {
        return None;
    }
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    // The position is a multiple of a fifth: whole numbers as long as they go.
    let fifths = (sorted.len() - 1) * 4;
    let (rank, beyond) = (fifths / 5, (fifths % 5) as i64);
    let lower = i64::from(sorted[rank]);
    let upper = sorted.get(rank + 1).map_or(lower, |gap| i64::from(*gap));
    Some((5 * lower + beyond * (upper - lower)) as f64 / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_interpolated() {
        assert_eq!(p80(&[30, 10]), None);
        // h = 2 * 0.8 = 1.6: between 20 and 30.
        assert_eq!(p80(&[30, 10, 20]), Some(26.0));
        assert_eq!(p80(&[10, 20, 30, 40, 50, 60]), Some(50.0));
    }

    #[test]
    fn the_newest_gaps_are_kept() {
        assert_eq!(between(&[1, 2, 4, 8], 1_000), [1, 2, 4]);
        assert_eq!(between(&[1, 2, 4, 8], 2), [2, 4]);
        assert_eq!(between(&[1], 2), Vec::<i32>::new());
        assert_eq!(between(&[], 2), Vec::<i32>::new());
    }
}
