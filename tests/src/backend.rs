//! A database for every test: a folder of SQLite files, or a fresh database on the PostgreSQL server of the test run.

use crate::schema::Migrator;
use crate::waiting::LIMIT;
use quintile_store::{Database, DatabaseUrl, audit, migration};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// Where the PostgreSQL server of the test run is.
const POSTGRES_URL: &str = "QUINTILE_TEST_POSTGRES_URL";
/// PostgreSQL databases in use at once, each with up to three pools of eight: under a server's default of 100 connections.
static POSTGRES_PLACES: Semaphore = Semaphore::const_new(4);
/// The service whose database a test is given.
pub const SERVICE: &str = "conformance";

/// A database that the chassis runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The embedded one.
    Sqlite,
    /// The server.
    Postgres,
}

/// A test's own store: migrated, open, and gone when the test has ended.
#[derive(Clone)]
pub struct TestStore {
    /// The open database.
    pub database: Database,
    /// Which database it is.
    pub backend: Backend,
    url: DatabaseUrl,
}

impl TestStore {
    /// The same database, opened once more as another process would.
    pub async fn open_again(&self) -> Database {
        self.open(SERVICE).await
    }

    /// Where it is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The service's audit log, migrated.
    pub async fn open_audit(&self) -> Database {
        audit::open(&self.url, SERVICE).await.expect("an audit log beside a database that opened opens")
    }

    /// The database of another service beside it, without any tables if it was not there.
    pub async fn open(&self, service: &str) -> Database {
        Database::open(&self.url, service).await.expect("a database beside one that opened opens")
    }
}

/// Runs a guarantee on a database of its own, within [`LIMIT`], and removes the database whatever comes of it.
pub async fn on<F, Fut>(backend: Backend, guarantee: F)
where
    F: FnOnce(TestStore) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let home = Home::make(backend).await;
    let url = home.url();
    let database = Database::open(&url, SERVICE).await.expect("the test's own database opens");
    migration::migrate::<Migrator>(&database).await.expect("the test's own database migrates");
    let store = TestStore { database: database.clone(), backend, url };
    // A task of its own, so that its panic does not keep the database from being removed.
    let ended = tokio::spawn(tokio::time::timeout(LIMIT, guarantee(store))).await;
    database.close().await.expect("the test's own database closes");
    home.remove().await;
    match ended {
        Ok(in_time) => in_time.expect("a guarantee is shown within the limit"),
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

enum Home {
    Folder(TempDir),
    Server { url: String, name: String, _place: tokio::sync::SemaphorePermit<'static> },
}

impl Home {
    async fn make(backend: Backend) -> Self {
        if backend == Backend::Sqlite {
            return Self::Folder(TempDir::new().expect("a temporary folder can be made"));
        }
        let url = std::env::var(POSTGRES_URL).expect("set QUINTILE_TEST_POSTGRES_URL, or run `make test`");
        let place = POSTGRES_PLACES.acquire().await.expect("nobody closes the places");
        let server = sea_orm::Database::connect(&url).await.expect("the test run's PostgreSQL answers");
        // The server makes up the name: test binaries of several runs may share it.
        let name = "SELECT 'quintile_test_' || replace(gen_random_uuid()::text, '-', '') AS name";
        let row = server.query_one_raw(Statement::from_string(DbBackend::Postgres, name)).await;
        let row = row.expect("the server names a database").expect("a SELECT of a value has a row");
        let name: String = row.try_get("", "name").expect("the name is a text");
        server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database can be made");
        server.close().await.expect("the server's connection closes");
        Self::Server { url, name, _place: place }
    }

    fn url(&self) -> DatabaseUrl {
        match self {
            Self::Folder(folder) => DatabaseUrl::SqliteFolder(folder.path().to_owned()),
            Self::Server { url, name, .. } => {
                let (address, options) = url.split_once('?').map_or((url.as_str(), None), |(a, o)| (a, Some(o)));
                let (server, _) = address.rsplit_once('/').expect("a PostgreSQL URL ends by a database");
                let options = options.map(|options| format!("?{options}")).unwrap_or_default();
                DatabaseUrl::Postgres(format!("{server}/{name}{options}"))
            }
        }
    }

    async fn remove(self) {
        match self {
            Self::Folder(folder) => folder.close().expect("the temporary folder can be removed"),
            Self::Server { url, name, .. } => {
                let server = sea_orm::Database::connect(&url).await.expect("the test run's PostgreSQL answers");
                // A failed test leaves connections behind.
                let drop = format!("DROP DATABASE {name} WITH (FORCE)");
                server.execute_unprepared(&drop).await.expect("the test's own database can be removed");
                server.close().await.expect("the server's connection closes");
            }
        }
    }
}
