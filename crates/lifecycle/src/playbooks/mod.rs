//! Playbooks: what is done by itself when something happens to a customer.
//!
//! Pure: [`check`] says whether a definition makes sense, [`triggers`] whether something begins a run, [`dates`] when a day does, and a [`Run`] goes through
//! its steps, as of an instant and of what is known of the customer. What it brings about comes back as [`Action`]s. Nothing here knows a clock, a database
//! or a stored form.
//!
//! To add a step, add it to the contract, to [`check`], and to `run::Run::take_step`.

mod check;
mod contact;
pub mod dates;
pub mod emails;
mod rewards;
mod run;
mod segments;
mod templates;
#[cfg(test)]
mod tests;
pub mod triggers;

pub(crate) use check::{Checked, check_named, text, within, wrong};
pub use check::{DEFAULT_GOAL_DAYS, Problem, check};
pub use contact::{ContactRules, permits};
pub use rewards::{grants_anything, offers_of, tiers_of};
pub use run::{Action, Customer, Measured, Message, Occasion, Run, Standing, experiment};
pub use segments::segments_of;
pub use templates::{template, templates};
