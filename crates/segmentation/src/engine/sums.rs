//! The exact sum of a column of numbers over a set of customers, eight of them at a time. Numbers are added by halves: no sum of the 64 customers of a
//! word overflows a lane.

use super::bitmap::WORD_BITS;
use super::numbers::{NumberColumn, Values};
use super::scan;

/// Customers that are added together.
const LANES: usize = 8;
/// Below this many customers of a word they are added one by one.
const FEW: u32 = 8;
/// How much longer adding takes than the comparing that threads are weighed for.
const WEIGHT: usize = 2;
/// By the bits of eight customers, all ones for those who are meant.
static MASKS: [[i32; LANES]; 256] = masks();

const fn masks() -> [[i32; LANES]; 256] {
    let mut masks = [[0; LANES]; 256];
    let mut bits = 0;
    while bits < masks.len() {
        let mut lane = 0;
        while lane < LANES {
            masks[bits][lane] = -((bits >> lane & 1) as i32);
            lane += 1;
        }
        bits += 1;
    }
    masks
}

impl NumberColumn {
    /// The exact sum over a set of customers; those without a number add nothing.
    pub(super) fn sum(&self, customers: &[u64]) -> i128 {
        let words = self.valid().len().min(customers.len());
        let chosen = |word: usize| self.valid()[word] & customers[word];
        let threads = scan::threads_for(self.values().bytes_per_word() * words * WEIGHT);
        scan::shared(threads, words, |words| match self.values() {
            Values::Narrow(values) => sum(values, words.map(|word| (word, chosen(word)))),
            Values::Wide(values) => sum(values, words.map(|word| (word, chosen(word)))),
        })
        .into_iter()
        .sum()
    }
}

/// The sum of those who are chosen of words, by the place of each.
fn sum<Value: Number>(values: &[Value], chosen: impl Iterator<Item = (usize, u64)>) -> i128 {
    let (values, _) = values.as_chunks::<WORD_BITS>();
    let of_word = |(word, chosen): (usize, u64)| match chosen.count_ones() {
        0 => 0,
        few if few < FEW => one_by_one(&values[word], chosen),
        _ => Value::together(&values[word], chosen),
    };
    chosen.map(of_word).sum()
}

fn one_by_one<Value: Number>(values: &[Value; WORD_BITS], chosen: u64) -> i128 {
    let (mut left, mut sum) = (chosen, 0);
    while left != 0 {
        sum += values[left.trailing_zeros() as usize].into();
        left &= left - 1;
    }
    sum
}

trait Number: Copy + Into<i128> {
    /// The sum of those who are chosen of a word.
    fn together(values: &[Self; WORD_BITS], chosen: u64) -> i128;
}

impl Number for i32 {
    fn together(values: &[Self; WORD_BITS], chosen: u64) -> i128 {
        let (eights, _) = values.as_chunks::<LANES>();
        let (mut high, mut low) = ([0_i32; LANES], [0_i32; LANES]);
        for (eight, bits) in eights.iter().zip(chosen.to_le_bytes()) {
            let lanes = high.iter_mut().zip(&mut low).zip(eight).zip(&MASKS[usize::from(bits)]);
            for (((high, low), value), mask) in lanes {
                let number = value & mask;
                *high += number >> 16;
                *low += number & 0xffff;
            }
        }
        let (high, low): (i32, i32) = (high.iter().sum(), low.iter().sum());
        (i128::from(high) << 16) + i128::from(low)
    }
}

impl Number for i64 {
    fn together(values: &[Self; WORD_BITS], chosen: u64) -> i128 {
        let (eights, _) = values.as_chunks::<LANES>();
        let (mut high, mut low) = ([0_u64; LANES], [0_u64; LANES]);
        for (eight, bits) in eights.iter().zip(chosen.to_le_bytes()) {
            let lanes = high.iter_mut().zip(&mut low).zip(eight).zip(&MASKS[usize::from(bits)]);
            for (((high, low), value), mask) in lanes {
                // Told from the lowest there is, none is negative: processors shift eight bytes at once only without their sign.
                let number = (value ^ Self::MIN) as u64 & Self::from(*mask) as u64;
                *high += number >> 32;
                *low += number & u64::from(u32::MAX);
            }
        }
        let (high, low): (u64, u64) = (high.iter().sum(), low.iter().sum());
        (i128::from(high) << 32) + i128::from(low) + i128::from(chosen.count_ones()) * i128::from(Self::MIN)
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
    fn sums_of_extremes_are_exact() {
        for number in [i64::MAX, i64::MIN, i32::MAX.into(), i32::MIN.into()] {
            assert_eq!(column(&[Some(number); 100]).sum(&[u64::MAX, u64::MAX]), i128::from(number) * 100);
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
