//! Retention: how long customers stay, how many of those who began together are still there, and how they move between
//! stages.
//!
//! Pure: durations, months and stage spells go in, counts and curves come out. Nothing here knows a clock, a database
//! or a stored form; stages are codes, whatever they stand for. Formulas are those of the sheet's section 5.
//!
//! Everything is an accumulator that is filled customer by customer and keeps counts alone, so that six million need no
//! more memory than six.
//!
//! - [`Durations`] → [`Survival`] (Kaplan and Meier), and [`log_rank`] between two of them.
//! - [`Cohorts`]: by month of beginning, who is active how many months later. [`Period`]: retention between two instants.
//! - [`spells`] of transitions → [`History`], the stage spells of one customer → [`Funnel`], [`StageFlow`], [`StageTimes`].
//!
//! To add a report on stages, take a [`History`]: what it has checked need not be checked again.

mod cohorts;
mod durations;
mod error;
mod flow;
mod funnel;
mod history;
mod log_rank;
mod spells;
mod stage_times;
mod survival;
#[cfg(test)]
mod tests;

pub use cohorts::{Cell, Cohort, CohortTable, Cohorts, MAX_MONTHS, Period};
pub use durations::{Durations, MAX_DAYS, Spread};
pub use error::RetentionError;
pub use flow::{Change, StageFlow};
pub use funnel::{Funnel, FunnelStep, MAX_STEPS};
pub use history::{History, Spell};
pub use log_rank::{LogRank, log_rank};
pub use spells::{Step, spells};
pub use stage_times::{StageTime, StageTimes};
pub use survival::{Bounds, Quantile, RestrictedMean, Survival, SurvivalPoint};
