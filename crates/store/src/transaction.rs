//! Transactions that write. Statements of the query builder run in them as they do on a connection; what is written in bulk goes to the
//! driver as it is, with no value of it copied or boxed on the way.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Database, IntoArguments, Postgres, Sqlite};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

/// A transaction. Dropped without a commit, it is rolled back. Behind a statement that failed there is no other: PostgreSQL refuses it, and SQLite,
/// which may have rolled everything back by itself, would run it alone and keep what it writes.
pub struct Transaction {
    driven: Driven,
    /// Why the first statement failed that did: told of every one behind it, too.
    failure: OnceLock<Arc<sqlx::Error>>,
}

/// A transaction of a driver. The lock has statements run one after the other, whoever awaits them.
enum Driven {
    Postgres(Mutex<sqlx::Transaction<'static, Postgres>>),
    Sqlite(Mutex<sqlx::Transaction<'static, Sqlite>>),
}

impl From<sqlx::Transaction<'static, Postgres>> for Transaction {
    fn from(transaction: sqlx::Transaction<'static, Postgres>) -> Self {
        Self { driven: Driven::Postgres(Mutex::new(transaction)), failure: OnceLock::new() }
    }
}

impl From<sqlx::Transaction<'static, Sqlite>> for Transaction {
    fn from(transaction: sqlx::Transaction<'static, Sqlite>) -> Self {
        Self { driven: Driven::Sqlite(Mutex::new(transaction)), failure: OnceLock::new() }
    }
}

/// Runs the same on either driver's connection.
macro_rules! on_either {
    ($transaction:expr, $connection:ident => $result:expr) => {
        match &$transaction.driven {
            Driven::Postgres(transaction) => {
                let mut transaction = transaction.lock().await;
                $transaction.goes_on()?;
                let $connection = &mut **transaction;
                $transaction.noted($result)
            }
            Driven::Sqlite(transaction) => {
                let mut transaction = transaction.lock().await;
                $transaction.goes_on()?;
                let $connection = &mut **transaction;
                $transaction.noted($result)
            }
        }
    };
}

impl Transaction {
    /// Makes everything that was written in it last.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.goes_on()?;
        match self.driven {
            Driven::Postgres(transaction) => transaction.into_inner().commit().await,
            Driven::Sqlite(transaction) => transaction.into_inner().commit().await,
        }
        .map_err(failed)
    }

    /// Takes everything back that was written in it.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match self.driven {
            Driven::Postgres(transaction) => transaction.into_inner().rollback().await,
            Driven::Sqlite(transaction) => transaction.into_inner().rollback().await,
        }
        .map_err(failed)
    }

    /// Refuses what comes behind a statement that failed.
    fn goes_on(&self) -> Result<(), DbErr> {
        self.failure.get().map_or(Ok(()), |failure| Err(DbErr::Exec(RuntimeErr::SqlxError(failure.clone()))))
    }

    /// Takes note of what became of a statement.
    fn noted<T>(&self, result: sqlx::Result<T>) -> Result<T, DbErr> {
        result.map_err(|error| {
            let error = Arc::new(error);
            // Where one has failed before, this one was refused.
            let _ = self.failure.set(error.clone());
            DbErr::Exec(RuntimeErr::SqlxError(error))
        })
    }

    /// The number of rows that a statement of PostgreSQL has written. Only there.
    pub(crate) async fn write_postgres(&self, sql: &str, arguments: PgArguments) -> Result<u64, DbErr> {
        let Driven::Postgres(transaction) = &self.driven else { return Err(wrong_driver()) };
        let mut transaction = transaction.lock().await;
        self.goes_on()?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        Ok(self.noted(query.execute(&mut **transaction).await)?.rows_affected())
    }

    /// The number that a function of PostgreSQL returns. Only there.
    pub(crate) async fn call_postgres(&self, sql: &str, arguments: PgArguments) -> Result<i64, DbErr> {
        let Driven::Postgres(transaction) = &self.driven else { return Err(wrong_driver()) };
        let mut transaction = transaction.lock().await;
        self.goes_on()?;
        let query = sqlx::query_scalar_with(AssertSqlSafe(sql), arguments);
        self.noted(query.fetch_one(&mut **transaction).await)
    }

    /// The number of rows that a statement of SQLite has written. Only there.
    pub(crate) async fn write_sqlite(&self, sql: &str, arguments: SqliteArguments) -> Result<u64, DbErr> {
        let Driven::Sqlite(transaction) = &self.driven else { return Err(wrong_driver()) };
        let mut transaction = transaction.lock().await;
        self.goes_on()?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        Ok(self.noted(query.execute(&mut **transaction).await)?.rows_affected())
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match self.driven {
            Driven::Postgres(_) => DbBackend::Postgres,
            Driven::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parted(statement);
        on_either!(self, connection => query(&sql, values).execute(connection).await.map(ExecResult::from))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        on_either!(self, connection => {
            sqlx::Executor::execute(connection, AssertSqlSafe(sql)).await.map(ExecResult::from)
        })
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = parted(statement);
        on_either!(self, connection => {
            query(&sql, values).fetch_optional(connection).await.map(|row| row.map(QueryResult::from))
        })
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parted(statement);
        on_either!(self, connection => {
            query(&sql, values).fetch_all(connection).await.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        })
    }
}

fn parted(statement: Statement) -> (String, SqlxValues) {
    (statement.sql, SqlxValues(statement.values.unwrap_or(sea_orm::Values(Vec::new()))))
}

fn query<D: Database>(sql: &str, values: SqlxValues) -> Query<'_, D, SqlxValues>
where
    SqlxValues: IntoArguments<D>,
{
    // Every statement is ours: what a client says is in its values.
    sqlx::query_with(AssertSqlSafe(sql), values)
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn wrong_driver() -> DbErr {
    DbErr::Custom("the transaction is of the other database".to_owned())
}
