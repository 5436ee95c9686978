//! CSV: fields apart by one byte, quoted where they hold it, with a header line or names from the mapping.

use super::{MAX_LINE_BYTES, Progress, Source, check_width, push_text};
use crate::error::ImportError;
use crate::mapping::Layout;
use crate::record::Record;
use csv_core::{ReadRecordResult, Reader};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A CSV file. Lines end by LF or CRLF; inside quotes a line may break.
pub struct Delimited {
    file: PathBuf,
    input: BufReader<File>,
    reader: Reader,
    columns: Vec<String>,
    progress: Progress,
    /// Lines whose end was passed.
    lines: u64,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Delimited {
    /// Opens a file and reads its header.
    pub fn open(file: &Path, layout: &Layout) -> Result<Self, ImportError> {
        let opened = File::open(file).map_err(|error| ImportError::file(file, error))?;
        let total = opened.metadata().map_err(|error| ImportError::file(file, error))?.len();
        let mut source = Self {
            file: file.to_owned(),
            input: BufReader::with_capacity(256 * 1024, opened),
            reader: csv_core::ReaderBuilder::new().delimiter(layout.delimiter).build(),
            columns: layout.columns.clone(),
            progress: Progress { done: 0, total },
            lines: 0,
            output: vec![0; 4096],
            ends: vec![0; 64],
        };
        let mut record = Record::default();
        for _ in 0..layout.skip_lines {
            source.read_record(&mut record)?;
        }
        if source.columns.is_empty() {
            if !source.read_record(&mut record)? {
                return Err(ImportError::file(file, "is empty: a header line is expected"));
            }
            if record.fault.is_some() {
                return Err(ImportError::file(file, "its header is not UTF-8 text"));
            }
            source.columns =
                (0..record.len()).map(|index| record.get(index).unwrap_or_default().trim().into()).collect();
        }
        Ok(source)
    }

    fn read_record(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        let (mut text, mut fields) = (0, 0);
        loop {
            let input = self.input.fill_buf().map_err(|error| ImportError::file(&self.file, error))?;
            let (result, read, written, ended) =
                self.reader.read_record(input, &mut self.output[text..], &mut self.ends[fields..]);
            record.raw.extend_from_slice(&input[..read]);
            self.input.consume(read);
            self.progress.done += read as u64;
            text += written;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.output.resize(self.output.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(false),
            }
            if text > MAX_LINE_BYTES {
                let problem = format!("line {}: more than 1 MiB in one line: is a quote left open?", self.lines + 1);
                return Err(ImportError::file(&self.file, problem));
            }
        }
        self.number(record);
        let mut start = 0;
        for end in &self.ends[..fields] {
            push_text(record, &self.output[start..*end]);
            start = *end;
        }
        Ok(true)
    }

    /// Counts lines. The reader leaves the LF of a CRLF, and blank lines, to the record behind them.
    fn number(&mut self, record: &mut Record) {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let line_feeds = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
        let leading = record.raw.iter().take_while(|byte| is_end(byte)).count();
        self.lines += line_feeds(&record.raw[..leading]);
        record.number = self.lines + 1;
        self.lines += line_feeds(&record.raw[leading..]);
        let trailing = record.raw.iter().rev().take_while(|byte| is_end(byte)).count();
        record.raw.truncate(record.raw.len().saturating_sub(trailing));
        record.raw.drain(..leading.min(record.raw.len()));
    }
}

impl Source for Delimited {
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
