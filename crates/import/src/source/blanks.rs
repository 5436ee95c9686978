//! Text whose fields are apart by blanks, any number of them, also at the beginning of a line.

use super::{MAX_LINE_BYTES, Progress, Source, check_width, push_text};
use crate::error::ImportError;
use crate::mapping::Layout;
use crate::record::Record;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A file with fields apart by blanks. Blank lines are no lines.
pub struct Blanks {
    file: PathBuf,
    input: BufReader<File>,
    columns: Vec<String>,
    progress: Progress,
    lines: u64,
}

impl Blanks {
    /// Opens a file and reads its header.
    pub fn open(file: &Path, layout: &Layout) -> Result<Self, ImportError> {
        let opened = File::open(file).map_err(|error| ImportError::file(file, error))?;
        let total = opened.metadata().map_err(|error| ImportError::file(file, error))?.len();
        let mut source = Self {
            file: file.to_owned(),
            input: BufReader::with_capacity(256 * 1024, opened),
            columns: layout.columns.clone(),
            progress: Progress { done: 0, total },
            lines: 0,
        };
        let mut record = Record::default();
        for _ in 0..layout.skip_lines {
            record.clear();
            source.read_line(&mut record)?;
        }
        if source.columns.is_empty() {
            if !source.read_record(&mut record)? {
                return Err(ImportError::file(file, "is empty: a header line is expected"));
            }
            source.columns = (0..record.len()).map(|index| record.get(index).unwrap_or_default().into()).collect();
        }
        Ok(source)
    }

    fn read_line(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        let mut limited = (&mut self.input).take(MAX_LINE_BYTES as u64);
        let read = limited.read_until(b'\n', &mut record.raw).map_err(|error| ImportError::file(&self.file, error))?;
        if read == MAX_LINE_BYTES {
            return Err(ImportError::file(&self.file, format!("line {}: more than 1 MiB", self.lines + 1)));
        }
        self.progress.done += read as u64;
        self.lines += u64::from(read > 0);
        Ok(read > 0)
    }

    fn read_record(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        loop {
            record.clear();
            if !self.read_line(record)? {
                return Ok(false);
            }
            let kept = record.raw.trim_ascii_end().len();
            record.raw.truncate(kept);
            if kept > 0 {
                break;
            }
        }
        record.number = self.lines;
        let raw = std::mem::take(&mut record.raw);
        let fields = raw.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        fields.for_each(|field| push_text(record, field));
        record.raw = raw;
        Ok(true)
    }
}

impl Source for Blanks {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        let found = self.read_record(record)?;
        if found {
            check_width(record, self.columns.len());
        }
        Ok(found)
    }

    fn progress(&self) -> Progress {
        self.progress
    }
}
