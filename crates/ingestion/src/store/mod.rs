//! The tables of ingestion, and what is done with them in one transaction.

pub mod batches;
pub mod customers;
pub mod entities;
pub mod facts;
pub mod identities;
pub mod keys;
pub mod migrations;
