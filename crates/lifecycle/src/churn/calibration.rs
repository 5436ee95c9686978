//! From scores to risks that mean what they say: of those with a risk of 0.3 three in ten leave. Learnt from rows that
//! the model has not seen, as it is surer of those that it has. It never turns an order round.

use super::error::{ChurnError, check_length, check_outcomes};
use super::logistic::{sigmoid, softplus};
use serde::{Deserialize, Serialize};

/// The most steps of Newton's method in two coefficients.
const MAX_STEPS: usize = 100;
/// The largest score: nothing is more certain, and sums of its squares stay finite.
const LARGEST: f64 = 1e100;

/// How scores become risks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As they are: for a model whose log-odds are taken at their word.
    None,
    /// A line in log-odds. Two numbers are learnt, so that it does with few rows; it is right for scores that are
    /// log-odds but for scale and shift.
    Platt,
    /// The rising curve that fits best. It takes about a thousand rows of the rarer outcome (Niculescu-Mizil and
    /// Caruana 2005), and any score.
    Isotonic,
}

/// What has been learnt of scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Calibration {
    /// Nothing: risk = 1 / (1 + e^-score).
    None,
    /// Risk = 1 / (1 + e^-(intercept + slope × score)) (Platt 1999).
    Platt {
        /// At least 0.
        slope: f64,
        /// In log-odds.
        intercept: f64,
    },
    /// Risk by straight lines between knots, and that of the nearest knot beyond them.
    Isotonic {
        /// By rising score and risk; at least one.
        knots: Vec<Knot>,
    },
}

/// A place of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knot {
    /// The score.
    pub score: f64,
    /// Its risk, between 0 and 1 but neither: where none or all of n rows left, 1 / (n + 2) from it, by the rule of
    /// succession.
    pub risk: f64,
}

impl Calibration {
    /// Learns from scores of rows that the model has not seen, and from who left. The higher a score, the likelier
    /// somebody is meant to leave.
    pub fn learn(method: Method, scores: &[f64], labels: &[bool]) -> Result<Self, ChurnError> {
        check_length(scores.len(), labels.len())?;
        check_outcomes(labels, 1)?;
        if let Some(row) = scores.iter().position(|score| score.is_nan() || score.abs() > LARGEST) {
            return Err(ChurnError::Prediction(row));
        }
        Ok(match method {
            Method::None => Self::None,
            Method::Platt => platt(scores, labels),
            Method::Isotonic => Self::Isotonic { knots: isotonic(scores, labels) },
        })
    }

    /// The risk of a score, 0 to 1.
    pub fn risk(&self, score: f64) -> f64 {
        match self {
            Self::None => sigmoid(score),
            Self::Platt { slope, intercept } => sigmoid(intercept + slope * score),
            Self::Isotonic { knots } => between(knots, score),
        }
    }

    /// By which method it was learnt.
    pub fn method(&self) -> Method {
        match self {
            Self::None => Method::None,
            Self::Platt { .. } => Method::Platt,
            Self::Isotonic { .. } => Method::Isotonic,
        }
    }

    pub(super) fn check(&self) -> Result<(), ChurnError> {
        let holds = match self {
            Self::None => true,
            Self::Platt { slope, intercept } => slope.is_finite() && *slope >= 0.0 && intercept.is_finite(),
            Self::Isotonic { knots } => {
                let rising = |(one, next): (&Knot, &Knot)| one.score < next.score && one.risk <= next.risk;
                let within = knots.iter().all(|knot| knot.score.is_finite() && (0.0..=1.0).contains(&knot.risk));
                !knots.is_empty() && within && knots.iter().zip(knots.iter().skip(1)).all(rising)
            }
        };
        if holds { Ok(()) } else { Err(ChurnError::Malformed("calibration")) }
    }
}

/// The line of the highest likelihood among those that do not fall, towards targets that keep it finite: (n₊ + 1) /
/// (n₊ + 2) and 1 / (n₋ + 2) (Platt 1999), by Newton's method with halved steps (Lin, Lin and Weng 2007).
fn platt(scores: &[f64], labels: &[bool]) -> Calibration {
    let (rows, churned) = (labels.len() as f64, labels.iter().filter(|label| **label).count() as f64);
    let (high, low) = ((churned + 1.0) / (churned + 2.0), 1.0 / (rows - churned + 2.0));
    let targets: Vec<f64> = labels.iter().map(|label| if *label { high } else { low }).collect();
    let mean_target = targets.iter().sum::<f64>() / rows;
    let flat = Calibration::Platt { slope: 0.0, intercept: (mean_target / (1.0 - mean_target)).ln() };
    let mean = scores.iter().sum::<f64>() / rows;
    let deviation = (scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / rows).sqrt();
    if deviation <= mean.abs() * 1e-12 {
        return flat;
    }
    // In deviations, so that both coefficients are of one size.
    let scores: Vec<f64> = scores.iter().map(|score| (score - mean) / deviation).collect();
    let loss = |(slope, intercept): (f64, f64)| {
        let each = scores.iter().zip(&targets).map(|(score, target)| {
            let log_odds = intercept + slope * score;
            softplus(log_odds) - target * log_odds
        });
        each.sum::<f64>()
    };
    let (slope, intercept) = steepest(&scores, &targets, loss);
    // The loss is convex: where the best line falls, the best of the others is flat.
    if slope <= 0.0 {
        return flat;
    }
    Calibration::Platt { slope: slope / deviation, intercept: intercept - slope * mean / deviation }
}

fn steepest(scores: &[f64], targets: &[f64], loss: impl Fn((f64, f64)) -> f64) -> (f64, f64) {
    let mut place = (0.0, 0.0);
    for _ in 0..MAX_STEPS {
        let (mut by_slope, mut by_intercept) = (0.0, 0.0);
        // Rounding must not make it singular.
        let (mut squares, mut products, mut weights) = (1e-12, 0.0, 1e-12);
        for (score, target) in scores.iter().zip(targets) {
            let risk = sigmoid(place.1 + place.0 * score);
            let (error, weight) = (risk - target, risk * (1.0 - risk));
            by_slope += error * score;
            by_intercept += error;
            squares += weight * score * score;
            products += weight * score;
            weights += weight;
        }
        let determinant = squares * weights - products * products;
        let step = (
            (weights * by_slope - products * by_intercept) / determinant,
            (squares * by_intercept - products * by_slope) / determinant,
        );
        let (before, promised) = (loss(place), step.0 * by_slope + step.1 * by_intercept);
        if promised <= 1e-14 * (1.0 + before) {
            // Only rounding tells places apart.
            return (place.0 - step.0, place.1 - step.1);
        }
        let lengths = (0..30).map(|halvings| 0.5_f64.powi(halvings));
        let mut places = lengths.map(|length| (place.0 - length * step.0, place.1 - length * step.1));
        match places.find(|place| loss(*place) <= before) {
            Some(lower) => place = lower,
            None => break,
        }
    }
    place
}

/// Rows with neighbouring scores that have one risk.
#[derive(Clone, Copy, Debug)]
struct Block {
    from: f64,
    to: f64,
    rows: f64,
    churned: f64,
}

/// The rising step function of least squares: adjacent violators are pooled (Ayer et al. 1955). Equal scores are one.
fn pool(scores: &[f64], labels: &[bool]) -> Vec<Block> {
    let mut sorted: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    sorted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let mut blocks: Vec<Block> = Vec::new();
    for (score, label) in sorted {
        match blocks.last_mut() {
            Some(last) if last.to >= score => {
                last.rows += 1.0;
                last.churned += f64::from(label);
            }
            _ => blocks.push(Block { from: score, to: score, rows: 1.0, churned: f64::from(label) }),
        }
    }
    let mut pooled: Vec<Block> = Vec::new();
    for mut block in blocks {
        while let Some(last) = pooled.last()
            && last.churned * block.rows >= block.churned * last.rows
        {
            block = last.with(&block);
            pooled.pop();
        }
        pooled.push(block);
    }
    pooled
}

impl Block {
    /// Of few rows of which none or all left nothing is as certain as it looks.
    fn risk(&self) -> f64 {
        let least = 1.0 / (self.rows + 2.0);
        (self.churned / self.rows).clamp(least, 1.0 - least)
    }

    fn with(&self, next: &Self) -> Self {
        Self { from: self.from, to: next.to, rows: self.rows + next.rows, churned: self.churned + next.churned }
    }
}

/// Blocks whose risks rise: the first and the last, whose risks are not their shares, may have to be one with their
/// neighbours.
fn rising(mut blocks: Vec<Block>) -> Vec<Block> {
    while let [first, second, ..] = blocks.as_slice()
        && first.risk() >= second.risk()
    {
        let both = first.with(second);
        blocks.splice(..2, [both]);
    }
    while let [.., before, last] = blocks.as_slice()
        && before.risk() >= last.risk()
    {
        let both = before.with(last);
        blocks.truncate(blocks.len() - 2);
        blocks.push(both);
    }
    blocks
}

fn isotonic(scores: &[f64], labels: &[bool]) -> Vec<Knot> {
    let mut knots = Vec::new();
    for block in rising(pool(scores, labels)) {
        let risk = block.risk();
        knots.push(Knot { score: block.from, risk });
        if block.to > block.from {
            knots.push(Knot { score: block.to, risk });
        }
    }
    knots
}

fn between(knots: &[Knot], score: f64) -> f64 {
    let next = knots.partition_point(|knot| knot.score < score);
    let (before, after) = (next.checked_sub(1).and_then(|place| knots.get(place)), knots.get(next));
    match (before, after) {
        (Some(before), Some(after)) => {
            let share = (score - before.score) / (after.score - before.score);
            // Rounding must not bring a risk above that of the next knot.
            (before.risk + share * (after.risk - before.risk)).max(before.risk).min(after.risk)
        }
        (Some(only), None) | (None, Some(only)) => only.risk,
        (None, None) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    //! Blocks against the definition that needs no algorithm.

    use super::*;
    use proptest::prelude::*;

    /// The min-max formula (Robertson, Wright and Dykstra 1988, theorem 1.4.4): at each place the largest, over starts
    /// at or before it, of the least mean, over ends at or after it. Scores are distinct and rise.
    fn by_definition(labels: &[bool]) -> Vec<f64> {
        let mean = |from: usize, to: usize| {
            labels[from..=to].iter().filter(|label| **label).count() as f64 / (to - from + 1) as f64
        };
        let least = |from: usize, place: usize| (place..labels.len()).map(|to| mean(from, to)).fold(1.0, f64::min);
        (0..labels.len()).map(|place| (0..=place).map(|from| least(from, place)).fold(0.0, f64::max)).collect()
    }

    proptest! {
        #[test]
        fn blocks_are_the_rising_curve_of_least_squares(labels in prop::collection::vec(any::<bool>(), 1..40)) {
            let scores: Vec<f64> = (0..labels.len()).map(|place| place as f64).collect();
            let blocks = pool(&scores, &labels);
            for (score, expected) in scores.iter().zip(by_definition(&labels)) {
                let block = blocks.iter().find(|block| (block.from..=block.to).contains(score)).unwrap();
                prop_assert!((block.churned / block.rows - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn equal_scores_are_one_whatever_their_order() {
        let blocks = pool(&[1.0, 0.0, 1.0, 0.0], &[true, true, true, false]);
        let found: Vec<_> = blocks.iter().map(|block| (block.from, block.rows, block.churned)).collect();
        assert_eq!(found, [(0.0, 2.0, 1.0), (1.0, 2.0, 2.0)]);
    }
}
