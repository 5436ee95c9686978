//! Runs a plan: narrows a block of customers at a time, so that what a condition writes is still in the cache when the next
//! one reads it.

use super::bitmap::WORD_BITS;
use super::codes::CodeSlice;
use super::numbers::Buckets;
use super::plan::{NumberPlan, PairSide, Plan, SetPlan, outcomes};
use crate::cancellation::Cancellation;
use quintile_expr::Comparison;
use std::ops::Range;
use std::thread;

/// Words of a block: 8,192 customers, of whom two bytes each are 16 kB.
const BLOCK: usize = 128;

/// Bytes to read that another thread is worth: of fewer, its start costs more than it saves.
const BYTES_OF_A_THREAD: usize = 20 << 20;
/// More threads would wait for memory.
const MAX_THREADS: usize = 8;

/// How many threads a scan is worth.
pub(super) fn threads(plan: &Plan<'_>, words: usize) -> usize {
    threads_for(plan.cost() * words)
}

/// How many threads so many bytes to read are worth.
pub(super) fn threads_for(bytes: usize) -> usize {
    match (bytes / BYTES_OF_A_THREAD).clamp(1, MAX_THREADS) {
        1 => 1,
        most => most.min(thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// Finds the customers among `present` who meet the plan, on so many threads. What comes back of a scan that was given up means nothing.
pub(super) fn select(threads: usize, plan: &Plan<'_>, present: &[u64], cancellation: &Cancellation) -> Vec<u64> {
    let mut chosen = present.to_vec();
    if threads == 1 {
        blocks(plan, 0, &mut chosen, cancellation);
        return chosen;
    }
    let share = chosen.len().div_ceil(threads).next_multiple_of(BLOCK).max(BLOCK);
    thread::scope(|scope| {
        for (index, chosen) in chosen.chunks_mut(share).enumerate() {
            scope.spawn(move || blocks(plan, index * share, chosen, cancellation));
        }
    });
    chosen
}

/// Counts the customers among `present` who meet the plan, on so many threads, without keeping them.
pub(super) fn count(threads: usize, plan: &Plan<'_>, present: &[u64], cancellation: &Cancellation) -> u64 {
    let count = |words: Range<usize>| count_blocks(plan, words.start, &present[words], cancellation);
    shared(threads, present.len(), count).into_iter().sum()
}

/// Shares words out among so many threads, by blocks. What comes of each share, in their order.
pub(super) fn shared<Part: Send>(
    threads: usize,
    words: usize,
    part: impl Fn(Range<usize>) -> Part + Sync,
) -> Vec<Part> {
    if threads == 1 {
        return vec![part(0..words)];
    }
    let share = words.div_ceil(threads).next_multiple_of(BLOCK).max(BLOCK);
    let part = &part;
    thread::scope(|scope| {
        let shares = (0..words).step_by(share).map(|first| first..words.min(first + share));
        let parts: Vec<_> = shares.map(|words| scope.spawn(move || part(words))).collect();
        let parts = parts.into_iter().map(thread::ScopedJoinHandle::join);
        parts.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn count_blocks(plan: &Plan<'_>, first: usize, present: &[u64], cancellation: &Cancellation) -> u64 {
    let mut count = 0;
    for (index, block) in present.chunks(BLOCK).enumerate() {
        if cancellation.is_cancelled() {
            break;
        }
        let mut chosen = [0; BLOCK];
        let chosen = &mut chosen[..block.len()];
        chosen.copy_from_slice(block);
        narrow(plan, first + index * BLOCK, chosen);
        count += chosen.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
    }
    count
}

/// Narrows, block by block, words of which the first is the `first` of all.
fn blocks(plan: &Plan<'_>, first: usize, chosen: &mut [u64], cancellation: &Cancellation) {
    for (index, block) in chosen.chunks_mut(BLOCK).enumerate() {
        if cancellation.is_cancelled() {
            return;
        }
        narrow(plan, first + index * BLOCK, block);
    }
}

/// Takes those customers out of `chosen`, whose first word is the `first`, who do not meet the plan.
fn narrow(plan: &Plan<'_>, first: usize, chosen: &mut [u64]) {
    match plan {
        Plan::All => {}
        Plan::Nobody => chosen.fill(0),
        Plan::Bits(bits) => intersect(chosen, tail(bits, first)),
        Plan::Union(bitmaps) => {
            let mut any = [0; BLOCK];
            unite(&mut any, bitmaps, first);
            intersect(chosen, &any);
        }
        Plan::Outside(valid, bitmaps) => {
            let mut any = [0; BLOCK];
            unite(&mut any, bitmaps, first);
            intersect(chosen, tail(valid, first));
            subtract(chosen, &any);
        }
        Plan::Code(codes, code) => {
            each_code(chosen, first, *codes, |other| other == *code);
        }
        Plan::Codes(codes, accepted) => {
            each_code(chosen, first, *codes, |code| accepted[code as usize]);
        }
        Plan::Number(plan) => number(plan, first, chosen),
        Plan::Set(plan) => set(plan, first, chosen),
        Plan::Pair(op, left, right) => pair(*op, left, right, first, chosen),
        Plan::And(plans) => {
            for plan in plans {
                narrow(plan, first, chosen);
            }
        }
        Plan::Or(plans) => any_of(plans, first, chosen),
        Plan::Not(plan) => {
            let mut meets = [0; BLOCK];
            let meets = &mut meets[..chosen.len()];
            meets.copy_from_slice(chosen);
            narrow(plan, first, meets);
            subtract(chosen, meets);
        }
    }
}

fn any_of(plans: &[Plan<'_>], first: usize, chosen: &mut [u64]) {
    let (mut undecided, mut meets) = ([0; BLOCK], [0; BLOCK]);
    let (undecided, meets) = (&mut undecided[..chosen.len()], &mut meets[..chosen.len()]);
    undecided.copy_from_slice(chosen);
    for plan in plans {
        meets.copy_from_slice(undecided);
        narrow(plan, first, meets);
        subtract(undecided, meets);
    }
    subtract(chosen, undecided);
}

/// What follows from a word on; a bitmap that ends before it is zero there.
fn tail(bits: &[u64], first: usize) -> &[u64] {
    bits.get(first..).unwrap_or_default()
}

fn intersect(chosen: &mut [u64], bits: &[u64]) {
    let shared = chosen.len().min(bits.len());
    for (word, bits) in chosen.iter_mut().zip(bits) {
        *word &= bits;
    }
    chosen[shared..].fill(0);
}

fn subtract(chosen: &mut [u64], bits: &[u64]) {
    for (word, bits) in chosen.iter_mut().zip(bits) {
        *word &= !bits;
    }
}

fn unite(any: &mut [u64], bitmaps: &[&[u64]], first: usize) {
    for bitmap in bitmaps {
        for (word, bits) in any.iter_mut().zip(tail(bitmap, first)) {
            *word |= bits;
        }
    }
}

/// Narrows every word in which somebody is left by what `meets` says of its 64 cells and of who is left.
fn each_word<T>(chosen: &mut [u64], first: usize, cells: &[T], meets: impl Fn(&[T; WORD_BITS], u64) -> u64) {
    let (chunks, _) = cells.as_chunks::<WORD_BITS>();
    for (word, cells) in chosen.iter_mut().zip(&chunks[first..]) {
        if *word != 0 {
            *word &= meets(cells, *word);
        }
    }
}

/// Narrows by what `meets` says of each code.
fn each_code(chosen: &mut [u64], first: usize, codes: CodeSlice<'_>, meets: impl Fn(u32) -> bool) {
    match codes {
        CodeSlice::Byte(codes) => {
            each_word(chosen, first, codes, |codes, _| pack(&codes.map(|code| u8::from(meets(code.into())))));
        }
        CodeSlice::Narrow(codes) => {
            each_word(chosen, first, codes, |codes, _| pack(&codes.map(|code| u8::from(meets(code.into())))));
        }
        CodeSlice::Wide(codes) => {
            each_word(chosen, first, codes, |codes, _| pack(&codes.map(|code| u8::from(meets(code)))));
        }
    }
}

/// One bit per byte, each 0 or 1. The multiplication brings the lowest bits of eight bytes together in the highest byte.
fn pack(flags: &[u8; WORD_BITS]) -> u64 {
    let (eights, _) = flags.as_chunks::<8>();
    let bytes = eights.iter().zip((0..).step_by(8));
    bytes.fold(0, |word, (eight, shift)| {
        let byte = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word | byte << shift
    })
}

/// The customers whose bucket is one of these.
fn within(cells: &[u16; WORD_BITS], buckets: Buckets) -> u64 {
    let width = buckets.last - buckets.first;
    pack(&cells.map(|bucket| u8::from(bucket.wrapping_sub(buckets.first) <= width)))
}

fn number(plan: &NumberPlan<'_>, first: usize, chosen: &mut [u64]) {
    intersect(chosen, tail(plan.column.valid(), first));
    let values = plan.column.values();
    let (buckets, _) = plan.column.buckets().as_chunks::<WORD_BITS>();
    for ((word, buckets), index) in chosen.iter_mut().zip(&buckets[first..]).zip(first..) {
        if *word == 0 {
            continue;
        }
        let sure = plan.sure_buckets.map_or(0, |sure| within(buckets, sure));
        let mut meets = sure;
        let mut undecided = *word & !sure;
        if undecided != 0 {
            undecided &= within(buckets, plan.possible_buckets);
        }
        while undecided != 0 {
            let row = undecided.trailing_zeros();
            meets |= u64::from(decide(plan, values.get(index * WORD_BITS + row as usize))) << row;
            undecided &= undecided - 1;
        }
        *word &= if plan.negated { !meets } else { meets };
    }
}

fn decide(plan: &NumberPlan<'_>, value: i64) -> bool {
    plan.sure.is_some_and(|sure| sure.contains(value))
        || plan.possible.contains(value) && plan.days.is_some_and(|days| days.holds(value))
}

fn set(plan: &SetPlan<'_>, first: usize, chosen: &mut [u64]) {
    intersect(chosen, tail(plan.column.valid(), first));
    each_word(chosen, first, plan.column.buckets(), |buckets, _| {
        pack(&buckets.map(|bucket| u8::from(plan.buckets[usize::from(bucket)])))
    });
    let member = |value: i64| u64::from(plan.numbers.binary_search(&value).is_ok());
    let values = plan.column.values();
    for (word, index) in chosen.iter_mut().zip(first..) {
        *word &= each_row(*word, |row| member(values.get(index * WORD_BITS + row)));
    }
}

/// Asks of every row of a word that is left.
fn each_row(word: u64, meets: impl Fn(usize) -> u64) -> u64 {
    let (mut left, mut met) = (word, 0);
    while left != 0 {
        let row = left.trailing_zeros();
        met |= meets(row as usize) << row;
        left &= left - 1;
    }
    met
}

fn pair(op: Comparison, left: &PairSide<'_>, right: &PairSide<'_>, first: usize, chosen: &mut [u64]) {
    let accepted = outcomes(op);
    intersect(chosen, tail(left.valid(), first));
    intersect(chosen, tail(right.valid(), first));
    let (mut lefts, mut rights) = ([0; WORD_BITS], [0; WORD_BITS]);
    for (word, index) in chosen.iter_mut().zip(first..) {
        if *word == 0 {
            continue;
        }
        left.load(index, &mut lefts);
        right.load(index, &mut rights);
        let mut flags = [0; WORD_BITS];
        for ((flag, left), right) in flags.iter_mut().zip(&lefts).zip(&rights) {
            let outcome = usize::from(left >= right) + usize::from(left > right);
            *flag = u8::from(accepted[outcome]);
        }
        *word &= pack(&flags);
    }
}

impl PairSide<'_> {
    fn valid(&self) -> &[u64] {
        match self {
            Self::Number(column) => column.valid(),
            Self::Codes(column, _) => column.valid(),
        }
    }

    /// The values of one word, or numbers that order as they do; those of missing values are any.
    fn load(&self, word: usize, into: &mut [i64; WORD_BITS]) {
        match self {
            Self::Number(column) => column.values().load(word, into),
            Self::Codes(column, ranks) => {
                let rows = word * WORD_BITS..(word + 1) * WORD_BITS;
                match column.codes() {
                    CodeSlice::Byte(codes) => {
                        let codes = codes[rows].iter().map(|code| usize::from(*code));
                        into.iter_mut().zip(codes).for_each(|(value, code)| *value = ranks[code]);
                    }
                    CodeSlice::Narrow(codes) => {
                        let codes = codes[rows].iter().map(|code| usize::from(*code));
                        into.iter_mut().zip(codes).for_each(|(value, code)| *value = ranks[code]);
                    }
                    CodeSlice::Wide(codes) => {
                        let codes = codes[rows].iter().map(|code| *code as usize);
                        into.iter_mut().zip(codes).for_each(|(value, code)| *value = ranks[code]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_flag_in_its_place() {
        for row in 0..WORD_BITS {
            let mut flags = [0; WORD_BITS];
            flags[row] = 1;
            assert_eq!(pack(&flags), 1 << row);
        }
        assert_eq!(pack(&[1; WORD_BITS]), u64::MAX);
    }
}
