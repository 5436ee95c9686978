//! Copies of the SQLite files of several services, all as of one moment, while the services go on.
//!
//! Why one moment, and not one file after the other: services follow each other's feeds, and a copy in which a cursor is ahead of what it points into
//! would miss what is written there next. Copying whoever follows before whom it follows would do for the chain, but there is more than the chain:
//! playbooks of lifecycle follow the memberships of segmentation, which follows lifecycle; lifecycle tells ingestion of answered feedback; and
//! access-control keeps what it has signed of every audit log, and the numbers of tenants. No order is right for all of that.
//!
//! So the write locks of all files are taken, which is a moment at which nobody is in the middle of writing; a snapshot of each file is begun; and the
//! locks are let go. The snapshots show what a power cut at that moment would have left, and what that leaves the suite goes on from. Services wait for
//! the locks for milliseconds. Copying the snapshots takes as long as it takes, and holds up nobody.
//!
//! Rows are copied and not pages: of what was deleted nothing is in a copy, whatever the free pages of the source hold.

use crate::database::{BUSY_TIMEOUT, is_busy};
use crate::{Result, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait for the first lock: nobody else waits for us meanwhile, and a large commit may take a while.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the first lock is held while the others are waited for: well below what services wait for a lock.
const HOLD: Duration = Duration::from_secs(3);
/// How often it is tried to have all locks at once.
const ATTEMPTS: u32 = 20;
/// How often a lock is asked for. Not by SQLite's own waiting, which pauses for longer than the gap between two commits of a bulk load.
const POLL: Duration = Duration::from_millis(1);

/// The copy of one file, begun: it shows what was there at the moment of all copies.
pub struct BegunCopy {
    name: String,
    /// The new file as `main`, and the file that is copied as `source`.
    connection: SqliteConnection,
}

/// What a copied file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFile {
    /// Its name in the folder.
    pub name: String,
    /// The migrations that it has had, in order.
    pub migrations: Vec<String>,
    /// The ids of the master keys that wrapped its keys.
    pub master_keys: Vec<String>,
}

/// The name of a database's file in its folder.
pub fn file_name(database: &str) -> String {
    format!("{database}.sqlite")
}

/// Begins to copy databases of a folder, all as of one moment, into new files of another folder. Put those first that write the most.
pub async fn begin(folder: &Path, databases: &[String], target: &Path) -> Result<Vec<BegunCopy>> {
    let names: Vec<String> = databases.iter().map(|database| file_name(database)).collect();
    if let Some(missing) = names.iter().map(|name| folder.join(name)).find(|file| !file.is_file()) {
        return Err(StoreError::Configuration(format!("{} is not there", missing.display())));
    }
    let (mut locks, mut copies) = (Vec::new(), Vec::new());
    for name in names {
        let source = folder.join(&name);
        let options = SqliteConnectOptions::new().filename(&source).busy_timeout(Duration::ZERO);
        locks.push(options.disable_statement_logging().connect().await?);
        copies.push(BegunCopy::open(name, &source, target).await?);
    }
    let begun = look_at_once(&mut locks, &mut copies).await;
    for lock in locks {
        // The last who closes a file takes its log away, and leaves none of his own in a folder that is not his.
        lock.close().await?;
    }
    begun.map(|()| copies)
}

/// Begins all snapshots at a moment at which nobody writes.
async fn look_at_once(locks: &mut [SqliteConnection], copies: &mut [BegunCopy]) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let have_all = lock_all(locks).await;
        if matches!(have_all, Ok(true)) {
            for copy in &mut *copies {
                copy.look().await?;
            }
        }
        for lock in &mut *locks {
            // One that has no lock has nothing to give back.
            let _ = sqlx::query("ROLLBACK").execute(lock).await;
        }
        if have_all? {
            return Ok(());
        }
        tokio::time::sleep(HOLD).await;
    }
    let problem =
        "the databases are being written in transactions too long to find a moment between them: try again later";
    Err(StoreError::Configuration(problem.to_owned()))
}

/// Takes the write locks of all files. Returns whether it has them all: not where that would take others too long.
async fn lock_all(locks: &mut [SqliteConnection]) -> Result<bool> {
    let mut end = Instant::now() + PATIENCE;
    for (index, lock) in locks.iter_mut().enumerate() {
        while !try_lock(lock).await? {
            if Instant::now() >= end {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        if index == 0 {
            end = Instant::now() + HOLD;
        }
    }
    Ok(true)
}

async fn try_lock(connection: &mut SqliteConnection) -> Result<bool> {
    match sqlx::query("BEGIN IMMEDIATE").execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if is_busy(error.as_ref()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl BegunCopy {
    async fn open(name: String, source: &Path, target: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(target.join(&name))
            .create_if_missing(true)
            // A copy that is cut off is thrown away, and the caller has a whole one on the disk.
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            // With them SQLite would copy row by row what it can copy as it is.
            .foreign_keys(false)
            .busy_timeout(BUSY_TIMEOUT);
        let mut connection = options.disable_statement_logging().connect().await?;
        let source = source.to_str().ok_or_else(|| unusable(source))?;
        sqlx::query("ATTACH ? AS source").bind(source).execute(&mut connection).await?;
        Ok(Self { name, connection })
    }

    /// Begins the snapshot, which a first read does.
    async fn look(&mut self) -> Result<()> {
        sqlx::query("BEGIN").execute(&mut self.connection).await?;
        sqlx::query("SELECT count(*) FROM source.sqlite_schema").fetch_one(&mut self.connection).await?;
        Ok(())
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Copies what the snapshot shows and checks the copy. The file is whole when this returns, and on the disk when the caller has had it synced.
    pub async fn write(mut self) -> Result<CopiedFile> {
        let connection = &mut self.connection;
        // What SQLite makes by itself, indexes of keys and statistics, it makes again.
        let made: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT type, name, sql FROM source.sqlite_schema \
             WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid",
        )
        .fetch_all(&mut *connection)
        .await?;
        for (_, _, sql) in &made {
            // The database's own words, by which the table or index was made.
            sqlx::query(AssertSqlSafe(sql.as_str())).execute(&mut *connection).await?;
        }
        let tables: Vec<&str> =
            made.iter().filter(|(kind, ..)| kind == "table").map(|(_, name, _)| name.as_str()).collect();
        for table in &tables {
            let table = table.replace('"', "\"\"");
            let sql = format!("INSERT INTO main.\"{table}\" SELECT * FROM source.\"{table}\"");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        }
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        sqlx::query("DETACH source").execute(&mut *connection).await?;
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await?;
        if verdict != "ok" {
            return Err(StoreError::Sealed("the copy of a database is damaged"));
        }
        let migrations = column(connection, &tables, "seaql_migrations", "version").await?;
        let master_keys = column(connection, &tables, "wrapped_key", "key_id").await?;
        self.connection.close().await?;
        Ok(CopiedFile { name: self.name, migrations, master_keys })
    }
}

/// The different values of a column, in order; none where there is no such table.
async fn column(connection: &mut SqliteConnection, tables: &[&str], table: &str, name: &str) -> Result<Vec<String>> {
    if !tables.contains(&table) {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT DISTINCT {name} FROM {table} ORDER BY {name}");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await?)
}

fn unusable(path: &Path) -> StoreError {
    StoreError::Configuration(format!("{} is no path of UTF-8, which SQLite needs", path.display()))
}
