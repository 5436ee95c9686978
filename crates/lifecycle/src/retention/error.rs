//! Why there is no report.

use super::cohorts::MAX_MONTHS;
use super::funnel::MAX_STEPS;
use thiserror::Error;

/// What stands in the way. It names places and limits, never a value of a customer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RetentionError {
    /// A cohort table spans too little or too much.
    #[error("{0} months: there may be 1 to {MAX_MONTHS}")]
    MonthsOutOfRange(i64),
    /// Active months come in ascending order.
    #[error("active months must not descend")]
    MonthsDescend,
    /// A funnel has a step to begin with, and few enough to read.
    #[error("{0} steps: there may be 1 to {MAX_STEPS}")]
    StepsOutOfRange(usize),
    /// A step is a set of stages, each of which belongs to one step.
    #[error("step {0} has no stage of its own, or one that an earlier step has")]
    StepStages(usize),
    /// A spell ends before it begins, or begins before the one before it ended.
    #[error("spell {0} is out of order")]
    SpellOutOfOrder(usize),
    /// Only the last spell can go on.
    #[error("spell {0} has no end and is not the last")]
    SpellWithoutEnd(usize),
    /// A spell goes on with the stage of the one before it: the two are one.
    #[error("spell {0} changes nothing")]
    SpellUnchanged(usize),
}
