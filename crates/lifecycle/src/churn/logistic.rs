//! Logistic regression (Cox 1958): the log-odds of leaving are a sum of terms.
//!
//! The fit minimises -ln L + (lambda / 2) sum of squared coefficients, the intercept free, by Newton's method. Terms
//! are standardised, so that the penalty treats them alike; it also makes the solution unique where terms say the same,
//! and finite where they tell the two outcomes apart without error.

use super::cholesky::Symmetric;
use super::encoding::{Cell, Encoding, Reader, Term};
use super::error::{ChurnError, check_length, check_outcomes};
use super::explanation::Explanation;
use super::table::Table;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Where the penalty may be. Without any there need not be a solution.
const PENALTIES: RangeInclusive<f64> = 1e-6..=1e6;
/// The most steps. Newton's method takes about ten.
const MAX_STEPS: usize = 100;
/// How often a step that goes too far is halved.
const MAX_HALVINGS: usize = 30;
/// The fit is at rest when the next step promises to lower the objective by less than this share of it. The step is
/// still taken, and as errors are squared by each, the coefficients are then right to about twelve digits.
const AT_REST: f64 = 1e-14;

/// How a regression is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// What is put on squared coefficients: 1e-6 to 1e6. (1 / C of those who scale the likelihood instead.)
    pub lambda: f64,
}

impl Default for Penalty {
    /// 1: as if each coefficient were drawn with a deviation of 1 about 0.
    fn default() -> Self {
        Self { lambda: 1.0 }
    }
}

/// A regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// What a customer's terms are.
    pub encoding: Encoding,
    /// The log-odds where all terms are 0.
    pub intercept: f64,
    /// In the order of [`Encoding::terms`], in log-odds per term.
    pub coefficients: Vec<f64>,
    /// Newton steps that were taken.
    pub steps: usize,
    /// Whether the fit came to rest. If not, coefficients are the best that were found.
    pub converged: bool,
    /// ln L at the coefficients, without the penalty.
    pub log_likelihood: f64,
}

impl Logistic {
    /// Fits a regression to who left. Takes rows × terms² for each step.
    pub fn fit(table: &Table, labels: &[bool], penalty: Penalty) -> Result<Self, ChurnError> {
        if !PENALTIES.contains(&penalty.lambda) {
            return Err(ChurnError::Setting("lambda"));
        }
        check_length(labels.len(), table.rows())?;
        let churned = check_outcomes(labels, 1)? as f64;
        let encoding = Encoding::learn(table);
        let (reader, terms) = (encoding.reader(table)?, encoding.terms());
        let problem = Problem { encoding: &encoding, reader, terms: &terms, labels, lambda: penalty.lambda };
        let mut start = vec![0.0; terms.len() + 1];
        if let Some(intercept) = start.first_mut() {
            // The best one while nothing else is known.
            *intercept = (churned / (labels.len() as f64 - churned)).ln();
        }
        let Descent { place, steps, converged } = descend(&problem, start);
        let Some((intercept, coefficients)) = place.coefficients.split_first() else {
            return Err(ChurnError::Malformed("coefficients"));
        };
        let (intercept, coefficients) = (*intercept, coefficients.to_vec());
        Ok(Self { encoding, intercept, coefficients, steps, converged, log_likelihood: place.log_likelihood })
    }

    /// The log-odds of leaving.
    pub(super) fn log_odds(&self, cells: &[Cell], terms: &[Term]) -> f64 {
        let each = terms.iter().zip(&self.coefficients);
        self.intercept + each.map(|(term, coefficient)| coefficient * self.value(term, cells)).sum::<f64>()
    }

    /// What each feature adds: coefficient × (term - mean of the term), and the log-odds of the mean as the base.
    pub(super) fn explain(&self, cells: &[Cell]) -> Explanation {
        let mut contributions = vec![0.0; self.encoding.features.len()];
        let mut base = self.intercept;
        for (term, coefficient) in self.encoding.terms().iter().zip(&self.coefficients) {
            base += coefficient * term.mean;
            if let Some(contribution) = contributions.get_mut(term.feature) {
                *contribution += coefficient * (self.value(term, cells) - term.mean);
            }
        }
        Explanation::new(base, &self.encoding, contributions)
    }

    fn value(&self, term: &Term, cells: &[Cell]) -> f64 {
        self.encoding.term(term, cells.get(term.feature).copied().unwrap_or(Cell::Missing))
    }

    pub(super) fn check(&self) -> Result<(), ChurnError> {
        self.encoding.check()?;
        let finite = self.intercept.is_finite() && self.coefficients.iter().all(|one| one.is_finite());
        if finite && self.coefficients.len() == self.encoding.terms().len() {
            Ok(())
        } else {
            Err(ChurnError::Malformed("coefficients"))
        }
    }
}

struct Problem<'p> {
    encoding: &'p Encoding,
    reader: Reader<'p>,
    terms: &'p [Term],
    labels: &'p [bool],
    lambda: f64,
}

/// What the objective is like where the coefficients are. The intercept is the first of them.
struct Place {
    coefficients: Vec<f64>,
    objective: f64,
    log_likelihood: f64,
    gradient: Vec<f64>,
    curvature: Symmetric,
}

impl Problem<'_> {
    fn at(&self, coefficients: Vec<f64>) -> Place {
        let width = coefficients.len();
        let (mut gradient, mut curvature) = (vec![0.0; width], Symmetric::zero(width));
        let (mut cells, mut values) = (Vec::new(), vec![1.0; width]);
        let mut log_likelihood = 0.0;
        for (row, label) in self.labels.iter().enumerate() {
            self.reader.read(row, &mut cells);
            for (value, term) in values.iter_mut().skip(1).zip(self.terms) {
                *value = self.encoding.term(term, cells.get(term.feature).copied().unwrap_or(Cell::Missing));
            }
            let log_odds: f64 = coefficients.iter().zip(&values).map(|(one, value)| one * value).sum();
            let risk = sigmoid(log_odds);
            log_likelihood -= if *label { softplus(-log_odds) } else { softplus(log_odds) };
            let (error, weight) = (risk - f64::from(*label), risk * (1.0 - risk));
            let lines = curvature.values.chunks_exact_mut(width);
            for (place, ((value, gradient), line)) in values.iter().zip(&mut gradient).zip(lines).enumerate() {
                // Most terms are 0.
                if value.abs() > 0.0 {
                    *gradient += error * value;
                    let weighted = weight * value;
                    line.iter_mut()
                        .zip(values.iter().take(place + 1))
                        .for_each(|(sum, other)| *sum += weighted * other);
                }
            }
        }
        let mut objective = -log_likelihood;
        for (place, coefficient) in coefficients.iter().enumerate().skip(1) {
            objective += self.lambda / 2.0 * coefficient * coefficient;
            gradient[place] += self.lambda * coefficient;
            curvature.values[place * width + place] += self.lambda;
        }
        Place { coefficients, objective, log_likelihood, gradient, curvature }
    }
}

struct Descent {
    place: Place,
    steps: usize,
    converged: bool,
}

/// Newton's method; a step after which the objective is higher is halved.
fn descend(problem: &Problem<'_>, start: Vec<f64>) -> Descent {
    let mut place = problem.at(start);
    for steps in 0..MAX_STEPS {
        let Some(step) = place.curvature.clone().solve(&place.gradient) else {
            return Descent { place, steps, converged: false };
        };
        // Twice what the step promises.
        let promised: f64 = place.gradient.iter().zip(&step).map(|(slope, step)| slope * step).sum();
        let at_rest = promised <= AT_REST * (1.0 + place.objective.abs());
        let (mut next, mut length) = (problem.at(moved(&place.coefficients, &step, 1.0)), 1.0);
        // At rest only rounding tells places apart.
        for _ in 0..MAX_HALVINGS {
            if at_rest || next.objective <= place.objective {
                break;
            }
            length /= 2.0;
            next = problem.at(moved(&place.coefficients, &step, length));
        }
        if !at_rest && next.objective > place.objective {
            return Descent { place, steps, converged: false };
        }
        place = next;
        if at_rest {
            return Descent { place, steps: steps + 1, converged: true };
        }
    }
    Descent { place, steps: MAX_STEPS, converged: false }
}

fn moved(coefficients: &[f64], step: &[f64], length: f64) -> Vec<f64> {
    coefficients.iter().zip(step).map(|(coefficient, step)| coefficient - length * step).collect()
}

/// 1 / (1 + e^-x), without overflow.
pub(super) fn sigmoid(log_odds: f64) -> f64 {
    if log_odds >= 0.0 {
        1.0 / (1.0 + (-log_odds).exp())
    } else {
        let odds = log_odds.exp();
        odds / (1.0 + odds)
    }
}

/// ln(1 + e^x), without overflow.
pub(super) fn softplus(value: f64) -> f64 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}
