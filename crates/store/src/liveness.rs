//! Which connections to PostgreSQL may be used unasked. A question before each use would be a round trip for every read and every transaction.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Error};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a connection may have been idle to be used unasked. Where the server goes meanwhile, what is asked of it is UNAVAILABLE.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// When a connection was last found to be lost. One for the process: its services share a server, and when that goes it takes all connections.
static LOST: Mutex<Option<Instant>> = Mutex::new(None);

/// Remembers it where an error says that a connection is lost: none that was idle then is used unasked.
pub fn note(error: &Error) {
    if is_lost(error) {
        *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Whether the server of a connection that has been idle for so long is there.
pub async fn is_there(connection: &mut PgConnection, idle: Duration) -> Result<bool, Error> {
    let lost = *LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if idle > TRUSTED_IDLE || lost.is_some_and(|lost| lost.elapsed() <= idle) {
        connection.ping().await?;
    }
    Ok(true)
}

fn is_lost(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // PostgreSQL's admin_shutdown, crash_shutdown and cannot_connect_now.
    matches!(error, Error::Io(_)) || matches!(code.as_deref(), Some("57P01" | "57P02" | "57P03"))
}
