//! The tables of segmentation.

pub mod blocks;
mod clusterings;
pub mod column_blocks;
pub mod definitions;
pub mod evaluation;
pub mod lists;
pub mod log_retention;
pub mod memberships;
pub mod migrations;
pub mod own_fields;
pub mod snapshots;
