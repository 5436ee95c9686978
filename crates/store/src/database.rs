//! Opening a service's database: one SQLite file, or one schema of a PostgreSQL database.

use crate::{Result, StoreError, Transaction, liveness, statistics};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, SqlxPostgresConnector,
    SqlxSqliteConnector, TransactionOptions, TransactionTrait,
};
use sqlx::Connection;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// Connections for reading; SQLite writes through one more.
const READERS: u32 = 8;
/// How long to wait for a lock or a free connection.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long PostgreSQL keeps a transaction, and its locks, of a process that says nothing: it may be stopped, or cut off from us.
const TRANSACTION_IDLE: &str = "20s";
/// Pages of SQLite's write-ahead log, 32 MB of them, behind which a commit brings them to their places. By SQLite's own 1,000 one of 200 small
/// commits would, and every large one.
const CHECKPOINT_PAGES: &str = "8192";
/// How long a new SQLite file that another process is making is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Where the services keep their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A folder with one SQLite file per service.
    SqliteFolder(PathBuf),
    /// A PostgreSQL database with one schema per service.
    Postgres(String),
}

/// An open database of one service.
#[derive(Clone)]
pub struct Database {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
}

impl Database {
    /// Opens the database of `service`, making the file or the schema if it is not there.
    pub async fn open(url: &DatabaseUrl, service: &str) -> Result<Self> {
        Self::open_with(url, service, READERS).await
    }

    /// Opens it with so many connections for reading.
    pub(crate) async fn open_with(url: &DatabaseUrl, service: &str, readers: u32) -> Result<Self> {
        match url {
            DatabaseUrl::SqliteFolder(folder) => {
                Self::open_sqlite(folder.join(format!("{service}.sqlite")), readers).await
            }
            DatabaseUrl::Postgres(url) => Self::open_postgres(url, &service.replace('-', "_"), readers).await,
        }
    }

    async fn open_sqlite(path: PathBuf, readers: u32) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledgement outlives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("secure_delete", "ON")
            .pragma("cache_size", "-65536")
            .statement_cache_capacity(256);
        let writer = connect_sqlite_writer(&options).await?;
        let pool = SqlitePoolOptions::new().max_connections(readers).test_before_acquire(false);
        let reader = pool.connect_with(options.read_only(true)).await?;
        Ok(Self {
            writer: SqlxSqliteConnector::from_sqlx_sqlite_pool(writer),
            reader: SqlxSqliteConnector::from_sqlx_sqlite_pool(reader),
        })
    }

    async fn open_postgres(url: &str, schema: &str, readers: u32) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Configuration("database_url is not a postgres URL".to_owned()))?
            .application_name("quintile")
            .options([("search_path", schema), ("idle_in_transaction_session_timeout", TRANSACTION_IDLE)]);
        let pool = PgPoolOptions::new()
            .max_connections(readers)
            .acquire_timeout(BUSY_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| Box::pin(liveness::is_there(connection, metadata.idle_for)));
        let pool = pool.connect_with(options).await?;
        let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
        // Two that make a schema at once collide in spite of IF NOT EXISTS; the lock ends with the transaction.
        let transaction = connection.begin().await?;
        transaction.execute_unprepared("SELECT pg_advisory_xact_lock(hashtextextended('quintile schemas', 0))").await?;
        // `schema` is a service's own name, never a client's word.
        transaction.execute_unprepared(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        transaction.commit().await?;
        tokio::spawn(statistics::keep(connection.clone()));
        Ok(Self { writer: connection.clone(), reader: connection })
    }

    /// The connection for reading.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// The connection for writing, for migrations.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Which database it is.
    pub fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// Begins a transaction that may write.
    pub async fn begin(&self) -> Result<Transaction> {
        if self.backend() == DbBackend::Sqlite {
            // A deferred transaction would find out at its first write that somebody else was faster.
            let begun = self.writer.get_sqlite_connection_pool().begin_with("BEGIN IMMEDIATE");
            return Ok(Box::pin(begun).await?.into());
        }
        // Boxed, since it would be a large part of everything that writes.
        Ok(Box::pin(self.writer.get_postgres_connection_pool().begin()).await?.into())
    }

    /// Begins a transaction of the kind that migrations are run in.
    pub(crate) async fn begin_migrations(&self) -> Result<DatabaseTransaction> {
        let immediate = (self.backend() == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
        Ok(self.writer.begin_with_options(options).await?)
    }

    /// Has what was deleted leave the write-ahead log of SQLite, where it would lie until that is written over. Returns whether it is done: not
    /// while somebody reads. PostgreSQL's is its operator's.
    pub async fn empty_log(&self) -> Result<bool> {
        if self.backend() != DbBackend::Sqlite {
            return Ok(true);
        }
        let mut connection = self.writer.get_sqlite_connection_pool().acquire().await?;
        // Whoever reads for long must not hold up those who write.
        sqlx::query("PRAGMA busy_timeout = 100").execute(&mut *connection).await?;
        let done = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
        let usual = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
        sqlx::query(sqlx::AssertSqlSafe(usual)).execute(&mut *connection).await?;
        let (busy, _, _): (i64, i64, i64) = done?;
        Ok(busy == 0)
    }

    /// Closes every connection; SQLite then leaves one file without a log beside it.
    pub async fn close(self) -> Result<()> {
        self.reader.close().await?;
        self.writer.close().await?;
        Ok(())
    }
}

/// Opens the writer of a SQLite file, making the file if it is not there.
async fn connect_sqlite_writer(options: &SqliteConnectOptions) -> Result<SqlitePool> {
    let end = Instant::now() + BUSY_TIMEOUT;
    loop {
        // One writer, or writers would wait for each other by polling.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_mins(1))
            // A file does not go away as a server does.
            .test_before_acquire(false)
            .after_release(|connection, _| Box::pin(is_free(connection)));
        match pool.connect_with(options.clone()).await {
            // Of two that turn a new file's log on, SQLite refuses one at once, whatever its busy timeout.
            Err(sqlx::Error::Database(error)) if is_busy(error.as_ref()) && Instant::now() < end => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Whether a connection that comes back may be used again. A full disk makes SQLite end a transaction by itself, and what then fails
/// to roll back is open for the driver still: what came next would go into it, and be acknowledged without ever being committed.
async fn is_free(connection: &mut SqliteConnection) -> std::result::Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // Its rollback may be under way; what is asked behind that is answered behind it.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Whether a database failed for want of room on its disk.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // SQLITE_FULL, and PostgreSQL's disk_full.
    matches!(code.as_deref(), Some("13" | "53100"))
}

pub(crate) fn is_busy(error: &dyn DatabaseError) -> bool {
    // The extended codes of SQLITE_BUSY have it in their low byte.
    error.code().and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| code & 0xff == 5)
}

#[cfg(test)]
mod tests {
    use crate::StoreError;
    use sea_orm::{DbErr, RuntimeErr};
    use sqlx::error::{DatabaseError, ErrorKind};
    use std::borrow::Cow;
    use std::fmt;
    use std::sync::Arc;

    /// What a database answers with this code.
    #[derive(Debug)]
    struct Refused(&'static str);

    impl fmt::Display for Refused {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl std::error::Error for Refused {}

    impl DatabaseError for Refused {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures_however_it_comes() {
        // SQLITE_FULL and disk_full; SQLITE_BUSY, cannot_connect_now and too_many_connections.
        for (code, is_full) in [("13", true), ("53100", true), ("5", false), ("57P03", false), ("53300", false)] {
            let cause = || sqlx::Error::Database(Box::new(Refused(code)));
            let runtime = || RuntimeErr::SqlxError(Arc::new(cause()));
            let ways: [StoreError; 4] = [
                cause().into(),
                DbErr::Conn(runtime()).into(),
                DbErr::Exec(runtime()).into(),
                DbErr::Query(runtime()).into(),
            ];
            for error in ways {
                assert_eq!(matches!(error, StoreError::Full), is_full, "{code}: {error:?}");
            }
        }
    }
}
