//! Copies of several SQLite files: all as of one moment, and nothing in them that was deleted.

use quintile_store::copies::{self, CopiedFile};
use quintile_store::{Database, DatabaseUrl, Result};
use quintile_tests::eventually;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Rows beside what is looked at, so that copying takes a while.
const BALLAST: &str = "INSERT INTO ballast \
     WITH RECURSIVE number(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM number WHERE value < 3000) \
     SELECT value, randomblob(1000) FROM number";
const COPIES: usize = 10;

async fn open(folder: &Path, name: &str) -> Database {
    Database::open(&DatabaseUrl::SqliteFolder(folder.to_owned()), name).await.unwrap()
}

async fn run(database: &Database, statement: &str) {
    database.writer().execute_unprepared(statement).await.unwrap();
}

/// One service of a circle of two: how often it has moved, and how far it has seen the other one move.
async fn make(folder: &Path, name: &str) -> Database {
    let database = open(folder, name).await;
    run(&database, "CREATE TABLE place (moved INTEGER NOT NULL, seen INTEGER NOT NULL)").await;
    run(&database, "INSERT INTO place VALUES (0, 0)").await;
    run(&database, "CREATE TABLE ballast (id INTEGER PRIMARY KEY, filling BLOB NOT NULL)").await;
    run(&database, BALLAST).await;
    database
}

async fn place(database: &Database) -> (i64, i64) {
    let statement = Statement::from_string(DbBackend::Sqlite, "SELECT moved, seen FROM place");
    let row = database.reader().query_one_raw(statement).await.unwrap().unwrap();
    (row.try_get("", "moved").unwrap(), row.try_get("", "seen").unwrap())
}

/// Moves on behind the other one until told to stop.
async fn follow(own: Database, other: Database, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let (seen, _) = place(&other).await;
        run(&own, &format!("UPDATE place SET moved = moved + 1, seen = {seen}")).await;
    }
}

async fn copy(folder: &Path, names: &[&str]) -> Result<(TempDir, Vec<CopiedFile>)> {
    let target = tempfile::tempdir().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut copied = Vec::new();
    for begun in copies::begin(folder, &names, target.path()).await? {
        copied.push(begun.write().await?);
    }
    Ok((target, copied))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_of_files_that_follow_each_other_in_a_circle_are_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (make(folder.path(), "one").await, make(folder.path(), "two").await);
    let stop = Arc::new(AtomicBool::new(false));
    let followers = [
        tokio::spawn(follow(one.clone(), two.clone(), stop.clone())),
        tokio::spawn(follow(two.clone(), one.clone(), stop.clone())),
    ];
    for _ in 0..COPIES {
        // Both have gone on since the copies before.
        let (before_one, before_two) = (place(&one).await.0, place(&two).await.0);
        eventually("both move", || async { place(&one).await.0 > before_one && place(&two).await.0 > before_two })
            .await;
        let (copies, _) = copy(folder.path(), &["one", "two"]).await.unwrap();
        let (first, second) = (open(copies.path(), "one").await, open(copies.path(), "two").await);
        let ((moved_one, seen_by_one), (moved_two, seen_by_two)) = (place(&first).await, place(&second).await);
        assert!(moved_one > before_one && moved_two > before_two, "a copy is older than what was there before it");
        assert!(seen_by_one <= moved_two && seen_by_two <= moved_one, "a cursor is ahead of what it points into");
        first.close().await.unwrap();
        second.close().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for follower in followers {
        follower.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_has_every_table_and_index_and_nothing_that_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let database = make(folder.path(), "one").await;
    run(&database, "CREATE TABLE \"odd \"\"name\" (a TEXT NOT NULL, b BLOB, PRIMARY KEY (b, a)) WITHOUT ROWID").await;
    run(&database, "CREATE UNIQUE INDEX odd_index ON \"odd \"\"name\" (a)").await;
    run(&database, "INSERT INTO \"odd \"\"name\" VALUES ('kept', x'00ff'), ('a canary that is deleted', x'01')").await;
    run(&database, "ALTER TABLE place ADD COLUMN later TEXT DEFAULT 'added'").await;
    run(&database, "CREATE TABLE seaql_migrations (version TEXT PRIMARY KEY)").await;
    run(&database, "INSERT INTO seaql_migrations VALUES ('m2'), ('m1')").await;
    run(&database, "CREATE TABLE wrapped_key (key_id TEXT NOT NULL)").await;
    run(&database, "INSERT INTO wrapped_key VALUES ('b'), ('a'), ('b')").await;
    run(&database, "ANALYZE").await;
    // A page keeps what is deleted from it unless it is told otherwise, as our own connections are.
    run(&database, "PRAGMA secure_delete = OFF").await;
    run(&database, "DELETE FROM \"odd \"\"name\" WHERE b = x'01'").await;
    assert!(database.empty_log().await.unwrap());
    let canary = b"a canary that is deleted";
    let has_canary = |path: &Path| fs::read(path).unwrap().windows(canary.len()).any(|part| part == canary);
    assert!(has_canary(&folder.path().join("one.sqlite")));

    let (target, copied) = copy(folder.path(), &["one"]).await.unwrap();
    assert!(!has_canary(&target.path().join("one.sqlite")));
    let told = CopiedFile {
        name: "one.sqlite".to_owned(),
        migrations: vec!["m1".to_owned(), "m2".to_owned()],
        master_keys: vec!["a".to_owned(), "b".to_owned()],
    };
    assert_eq!(copied, [told]);
    let again = open(target.path(), "one").await;
    for question in [
        "SELECT group_concat(type || name || sql) AS told FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
        "SELECT group_concat(a || hex(b)) AS told FROM \"odd \"\"name\"",
        "SELECT group_concat(id || hex(filling)) AS told FROM ballast",
        "SELECT moved || later AS told FROM place",
    ] {
        assert_eq!(answer(&again, question).await, answer(&database, question).await, "{question}");
    }
}

async fn answer(database: &Database, question: &str) -> String {
    let statement = Statement::from_string(DbBackend::Sqlite, question);
    database.reader().query_one_raw(statement).await.unwrap().unwrap().try_get("", "told").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_writes_goes_on_while_a_copy_waits_for_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (make(folder.path(), "one").await, make(folder.path(), "two").await);
    let long = two.begin().await.unwrap();
    long.execute_unprepared("UPDATE place SET moved = 7").await.unwrap();
    let path = folder.path().to_owned();
    let waiting = tokio::spawn(async move { copy(&path, &["one", "two"]).await });
    // It can't have both locks, and gives the first one back.
    for _ in 0..5 {
        run(&one, "UPDATE place SET moved = moved + 1").await;
    }
    assert!(!waiting.is_finished());
    long.commit().await.unwrap();
    let (copies, _) = waiting.await.unwrap().unwrap();
    assert_eq!(place(&open(copies.path(), "one").await).await, (5, 0));
    assert_eq!(place(&open(copies.path(), "two").await).await, (7, 0));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_by_name_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), "one").await.close().await.unwrap();
    let problem = copy(folder.path(), &["one", "two"]).await.err().unwrap().to_string();
    assert!(problem.contains("two.sqlite"), "{problem}");
    assert!(!folder.path().join("two.sqlite").exists());
}
