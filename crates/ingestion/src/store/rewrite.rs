//! The rewrite of the key table behind erasures: a deleted row can be read in data files until its pages are written anew.

use quintile_store::{Database, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use std::time::Duration;

/// How often a log that readers keep busy is tried, and how long after each other.
const LOG_ATTEMPTS: u32 = 40;
const LOG_PAUSE: Duration = Duration::from_millis(250);

/// Writes the key table anew, and has the database let go of what was there before. Returns what there is to tell of it, or `None`
/// where it has to be done again.
pub async fn rewrite_keys(database: &Database) -> Result<Option<String>, StoreError> {
    match database.backend() {
        DbBackend::Postgres => Ok(Some(rewrite_on_postgres(database).await?)),
        _ => rewrite_on_sqlite(database).await,
    }
}

async fn rewrite_on_postgres(database: &Database) -> Result<String, StoreError> {
    let connection = database.writer();
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
    Ok(told.join("; "))
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
    for attempt in 1..=LOG_ATTEMPTS {
        if database.empty_log().await? {
            let told = format!("the key table was rewritten; the write-ahead log was emptied at attempt {attempt}");
            return Ok(Some(told));
        }
        tokio::time::sleep(LOG_PAUSE).await;
    }
    Ok(None)
}
