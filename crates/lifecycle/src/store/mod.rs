//! The tables of lifecycle.

pub mod churn_models;
pub mod churn_trainings;
pub mod contact_policies;
pub mod deliveries;
pub mod grants;
pub mod loyalty;
pub mod migrations;
pub mod offers;
pub mod playbooks;
pub mod runs;
pub mod stage_policies;
pub mod tasks;
pub mod transitions;
pub mod warning_lists;
pub mod warning_policies;
pub mod warnings;
