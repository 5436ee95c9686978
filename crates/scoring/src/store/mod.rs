//! The tables of scoring.

pub mod changes;
pub mod migrations;
pub mod models;
pub mod values;
