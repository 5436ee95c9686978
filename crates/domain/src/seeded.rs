//! Randomness that follows from a seed, and stays the same when libraries change: a model can be made again from its seed years later, which no
//! generator of the `rand` crate's own choice promises.

/// `SplitMix64` (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
pub struct Seeded(u64);

impl Seeded {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below a bound, which is not 0. Uneven by less than the bound in 2^64.
    pub fn below(&mut self, bound: usize) -> usize {
        // A product and a shift: a division is slow, where millions are drawn (Lemire 2019).
        ((u128::from(self.bits()) * bound.max(1) as u128) >> 64) as usize
    }

    /// Which of so many places are in a sample of a size, ascending: each subset of that size is as likely as any other. All where there are no more.
    /// (Selection sampling, Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S.)
    pub fn sample(&mut self, places: usize, size: usize) -> Vec<usize> {
        let mut taken = Vec::with_capacity(size.min(places));
        for place in 0..places {
            if self.below(places - place) < size.saturating_sub(taken.len()) {
                taken.push(place);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs for the seed 1234567 that the authors' code prints, as in the tests of other implementations.
        let mut random = Seeded::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn samples_are_of_their_size_and_ascend() {
        let mut random = Seeded::new(3);
        assert_eq!(random.sample(4, 9), [0, 1, 2, 3]);
        assert_eq!(random.sample(0, 5), Vec::<usize>::new());
        let mut drawn = [0_u32; 10];
        for _ in 0..10_000 {
            let sample = random.sample(10, 3);
            assert!(sample.len() == 3 && sample.is_sorted());
            for place in sample {
                drawn[place] += 1;
            }
        }
        // Each is in three of ten: 3,000 with a deviation of 46.
        assert!(drawn.iter().all(|count| (2_750..3_250).contains(count)), "{drawn:?}");
    }
}
