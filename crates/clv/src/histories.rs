//! Purchase histories as the models see them, equal ones collapsed, and laid out so that a likelihood takes each logarithm once.

use std::collections::BTreeMap;

/// One customer's purchases. Time has one unit throughout: whichever it is, a fit keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    /// Repeat purchases: periods with a purchase, less the first.
    pub repeats: u32,
    /// From the first purchase to the last: 0 where there are no repeats, and only there.
    pub recency: f64,
    /// From the first purchase to the end of what is known: at least the recency.
    pub age: f64,
}

/// How many customers have this history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub history: History,
    pub customers: f64,
    /// Places in [`Histories::times`].
    pub recency: u32,
    pub age: u32,
}

/// What the customers of one age have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Age {
    pub customers: f64,
    pub repeats: f64,
}

/// The histories of a population.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    /// Those that differ, in order.
    pub(super) rows: Vec<Row>,
    /// Recencies and ages that differ, ascending.
    pub(super) times: Vec<f64>,
    /// For each time, who has that age.
    pub(super) ages: Vec<Age>,
    /// For each number of repeats, how many customers have it.
    pub(super) repeats: Vec<f64>,
    customers: f64,
}

impl Histories {
    /// Collapses histories. Those that no purchase log has are left out: not finite, negative, of a recency beyond the age, or of
    /// repeats without time for them.
    pub fn new(histories: impl IntoIterator<Item = History>) -> Self {
        let mut counts: BTreeMap<(u32, u64, u64), u64> = BTreeMap::new();
        for history in histories.into_iter().filter(History::is_possible) {
            // The bits of numbers that are not negative are ordered as they are.
            *counts.entry((history.repeats, history.recency.to_bits(), history.age.to_bits())).or_default() += 1;
        }
        let mut times: Vec<u64> = counts.keys().flat_map(|(_, recency, age)| [*recency, *age]).collect();
        times.sort_unstable();
        times.dedup();
        let place = |time: u64| times.binary_search(&time).unwrap_or_default() as u32;
        let mut all = Self { ages: vec![Age::default(); times.len()], ..Self::default() };
        for ((repeats, recency, age), customers) in counts {
            let customers = customers as f64;
            let history = History { repeats, recency: f64::from_bits(recency), age: f64::from_bits(age) };
            let row = Row { history, customers, recency: place(recency), age: place(age) };
            let of_age = &mut all.ages[row.age as usize];
            of_age.customers += customers;
            of_age.repeats += customers * f64::from(repeats);
            if all.repeats.len() <= repeats as usize {
                all.repeats.resize(repeats as usize + 1, 0.0);
            }
            all.repeats[repeats as usize] += customers;
            all.customers += customers;
            all.rows.push(row);
        }
        all.times = times.into_iter().map(f64::from_bits).collect();
        all
    }

    /// How many customers there are.
    pub fn customers(&self) -> f64 {
        self.customers
    }

    /// The mean age. Of nobody: 0.
    pub(super) fn mean_age(&self) -> f64 {
        let sum: f64 = self.times.iter().zip(&self.ages).map(|(time, age)| time * age.customers).sum();
        if self.customers > 0.0 { sum / self.customers } else { 0.0 }
    }

    /// How many customers have bought again.
    pub(super) fn repeaters(&self) -> f64 {
        self.repeats.iter().skip(1).sum()
    }
}

impl History {
    fn is_possible(&self) -> bool {
        let Self { repeats, recency, age } = *self;
        // `-0.0` would have other bits than `0.0`.
        age.is_finite() && recency.is_sign_positive() && recency <= age && (repeats > 0) == (recency > 0.0)
    }
}

/// ln Γ(start + n) / Γ(start) for n from 0 to `most`: a sum of logarithms, as exact for a start of 1e9 as for one of 1.
pub(super) fn ln_rising(start: f64, most: usize) -> Vec<f64> {
    sums(most, |n| (start + n).ln())
}

/// ψ(start + n) - ψ(start) for n from 0 to `most`: the derivative of [`ln_rising`] by its start.
pub(super) fn digamma_rising(start: f64, most: usize) -> Vec<f64> {
    sums(most, |n| (start + n).recip())
}

fn sums(most: usize, term: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut sum = 0.0;
    let steps = (0..most).map(|n| {
        sum += term(n as f64);
        sum
    });
    std::iter::once(0.0).chain(steps).collect()
}
