//! The rule language from outside: what it accepts, what it refuses and how, and who matches.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod accepts;
mod customers;
mod formats;
mod matches;
mod properties;
mod rejects;
