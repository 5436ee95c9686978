//! The tables of ingestion, and what is done with them in one transaction.

pub mod attributes;
pub mod batches;
pub mod conflicts;
pub mod consents;
pub mod customers;
pub mod entities;
pub mod erasures;
pub mod facts;
mod hashes;
pub mod identities;
pub mod keys;
pub mod merges;
pub mod migrations;
pub mod openings;
pub mod privacy;
pub mod rates;
pub mod referrals;
pub mod rejects;
pub mod response_targets;
pub mod retention;
pub mod rewrite;
pub mod spend;
pub mod streams;
#[cfg(test)]
pub mod town;
pub mod traits;
pub mod waiting;
