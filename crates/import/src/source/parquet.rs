//! Parquet: flat columns of texts, numbers, decimals, dates and instants, some thousand rows at a time.
//!
//! Values become the text that a CSV file would have, so that a mapping means the same for both. Nested columns are not seen.

use super::{Progress, Source};
use crate::error::ImportError;
use crate::record::Record;
use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use rust_decimal::Decimal;
use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows that are decoded at a time.
const ROWS_AT_A_TIME: usize = 4096;

/// A Parquet file.
pub struct Parquet {
    file: PathBuf,
    reader: SerializedFileReader<File>,
    columns: Vec<String>,
    /// The place of each column among all of the file's.
    places: Vec<usize>,
    next_group: usize,
    group: Vec<ColumnReader>,
    forms: Vec<Form>,
    decoded: Vec<Decoded>,
    rows_decoded: usize,
    next_row: usize,
    rows_left_of_group: usize,
    progress: Progress,
}

/// How the numbers of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Unsigned,
    Decimal { scale: u32 },
    Date,
    Instant { per_second: i64, utc: bool },
}

/// The values of one column in the rows that are decoded.
#[derive(Default)]
struct Decoded {
    text: String,
    /// Where each row's value is in the text. `None`: no value.
    spans: Vec<Option<(usize, usize)>>,
}

impl Parquet {
    /// Opens a file.
    pub fn open(file: &Path) -> Result<Self, ImportError> {
        let opened = File::open(file).map_err(|error| ImportError::file(file, error))?;
        let reader = SerializedFileReader::new(opened).map_err(|error| ImportError::file(file, error))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let flat = |column: &ColumnDescriptor| column.path().parts().len() == 1 && column.max_rep_level() == 0;
        let places: Vec<_> = (0..schema.num_columns()).filter(|index| flat(&schema.column(*index))).collect();
        let columns = places.iter().map(|place| schema.column(*place).name().to_owned()).collect();
        let forms = places.iter().map(|place| form(&schema.column(*place))).collect();
        let total = reader.metadata().file_metadata().num_rows().max(0) as u64;
        Ok(Self {
            file: file.to_owned(),
            columns,
            forms,
            decoded: places.iter().map(|_| Decoded::default()).collect(),
            places,
            reader,
            next_group: 0,
            group: Vec::new(),
            rows_decoded: 0,
            next_row: 0,
            rows_left_of_group: 0,
            progress: Progress { done: 0, total },
        })
    }

    /// Decodes the next rows. `false`: there are none.
    fn decode(&mut self) -> Result<bool, ParquetError> {
        while self.rows_left_of_group == 0 {
            if self.next_group == self.reader.num_row_groups() {
                return Ok(false);
            }
            let group = self.reader.get_row_group(self.next_group)?;
            self.rows_left_of_group = group.metadata().num_rows().max(0) as usize;
            self.group = self.places.iter().map(|place| group.get_column_reader(*place)).collect::<Result<_, _>>()?;
            self.next_group += 1;
        }
        let rows = self.rows_left_of_group.min(ROWS_AT_A_TIME);
        for ((column, form), decoded) in self.group.iter_mut().zip(&self.forms).zip(&mut self.decoded) {
            decoded.read(column, *form, rows)?;
        }
        self.rows_left_of_group -= rows;
        (self.rows_decoded, self.next_row) = (rows, 0);
        Ok(true)
    }
}

impl Source for Parquet {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        if self.next_row == self.rows_decoded {
            let decoded = self.decode();
            if !decoded.map_err(|error| ImportError::file(&self.file, error))? {
                return Ok(false);
            }
        }
        record.clear();
        for column in &self.decoded {
            record.push(column.spans[self.next_row].map(|(start, end)| &column.text[start..end]));
        }
        self.next_row += 1;
        self.progress.done += 1;
        record.number = self.progress.done;
        Ok(true)
    }

    fn progress(&self) -> Progress {
        self.progress
    }
}

fn form(column: &ColumnDescriptor) -> Form {
    let instant = |unit: &TimeUnit, utc| {
        let per_second = match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        };
        Form::Instant { per_second, utc }
    };
    if let Some(LogicalType::Timestamp(time)) = column.logical_type_ref() {
        return instant(&time.unit, time.is_adjusted_to_u_t_c);
    }
    match column.converted_type() {
        ConvertedType::DECIMAL => Form::Decimal { scale: column.type_scale().max(0) as u32 },
        ConvertedType::DATE => Form::Date,
        ConvertedType::TIMESTAMP_MILLIS => instant(&TimeUnit::MILLIS, true),
        ConvertedType::TIMESTAMP_MICROS => instant(&TimeUnit::MICROS, true),
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            Form::Unsigned
        }
        _ => Form::Plain,
    }
}

impl Decoded {
    fn read(&mut self, column: &mut ColumnReader, form: Form, rows: usize) -> Result<(), ParquetError> {
        match column {
            ColumnReader::BoolColumnReader(reader) => self.fill(reader, rows, |value, text| write!(text, "{value}")),
            ColumnReader::Int32ColumnReader(reader) => self.fill(reader, rows, |value, text| match form {
                Form::Unsigned => write!(text, "{}", value.cast_unsigned()),
                form => write_integer(i64::from(*value), form, text),
            }),
            ColumnReader::Int64ColumnReader(reader) => self.fill(reader, rows, |value, text| match form {
                Form::Unsigned => write!(text, "{}", value.cast_unsigned()),
                form => write_integer(*value, form, text),
            }),
            ColumnReader::Int96ColumnReader(reader) => self.fill(reader, rows, |value, text| {
                write_integer(value.to_micros(), Form::Instant { per_second: 1_000_000, utc: false }, text)
            }),
            // The shortest decimal that means this number, and no other, is what its writer had.
            ColumnReader::FloatColumnReader(reader) => self.fill(reader, rows, |value, text| write!(text, "{value}")),
            ColumnReader::DoubleColumnReader(reader) => self.fill(reader, rows, |value, text| write!(text, "{value}")),
            ColumnReader::ByteArrayColumnReader(reader) => {
                self.fill(reader, rows, |value, text| write_bytes(value.data(), form, text))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                self.fill(reader, rows, |value, text| write_bytes(value.data(), form, text))
            }
        }
    }

    fn fill<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        rows: usize,
        mut write: impl FnMut(&T::T, &mut String) -> std::fmt::Result,
    ) -> Result<(), ParquetError> {
        let (mut values, mut levels) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let (mut records, mut present) = (0, 0);
        while records < rows {
            let (read, found, _) = reader.read_records(rows - records, Some(&mut levels), None, &mut values)?;
            if read == 0 {
                return Err(ParquetError::General("a column is shorter than its row group".to_owned()));
            }
            records += read;
            present += found;
        }
        self.text.clear();
        self.spans.clear();
        // Without nulls there are no levels to speak of.
        let all_present = present == rows;
        let mut values = values.iter();
        for row in 0..rows {
            let is_present = all_present || levels.get(row).is_some_and(|level| *level > 0);
            let value = if is_present { values.next() } else { None };
            let start = self.text.len();
            let written = value.map(|value| write(value, &mut self.text));
            if written == Some(Err(std::fmt::Error)) {
                return Err(ParquetError::General(format!("row {row} of a page holds a value that is no text")));
            }
            self.spans.push(written.map(|_| (start, self.text.len())));
        }
        Ok(())
    }
}

fn write_integer(value: i64, form: Form, text: &mut String) -> std::fmt::Result {
    match form {
        Form::Plain | Form::Unsigned => write!(text, "{value}"),
        Form::Decimal { scale } => write_decimal(i128::from(value), scale, text),
        Form::Date => {
            let days = i32::try_from(value).map_err(|_| std::fmt::Error)?;
            let date = Date::constant(1970, 1, 1).checked_add(days.days()).map_err(|_| std::fmt::Error)?;
            write!(text, "{date}")
        }
        Form::Instant { per_second, utc } => {
            let nanos = (value.rem_euclid(per_second) * (1_000_000_000 / per_second)) as i32;
            let instant = Timestamp::new(value.div_euclid(per_second), nanos).map_err(|_| std::fmt::Error)?;
            if utc {
                write!(text, "{instant}")
            } else {
                let local: DateTime = jiff::tz::TimeZone::UTC.to_datetime(instant);
                write!(text, "{local}")
            }
        }
    }
}

fn write_bytes(bytes: &[u8], form: Form, text: &mut String) -> std::fmt::Result {
    match form {
        Form::Decimal { scale } if bytes.len() <= 16 && !bytes.is_empty() => {
            // Two's complement, the highest byte first.
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            let value = bytes.iter().fold(sign, |value: i128, byte| value << 8 | i128::from(*byte));
            write_decimal(value, scale, text)
        }
        _ => text.write_str(std::str::from_utf8(bytes).map_err(|_| std::fmt::Error)?),
    }
}

fn write_decimal(mantissa: i128, scale: u32, text: &mut String) -> std::fmt::Result {
    let value = Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| std::fmt::Error)?;
    write!(text, "{value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::data_type::{
        BoolType, ByteArray, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
    };
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    fn put<T: DataType>(group: &mut SerializedRowGroupWriter<'_, File>, values: &[T::T], levels: &[i16]) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(values, Some(levels), None).unwrap();
        column.close().unwrap();
    }

    #[test]
    fn values_become_the_text_that_a_csv_file_would_have() {
        let schema = "message m {
            optional double price;
            optional fixed_len_byte_array(3) amount (DECIMAL(6, 2));
            optional int64 at (TIMESTAMP(MILLIS, false));
            optional int64 since (TIMESTAMP(NANOS, true));
            optional int32 day (DATE);
            optional int32 count (INTEGER(32, false));
            optional boolean open;
        }";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.parquet");
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(File::create(&file).unwrap(), schema, Arc::default()).unwrap();
        // Two row groups: the second begins where the first has ended.
        for _ in 0..2 {
            let mut group = writer.next_row_group().unwrap();
            let levels = [1, 0];
            put::<DoubleType>(&mut group, &[0.1], &levels);
            let minus_125 = FixedLenByteArray::from(ByteArray::from(vec![0xFF, 0xFF, 0x83]));
            put::<FixedLenByteArrayType>(&mut group, &[minus_125], &levels);
            put::<Int64Type>(&mut group, &[899_251_200_500], &levels);
            put::<Int64Type>(&mut group, &[899_251_200_000_000_000], &levels);
            put::<Int32Type>(&mut group, &[-1], &levels);
            put::<Int32Type>(&mut group, &[-1], &levels);
            put::<BoolType>(&mut group, &[true], &levels);
            group.close().unwrap();
        }
        writer.close().unwrap();
        let mut source = Parquet::open(&file).unwrap();
        assert_eq!(source.columns(), ["price", "amount", "at", "since", "day", "count", "open"]);
        let expected =
            ["0.1", "-1.25", "1998-07-01T00:00:00.5", "1998-07-01T00:00:00Z", "1969-12-31", "4294967295", "true"];
        let mut record = Record::default();
        for number in 1..=4 {
            assert!(source.read(&mut record).unwrap());
            assert_eq!(record.number, number);
            let texts: Vec<_> = (0..expected.len()).filter_map(|index| record.get(index)).collect();
            assert_eq!(texts, if number % 2 == 1 { expected.to_vec() } else { Vec::new() });
        }
        assert!(!source.read(&mut record).unwrap());
    }
}
