//! Parquet files, written row group by row group.

use anyhow::Context;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::sync::Arc;

/// The values of one column in a row group.
pub enum Values {
    /// Text.
    Text(Vec<ByteArray>),
    /// Numbers of 32 bits, and days.
    Int32(Vec<i32>),
    /// Numbers of 64 bits, instants, and short decimals.
    Int64(Vec<i64>),
    /// Floating-point numbers.
    Double(Vec<f64>),
    /// Long decimals, of the length that the schema says.
    Decimal(Vec<FixedLenByteArray>),
}

/// A column of a row group.
pub struct Column {
    /// The values that there are.
    pub values: Values,
    /// Of every row whether it has a value, 1 or 0. `None`: the column is required, and every row has one.
    pub present: Option<Vec<i16>>,
}

impl From<Values> for Column {
    fn from(values: Values) -> Self {
        Self { values, present: None }
    }
}

/// Begins a file with a schema, whose maker is `made_by`: a version of a library is no part of what is written.
pub fn begin(file: File, schema: &str, made_by: &str) -> anyhow::Result<SerializedFileWriter<File>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by(made_by.to_owned())
        .build();
    Ok(SerializedFileWriter::new(file, Arc::new(parse_message_type(schema)?), Arc::new(properties))?)
}

/// Writes a row group with the columns of the schema, in its order.
pub fn write_group(writer: &mut SerializedFileWriter<File>, columns: &[Column]) -> anyhow::Result<()> {
    let mut group = writer.next_row_group()?;
    columns.iter().try_for_each(|column| column.write(&mut group))?;
    group.close()?;
    Ok(())
}

impl Column {
    /// Takes all values out, for the next row group.
    pub fn clear(&mut self) {
        match &mut self.values {
            Values::Text(values) => values.clear(),
            Values::Int32(values) => values.clear(),
            Values::Int64(values) => values.clear(),
            Values::Double(values) => values.clear(),
            Values::Decimal(values) => values.clear(),
        }
        self.present.iter_mut().for_each(Vec::clear);
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, File>) -> anyhow::Result<()> {
        let present = self.present.as_deref();
        match &self.values {
            Values::Text(values) => write_values::<ByteArrayType>(group, values, present),
            Values::Int32(values) => write_values::<Int32Type>(group, values, present),
            Values::Int64(values) => write_values::<Int64Type>(group, values, present),
            Values::Double(values) => write_values::<DoubleType>(group, values, present),
            Values::Decimal(values) => write_values::<FixedLenByteArrayType>(group, values, present),
        }
    }
}

fn write_values<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    present: Option<&[i16]>,
) -> anyhow::Result<()> {
    let mut column = group.next_column()?.context("the schema has fewer columns than are written")?;
    column.typed::<T>().write_batch(values, present, None)?;
    Ok(column.close()?)
}
