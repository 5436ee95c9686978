//! What the storage chassis guarantees, the same on SQLite and PostgreSQL. One file per module of the chassis.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in a guarantee fails its test")]

mod audit;
mod bulk;
mod committer;
mod copies;
mod feed;
mod follower;
mod idempotency;
mod inspection;
mod keys;
mod lease;
mod liveness;
mod migrations;
mod readers;
mod records;
mod sealing;
mod statistics;
mod tenants;
mod transactions;
