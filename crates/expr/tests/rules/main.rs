//! The rule language from outside: what it accepts, what it refuses and how, and who matches.

mod accepts;
mod customers;
mod matches;
mod properties;
mod rejects;
