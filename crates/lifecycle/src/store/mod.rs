//! The tables of lifecycle.

pub mod migrations;
pub mod transitions;
