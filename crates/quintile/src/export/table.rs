//! A Parquet file that is made row by row, and is there once it is whole.

use crate::parquet_file::{self, Column, Values, write_group};
use anyhow::{Context, ensure};
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::writer::SerializedFileWriter;
use quintile_domain::masking::REDACTED;
use quintile_domain::time::{Instant, days_since_1970};
use quintile_proto::google_type::{Date, Money};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Rows of a row group.
const ROWS_PER_GROUP: u64 = 100_000;
/// Bytes of a row group, about, before they are compressed: what is held in memory.
const BYTES_PER_GROUP: usize = 32 * 1024 * 1024;
/// The bytes of an amount of money: 23 digits.
const MONEY_BYTES: usize = 10;

/// A value of a column, or that there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Text.
    Text(Option<String>),
    /// A small number.
    Int32(Option<i32>),
    /// A number.
    Int64(Option<i64>),
    /// A floating-point number.
    Double(Option<f64>),
    /// A day, in days since 1970.
    Date(Option<i32>),
    /// An instant, in microseconds since 1970.
    Instant(Option<i64>),
    /// An amount of money in ten-thousandths of a unit: no currency has finer ones.
    Money(Option<i128>),
    /// An exchange rate in billionths.
    Rate(Option<i64>),
}

/// A row: the columns by name, in the order of the file. All rows of a file have the same ones.
pub type Row = Vec<(&'static str, Cell)>;

impl Cell {
    /// Text of which an empty one is none.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Some(text.into()).filter(|text| !text.is_empty()))
    }

    /// Text that may have been hidden: what is hidden from the reader is none.
    pub fn shown(text: Option<String>) -> Self {
        Self::Text(text.filter(|text| text != REDACTED))
    }

    /// An instant.
    pub fn instant(instant: Option<Instant>) -> Self {
        Self::Instant(instant.map(Instant::micros))
    }

    /// A whole date. One of which the reader sees the year alone is none.
    pub fn date(date: Option<Date>) -> Self {
        let part = |number: i32| i8::try_from(number).ok();
        let day = |date: Date| days_since_1970(i16::try_from(date.year).ok()?, part(date.month)?, part(date.day)?);
        Self::Date(date.and_then(day))
    }

    /// An amount.
    pub fn money(money: Option<&Money>) -> Self {
        Self::Money(money.map(|money| i128::from(money.units) * 10_000 + i128::from(money.nanos / 100_000)))
    }

    /// The currency of the first amount that there is.
    pub fn currency<'a>(amounts: impl IntoIterator<Item = Option<&'a Money>>) -> Self {
        Self::Text(amounts.into_iter().flatten().next().map(|money| money.currency_code.clone()))
    }

    /// The column's type as Parquet's schemas say it, before and behind its name.
    fn parquet_type(&self) -> (String, &'static str) {
        match self {
            Self::Text(_) => ("binary".to_owned(), " (STRING)"),
            Self::Int32(_) => ("int32".to_owned(), ""),
            Self::Int64(_) => ("int64".to_owned(), ""),
            Self::Double(_) => ("double".to_owned(), ""),
            Self::Date(_) => ("int32".to_owned(), " (DATE)"),
            Self::Instant(_) => ("int64".to_owned(), " (TIMESTAMP(MICROS, true))"),
            Self::Money(_) => (format!("fixed_len_byte_array({MONEY_BYTES})"), " (DECIMAL(23, 4))"),
            Self::Rate(_) => ("int64".to_owned(), " (DECIMAL(18, 9))"),
        }
    }

    /// An empty column of its type.
    fn column(&self) -> Column {
        let values = match self {
            Self::Text(_) => Values::Text(Vec::new()),
            Self::Int32(_) | Self::Date(_) => Values::Int32(Vec::new()),
            Self::Int64(_) | Self::Instant(_) | Self::Rate(_) => Values::Int64(Vec::new()),
            Self::Double(_) => Values::Double(Vec::new()),
            Self::Money(_) => Values::Decimal(Vec::new()),
        };
        Column { values, present: Some(Vec::new()) }
    }

    /// Puts the value into a column of its type, and returns about how many bytes that are.
    fn put_into(self, column: &mut Column) -> anyhow::Result<usize> {
        let is_there = match (self, &mut column.values) {
            (Self::Text(text), Values::Text(values)) => {
                let bytes = text.as_ref().map_or(0, String::len);
                let is_there = put(text.map(|text| ByteArray::from(text.into_bytes())), values);
                column.present.get_or_insert_default().push(is_there);
                return Ok(bytes + size_of::<ByteArray>());
            }
            (Self::Int32(value) | Self::Date(value), Values::Int32(values)) => put(value, values),
            (Self::Int64(value) | Self::Instant(value) | Self::Rate(value), Values::Int64(values)) => {
                put(value, values)
            }
            (Self::Double(value), Values::Double(values)) => put(value, values),
            (Self::Money(value), Values::Decimal(values)) => put(value.map(decimal), values),
            _ => anyhow::bail!("a row has another type of column than the rows before it"),
        };
        column.present.get_or_insert_default().push(is_there);
        Ok(size_of::<i64>())
    }
}

fn put<T>(value: Option<T>, values: &mut Vec<T>) -> i16 {
    let is_there = i16::from(value.is_some());
    values.extend(value);
    is_there
}

/// The last bytes of a number, the highest first, as Parquet has decimals.
fn decimal(value: i128) -> FixedLenByteArray {
    let bytes = value.to_be_bytes();
    FixedLenByteArray::from(bytes[bytes.len() - MONEY_BYTES..].to_vec())
}

/// The name of a file until it is whole, of this process alone: two may write to one name, and the last one whole has it.
pub fn part_of(path: &Path) -> PathBuf {
    path.with_added_extension(format!("{}.part", std::process::id()))
}

/// The name of a file that is not whole. What has not been given another name is gone with it.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes a file that nobody but its owner may read.
    pub fn create(path: PathBuf) -> anyhow::Result<(Self, File)> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let opened = opened.with_context(|| format!("cannot write {}", path.display()))?;
        Ok((Self(path), opened))
    }

    /// Gives the file its name, once it is on disk: the name says that it is whole.
    pub fn finish(&self, file: &File, name: &Path) -> anyhow::Result<()> {
        file.sync_all()?;
        Ok(std::fs::rename(&self.0, name)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// A file that is being made, under a name of its own until it is whole.
pub struct TableFile {
    path: PathBuf,
    temporary: Temporary,
    writer: SerializedFileWriter<File>,
    names: Vec<&'static str>,
    columns: Vec<Column>,
    rows_in_group: u64,
    bytes_in_group: usize,
    rows: u64,
}

impl TableFile {
    /// Begins a file with the columns of a row, which is no part of it. Nobody but its owner may read it.
    pub fn create(path: &Path, shape: &Row) -> anyhow::Result<Self> {
        Self::create_by(path, path.with_extension("parquet.part"), shape)
    }

    /// The same, under the given name until it is whole.
    pub fn create_by(path: &Path, part: PathBuf, shape: &Row) -> anyhow::Result<Self> {
        let (temporary, opened) = Temporary::create(part)?;
        let writer = parquet_file::begin(opened, &schema(shape), "quintile export")?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            writer,
            names: shape.iter().map(|(name, _)| *name).collect(),
            columns: shape.iter().map(|(_, cell)| cell.column()).collect(),
            rows_in_group: 0,
            bytes_in_group: 0,
            rows: 0,
        })
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) -> anyhow::Result<()> {
        ensure!(row.iter().map(|(name, _)| name).eq(&self.names), "a row has other columns than the rows before it");
        for ((_, cell), column) in row.into_iter().zip(&mut self.columns) {
            self.bytes_in_group += cell.put_into(column)?;
        }
        self.rows += 1;
        self.rows_in_group += 1;
        let is_full = self.rows_in_group == ROWS_PER_GROUP || self.bytes_in_group >= BYTES_PER_GROUP;
        if is_full { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> anyhow::Result<()> {
        if self.rows_in_group == 0 {
            return Ok(());
        }
        write_group(&mut self.writer, &self.columns).with_context(|| self.cannot_write())?;
        self.columns.iter_mut().for_each(Column::clear);
        (self.rows_in_group, self.bytes_in_group) = (0, 0);
        Ok(())
    }

    /// Ends the file, and gives it its name.
    pub fn finish(mut self) -> anyhow::Result<u64> {
        self.write_group()?;
        let problem = self.cannot_write();
        let end = || {
            let file = self.writer.into_inner()?;
            self.temporary.finish(&file, &self.path)
        };
        end().context(problem)?;
        Ok(self.rows)
    }

    fn cannot_write(&self) -> String {
        format!("cannot write {}", self.temporary.0.display())
    }
}

fn schema(shape: &Row) -> String {
    let columns = shape.iter().map(|(name, cell)| {
        let (before, behind) = cell.parquet_type();
        format!("optional {before} {name}{behind};")
    });
    format!("message rows {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    fn row(text: Option<&str>, money: Option<i128>) -> Row {
        vec![("text", Cell::Text(text.map(str::to_owned))), ("money", Cell::Money(money))]
    }

    #[test]
    fn rows_are_read_as_they_were_written_and_the_file_is_there_once_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.parquet");
        let mut file = TableFile::create(&path, &row(None, None)).unwrap();
        let amounts = [Some(-1), None, Some(i128::from(i64::MAX) * 10_000), Some(i128::from(i64::MIN) * 10_000)];
        for money in amounts {
            file.push(row(money.map(|_| "there"), money)).unwrap();
        }
        assert!(!path.exists());
        assert_eq!(file.finish().unwrap(), 4);
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let read = reader.get_row_iter(None).unwrap().map(|row| {
            let row = row.unwrap();
            match row.get_column_iter().map(|(_, field)| field.clone()).collect::<Vec<_>>().as_slice() {
                [Field::Null, Field::Null] => None,
                [Field::Str(_), Field::Decimal(decimal)] => {
                    let negative = decimal.data()[0] & 0x80 != 0;
                    let first = if negative { -1_i128 } else { 0 };
                    Some(decimal.data().iter().fold(first, |number, byte| (number << 8) | i128::from(*byte)))
                }
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(read.collect::<Vec<_>>(), amounts);
        assert!(!path.with_extension("parquet.part").exists());
    }

    #[test]
    fn a_row_of_another_shape_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = TableFile::create(&directory.path().join("rows.parquet"), &row(None, None)).unwrap();
        assert!(file.push(vec![("text", Cell::Text(None))]).is_err());
        assert!(file.push(vec![("text", Cell::Text(None)), ("money", Cell::Int64(None))]).is_err());
    }

    #[test]
    fn what_is_hidden_or_empty_is_none_and_a_part_of_a_date_is_no_date() {
        assert_eq!(Cell::shown(Some("****".to_owned())), Cell::Text(None));
        assert_eq!(Cell::shown(Some("138****0429".to_owned())), Cell::Text(Some("138****0429".to_owned())));
        assert_eq!(Cell::text(""), Cell::Text(None));
        assert_eq!(Cell::date(Some(Date { year: 1987, month: 0, day: 0 })), Cell::Date(None));
        assert_eq!(Cell::date(Some(Date { year: 1969, month: 12, day: 31 })), Cell::Date(Some(-1)));
        let money = Money { currency_code: "USD".to_owned(), units: -12, nanos: -340_000_000 };
        assert_eq!(Cell::money(Some(&money)), Cell::Money(Some(-123_400)));
    }
}
