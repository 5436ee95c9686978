//! The search for the most likely parameters, all of them positive: over their logarithms, by gradients.

use argmin::core::{CostFunction, Error, Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use std::cell::RefCell;
use thiserror::Error;

/// Corrections that the search remembers: more than there are parameters.
const MEMORY: usize = 7;
/// The longest search. One that has a maximum ends after some tens.
const MAX_ITERATIONS: u64 = 300;
/// The steepest slope of the mean log-likelihood, by the logarithm of a parameter, that counts as none.
const LEVEL: f64 = 1e-8;
/// The steepest that a search which ended otherwise may leave behind: parameters are then known to more than four digits.
const LEVEL_ENOUGH: f64 = 1e-6;
/// The smallest change of the mean log-likelihood between two steps that is one.
const SMALLEST_STEP: f64 = 1e-14;

/// Why there is no fit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FitError {
    /// Nobody has bought again: there is nothing to learn rates from.
    #[error("no customer has bought again")]
    NoRepeats,
    /// The search came to no number.
    #[error("the likelihood has no maximum that can be found")]
    NotFound,
    /// The spread of spending is such that it has no mean (q ≤ 1).
    #[error("the fitted spending has no mean: q is at most 1")]
    NoMeanSpend,
}

/// The parameters at which a log-likelihood is greatest. `slope` gives it and its derivatives; `customers` is what it is a sum over.
pub(super) fn maximise<const N: usize>(
    start: [f64; N],
    customers: f64,
    slope: impl Fn([f64; N]) -> (f64, [f64; N]),
) -> Result<[f64; N], FitError> {
    let problem = Problem { slope: &slope, customers, last: RefCell::new(None) };
    let search = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
        .with_tolerance_grad(LEVEL)
        .and_then(|search| search.with_tolerance_cost(SMALLEST_STEP))
        .map_err(|_| FitError::NotFound)?;
    let start: Vec<f64> = start.iter().map(|parameter| parameter.ln()).collect();
    let found = Executor::new(problem, search)
        .configure(|state| state.param(start).max_iters(MAX_ITERATIONS))
        .run()
        .map_err(|_| FitError::NotFound)?;
    let best = found.state().get_best_param().ok_or(FitError::NotFound)?;
    let best = positive(best);
    // A search that loses its way ends as one that has arrived does.
    let (_, steepness) = slope(best);
    let is_level = |(slope, parameter): (&f64, &f64)| (slope * parameter / customers).abs() <= LEVEL_ENOUGH;
    let arrived = best.iter().all(|parameter| parameter.is_finite()) && steepness.iter().zip(&best).all(is_level);
    if arrived { Ok(best) } else { Err(FitError::NotFound) }
}

/// Minimises the negative mean.
struct Problem<S, const N: usize> {
    slope: S,
    customers: f64,
    /// Value and gradient are asked for one after the other, and computed together.
    last: RefCell<Option<Computed>>,
}

/// Where, the value there, and the gradient.
type Computed = (Vec<f64>, f64, Vec<f64>);

impl<const N: usize, S: Fn([f64; N]) -> (f64, [f64; N])> Problem<S, N> {
    fn at(&self, logarithms: &[f64]) -> (f64, Vec<f64>) {
        if let Some((at, value, gradient)) = self.last.borrow().as_ref()
            && at == logarithms
        {
            return (*value, gradient.clone());
        }
        let parameters = positive::<N>(logarithms);
        let (value, slope) = (self.slope)(parameters);
        let mean = -value / self.customers;
        // Where there is no number the search ends.
        let value = if mean.is_finite() { mean } else { f64::MAX };
        let gradient: Vec<f64> =
            slope.iter().zip(parameters).map(|(slope, parameter)| -slope * parameter / self.customers).collect();
        *self.last.borrow_mut() = Some((logarithms.to_vec(), value, gradient.clone()));
        (value, gradient)
    }
}

fn positive<const N: usize>(logarithms: &[f64]) -> [f64; N] {
    std::array::from_fn(|index| logarithms[index].exp())
}

impl<const N: usize, S: Fn([f64; N]) -> (f64, [f64; N])> CostFunction for Problem<S, N> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, logarithms: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(logarithms).0)
    }
}

impl<const N: usize, S: Fn([f64; N]) -> (f64, [f64; N])> Gradient for Problem<S, N> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, logarithms: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(logarithms).1)
    }
}
