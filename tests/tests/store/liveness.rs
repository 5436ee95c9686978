//! A PostgreSQL that ends its connections: whoever asks first may be told, and nobody else.

use quintile_store::{Database, StoreError};
use quintile_tests::{Backend, TestStore, on};
use sea_orm::{ConnectionTrait, Statement};

/// Fewer than a database has connections for reading.
const CONNECTIONS: usize = 4;

#[tokio::test]
async fn of_connections_that_are_all_lost_at_once_at_most_the_first_is_used_on_postgres() {
    on(Backend::Postgres, all_lost_at_once).await;
}

async fn all_lost_at_once(store: TestStore) {
    let other = store.open("other").await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(store.database.begin().await.unwrap());
    }
    // All go back, and are trusted for a while.
    for transaction in held {
        transaction.commit().await.unwrap();
    }
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    other.reader().query_all_raw(Statement::from_string(other.backend(), terminate)).await.unwrap();
    let mut failures = Vec::new();
    for _ in 0..=CONNECTIONS {
        failures.extend(ask(&store.database).await.err());
    }
    // None where the database's own look at its tables came first.
    assert!(failures.len() <= 1, "{failures:?}");
    other.close().await.unwrap();
}

async fn ask(database: &Database) -> Result<(), StoreError> {
    database.reader().execute_unprepared("SELECT 1").await?;
    Ok(())
}
