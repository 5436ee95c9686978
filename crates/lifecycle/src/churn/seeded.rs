//! Randomness that follows from a seed, and stays the same when libraries change: a model can be made again from its
//! seed years later, which no generator of the `rand` crate's own choice promises.

/// `SplitMix64` (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to below 1.
    #[cfg(test)]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below a bound, which is not 0. Uneven by less than the bound in 2^64.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // A product and a shift, as a million rows are drawn for each tree and a division is slow (Lemire 2019).
        ((u128::from(self.next()) * bound.max(1) as u128) >> 64) as usize
    }

    /// Which of some places are in a sample of a size, in their order: each subset of that size is as likely as any
    /// other. All where there are no more. (Selection sampling, Knuth, The Art of Computer Programming 2, 3.4.2,
    /// algorithm S.)
    pub(super) fn sample(&mut self, places: &[u32], size: usize) -> Vec<u32> {
        let mut taken = Vec::with_capacity(size.min(places.len()));
        for (place, value) in places.iter().enumerate() {
            if self.below(places.len() - place) < size.saturating_sub(taken.len()) {
                taken.push(*value);
            }
        }
        taken
    }
}
