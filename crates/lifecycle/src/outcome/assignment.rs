//! On which side of an experiment a customer is: drawn once, by arithmetic, and never written down.

use std::ops::RangeInclusive;
use thiserror::Error;

/// A whole in basis points, in which the holdout's share is given.
pub const BASIS_POINTS: u32 = 10_000;
/// How many variants a playbook may have. Among more, hardly anybody is left for each.
pub const MAX_VARIANTS: usize = 32;
/// The largest weight of a variant.
pub const MAX_WEIGHT: u32 = 1_000_000;

const VARIANTS: RangeInclusive<usize> = 1..=MAX_VARIANTS;

/// Why there is no such experiment.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ExperimentError {
    /// The holdout is a share.
    #[error("a holdout of {0} basis points: there may be 0 to {BASIS_POINTS}")]
    HoldoutOutOfRange(u32),
    /// There is nothing to choose from, or too much.
    #[error("{0} variants: there may be 1 to {MAX_VARIANTS}")]
    VariantsOutOfRange(usize),
    /// A weight is too large.
    #[error("a weight of {0}: there may be 0 to {MAX_WEIGHT}")]
    WeightOutOfRange(u32),
    /// Nobody could be given a variant.
    #[error("all variants have a weight of 0")]
    NoWeight,
}

/// On which side somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The playbook is kept from it, so that it shows what would have happened anyway.
    Holdout,
    /// It is meant for it, in the variant of this place, from 0.
    Variant(usize),
}

/// Who is held out of a playbook, and who gets which of its variants.
///
/// A customer's side depends on the experiment and on its own number alone: not on who else there is, nor on when it is
/// asked. A larger holdout takes in more customers and lets none out; a change of weights moves customers between
/// variants and never in or out of the holdout. Those who are moved have seen two variants, so that a measurement
/// should then begin anew, with another salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    holdout_key: u64,
    variant_key: u64,
    holdout_basis_points: u64,
    /// Up to which draw each variant is chosen: sums of the weights.
    bounds: Vec<u64>,
}

impl Experiment {
    /// An experiment on a playbook. `salt` tells it from others on the same playbook: with another salt everybody is
    /// drawn again. `weights` are those of the variants (0 to 1,000,000), in proportion to which they are chosen.
    pub fn new(
        playbook: &str,
        salt: &str,
        holdout_basis_points: u32,
        weights: &[u32],
    ) -> Result<Self, ExperimentError> {
        if holdout_basis_points > BASIS_POINTS {
            return Err(ExperimentError::HoldoutOutOfRange(holdout_basis_points));
        }
        if !VARIANTS.contains(&weights.len()) {
            return Err(ExperimentError::VariantsOutOfRange(weights.len()));
        }
        if let Some(weight) = weights.iter().find(|weight| **weight > MAX_WEIGHT) {
            return Err(ExperimentError::WeightOutOfRange(*weight));
        }
        let mut sum = 0;
        let bounds = weights.iter().map(|weight| {
            sum += u64::from(*weight);
            sum
        });
        let bounds: Vec<u64> = bounds.collect();
        if sum == 0 {
            return Err(ExperimentError::NoWeight);
        }
        // Two draws, as a single one would move somebody between variants whenever the holdout's share changes.
        let key = |purpose: u8| mixed(digest(playbook, salt, purpose));
        let holdout_basis_points = u64::from(holdout_basis_points);
        Ok(Self { holdout_key: key(0), variant_key: key(1), holdout_basis_points, bounds })
    }

    /// On which side the customer of this number is.
    pub fn side(&self, customer: u64) -> Side {
        if drawn(self.holdout_key, customer, u64::from(BASIS_POINTS)) < self.holdout_basis_points {
            return Side::Holdout;
        }
        let total = self.bounds.last().copied().unwrap_or_default();
        let draw = drawn(self.variant_key, customer, total);
        Side::Variant(self.bounds.partition_point(|bound| *bound <= draw))
    }
}

/// From 0 to below `bound`, for a key and a customer: the high part of the product, which is uneven by less than the
/// bound in 2^64 and keeps the order of the hashes, so that a larger share holds the smaller one.
fn drawn(key: u64, customer: u64, bound: u64) -> u64 {
    // Mixed before the key as well: otherwise keys that differ in few bits would only swap neighbours' sides.
    let hash = mixed(mixed(customer) ^ key);
    ((u128::from(hash) * u128::from(bound)) >> 64) as u64
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): each
/// bit of the input changes each of the result with a chance of one half.
///
/// It is ours, like the digest, because sides have to be the same years and compilers later: the hasher of the standard
/// library may become another with any release, and its `SipHasher` is deprecated. Nobody chooses customer numbers so
/// as to collide, hence no keyed hash that withstands that.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// FNV-1a with 64 bits (Fowler, Noll and Vo; the IETF draft "The FNV non-cryptographic hash algorithm").
fn digest(playbook: &str, salt: &str, purpose: u8) -> u64 {
    // The length in front tells "ab" and "c" from "a" and "bc".
    let length = (playbook.len() as u64).to_le_bytes();
    let bytes = length.iter().chain(playbook.as_bytes()).chain(salt.as_bytes()).chain(std::iter::once(&purpose));
    fnv(bytes.copied())
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    //! The hash by its published values; what follows from it by its promises.

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hashes_are_the_published_ones() {
        // From the tables of the FNV draft.
        for (text, expected) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(fnv(text.bytes()), expected, "{text}");
        }
        // The first numbers of the reference generator with the seeds 0 and 1234567.
        assert_eq!(mixed(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mixed(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let of = |holdout, weights: &[u32]| Experiment::new("p", "s", holdout, weights).map(|_| ());
        assert_eq!(of(10_001, &[1]), Err(ExperimentError::HoldoutOutOfRange(10_001)));
        assert_eq!(of(1_000, &[]), Err(ExperimentError::VariantsOutOfRange(0)));
        assert_eq!(of(1_000, &[1; 33]), Err(ExperimentError::VariantsOutOfRange(33)));
        assert_eq!(of(1_000, &[1, 1_000_001]), Err(ExperimentError::WeightOutOfRange(1_000_001)));
        assert_eq!(of(1_000, &[0, 0]), Err(ExperimentError::NoWeight));
        assert_eq!(of(10_000, &[0, 1]), Ok(()));
    }

    /// That `count` of `total` draws with a chance of `share` is within four deviations.
    #[track_caller]
    fn assert_about(count: u64, total: u64, share: f64) {
        let deviation = (total as f64 * share * (1.0 - share)).sqrt();
        assert!((count as f64 - total as f64 * share).abs() <= 4.0 * deviation, "{count} of {total}, and not {share}");
    }

    #[test]
    fn shares_come_out_as_asked() {
        let total = 200_000;
        for holdout in [0, 1, 50, 1_000, 5_000, 10_000] {
            let experiment = Experiment::new("win-back", "2026-05", holdout, &[1, 0, 2, 5]).unwrap();
            let mut counts = [0_u64; 5];
            for customer in 0..total {
                match experiment.side(customer) {
                    Side::Holdout => counts[4] += 1,
                    Side::Variant(place) => counts[place] += 1,
                }
            }
            let holdout = f64::from(holdout) / 1e4;
            for (count, share) in counts.into_iter().zip([0.125, 0.0, 0.25, 0.625]) {
                assert_about(count, total, share * (1.0 - holdout));
            }
            assert_about(counts[4], total, holdout);
        }
    }

    #[test]
    fn playbooks_and_salts_draw_independently() {
        let total = 100_000;
        let of = |playbook, salt| Experiment::new(playbook, salt, 5_000, &[1, 1]).unwrap();
        let others = [of("win-back", "b"), of("win-bacl", "a"), of("win-backa", ""), of("birthday", "a")];
        let one = of("win-back", "a");
        for other in others {
            let both = (0..total).filter(|c| one.side(*c) == Side::Holdout && other.side(*c) == Side::Holdout).count();
            assert_about(both as u64, total, 0.25);
        }
        // Neither do neighbours have to do with each other, nor the variant with the holdout's draw.
        let both = (0..total).filter(|c| one.side(*c) == Side::Holdout && one.side(c + 1) == Side::Holdout).count();
        assert_about(both as u64, total, 0.25);
    }

    proptest! {
        #[test]
        fn a_larger_holdout_takes_in_and_lets_nobody_out(
            salt in ".{0,8}",
            smaller in 0..=10_000_u32,
            more in 0..=10_000_u32,
            customers in prop::array::uniform32(any::<u64>()),
        ) {
            let of = |holdout| Experiment::new("win-back", &salt, holdout, &[3, 1]).unwrap();
            let (before, after) = (of(smaller), of((smaller + more).min(BASIS_POINTS)));
            for customer in customers {
                let (before, after) = (before.side(customer), after.side(customer));
                prop_assert!(before == after || (before != Side::Holdout && after == Side::Holdout));
            }
        }

        #[test]
        fn weights_move_nobody_in_or_out_of_the_holdout(
            holdout in 0..=10_000_u32,
            one in prop::collection::vec(1..9_u32, 1..5),
            other in prop::collection::vec(0..9_u32, 0..5),
            customers in prop::array::uniform32(any::<u64>()),
        ) {
            let before = Experiment::new("p", "s", holdout, &one).unwrap();
            let weights: Vec<u32> = other.into_iter().chain([1]).collect();
            let after = Experiment::new("p", "s", holdout, &weights).unwrap();
            for customer in customers {
                let side = after.side(customer);
                prop_assert_eq!(before.side(customer) == Side::Holdout, side == Side::Holdout);
                if let Side::Variant(place) = side {
                    prop_assert!(weights[place] > 0);
                }
            }
        }
    }
}
