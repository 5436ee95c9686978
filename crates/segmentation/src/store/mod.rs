//! The tables of segmentation.

pub mod memberships;
pub mod migrations;
pub mod segments;
