//! What a playbook brought about: those whom it was meant for against those whom it was kept from, by chance alone.
//!
//! Pure: an [`Experiment`] says on which side a customer is, [`Arm`]s count what customers did, [`effect`] compares two
//! of them, and a [`Ranking`] orders what could be done next. Nothing here knows a clock, a database or a stored form.
//!
//! Behind `GetPlaybookOutcome` and, the ranking, `GetNextBestActions`.
//!
//! An arm holds everybody who was *assigned* to it, whether or not a message went out: consent, quiet hours and caps
//! let a playbook reach those who buy anyway, and comparing the reached with the holdout would count that as its merit.
//!
//! The intervals are at 95 %, each by itself: of twenty variants that do nothing one is expected to show something. How
//! often they hold is what the simulations among the tests are for. There are no p-values: an interval that leaves out
//! 0 says the same, and says how much.
//!
//! To measure something else of a customer, add its sums to [`Arm`] and an [`Estimate`] to [`Effect`].

mod arm;
mod assignment;
mod effect;
mod interval;
mod ranking;
#[cfg(test)]
mod tests;

pub use arm::{Arm, MAX_REVENUE_MINOR, Observed};
pub use assignment::{BASIS_POINTS, Experiment, ExperimentError, MAX_VARIANTS, MAX_WEIGHT, Side};
pub use effect::{Adjustment, Effect, MIN_BUYERS, MIN_CONVERTED, MIN_CUSTOMERS, Outcome, effect};
pub use interval::{Estimate, Interval, Verdict};
pub use ranking::{Candidate, Ranked, Ranking, Standing};
