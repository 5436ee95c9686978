//! The tables of lifecycle.

pub mod migrations;
pub mod transitions;
pub mod warning_lists;
pub mod warning_policies;
pub mod warnings;
