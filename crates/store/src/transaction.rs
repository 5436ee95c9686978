//! Transactions that write. Statements of the query builder run in them as they do on a connection; what is written in bulk goes to the
//! driver as it is, with no value of it copied or boxed on the way.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Database, IntoArguments, Postgres, Sqlite};
use tokio::sync::Mutex;

/// A transaction. Dropped without a commit, it is rolled back.
pub struct Transaction(Driven);

/// A transaction of a driver. Statements are awaited one after the other: the lock lets them go through a shared reference.
enum Driven {
    Postgres(Mutex<sqlx::Transaction<'static, Postgres>>),
    Sqlite(Mutex<sqlx::Transaction<'static, Sqlite>>),
}

impl From<sqlx::Transaction<'static, Postgres>> for Transaction {
    fn from(transaction: sqlx::Transaction<'static, Postgres>) -> Self {
        Self(Driven::Postgres(Mutex::new(transaction)))
    }
}

impl From<sqlx::Transaction<'static, Sqlite>> for Transaction {
    fn from(transaction: sqlx::Transaction<'static, Sqlite>) -> Self {
        Self(Driven::Sqlite(Mutex::new(transaction)))
    }
}

/// Runs the same on either driver's connection.
macro_rules! on_either {
    ($transaction:expr, $connection:ident => $result:expr) => {
        match &$transaction.0 {
            Driven::Postgres(transaction) => {
                let mut transaction = transaction.lock().await;
                let $connection = &mut **transaction;
                $result
            }
            Driven::Sqlite(transaction) => {
                let mut transaction = transaction.lock().await;
                let $connection = &mut **transaction;
                $result
            }
        }
    };
}

impl Transaction {
    /// Makes everything that was written in it last.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.0 {
            Driven::Postgres(transaction) => transaction.into_inner().commit().await,
            Driven::Sqlite(transaction) => transaction.into_inner().commit().await,
        }
        .map_err(failed)
    }

    /// Takes everything back that was written in it.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match self.0 {
            Driven::Postgres(transaction) => transaction.into_inner().rollback().await,
            Driven::Sqlite(transaction) => transaction.into_inner().rollback().await,
        }
        .map_err(failed)
    }

    /// The number of rows that a statement of PostgreSQL has written. Only there.
    pub(crate) async fn write_postgres(&self, sql: &str, arguments: PgArguments) -> Result<u64, DbErr> {
        let Driven::Postgres(transaction) = &self.0 else { return Err(wrong_driver()) };
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        Ok(query.execute(&mut **transaction.lock().await).await.map_err(failed)?.rows_affected())
    }

    /// The number that a function of PostgreSQL returns. Only there.
    pub(crate) async fn call_postgres(&self, sql: &str, arguments: PgArguments) -> Result<i64, DbErr> {
        let Driven::Postgres(transaction) = &self.0 else { return Err(wrong_driver()) };
        let query = sqlx::query_scalar_with(AssertSqlSafe(sql), arguments);
        query.fetch_one(&mut **transaction.lock().await).await.map_err(failed)
    }

    /// The number of rows that a statement of SQLite has written. Only there.
    pub(crate) async fn write_sqlite(&self, sql: &str, arguments: SqliteArguments) -> Result<u64, DbErr> {
        let Driven::Sqlite(transaction) = &self.0 else { return Err(wrong_driver()) };
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        Ok(query.execute(&mut **transaction.lock().await).await.map_err(failed)?.rows_affected())
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match self.0 {
            Driven::Postgres(_) => DbBackend::Postgres,
            Driven::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parted(statement);
        on_either!(self, connection => query(&sql, values).execute(connection).await.map(ExecResult::from))
            .map_err(failed)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        on_either!(self, connection => {
            sqlx::Executor::execute(connection, AssertSqlSafe(sql)).await.map(ExecResult::from)
        })
        .map_err(failed)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = parted(statement);
        on_either!(self, connection => {
            query(&sql, values).fetch_optional(connection).await.map(|row| row.map(QueryResult::from))
        })
        .map_err(failed)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parted(statement);
        on_either!(self, connection => {
            query(&sql, values).fetch_all(connection).await.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        })
        .map_err(failed)
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
