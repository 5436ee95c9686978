//! Columns of numbers: the value, whether there is one, and a two-byte bucket, so that a comparison reads the values of the
//! boundary's bucket alone. (With one-byte buckets the boundary's were 1/256 of the customers, scattered over the column:
//! reading them took four times as long as reading the second byte does.)

use super::bitmap::{WORD_BITS, lengthen, place};
use super::scan;
use std::ops::Range;

/// Enough that the boundary's bucket hardly counts, few enough that a search for a bucket stays in the nearest cache.
const MAX_BOUNDARIES: usize = 4_095;

/// How many values the boundaries are chosen from: 32 per bucket.
const SAMPLE: usize = 131_072;
/// Bytes that are read as fast as a bucket is searched for.
const SEARCH_BYTES: usize = 64;

/// A number per customer, in four bytes until one of them needs eight: counts stay narrow.
pub(super) enum Values {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Narrow(Vec::new())
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Narrow(values) => values.len(),
            Self::Wide(values) => values.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> i64 {
        match self {
            Self::Narrow(values) => values[index].into(),
            Self::Wide(values) => values[index],
        }
    }

    fn set(&mut self, index: usize, value: i64) {
        match self {
            Self::Wide(values) => values[index] = value,
            Self::Narrow(values) => {
                if let Ok(value) = i32::try_from(value) {
                    values[index] = value;
                } else {
                    let mut wide = Vec::with_capacity(values.capacity());
                    wide.extend(values.iter().copied().map(i64::from));
                    wide[index] = value;
                    *self = Self::Wide(wide);
                }
            }
        }
    }

    fn lengthen(&mut self, length: usize) {
        match self {
            Self::Narrow(values) => lengthen(values, length),
            Self::Wide(values) => lengthen(values, length),
        }
    }

    /// Copies the values of one word.
    pub(super) fn load(&self, word: usize, into: &mut [i64; WORD_BITS]) {
        let rows = word * WORD_BITS..(word + 1) * WORD_BITS;
        match self {
            Self::Wide(values) => into.copy_from_slice(&values[rows]),
            Self::Narrow(values) => {
                for (wide, value) in into.iter_mut().zip(&values[rows]) {
                    *wide = i64::from(*value);
                }
            }
        }
    }

    /// Bytes of the customers of a word.
    pub(super) const fn bytes_per_word(&self) -> usize {
        match self {
            Self::Narrow(_) => WORD_BITS * size_of::<i32>(),
            Self::Wide(_) => WORD_BITS * size_of::<i64>(),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Narrow(values) => values.capacity() * size_of::<i32>(),
            Self::Wide(values) => values.capacity() * size_of::<i64>(),
        }
    }
}

/// A number per customer: a count, an instant in microseconds, or money in minor units.
#[derive(Default)]
pub(super) struct NumberColumn {
    values: Values,
    valid: Vec<u64>,
    /// The number of boundaries at or below the value. Any boundaries give right answers; good ones give fast ones.
    buckets: Vec<u16>,
    /// Ascending, each once.
    boundaries: Vec<i64>,
}

/// Boundaries, and for each customer the bucket by them.
pub struct Balance {
    boundaries: Vec<i64>,
    buckets: Vec<u16>,
}

/// The values that a condition asks about, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Span {
    pub(super) const fn contains(self, value: i64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Buckets, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buckets {
    pub(super) first: u16,
    pub(super) last: u16,
}

impl NumberColumn {
    pub(super) fn lengthen(&mut self, words: usize) {
        self.values.lengthen(words * WORD_BITS);
        lengthen(&mut self.buckets, words * WORD_BITS);
        lengthen(&mut self.valid, words);
    }

    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    pub(super) fn valid(&self) -> &[u64] {
        &self.valid
    }

    pub(super) fn buckets(&self) -> &[u16] {
        &self.buckets
    }

    pub(super) fn value(&self, customer_id: u32) -> Option<i64> {
        let (word, bit) = place(customer_id);
        let valid = self.valid.get(word).is_some_and(|bits| bits & bit != 0);
        valid.then(|| self.values.get(customer_id as usize))
    }

    /// Sets the number of a customer within the length.
    pub(super) fn set(&mut self, customer_id: u32, value: Option<i64>) {
        let (word, bit) = place(customer_id);
        if let Some(value) = value {
            self.valid[word] |= bit;
            self.values.set(customer_id as usize, value);
            self.buckets[customer_id as usize] = self.bucket(value);
        } else {
            self.valid[word] &= !bit;
        }
    }

    /// The bucket that a value belongs to.
    pub(super) fn bucket(&self, value: i64) -> u16 {
        self.boundaries.partition_point(|boundary| *boundary <= value) as u16
    }

    /// Buckets are numbered from 0 to one less than this.
    pub(super) fn bucket_count(&self) -> usize {
        self.boundaries.len() + 1
    }

    /// The buckets whose values all lie in the span; none when there is no such bucket.
    pub(super) fn buckets_inside(&self, span: Span) -> Option<Buckets> {
        let (first, last) = (i32::from(self.bucket(span.low)), i32::from(self.bucket(span.high)));
        let cut_first = self.range(first as usize).low < span.low;
        let cut_last = self.range(last as usize).high > span.high;
        let (first, last) = (first + i32::from(cut_first), last - i32::from(cut_last));
        (first <= last).then_some(Buckets { first: first as u16, last: last as u16 })
    }

    /// The buckets with a value in the span.
    pub(super) fn buckets_touching(&self, span: Span) -> Buckets {
        Buckets { first: self.bucket(span.low), last: self.bucket(span.high) }
    }

    /// The values of a bucket.
    fn range(&self, bucket: usize) -> Span {
        let low = bucket.checked_sub(1).map_or(i64::MIN, |below| self.boundaries[below]);
        let high = self.boundaries.get(bucket).map_or(i64::MAX, |boundary| boundary - 1);
        Span { low, high }
    }

    /// Boundaries at the quantiles of a sample of the values as they are. Costs one binary search per customer.
    pub(super) fn balance(&self) -> Balance {
        let mut sample: Vec<i64> = self.sample().collect();
        sample.sort_unstable();
        let count = MAX_BOUNDARIES.min(sample.len());
        let picks: Vec<i64> = (1..=count).map(|pick| sample[pick * sample.len() / (count + 1)]).collect();
        let mut boundaries = Vec::new();
        for pair in picks.windows(2) {
            boundaries.push(pair[0]);
            // A value that fills whole buckets gets one of its own, in which nothing needs to be read. It was picked twice,
            // so the boundary after it does not make them too many.
            if pair[0] == pair[1] {
                boundaries.extend(pair[0].checked_add(1));
            }
        }
        boundaries.extend(picks.last());
        boundaries.sort_unstable();
        boundaries.dedup();
        let words = self.valid.len();
        let bucket = |index| boundaries.partition_point(|boundary| *boundary <= self.values.get(index)) as u16;
        let of_words =
            |words: Range<usize>| (words.start * WORD_BITS..words.end * WORD_BITS).map(bucket).collect::<Vec<_>>();
        let threads = scan::threads_for(words * WORD_BITS * SEARCH_BYTES);
        let buckets = scan::shared(threads, words, of_words).concat();
        Balance { boundaries, buckets }
    }

    /// Takes boundaries that were chosen for the values as they are.
    pub(super) fn put_balance(&mut self, balance: Balance) {
        if balance.buckets.len() == self.buckets.len() {
            (self.boundaries, self.buckets) = (balance.boundaries, balance.buckets);
        }
    }

    /// Values of customers at equal distances: which ones is decided by the ids alone, so equal columns get equal buckets.
    fn sample(&self) -> impl Iterator<Item = i64> {
        let stride = self.values.len().div_ceil(SAMPLE).max(1);
        (0..self.values.len()).step_by(stride).filter_map(|customer_id| self.value(customer_id as u32))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.values.memory_bytes()
            + (self.valid.capacity() + self.boundaries.capacity()) * size_of::<u64>()
            + self.buckets.capacity() * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[i64]) -> NumberColumn {
        let mut column = NumberColumn::default();
        column.lengthen(values.len() / WORD_BITS + 1);
        for (customer_id, value) in (0..).zip(values) {
            column.set(customer_id, Some(*value));
        }
        let balance = column.balance();
        column.put_balance(balance);
        column
    }

    #[test]
    fn every_value_lies_in_the_range_of_its_bucket() {
        let skewed: Vec<i64> = (0..20_000).map(|row| if row % 3 == 0 { 0 } else { row * row }).collect();
        for values in [skewed, vec![i64::MIN, i64::MAX, 0], vec![7; 1000], vec![]] {
            let column = column(&values);
            assert!(column.boundaries.len() <= MAX_BOUNDARIES);
            assert!(column.boundaries.is_sorted_by(|a, b| a < b));
            for (value, bucket) in values.iter().zip(&column.buckets) {
                assert!(column.range(usize::from(*bucket)).contains(*value));
            }
        }
    }

    #[test]
    fn a_common_value_has_a_bucket_of_its_own() {
        let column = column(&(0..10_000).map(|row| if row % 3 == 0 { 5 } else { row }).collect::<Vec<_>>());
        let five = Span { low: 5, high: 5 };
        let bucket = column.bucket(5);
        assert_eq!(column.buckets_inside(five), Some(Buckets { first: bucket, last: bucket }));
    }
}
