//! Writing many rows at once, column by column: `unnest` on PostgreSQL, fixed-size prepared multi-row inserts on SQLite.

use crate::Result;
use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};
use std::fmt::Write;

/// Rows of one prepared statement on SQLite; the rest of a batch is written with one statement of its own size.
const SQLITE_ROWS: usize = 128;

/// The values of one column, one per row.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants are the types")]
pub enum Column {
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    /// `i64::MIN` is not a value of such a column: it stands for NULL on the way to PostgreSQL, whose driver takes no NULL in arrays.
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

/// What stands for NULL in an array.
const NULL_BIG_INT: i64 = i64::MIN;

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
    pub async fn write(&self, transaction: &DatabaseTransaction, columns: Vec<Column>) -> Result<u64> {
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

    async fn write_postgres(&self, transaction: &DatabaseTransaction, columns: Vec<Column>) -> Result<u64> {
        let kinds: Vec<_> = columns.iter().map(Column::kind).collect();
        let values: Vec<_> = columns.into_iter().map(Column::into_array).collect();
        if let OnConflict::KeepOptimistically(function) = self.on_conflict {
            let sql = format!("SELECT {function}({}) AS written", arrays(&kinds));
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
            let row = transaction.query_one_raw(statement).await?;
            let written: i64 = row.map_or(Ok(0), |row| row.try_get("", "written"))?;
            return Ok(written.unsigned_abs());
        }
        let sql = format!("{} {}", insert(self.table, self.columns, &kinds), self.conflict_clause());
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        Ok(transaction.execute_raw(statement).await?.rows_affected())
    }

    async fn write_sqlite(&self, transaction: &DatabaseTransaction, columns: Vec<Column>, rows: usize) -> Result<u64> {
        let mut values: Vec<_> = columns.into_iter().map(Column::into_values).collect();
        let mut written = 0;
        let mut left = rows;
        let full = self.sqlite_statement(SQLITE_ROWS.min(rows));
        while left > 0 {
            let count = left.min(SQLITE_ROWS);
            let sql = if count == SQLITE_ROWS || left == rows { full.clone() } else { self.sqlite_statement(count) };
            let mut parameters = Vec::with_capacity(count * values.len());
            for _ in 0..count {
                parameters.extend(values.iter_mut().filter_map(Iterator::next));
            }
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, parameters);
            written += transaction.execute_raw(statement).await?.rows_affected();
            left -= count;
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
    let value = |(name, kind): (&&str, &Kind)| match kind {
        Kind::NullableBigInt => format!("NULLIF({name}, {NULL_BIG_INT})"),
        _ => (*name).to_owned(),
    };
    let values: Vec<_> = names.iter().zip(kinds).map(value).collect();
    let names = names.join(", ");
    format!(
        "INSERT INTO {table} ({names}) SELECT {} FROM unnest({}) AS batch ({names})",
        values.join(", "),
        arrays(kinds)
    )
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

    fn array_type(&self) -> ArrayType {
        match self {
            Self::Int(_) => ArrayType::Int,
            Self::BigInt(_) | Self::NullableBigInt(_) => ArrayType::BigInt,
            Self::Text(_) => ArrayType::String,
            Self::Bytes(_) => ArrayType::Bytes,
        }
    }

    fn into_values(self) -> Box<dyn Iterator<Item = Value> + Send> {
        match self {
            Self::Int(values) => Box::new(values.into_iter().map(Value::from)),
            Self::BigInt(values) => Box::new(values.into_iter().map(Value::from)),
            Self::NullableBigInt(values) => Box::new(values.into_iter().map(Value::from)),
            Self::Text(values) => Box::new(values.into_iter().map(Value::from)),
            Self::Bytes(values) => Box::new(values.into_iter().map(Value::from)),
        }
    }

    fn into_array(self) -> Value {
        let array_type = self.array_type();
        let values = match self {
            Self::NullableBigInt(values) => {
                Self::BigInt(values.into_iter().map(|value| value.unwrap_or(NULL_BIG_INT)).collect())
            }
            values => values,
        };
        Value::Array(array_type, Some(Box::new(values.into_values().collect())))
    }
}
