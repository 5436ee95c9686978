//! Bringing schemas up to date: once, whoever and however many try.

use futures::future::join_all;
use quintile_store::migration::migrate;
use quintile_store::{Database, StoreError};
use quintile_tests::{FEED, Migrator, TENANT, TestStore, commit, on_both_databases};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::prelude::*;

on_both_databases! {
    migrating_again_keeps_what_is_there,
    four_processes_that_migrate_at_once_leave_one_schema,
    a_migration_that_fails_leaves_the_schema_as_it_was,
    the_planner_keeps_no_sample_of_bytes,
    an_older_version_starts_where_a_newer_one_has_been,
    services_do_not_see_each_others_tables,
}

async fn applied(database: &Database) -> Vec<String> {
    let query = Statement::from_string(database.backend(), "SELECT version FROM seaql_migrations ORDER BY version");
    let rows = database.reader().query_all_raw(query).await.unwrap();
    rows.iter().map(|row| row.try_get("", "version").unwrap()).collect()
}

async fn migrating_again_keeps_what_is_there(store: TestStore) {
    let seq = commit(&store.database, &[(1, b"kept".to_vec())]).await.unwrap();
    migrate::<Migrator>(&store.database).await.unwrap();
    migrate::<Migrator>(&store.open_again().await).await.unwrap();
    assert_eq!(applied(&store.database).await, ["m0001_chassis", "m0002_variety"]);
    assert_eq!(quintile_store::feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), seq);
}

async fn four_processes_that_migrate_at_once_leave_one_schema(store: TestStore) {
    for round in 0..5 {
        let service = format!("service-{round}");
        let migrated = join_all((0..4).map(|_| {
            let (store, service) = (store.clone(), service.clone());
            tokio::spawn(async move {
                let database = store.open(&service).await;
                migrate::<Migrator>(&database).await.unwrap();
                commit(&database, &[(1, Vec::new())]).await.unwrap()
            })
        }))
        .await;
        let mut seqs: Vec<_> = migrated.into_iter().map(|seq| seq.unwrap()).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [1, 2, 3, 4]);
        assert_eq!(applied(&store.open(&service).await).await, ["m0001_chassis", "m0002_variety"]);
    }
}

struct FailsAtItsEnd;

#[async_trait::async_trait]
impl MigratorTrait for FailsAtItsEnd {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = Migrator::migrations();
        migrations.push(Box::new(M0003Fails));
        migrations
    }
}

struct M0003Fails;

impl MigrationName for M0003Fails {
    fn name(&self) -> &'static str {
        "m0003_fails"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Fails {
    async fn up(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Custom("as the test has it".to_owned()))
    }
}

async fn a_migration_that_fails_leaves_the_schema_as_it_was(store: TestStore) {
    let database = store.open("unlucky").await;
    let failed = migrate::<FailsAtItsEnd>(&database).await;
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    let count = quintile_store::records::count(&database, TENANT).await;
    assert!(count.is_err(), "a table is there that a migration before the failed one made");
    migrate::<Migrator>(&database).await.unwrap();
    assert_eq!(applied(&database).await, ["m0001_chassis", "m0002_variety"]);
}

struct Newer;

#[async_trait::async_trait]
impl MigratorTrait for Newer {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = Migrator::migrations();
        migrations.push(Box::new(M0003Newer));
        migrations
    }
}

struct M0003Newer;

impl MigrationName for M0003Newer {
    fn name(&self) -> &'static str {
        "m0003_newer"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Newer {
    async fn up(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

async fn an_older_version_starts_where_a_newer_one_has_been(store: TestStore) {
    migrate::<Newer>(&store.database).await.unwrap();
    migrate::<Migrator>(&store.open_again().await).await.unwrap();
    commit(&store.database, &[(1, b"as before".to_vec())]).await.unwrap();
    assert_eq!(applied(&store.database).await, ["m0001_chassis", "m0002_variety", "m0003_newer"]);
}

/// Of bytes none may be left when a customer is erased, and a sample stays when its row goes.
async fn the_planner_keeps_no_sample_of_bytes(store: TestStore) {
    let database = &store.database;
    if database.backend() != DbBackend::Postgres {
        return;
    }
    let customers: Vec<_> = (1..=300).map(|customer| (customer, format!("body {customer}").into_bytes())).collect();
    commit(database, &customers).await.unwrap();
    database.reader().execute_unprepared("ANALYZE customer_record").await.unwrap();
    let query = "SELECT attname::text AS part FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'customer_record'";
    let rows = database.reader().query_all_raw(Statement::from_string(database.backend(), query)).await.unwrap();
    let sampled: Vec<String> = rows.iter().map(|row| row.try_get("", "part").unwrap()).collect();
    assert!(sampled.contains(&"customer_id".to_owned()) && !sampled.contains(&"body".to_owned()), "{sampled:?}");
}

async fn services_do_not_see_each_others_tables(store: TestStore) {
    let other = store.open("other-service").await;
    migrate::<Migrator>(&other).await.unwrap();
    commit(&other, &[(1, Vec::new())]).await.unwrap();
    assert_eq!(quintile_store::feed::head(other.reader(), TENANT, FEED).await.unwrap(), 1);
    assert_eq!(quintile_store::feed::head(store.database.reader(), TENANT, FEED).await.unwrap(), 0);
}
