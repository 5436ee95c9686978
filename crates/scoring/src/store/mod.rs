//! The tables of scoring.

pub mod changes;
pub mod fits;
pub mod migrations;
pub mod models;
pub mod products;
