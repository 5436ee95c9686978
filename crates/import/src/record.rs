//! One line of a file, taken apart.

use std::borrow::Cow;

/// One line of a file: its fields as text, in one buffer that is used again for the next line.
#[derive(Debug, Default)]
pub struct Record {
    /// The number of the line in the file, from 1; of Parquet, of the row.
    pub number: u64,
    /// The line as it was, without its end.
    pub raw: Vec<u8>,
    /// What is wrong with the line as a whole.
    pub fault: Option<&'static str>,
    text: String,
    fields: Vec<Option<(usize, usize)>>,
}

impl Record {
    /// Forgets the fields.
    pub fn clear(&mut self) {
        self.raw.clear();
        self.fault = None;
        self.text.clear();
        self.fields.clear();
    }

    /// Adds a field. `None`: there is no value.
    pub fn push(&mut self, field: Option<&str>) {
        let start = self.text.len();
        self.fields.push(field.map(|text| {
            self.text.push_str(text);
            (start, self.text.len())
        }));
    }

    /// The field at an index. `None`: there is no value, or no such field.
    pub fn get(&self, index: usize) -> Option<&str> {
        let (start, end) = (*self.fields.get(index)?)?;
        self.text.get(start..end)
    }

    /// The line as it was; of formats without lines, its fields as CSV.
    pub fn content(&self) -> Cow<'_, [u8]> {
        if !self.raw.is_empty() {
            return Cow::Borrowed(&self.raw);
        }
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        // Writing into memory does not fail.
        let written = writer.write_record((0..self.len()).map(|index| self.get(index).unwrap_or_default()));
        let line = written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
        Cow::Owned(line.trim_ascii_end().to_vec())
    }

    /// The bytes of its text, as it was and as fields.
    pub fn bytes(&self) -> usize {
        self.raw.len() + self.text.len()
    }

    /// The bytes that it keeps for the next line.
    pub fn capacity(&self) -> usize {
        self.raw.capacity() + self.text.capacity()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }
}
