//! Looking at a service's database without changing anything of it, whether the service runs or not: for an operator who wants to know what is wrong.

use crate::follower::Place;
use crate::keys::{self, KeyFault};
use crate::sealing::KeyEncryption;
use crate::tables::{feed_head, follower, wrapped_key};
use crate::{DatabaseUrl, Result, StoreError, audit, copies};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    SqlxPostgresConnector, SqlxSqliteConnector, Statement,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// How long to wait for a connection or a lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long PostgreSQL works on one of our questions.
const STATEMENT: &str = "10s";
/// Rows of a kind that are looked at: more would be no help to whoever reads.
const ROWS: u64 = 10_000;

/// A database that is looked at.
pub struct Inspection {
    connection: DatabaseConnection,
}

/// A worker's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The worker and its tenant: `features/1`.
    pub name: String,
    /// Which process has it.
    pub holder: String,
    /// When it ends unless it is renewed, by the database's clock.
    pub expires_at: Instant,
}

/// What PostgreSQL is set to, as far as an acknowledgement depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `fsync`.
    pub fsync: String,
    /// `synchronous_commit`.
    pub synchronous_commit: String,
    /// `full_page_writes`.
    pub full_page_writes: String,
    /// Whether it is a standby, which takes no writes.
    pub is_standby: bool,
}

/// Whether the keys of a database open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysFound {
    /// Keys that open.
    pub opened: u64,
    /// The ids of master keys that wrapped keys and are not among the master keys.
    pub missing: Vec<String>,
    /// Keys whose master key is there, and that do not open: rows that were changed.
    pub damaged: u64,
}

/// The audit log of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLog {
    /// How far it has come.
    pub standing: audit::Standing,
    /// Whether its last entry is the one that its head names.
    pub is_whole: bool,
    /// When the first entry was written that is not signed. `None`: all are.
    pub unsigned_since: Option<Instant>,
}

impl Inspection {
    /// Opens the database of a service, or its audit log, by name. `None`: there is no such file or schema.
    pub async fn open(url: &DatabaseUrl, name: &str) -> Result<Option<Self>> {
        match url {
            DatabaseUrl::SqliteFolder(folder) => open_sqlite(&folder.join(copies::file_name(name))).await,
            DatabaseUrl::Postgres(url) => open_postgres(url, &name.replace('-', "_")).await,
        }
    }

    /// The connection, which can't write.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Closes the connection.
    pub async fn close(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }

    async fn value<T: sea_orm::TryGetable>(&self, sql: &str) -> Result<T> {
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        let row = self.connection.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| sea_orm::DbErr::RecordNotFound("a value".to_owned()))?;
        Ok(row.try_get_by_index(0)?)
    }

    fn is_sqlite(&self) -> bool {
        self.connection.get_database_backend() == DbBackend::Sqlite
    }

    /// What it is: `SQLite 3.50.4`, `PostgreSQL 17.6`.
    pub async fn version(&self) -> Result<String> {
        if self.is_sqlite() {
            return Ok(format!("SQLite {}", self.value::<String>("SELECT sqlite_version()").await?));
        }
        let version: String = self.value("SHOW server_version").await?;
        Ok(format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default()))
    }

    /// The database's clock. SQLite's is this machine's.
    pub async fn now(&self) -> Result<Instant> {
        let sql = if self.is_sqlite() {
            "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
        } else {
            "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
        };
        Ok(Instant::from_micros(self.value(sql).await?))
    }

    /// The migrations that it has had, in order; none in a database that has just been made.
    pub async fn applied(&self) -> Result<Vec<String>> {
        let is_there = if self.is_sqlite() {
            "SELECT count(*) FROM sqlite_schema WHERE name = 'seaql_migrations'"
        } else {
            "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'seaql_migrations'"
        };
        if self.value::<i64>(is_there).await? == 0 {
            return Ok(Vec::new());
        }
        let sql = "SELECT version FROM seaql_migrations ORDER BY version";
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        let rows = self.connection.query_all_raw(statement).await?;
        rows.iter().map(|row| Ok::<_, StoreError>(row.try_get("", "version")?)).collect()
    }

    /// What PostgreSQL is set to. `None`: the database is SQLite, whose connections set it themselves.
    pub async fn durability(&self) -> Result<Option<Durability>> {
        if self.is_sqlite() {
            return Ok(None);
        }
        Ok(Some(Durability {
            fsync: self.value("SHOW fsync").await?,
            synchronous_commit: self.value("SHOW synchronous_commit").await?,
            full_page_writes: self.value("SHOW full_page_writes").await?,
            is_standby: self.value("SELECT pg_is_in_recovery()").await?,
        }))
    }

    /// Whether SQLite finds nothing wrong in the file, which it reads all of. PostgreSQL is not asked, and says so by `None`.
    pub async fn is_sound(&self) -> Result<Option<bool>> {
        if !self.is_sqlite() {
            return Ok(None);
        }
        Ok(Some(self.value::<String>("PRAGMA quick_check(1)").await? == "ok"))
    }

    /// Where the workers of feeds stand, by tenant.
    pub async fn places(&self) -> Result<Vec<(TenantId, String, Place)>> {
        let rows = follower::Entity::find().order_by_asc(follower::Column::TenantId).limit(ROWS);
        let rows = rows.all(&self.connection).await?;
        let place = |row: follower::Model| {
            let place = Place { cursor: row.cursor, facts_position: row.facts_position, time_micros: row.time_micros };
            (TenantId(row.tenant_id), row.feed, place)
        };
        Ok(rows.into_iter().map(place).collect())
    }

    /// The last position of a feed, by tenant.
    pub async fn heads(&self, feed: &str) -> Result<Vec<(TenantId, i64)>> {
        let rows = feed_head::Entity::find().filter(feed_head::Column::Feed.eq(feed));
        let rows = rows.order_by_asc(feed_head::Column::TenantId).limit(ROWS).all(&self.connection).await?;
        Ok(rows.into_iter().map(|row| (TenantId(row.tenant_id), row.seq)).collect())
    }

    /// The workers' leases, those that have ended included.
    pub async fn leases(&self) -> Result<Vec<Lease>> {
        let sql = format!("SELECT name, holder, expires_at_micros FROM lease ORDER BY name LIMIT {ROWS}");
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        let rows = self.connection.query_all_raw(statement).await?;
        let lease = |row: &sea_orm::QueryResult| {
            let expires_at = Instant::from_micros(row.try_get("", "expires_at_micros")?);
            Ok::<_, StoreError>(Lease {
                name: row.try_get("", "name")?,
                holder: row.try_get("", "holder")?,
                expires_at,
            })
        };
        rows.iter().map(lease).collect()
    }

    /// Opens the keys that the database keeps, and forgets them.
    pub async fn open_keys(&self, encryption: &dyn KeyEncryption) -> Result<KeysFound> {
        let rows = wrapped_key::Entity::find().order_by_asc(wrapped_key::Column::TenantId).limit(ROWS);
        let mut found = KeysFound::default();
        for row in rows.all(&self.connection).await? {
            match keys::opens(encryption, &row).await {
                Ok(()) => found.opened += 1,
                Err(KeyFault::NoMasterKey) => found.missing.push(row.key_id),
                Err(KeyFault::Damaged) => found.damaged += 1,
            }
        }
        found.missing.sort_unstable();
        found.missing.dedup();
        Ok(found)
    }

    /// How far the audit log of every tenant has come and is signed.
    pub async fn audit_logs(&self) -> Result<Vec<AuditLog>> {
        let mut logs = Vec::new();
        for standing in audit::standings(&self.connection).await? {
            let last = audit::page(&self.connection, standing.tenant, standing.head.seq - 1, 1).await?;
            let is_whole = match last.first() {
                // It may have grown since the head was read, and then the entry is there still.
                Some(entry) => entry.seq == standing.head.seq && entry.hash == standing.head.hash,
                None => standing.head.seq == 0,
            };
            let unsigned = audit::page(&self.connection, standing.tenant, standing.checkpoint_seq, 1).await?;
            logs.push(AuditLog { unsigned_since: unsigned.first().map(|entry| entry.at), standing, is_whole });
        }
        Ok(logs)
    }
}

async fn open_sqlite(file: &Path) -> Result<Option<Inspection>> {
    if !file.is_file() {
        return Ok(None);
    }
    let log = file.with_extension("sqlite-wal");
    let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(PATIENCE);
    // Without a log nobody has the file open. Whoever then opens it as usual leaves a log of his own there, which the service may not write to.
    let options = options.immutable(!log.exists()).disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_with(options).await?;
    Ok(Some(Inspection { connection: SqlxSqliteConnector::from_sqlx_sqlite_pool(pool) }))
}

async fn open_postgres(url: &str, schema: &str) -> Result<Option<Inspection>> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Configuration("database_url is not a postgres URL".to_owned()))?
        .application_name("quintile doctor")
        .options([("search_path", schema), ("default_transaction_read_only", "on"), ("statement_timeout", STATEMENT)])
        .disable_statement_logging();
    // A pool would try until its time is over, and then say no more than that.
    let connected = tokio::time::timeout(PATIENCE, options.connect()).await;
    let connection = connected.map_err(|_| StoreError::Configuration("the server does not answer".to_owned()))??;
    connection.close().await?;
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_with(options).await?;
    let inspection = Inspection { connection: SqlxPostgresConnector::from_sqlx_postgres_pool(pool) };
    let is_there: i64 = inspection.value("SELECT count(*) FROM pg_namespace WHERE nspname = current_schema()").await?;
    if is_there == 0 {
        inspection.close().await?;
        return Ok(None);
    }
    Ok(Some(inspection))
}
