//! BG/NBD (Fader, Hardie and Lee 2005) and MBG/NBD (Batislam, Denizel and Filiztekin 2007): customers buy at their own rates until they leave,
//! which nobody sees.
//!
//! After each chance to leave a customer is gone with a probability of its own. In BG/NBD every purchase but the first is such a chance, in
//! MBG/NBD the first is one too: all formulas are the same in the number of chances.

use super::fit::{self, FitError};
use super::histories::{Histories, History, Row, digamma_rising, ln_rising};
use super::nbd::Nbd;
use super::quadrature;
use std::panic::resume_unwind;

/// By how much a model with dropout has to be more likely than one without, for dropout to be there at all: in units of log-likelihood.
const IDENTIFIED: f64 = 2.0;
/// Rows from which on a likelihood is summed on several threads, and rows of one part. Parts are added in order, so that a sum is the same
/// on every machine.
const ROWS_PER_PART: usize = 65_536;
/// Up to here the series converges faster than the quadrature.
const LARGEST_Z: f64 = 0.98;
/// How much larger than its difference the sides of the series may be: by the ratio of a + b to the shape, and by powers of e.
const MOST_CANCELLED: f64 = 1e3;
const MOST_POWERS: f64 = 30.0;
const MOST_ALTERNATING: f64 = 10.0;
const MAX_TERMS: u32 = 100_000;

/// When customers can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropout {
    /// After every purchase but the first: BG/NBD.
    AfterRepeats,
    /// After every purchase: MBG/NBD.
    AfterEveryPurchase,
}

/// A fitted model. Purchase rates are gamma distributed with shape `r` and rate `alpha`, chances of leaving beta distributed with `a` and `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BgNbd {
    /// When customers can leave.
    pub dropout: Dropout,
    /// The shape of purchase rates.
    pub r: f64,
    /// The rate of purchase rates, in units of time.
    pub alpha: f64,
    /// The first parameter of the chance of leaving.
    pub a: f64,
    /// The second.
    pub b: f64,
}

/// A fit, beside that of customers who never leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// The model.
    pub model: BgNbd,
    /// The logarithm of its likelihood.
    pub log_likelihood: f64,
    /// The model in which nobody leaves.
    pub never_leaving: Nbd,
    /// The logarithm of its likelihood.
    pub never_leaving_log_likelihood: f64,
}

impl Fitted {
    /// Whether the data tell that customers leave: if not, their dropout is what nobody knows, and NBD says all that can be said.
    pub fn dropout_is_identified(&self) -> bool {
        self.log_likelihood - self.never_leaving_log_likelihood >= IDENTIFIED
    }

    /// How often a customer is expected to buy within `time` after the end of what is known: by the model in which nobody leaves, where the
    /// data do not tell that anybody does.
    pub fn expected_purchases(&self, history: &History, time: f64) -> f64 {
        if self.dropout_is_identified() {
            self.model.expected_purchases(history, time)
        } else {
            self.never_leaving.expected_purchases(history, time)
        }
    }
}

impl Dropout {
    fn chances(self, repeats: u32) -> u32 {
        match self {
            Self::AfterRepeats => repeats,
            Self::AfterEveryPurchase => repeats + 1,
        }
    }
}

/// A chance to leave that nobody takes.
const NEVER: f64 = 1e-12;

/// A log-likelihood and its derivatives by r, α, a and b.
type Slope = (f64, [f64; 4]);

impl BgNbd {
    /// The most likely parameters.
    pub fn fit(dropout: Dropout, histories: &Histories) -> Result<Fitted, FitError> {
        if histories.repeaters() == 0.0 {
            return Err(FitError::NoRepeats);
        }
        let never_leaving = Nbd::fit(histories)?;
        let model = |[r, alpha, a, b]: [f64; 4]| Self { dropout, r, alpha, a, b };
        let start = [never_leaving.r, never_leaving.alpha, 0.5, 2.0];
        let model = match fit::maximise(start, histories.customers(), |at| model(at).slope(histories)) {
            Ok(found) => model(found),
            Err(FitError::NotFound) => {
                // Where nobody leaves, the likelihood has no maximum: it rises towards the limit at which none ever does.
                let limit = model([never_leaving.r, never_leaving.alpha, NEVER, 1.0]);
                let [_, _, by_leaving, _] = limit.slope(histories).1;
                if by_leaving > 0.0 {
                    return Err(FitError::NotFound);
                }
                limit
            }
            Err(error) => return Err(error),
        };
        Ok(Fitted {
            model,
            log_likelihood: model.log_likelihood(histories),
            never_leaving,
            never_leaving_log_likelihood: never_leaving.log_likelihood(histories),
        })
    }

    /// The logarithm of the likelihood of a population.
    pub fn log_likelihood(&self, histories: &Histories) -> f64 {
        self.slope(histories).0
    }

    /// The probability that a customer has not left.
    pub fn p_alive(&self, history: &History) -> f64 {
        let chances = self.dropout.chances(history.repeats);
        if chances == 0 {
            return 1.0;
        }
        let passed = ((self.alpha + history.age) / (self.alpha + history.recency)).ln();
        sigmoid(-self.log_odds_of_having_left(history.repeats, chances, passed))
    }

    /// How often a customer is expected to buy within `time` after the end of what is known.
    pub fn expected_purchases(&self, history: &History, time: f64) -> f64 {
        if time <= 0.0 {
            return 0.0;
        }
        self.p_alive(history) * self.expected_while_alive(history, time)
    }

    /// How often a customer is expected to buy again within `time` after the first purchase.
    pub fn expected_of_newcomer(&self, time: f64) -> f64 {
        self.expected_purchases(&History { repeats: 0, recency: 0.0, age: 0.0 }, time)
    }

    /// How probable it is that a customer buys again so many times within `time` after the first purchase.
    pub fn probability_of(&self, repeats: u32, time: f64) -> f64 {
        let Self { r, alpha, a, b, .. } = *self;
        let chances = self.dropout.chances(repeats) as usize;
        let (staying, all) = (ln_rising(b, chances), ln_rising(a + b, chances));
        // Of each count up to this one, by somebody who never leaves.
        let part = time / (alpha + time);
        let (mut probability, mut below) = ((-r * (time / alpha).ln_1p()).exp(), 0.0);
        for count in 0..repeats {
            below += probability;
            probability *= (r + f64::from(count)) / f64::from(count + 1) * part;
        }
        let stayed = (staying[chances] - all[chances]).exp() * probability;
        // Or left at the last of the chances, however much time was left.
        let left =
            chances.checked_sub(1).map(|before| a * (staying[before] - all[chances]).exp() * (1.0 - below).max(0.0));
        stayed + left.unwrap_or_default()
    }

    /// `passed`: ln((α + age) / (α + recency)). There is at least one chance.
    fn log_odds_of_having_left(&self, repeats: u32, chances: u32, passed: f64) -> f64 {
        self.a.ln() - (self.b + f64::from(chances - 1)).ln() + (self.r + f64::from(repeats)) * passed
    }

    /// The expectation of somebody who has not left, in the form whose poles at a = 1 and a + b + x = 1 are gone (formula sheet, 2).
    fn expected_while_alive(&self, history: &History, time: f64) -> f64 {
        let Self { r, alpha, a, b, .. } = *self;
        let shape = r + f64::from(history.repeats);
        let chances = f64::from(self.dropout.chances(history.repeats));
        let ratio = time / (alpha + history.age);
        let c = a + b + chances - 1.0;
        if series_serves(a, c, shape, ratio) {
            by_series(a, c, shape, ratio)
        } else {
            quadrature::expected_while_alive(a, b + chances, shape, ratio)
        }
    }

    /// The logarithm of the likelihood, and its derivatives by the parameters.
    pub(super) fn slope(&self, histories: &Histories) -> Slope {
        let parts: Vec<_> = histories.rows.chunks(ROWS_PER_PART).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len()).max(1);
        let left = LeftTable::new(self, histories);
        let mut sum = self.slope_without_leaving(histories);
        let of_rows: Vec<Slope> = if threads == 1 {
            parts.iter().map(|rows| self.slope_of(rows, &left)).collect()
        } else {
            let share = parts.len().div_ceil(threads);
            std::thread::scope(|scope| {
                let running: Vec<_> = parts
                    .chunks(share)
                    .map(|parts| {
                        let left = &left;
                        scope.spawn(move || parts.iter().map(|rows| self.slope_of(rows, left)).collect::<Vec<_>>())
                    })
                    .collect();
                running.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
            })
        };
        for part in of_rows {
            add(&mut sum, part);
        }
        sum
    }

    /// What the number of repeats and the age alone decide.
    fn slope_without_leaving(&self, histories: &Histories) -> Slope {
        let Self { r, alpha, a, b, .. } = *self;
        let (value, [by_r, by_alpha]) = Nbd { r, alpha }.slope(histories);
        let mut sum = (value, [by_r, by_alpha, 0.0, 0.0]);
        let most = histories.repeats.len();
        let (all, all_digamma) = (ln_rising(a + b, most), digamma_rising(a + b, most));
        let (staying, staying_digamma) = (ln_rising(b, most), digamma_rising(b, most));
        for (repeats, customers) in histories.repeats.iter().enumerate() {
            let chances = self.dropout.chances(repeats as u32) as usize;
            sum.0 += customers * (staying[chances] - all[chances]);
            sum.1[2] -= customers * all_digamma[chances];
            sum.1[3] += customers * (staying_digamma[chances] - all_digamma[chances]);
        }
        sum
    }

    /// What having left unseen adds, of some rows.
    fn slope_of(&self, rows: &[Row], left: &LeftTable) -> Slope {
        let mut sum = (0.0, [0.0; 4]);
        for row in rows {
            let repeats = row.history.repeats;
            let chances = self.dropout.chances(repeats);
            if chances == 0 {
                continue;
            }
            let shape = self.r + f64::from(repeats);
            let (recency, age) = (row.recency as usize, row.age as usize);
            let passed = left.logarithms[age] - left.logarithms[recency];
            let odds = left.odds[chances as usize] + shape * passed;
            let exponential = (-odds.abs()).exp();
            let weight = if odds >= 0.0 { 1.0 } else { exponential } / (1.0 + exponential) * row.customers;
            sum.0 += row.customers * (odds.max(0.0) + exponential.ln_1p());
            sum.1[0] += weight * passed;
            sum.1[1] += weight * shape * (left.inverses[age] - left.inverses[recency]);
            sum.1[2] += weight / self.a;
            sum.1[3] -= weight / (self.b + f64::from(chances - 1));
        }
        sum
    }
}

/// What the terms of having left are made of, by time and by number of chances.
struct LeftTable {
    /// ln(1 + time / α).
    logarithms: Vec<f64>,
    /// 1 / (α + time).
    inverses: Vec<f64>,
    /// ln a - ln(b + chances - 1).
    odds: Vec<f64>,
}

impl LeftTable {
    fn new(model: &BgNbd, histories: &Histories) -> Self {
        let odds = |chances: usize| model.a.ln() - (model.b + chances as f64 - 1.0).ln();
        Self {
            logarithms: histories.times.iter().map(|time| (time / model.alpha).ln_1p()).collect(),
            inverses: histories.times.iter().map(|time| (model.alpha + time).recip()).collect(),
            odds: (0..=histories.repeats.len()).map(odds).collect(),
        }
    }
}

fn add(sum: &mut Slope, part: Slope) {
    sum.0 += part.0;
    for (sum, part) in sum.1.iter_mut().zip(part.1) {
        *sum += part;
    }
}

/// Whether the series converges soon, and neither overflows nor cancels.
fn series_serves(a: f64, c: f64, shape: f64, ratio: f64) -> bool {
    let z = ratio / (1.0 + ratio);
    z <= LARGEST_Z
        && c <= MOST_CANCELLED * shape
        && (a - 1.0) * ratio.ln_1p() <= MOST_POWERS
        && (c - shape) * z >= -MOST_ALTERNATING
}

/// What is expected of somebody who has not left, with a = `a` and a + b + chances - 1 = `c`.
fn by_series(a: f64, c: f64, shape: f64, ratio: f64) -> f64 {
    let exponent = a - 1.0;
    let l = -ratio.ln_1p();
    let h = if exponent == 0.0 { -l } else { -(exponent * l).exp_m1() / exponent };
    c * h - (exponent * l).exp() * series(c - shape, a, c, ratio / (1.0 + ratio))
}

/// Σ over n ≥ 1 of (A)_n (a)_{n-1} / ((c + 1)_{n-1} n!) zⁿ.
fn series(first: f64, a: f64, c: f64, z: f64) -> f64 {
    let mut term = first * z;
    let mut sum = term;
    for n in 1..MAX_TERMS {
        let n = f64::from(n);
        term *= (first + n) * (a - 1.0 + n) * z / ((c + n) * (n + 1.0));
        sum += term;
        // Before that the terms may still grow.
        if term.abs() <= f64::EPSILON / 8.0 * sum.abs() && n > -first {
            break;
        }
    }
    sum
}

fn sigmoid(x: f64) -> f64 {
    // Both ends are exact: nothing overflows.
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// Both ways of computing what is expected of somebody who has not left; the series only where it is used.
#[cfg(test)]
pub(super) fn series_and_quadrature(model: &BgNbd, history: &History, time: f64) -> (Option<f64>, f64) {
    let BgNbd { r, alpha, a, b, dropout } = *model;
    let (shape, chances) = (r + f64::from(history.repeats), f64::from(dropout.chances(history.repeats)));
    let ratio = time / (alpha + history.age);
    let c = a + b + chances - 1.0;
    let series = series_serves(a, c, shape, ratio).then(|| by_series(a, c, shape, ratio));
    (series, quadrature::expected_while_alive(a, b + chances, shape, ratio))
}
