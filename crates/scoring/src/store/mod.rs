//! The tables of scoring.

pub mod migrations;
pub mod models;
