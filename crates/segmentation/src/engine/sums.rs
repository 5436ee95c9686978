//! The exact sum of a column of numbers over a set of customers, eight of them at a time.

use super::bitmap::WORD_BITS;
use super::numbers::{NumberColumn, Values};
use super::scan;

/// Customers that are added together.
const LANES: usize = 8;
/// Below this many customers of a word they are added one by one.
const FEW: u32 = 8;
/// By the bits of eight customers, all ones for those who are meant.
static MASKS: [[u64; LANES]; 256] = masks();

const fn masks() -> [[u64; LANES]; 256] {
    let mut masks = [[0; LANES]; 256];
    let mut bits = 0;
    while bits < masks.len() {
        let mut lane = 0;
        while lane < LANES {
            masks[bits][lane] = if bits >> lane & 1 == 1 { u64::MAX } else { 0 };
            lane += 1;
        }
        bits += 1;
    }
    masks
}

/// What is added up. Numbers are told from the lowest there is, so that none is negative, and their halves are added apart: each sum is that of
/// 100 million halves of four bytes at the most, which eight bytes hold.
#[derive(Default)]
struct Halves {
    high: [u64; LANES],
    low: [u64; LANES],
    numbers: u64,
}

impl Halves {
    fn add(&mut self, lane: usize, number: u64) {
        self.high[lane] += number >> 32;
        self.low[lane] += number & u64::from(u32::MAX);
    }

    fn total(&self) -> i128 {
        let (high, low): (u64, u64) = (self.high.iter().sum(), self.low.iter().sum());
        (i128::from(high) << 32) + i128::from(low) + i128::from(self.numbers) * i128::from(i64::MIN)
    }
}

/// A number, told from the lowest there is.
const fn above_lowest(number: i64) -> u64 {
    (number ^ i64::MIN) as u64
}

impl NumberColumn {
    /// The exact sum over a set of customers; those without a number add nothing.
    pub(super) fn sum(&self, customers: &[u64]) -> i128 {
        let words = self.valid().len().min(customers.len());
        let chosen = |word: usize| self.valid()[word] & customers[word];
        let threads = scan::threads_for(self.values().bytes_per_word() * words);
        scan::shared(threads, words, |words| match self.values() {
            Values::Narrow(values) => sum(values, words.map(|word| (word, chosen(word)))),
            Values::Wide(values) => sum(values, words.map(|word| (word, chosen(word)))),
        })
        .into_iter()
        .sum()
    }
}

/// The sum of those who are chosen of words, by the place of each.
fn sum<Number: Copy + Into<i64>>(values: &[Number], chosen: impl Iterator<Item = (usize, u64)>) -> i128 {
    let (values, _) = values.as_chunks::<WORD_BITS>();
    let mut halves = Halves::default();
    for (word, chosen) in chosen {
        match chosen.count_ones() {
            0 => {}
            few if few < FEW => one_by_one(&values[word], chosen, &mut halves),
            _ => together(&values[word], chosen, &mut halves),
        }
        halves.numbers += u64::from(chosen.count_ones());
    }
    halves.total()
}

fn one_by_one<Number: Copy + Into<i64>>(values: &[Number; WORD_BITS], chosen: u64, halves: &mut Halves) {
    let mut left = chosen;
    while left != 0 {
        halves.add(0, above_lowest(values[left.trailing_zeros() as usize].into()));
        left &= left - 1;
    }
}

fn together<Number: Copy + Into<i64>>(values: &[Number; WORD_BITS], chosen: u64, halves: &mut Halves) {
    let (eights, _) = values.as_chunks::<LANES>();
    for (eight, bits) in eights.iter().zip(chosen.to_le_bytes()) {
        let masks = &MASKS[usize::from(bits)];
        for (lane, (number, mask)) in eight.iter().zip(masks).enumerate() {
            halves.add(lane, above_lowest((*number).into()) & mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(values: &[Option<i64>]) -> NumberColumn {
        let mut column = NumberColumn::default();
        column.lengthen(values.len() / WORD_BITS + 1);
        for (customer, value) in (0..).zip(values) {
            column.set(customer, *value);
        }
        column
    }

    #[test]
    fn sums_beyond_64_bits_are_exact() {
        for (number, sum) in [(i64::MAX, i128::from(i64::MAX) * 100), (i64::MIN, i128::from(i64::MIN) * 100)] {
            assert_eq!(column(&[Some(number); 100]).sum(&[u64::MAX, u64::MAX]), sum);
        }
    }

    #[test]
    fn a_sum_of_several_threads_is_of_everybody() {
        let customers = 6_000_000_i64;
        let numbers: Vec<_> = (0..customers).map(|number| Some(number << 33)).collect();
        let everybody = vec![u64::MAX; numbers.len() / WORD_BITS + 1];
        assert_eq!(column(&numbers).sum(&everybody), i128::from(customers * (customers - 1) / 2) << 33);
    }

    fn number() -> impl Strategy<Value = Option<i64>> {
        prop_oneof![Just(None), any::<i32>().prop_map(|it| Some(it.into())), any::<i64>().prop_map(Some)]
    }

    proptest! {
        #[test]
        fn a_sum_is_that_of_its_numbers(
            wide in any::<bool>(),
            numbers in prop::collection::vec((number(), any::<bool>()), 1..300),
            every in any::<bool>(),
        ) {
            let narrowed = |it: i64| if wide { it } else { i64::from(it as i32) };
            let numbers: Vec<_> = numbers.into_iter().map(|(it, chosen)| (it.map(narrowed), chosen || every)).collect();
            let values: Vec<_> = numbers.iter().map(|(value, _)| *value).collect();
            let mut chosen = vec![0_u64; numbers.len() / WORD_BITS + 1];
            for (place, _) in numbers.iter().enumerate().filter(|(_, (_, chosen))| *chosen) {
                chosen[place / WORD_BITS] |= 1 << (place % WORD_BITS);
            }
            let expected = numbers.iter().filter(|(_, chosen)| *chosen).filter_map(|(value, _)| *value);
            prop_assert_eq!(column(&values).sum(&chosen), expected.map(i128::from).sum::<i128>());
            // Nobody beyond a set that ends early.
            prop_assert_eq!(column(&values).sum(&[]), 0);
        }
    }
}
