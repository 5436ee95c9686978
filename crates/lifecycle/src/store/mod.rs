//! The tables of lifecycle.

pub mod migrations;
pub mod stage_policies;
pub mod transitions;
pub mod warning_lists;
pub mod warning_policies;
pub mod warnings;
