//! A CSV file that is made row by row, and is there once it is whole.

use super::table::{Cell, Row, Temporary};
use anyhow::Context;
use quintile_domain::time::Instant;
use quintile_rpc::convert;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file that is being made, under a name of its own until it is whole.
pub struct CsvFile {
    path: PathBuf,
    temporary: Temporary,
    writer: csv::Writer<File>,
    rows: u64,
}

impl CsvFile {
    /// Begins a file with the columns of a row, which is no part of it, under the given name until it is whole. Nobody but its owner may read it.
    pub fn create(path: &Path, part: PathBuf, shape: &Row) -> anyhow::Result<Self> {
        let (temporary, file) = Temporary::create(part)?;
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(shape.iter().map(|(name, _)| *name))?;
        Ok(Self { path: path.to_owned(), temporary, writer, rows: 0 })
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) -> anyhow::Result<()> {
        self.writer.write_record(row.into_iter().map(|(_, cell)| text(cell)))?;
        self.rows += 1;
        Ok(())
    }

    /// Ends the file, and gives it its name.
    pub fn finish(self) -> anyhow::Result<u64> {
        let file = self.writer.into_inner().context("cannot write the rest of the file")?;
        self.temporary.finish(&file, &self.path)?;
        Ok(self.rows)
    }
}

/// A value as text; nothing where there is none.
fn text(cell: Cell) -> String {
    match cell {
        Cell::Text(text) => text.map(harmless).unwrap_or_default(),
        Cell::Int32(number) => number.map(|number| number.to_string()).unwrap_or_default(),
        Cell::Int64(number) => number.map(|number| number.to_string()).unwrap_or_default(),
        Cell::Double(number) => number.map(|number| number.to_string()).unwrap_or_default(),
        Cell::Date(day) => day.map(date).unwrap_or_default(),
        Cell::Instant(micros) => micros.map(|micros| Instant::from_micros(micros).to_string()).unwrap_or_default(),
        Cell::Money(amount) => amount.map(|amount| decimal(amount, 4, 2)).unwrap_or_default(),
        Cell::Rate(rate) => rate.map(|rate| decimal(rate.into(), 9, 1)).unwrap_or_default(),
    }
}

/// What a spreadsheet would take for a formula begins with an apostrophe, by which it is text.
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

fn date(day: i32) -> String {
    let date = convert::date(day);
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}

/// A number of so many decimals, of which zeros at the end are left out where there are more than `least`.
fn decimal(number: i128, decimals: usize, least: usize) -> String {
    let unit = 10_u128.pow(u32::try_from(decimals).unwrap_or(0));
    let (whole, rest) = (number.unsigned_abs() / unit, number.unsigned_abs() % unit);
    let mut digits = format!("{rest:0decimals$}");
    while digits.len() > least && digits.ends_with('0') {
        digits.pop();
    }
    format!("{}{whole}.{digits}", if number < 0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written_and_the_file_is_there_once_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("members.csv");
        let row = |text: Option<&str>, money| {
            vec![("text", Cell::Text(text.map(str::to_owned))), ("money", Cell::Money(money))]
        };
        let mut file = CsvFile::create(&path, directory.path().join("part"), &row(None, None)).unwrap();
        for (text, money) in [(Some("a \"b\", c\nd"), Some(12_345_000)), (Some("=1+1"), Some(-1)), (None, None)] {
            file.push(row(text, money)).unwrap();
        }
        assert!(!path.exists());
        assert_eq!(file.finish().unwrap(), 3);
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let read: Vec<Vec<String>> =
            reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let expected = [["a \"b\", c\nd", "1234.50"], ["'=1+1", "-0.0001"], ["", ""]];
        assert_eq!(read, expected);
    }

    #[test]
    fn days_and_instants_are_as_everybody_writes_them() {
        assert_eq!(text(Cell::Date(Some(0))), "1970-01-01");
        assert_eq!(text(Cell::Date(Some(-1))), "1969-12-31");
        assert_eq!(text(Cell::Instant(Some(1_500_000))), "1970-01-01T00:00:01.5Z");
        assert_eq!(text(Cell::Rate(Some(1_250_000_000))), "1.25");
    }
}
