//! What ingest on SQLite is compared with: prepared multi-row inserts into the same table, in the same order, with the same commits.

use crate::generator::{self, Orders, StoredOrder};
use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of one statement.
const ROWS_PER_STATEMENT: usize = 128;

const TABLE: &str = "CREATE TABLE order_fact (tenant_id integer NOT NULL, subject_id bigint NOT NULL, \
     source text NOT NULL, event_id text NOT NULL, body_hash blob NOT NULL, occurred_at bigint NOT NULL, \
     channel text NOT NULL, amount_minor bigint NOT NULL, lines blob NOT NULL, currency integer NOT NULL, profit_minor bigint, \
     PRIMARY KEY (tenant_id, subject_id, source, event_id)) WITHOUT ROWID";

/// Writes the orders into a new file, in commits of these sizes. Returns the time of the writing alone: the values of each commit are
/// made before its clock starts.
pub async fn write(path: &Path, orders: &Orders, commits: &[usize]) -> anyhow::Result<Duration> {
    let mut connection = open(path).await?;
    sqlx::query(TABLE).execute(&mut connection).await?;
    let full: Arc<str> = statement(ROWS_PER_STATEMENT).into();
    let mut elapsed = Duration::ZERO;
    let mut first = 0;
    for rows in commits {
        let stored: Vec<_> = (first..first + rows).map(|place| StoredOrder::new(orders, place)).collect();
        first += rows;
        let begun = Instant::now();
        let mut transaction = connection.begin_with(sqlx::SqlSafeStr::into_sql_str("BEGIN IMMEDIATE")).await?;
        for chunk in stored.chunks(ROWS_PER_STATEMENT) {
            let sql = if chunk.len() == ROWS_PER_STATEMENT { full.clone() } else { statement(chunk.len()).into() };
            insert(&mut transaction, sql, chunk).await?;
        }
        transaction.commit().await?;
        elapsed += begun.elapsed();
    }
    anyhow::ensure!(first == orders.len(), "{first} of {} orders were committed", orders.len());
    connection.close().await?;
    Ok(elapsed)
}

/// With the settings of the service.
async fn open(path: &Path) -> anyhow::Result<SqliteConnection> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-65536")
        .connect()
        .await
        .with_context(|| format!("{} does not open", path.display()))
}

fn statement(rows: usize) -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    format!("INSERT INTO order_fact VALUES {}", vec![row; rows].join(", "))
}

async fn insert(connection: &mut SqliteConnection, sql: Arc<str>, orders: &[StoredOrder]) -> anyhow::Result<()> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for order in orders {
        query = query
            .bind(1)
            .bind(order.subject_id)
            .bind(generator::SOURCE)
            .bind(order.event_id.as_str())
            .bind(order.body_hash.as_slice())
            .bind(order.occurred_at)
            .bind(order.channel.as_str())
            .bind(order.amount_minor)
            .bind(order.lines.as_slice())
            // In the base currency, with no profit said.
            .bind(0)
            .bind(None::<i64>);
    }
    let written = query.execute(connection).await?.rows_affected();
    anyhow::ensure!(written == orders.len() as u64, "{written} of {} orders were written", orders.len());
    Ok(())
}
