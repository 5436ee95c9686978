//! A PostgreSQL that ends its connections: whoever asks first is told, and nobody else.

use quintile_store::{Database, StoreError};
use quintile_tests::{Backend, TestStore, on};
use sea_orm::{ConnectionTrait, Statement};

/// Fewer than a database has connections for reading.
const CONNECTIONS: usize = 4;

#[tokio::test]
async fn of_connections_that_are_all_lost_at_once_only_the_first_is_used_on_postgres() {
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
    let first = ask(&store.database).await;
    assert!(matches!(first, Err(StoreError::Database(_))), "{first:?}");
    for _ in 0..CONNECTIONS {
        ask(&store.database).await.unwrap();
    }
    other.close().await.unwrap();
}

async fn ask(database: &Database) -> Result<(), StoreError> {
    database.reader().execute_unprepared("SELECT 1").await?;
    Ok(())
}
