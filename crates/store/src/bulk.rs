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

/// What stands for NULL in an array.
const NULL_BIG_INT: i64 = i64::MIN;

/// What happens to a row whose key is there already.
#[derive(Clone, Copy, Debug)]
pub enum OnConflict {
    /// The row that is there stays.
    Keep,
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
        let arrays: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("${}::{}[]", index + 1, column.pg_type()))
            .collect();
        let values: Vec<_> = self
            .columns
            .iter()
            .zip(&columns)
            .map(|(name, column)| match column {
                Column::NullableBigInt(_) => format!("NULLIF({name}, {NULL_BIG_INT})"),
                _ => (*name).to_owned(),
            })
            .collect();
        let names = self.columns.join(", ");
        let sql = format!(
            "INSERT INTO {} ({names}) SELECT {} FROM unnest({}) AS batch ({names}) {}",
            self.table,
            values.join(", "),
            arrays.join(", "),
            self.conflict_clause()
        );
        let values: Vec<_> = columns.into_iter().map(Column::into_array).collect();
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
            OnConflict::Keep => "ON CONFLICT DO NOTHING".to_owned(),
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

    fn pg_type(&self) -> &'static str {
        match self {
            Self::Int(_) => "integer",
            Self::BigInt(_) | Self::NullableBigInt(_) => "bigint",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytea",
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
