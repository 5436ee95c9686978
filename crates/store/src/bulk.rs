//! Writing many rows at once, column by column: `unnest` on PostgreSQL, fixed-size prepared multi-row inserts on SQLite.

use crate::{Result, Transaction};
use sea_orm::{ConnectionTrait, DbBackend};
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use std::fmt::Write;

/// Rows of one prepared statement on SQLite; the rest of a batch is written with one statement of its own size.
const SQLITE_ROWS: usize = 128;

/// The values of one column, one per row.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants are the types")]
pub enum Column {
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    NullableBigInt(Vec<Option<i64>>),
    Text(Vec<String>),
    Bytes(Vec<Vec<u8>>),
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of `Column`")]
pub enum Kind {
    Int,
    BigInt,
    NullableBigInt,
    Text,
    Bytes,
}

const KEEP: &str = "ON CONFLICT DO NOTHING";

/// What happens to a row whose key is there already.
#[derive(Clone, Copy, Debug)]
pub enum OnConflict {
    /// The row that is there stays.
    Keep,
    /// The same, where hardly ever one is there. On PostgreSQL the [`optimistic_function`] of this name writes the batch.
    KeepOptimistically(&'static str),
    /// None is there: the keys were never given before, or were just looked for by the only one who writes them. One that is there fails the
    /// batch.
    Never,
    /// These columns take the new values.
    Replace(&'static [&'static str]),
}

/// Where rows go.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The table.
    pub table: &'static str,
    /// The columns, in the order of the batch.
    pub columns: &'static [&'static str],
    /// The columns of the primary key.
    pub key: &'static [&'static str],
    /// What happens to rows that are there already.
    pub on_conflict: OnConflict,
}

impl Target {
    /// Writes a batch whose columns are all of the same length; sorted by key it is several times faster. Returns how many
    /// rows were written. No key may appear twice in a batch that replaces.
    pub async fn write(&self, transaction: &Transaction, columns: Vec<Column>) -> Result<u64> {
        debug_assert_eq!(columns.len(), self.columns.len());
        let rows = columns.first().map_or(0, Column::len);
        if rows == 0 {
            return Ok(0);
        }
        match transaction.get_database_backend() {
            DbBackend::Sqlite => self.write_sqlite(transaction, columns, rows).await,
            _ => self.write_postgres(transaction, columns).await,
        }
    }

    async fn write_postgres(&self, transaction: &Transaction, columns: Vec<Column>) -> Result<u64> {
        let kinds: Vec<_> = columns.iter().map(Column::kind).collect();
        let mut arguments = PgArguments::default();
        for column in columns {
            column.bind_array(&mut arguments).map_err(sqlx::Error::Encode)?;
        }
        if let OnConflict::KeepOptimistically(function) = self.on_conflict {
            let sql = format!("SELECT {function}({})", arrays(&kinds));
            return Ok(transaction.call_postgres(&sql, arguments).await?.unsigned_abs());
        }
        let sql = format!("{} {}", insert(self.table, self.columns, &kinds), self.conflict_clause());
        Ok(transaction.write_postgres(&sql, arguments).await?)
    }

    async fn write_sqlite(&self, transaction: &Transaction, mut columns: Vec<Column>, rows: usize) -> Result<u64> {
        let mut written = 0;
        let full = self.sqlite_statement(SQLITE_ROWS.min(rows));
        for first in (0..rows).step_by(SQLITE_ROWS) {
            let count = SQLITE_ROWS.min(rows - first);
            let sql = if count == SQLITE_ROWS || count == rows { &full } else { &self.sqlite_statement(count) };
            let mut arguments = SqliteArguments::default();
            arguments.reserve(count * columns.len(), 0);
            for row in first..first + count {
                for column in &mut columns {
                    column.bind_value(row, &mut arguments).map_err(sqlx::Error::Encode)?;
                }
            }
            written += transaction.write_sqlite(sql, arguments).await?;
        }
        Ok(written)
    }

    fn sqlite_statement(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        let mut sql = format!("INSERT INTO {} ({}) VALUES {row}", self.table, self.columns.join(", "));
        for _ in 1..rows {
            sql.push_str(", ");
            sql.push_str(&row);
        }
        sql.push(' ');
        sql.push_str(&self.conflict_clause());
        sql
    }

    fn conflict_clause(&self) -> String {
        match self.on_conflict {
            OnConflict::Never => String::new(),
            OnConflict::Keep | OnConflict::KeepOptimistically(_) => KEEP.to_owned(),
            OnConflict::Replace(columns) => {
                let mut clause = format!("ON CONFLICT ({}) DO UPDATE SET ", self.key.join(", "));
                for (index, column) in columns.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    // Writing to a String does not fail.
                    let _ = write!(clause, "{comma}{column} = excluded.{column}");
                }
                clause
            }
        }
    }
}

/// What PostgreSQL is asked to run once, before the first batch that is kept optimistically: it makes the function of this name, for a table
/// and its columns.
///
/// `ON CONFLICT` takes and gives a lock for every row, and writes to the log twice. So the function inserts without it first, and with it where
/// that meets a row that is there. What it meets is caught within: nothing of it is in the server's log, as it would be if a client caught it.
pub fn optimistic_function(name: &str, table: &str, columns: &[(&str, Kind)]) -> String {
    let (names, kinds): (Vec<_>, Vec<_>) = columns.iter().copied().unzip();
    let types: Vec<_> = kinds.iter().map(|kind| format!("{}[]", kind.pg_type())).collect();
    let insert = insert(table, &names, &kinds);
    format!(
        "CREATE FUNCTION {name}({}) RETURNS bigint LANGUAGE plpgsql AS $function$ \
         DECLARE rows_written bigint; \
         BEGIN \
           BEGIN {insert}; EXCEPTION WHEN unique_violation THEN {insert} {KEEP}; END; \
           GET DIAGNOSTICS rows_written = ROW_COUNT; \
           RETURN rows_written; \
         END $function$",
        types.join(", ")
    )
}

/// The places of a statement's arrays.
fn arrays(kinds: &[Kind]) -> String {
    let array = |(index, kind): (usize, &Kind)| format!("${}::{}[]", index + 1, kind.pg_type());
    kinds.iter().enumerate().map(array).collect::<Vec<_>>().join(", ")
}

/// Inserts the rows that are in a statement's arrays.
fn insert(table: &str, names: &[&str], kinds: &[Kind]) -> String {
    let names = names.join(", ");
    format!("INSERT INTO {table} ({names}) SELECT {names} FROM unnest({}) AS batch ({names})", arrays(kinds))
}

impl Kind {
    fn pg_type(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::BigInt | Self::NullableBigInt => "bigint",
            Self::Text => "text",
            Self::Bytes => "bytea",
        }
    }
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::BigInt(values) => values.len(),
            Self::NullableBigInt(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Int(_) => Kind::Int,
            Self::BigInt(_) => Kind::BigInt,
            Self::NullableBigInt(_) => Kind::NullableBigInt,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
        }
    }

    /// Binds the column as one array.
    fn bind_array(self, arguments: &mut PgArguments) -> std::result::Result<(), BoxDynError> {
        match self {
            Self::Int(values) => arguments.add(values),
            Self::BigInt(values) => arguments.add(values),
            Self::NullableBigInt(values) => arguments.add(values),
            Self::Text(values) => arguments.add(values),
            Self::Bytes(values) => arguments.add(values),
        }
    }

    /// Binds the value of one row, and takes it away.
    fn bind_value(&mut self, row: usize, arguments: &mut SqliteArguments) -> std::result::Result<(), BoxDynError> {
        match self {
            Self::Int(values) => arguments.add(values[row]),
            Self::BigInt(values) => arguments.add(values[row]),
            Self::NullableBigInt(values) => arguments.add(values[row]),
            Self::Text(values) => arguments.add(std::mem::take(&mut values[row])),
            Self::Bytes(values) => arguments.add(std::mem::take(&mut values[row])),
        }
    }
}
