//! Sets of customers: one bit per customer, at the place of its id.

use std::fmt;

/// Customers of one word.
pub(super) const WORD_BITS: usize = u64::BITS as usize;

/// A set of customer ids. It takes one bit per id up to the highest, so ids must be dense.
#[derive(Clone, Default)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// The empty set.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// The set of these words.
    pub const fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    pub(super) fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// The words: customer `id` is bit `id % 64` of word `id / 64`. Words beyond the last are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether the set has the customer.
    pub fn contains(&self, customer_id: u32) -> bool {
        let (word, bit) = place(customer_id);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Adds the customer; whether it was not there before.
    pub fn set(&mut self, customer_id: u32) -> bool {
        let (word, bit) = place(customer_id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let added = self.words[word] & bit == 0;
        self.words[word] |= bit;
        added
    }

    /// Removes the customer; whether it was there before.
    pub fn clear(&mut self, customer_id: u32) -> bool {
        let (word, bit) = place(customer_id);
        let Some(bits) = self.words.get_mut(word) else {
            return false;
        };
        let removed = *bits & bit != 0;
        *bits &= !bit;
        removed
    }

    /// The customers in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::from_words(self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect())
    }

    /// The customers in either set.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.union_with(other, |a, b| a | b)
    }

    /// The customers of this set that are not in the other.
    #[must_use]
    pub fn and_not(&self, other: &Self) -> Self {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::from_words(self.words.iter().zip(others).map(|(a, b)| a & !b).collect())
    }

    /// The customers in exactly one of the sets: between two instants, those that entered or left.
    #[must_use]
    pub fn xor(&self, other: &Self) -> Self {
        self.union_with(other, |a, b| a ^ b)
    }

    /// How many customers the set has.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many customers are in both sets, without making their intersection.
    pub fn and_count(&self, other: &Self) -> u64 {
        self.words.iter().zip(&other.words).map(|(a, b)| u64::from((a & b).count_ones())).sum()
    }

    /// Whether the set has no customer.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// All ids, ascending.
    pub fn iter(&self) -> Iter<'_> {
        Iter { words: &self.words, next_word: 0, bits: 0 }
    }

    /// The ids above `after`, ascending: the next page after one that ended with it.
    pub fn iter_from(&self, after: u32) -> Iter<'_> {
        let (word, bit) = place(after);
        let bits = self.words.get(word).map_or(0, |bits| bits & !(bit | (bit - 1)));
        Iter { words: &self.words, next_word: word + 1, bits }
    }

    /// Bytes on the heap.
    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// For operations that keep what is beyond the shorter set.
    fn union_with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let (long, short) = if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        let mut words = long.words.clone();
        for (word, other) in words.iter_mut().zip(&short.words) {
            *word = combine(*word, *other);
        }
        Self::from_words(words)
    }
}

/// The word and the bit of a customer.
pub(super) const fn place(customer_id: u32) -> (usize, u64) {
    (customer_id as usize / WORD_BITS, 1 << (customer_id as usize % WORD_BITS))
}

/// Makes `words` longer by zeros, with no more slack than asked for.
pub(super) fn lengthen<T: Clone + Default>(column: &mut Vec<T>, length: usize) {
    column.reserve_exact(length.saturating_sub(column.len()));
    column.resize(length, T::default());
}

/// The ids of a set, ascending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    words: &'a [u64],
    next_word: usize,
    /// What is left of the word before `next_word`.
    bits: u64,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.bits == 0 {
            self.bits = *self.words.get(self.next_word)?;
            self.next_word += 1;
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some((self.next_word as u32 - 1) * u64::BITS + bit)
    }
}

impl<'a> IntoIterator for &'a Bitmap {
    type Item = u32;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl FromIterator<u32> for Bitmap {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut bitmap = Self::new();
        for id in ids {
            bitmap.set(id);
        }
        bitmap
    }
}

/// Sets are equal when their customers are, however many zero words follow.
impl PartialEq for Bitmap {
    fn eq(&self, other: &Self) -> bool {
        let shared = self.words.len().min(other.words.len());
        let beyond = self.words[shared..].iter().chain(&other.words[shared..]);
        self.words[..shared] == other.words[..shared] && beyond.into_iter().all(|word| *word == 0)
    }
}

impl Eq for Bitmap {}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn sets_of_different_lengths_are_equal_when_their_customers_are() {
        let mut long = Bitmap::from_iter([3, 1000]);
        assert!(long.clear(1000));
        assert!(!long.clear(1000));
        assert!(!long.clear(100_000));
        assert_eq!(long, Bitmap::from_iter([3]));
        assert_ne!(long, Bitmap::new());
    }

    #[test]
    fn a_page_starts_after_the_last_id_of_the_page_before() {
        let ids = [0, 1, 63, 64, 127, 128, 500];
        let bitmap = Bitmap::from_iter(ids);
        for after in 0..600 {
            let expected: Vec<u32> = ids.into_iter().filter(|id| *id > after).collect();
            assert_eq!(bitmap.iter_from(after).collect::<Vec<_>>(), expected, "{after}");
        }
        assert_eq!(bitmap.iter_from(u32::MAX).next(), None);
    }

    proptest! {
        #[test]
        fn bitmaps_agree_with_sets(
            a in prop::collection::btree_set(0..400_u32, 0..60),
            b in prop::collection::btree_set(0..900_u32, 0..60),
        ) {
            let (left, right): (Bitmap, Bitmap) = (a.iter().copied().collect(), b.iter().copied().collect());
            let ids = |bitmap: &Bitmap| bitmap.iter().collect::<BTreeSet<u32>>();
            prop_assert_eq!(ids(&left), a.clone());
            prop_assert_eq!(left.count(), a.len() as u64);
            prop_assert_eq!(left.is_empty(), a.is_empty());
            prop_assert_eq!(ids(&left.and(&right)), &a & &b);
            prop_assert_eq!(left.and_count(&right), (&a & &b).len() as u64);
            prop_assert_eq!(ids(&left.or(&right)), &a | &b);
            prop_assert_eq!(ids(&left.xor(&right)), &a ^ &b);
            prop_assert_eq!(ids(&left.and_not(&right)), &a - &b);
            prop_assert_eq!(ids(&right.and_not(&left)), &b - &a);
        }
    }
}
