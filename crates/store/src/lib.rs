//! The storage chassis: what every service needs of a database, the same on SQLite and PostgreSQL.
//!
//! It opens and migrates databases, writes in bulk, groups commits, keeps records and the feeds that publish their changes, fences background
//! workers, keeps account of long work and of schedules, knows repeated requests, keeps keys, seals what must not be read, copies itself while it is
//! written, and is looked at without being changed. It knows nothing of
//! customers' business: a table with business columns belongs to the service that owns it. To add a chassis table, add its entity to `tables` and its
//! creation to `migration`.

pub mod audit;
pub mod bulk;
pub mod committer;
pub mod copies;
pub mod database;
pub mod failpoint;
pub mod feed;
pub mod follower;
pub mod history;
pub mod idempotency;
pub mod inspection;
pub mod keys;
pub mod lease;
mod liveness;
pub mod migration;
pub mod numbers;
pub mod operations;
pub mod records;
pub mod schedules;
pub mod sealing;
mod statistics;
mod tables;
mod transaction;

pub use database::{Database, DatabaseUrl};
pub use transaction::Transaction;

use thiserror::Error;

/// What can go wrong in storage, as far as a caller can do something about it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database refused, or is not there. The text is for logs, never for clients.
    #[error("database: {0}")]
    Database(sea_orm::DbErr),
    /// The database has no room left on its disk.
    #[error("the database's disk is full")]
    Full,
    /// Another worker has moved the cursor: this one's work is void.
    #[error("another worker has gone on from this cursor")]
    Fenced,
    /// The same request id came before with another body.
    #[error("the request id was used with another body")]
    RequestConflict,
    /// What was read is not what was written: a wrong key, a changed row or file.
    #[error("sealed data does not open: {0}")]
    Sealed(&'static str),
    /// The group commit has ended: the service is shutting down.
    #[error("the committer has stopped")]
    Stopped,
    /// What was to be committed made the committer panic. The log has its place.
    #[error("a commit panicked")]
    Panicked,
    /// The database URL, a master key or a file beside them is not usable.
    #[error("{0}")]
    Configuration(String),
}

impl From<sea_orm::DbErr> for StoreError {
    fn from(error: sea_orm::DbErr) -> Self {
        use sea_orm::{DbErr, RuntimeErr};
        if let DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) = &error
        {
            liveness::note(cause);
            if database::is_full(cause) {
                return Self::Full;
            }
        }
        Self::Database(error)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        liveness::note(&error);
        if database::is_full(&error) {
            return Self::Full;
        }
        Self::Database(sea_orm::DbErr::Custom(error.to_string()))
    }
}

/// A result of storage.
pub type Result<T> = std::result::Result<T, StoreError>;
