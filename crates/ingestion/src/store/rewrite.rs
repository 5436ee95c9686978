//! The rewrite of the key table behind erasures: a deleted row can be read in data files until its pages are written anew.

use quintile_store::{Database, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use std::time::Duration;

/// How often it is tried to get past readers, and how long after each other.
const ATTEMPTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// Writes the key table anew, and has the database let go of what was there before. Returns what there is to tell of it, or `None`
/// where it has to be done again.
pub async fn rewrite_keys(database: &Database) -> Result<Option<String>, StoreError> {
    match database.backend() {
        DbBackend::Postgres => rewrite_on_postgres(database).await,
        _ => rewrite_on_sqlite(database).await,
    }
}

async fn rewrite_on_postgres(database: &Database) -> Result<Option<String>, StoreError> {
    let connection = database.writer();
    if !is_seen_by_nobody(database).await? {
        return Ok(None);
    }
    connection.execute_unprepared("VACUUM FULL customer_key").await?;
    let mut told = vec!["the key table was rewritten".to_owned()];
    let steps = [("CHECKPOINT", "a checkpoint"), ("SELECT pg_switch_wal()", "a switch of the write-ahead log")];
    for (statement, step) in steps {
        // Both need a right that a database's owner may not have.
        match connection.execute_unprepared(statement).await {
            Ok(_) => told.push(format!("{step} was made")),
            Err(DbErr::Conn(error)) => return Err(DbErr::Conn(error).into()),
            Err(_) => told.push(format!("{step} is not permitted to this role: an operator has to make it")),
        }
    }
    Ok(Some(told.join("; ")))
}

/// Waits until no transaction sees what was deleted before now: a rewrite keeps the rows that one may still read. Returns whether that has come.
async fn is_seen_by_nobody(database: &Database) -> Result<bool, StoreError> {
    let connection = database.writer();
    let now = Statement::from_string(DbBackend::Postgres, "SELECT pg_current_xact_id()::text AS now");
    let now = connection.query_one_raw(now).await?.ok_or_else(|| DbErr::RecordNotFound("a transaction".to_owned()))?;
    let now: String = now.try_get("", "now")?;
    // Whoever begins to read later sees what those have done who have ended: all before `now`. Standbys keep rows by a slot, too; vacuums keep none.
    let all_ended = Statement::from_string(
        DbBackend::Postgres,
        format!(
            "SELECT pg_snapshot_xmin(pg_current_snapshot()) > '{now}'::xid8 AND NOT EXISTS (SELECT FROM pg_stat_activity \
             WHERE (datname = current_database() OR datname IS NULL) AND pid <> pg_backend_pid() \
             AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum) AND age(backend_xmin) > age('{now}'::xid8::xid)) \
             AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE age(xmin) > age('{now}'::xid8::xid)) AS ended"
        ),
    );
    for _ in 0..ATTEMPTS {
        let row = connection.query_one_raw(all_ended.clone()).await?;
        if row.is_some_and(|row| row.try_get("", "ended").unwrap_or(false)) {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}

async fn rewrite_on_sqlite(database: &Database) -> Result<Option<String>, StoreError> {
    let made = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'customer_key'";
    let transaction = database.begin().await?;
    let row = transaction.query_one_raw(Statement::from_string(DbBackend::Sqlite, made)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("customer_key".to_owned()))?;
    let made: String = row.try_get("", "sql")?;
    // A page that was split or filled anew may keep a copy of a row outside its cells, where `secure_delete` does not look; the pages
    // of a dropped table it wipes whole.
    transaction.execute_unprepared(&made.replacen("customer_key", "customer_key_rewritten", 1)).await?;
    transaction.execute_unprepared("INSERT INTO customer_key_rewritten SELECT * FROM customer_key").await?;
    transaction.execute_unprepared("DROP TABLE customer_key").await?;
    transaction.execute_unprepared("ALTER TABLE customer_key_rewritten RENAME TO customer_key").await?;
    transaction.commit().await?;
    for attempt in 1..=ATTEMPTS {
        if database.empty_log().await? {
            let told = format!("the key table was rewritten; the write-ahead log was emptied at attempt {attempt}");
            return Ok(Some(told));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(None)
}
