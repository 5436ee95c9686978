//! The tables of lifecycle.

pub mod migrations;
