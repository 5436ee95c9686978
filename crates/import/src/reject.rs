//! Lines that are not taken in: counted, shown, and written down.

use crate::error::ImportError;
use crate::values::Fault;
use std::fs::File;
use std::path::Path;

/// The message of lines that lack their customer.
pub const NO_CUSTOMER: &str = "is missing: the line names no customer";

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field at fault, as a path.
    pub field: &'static str,
    /// What is wrong with it. Never its value.
    pub message: Fault,
}

impl Problem {
    /// What is wrong with a field.
    pub const fn new(field: &'static str, message: Fault) -> Self {
        Self { field, message }
    }
}

/// A value that may be missing, as one that must be there; and the field's name to its fault.
pub fn required<T>(field: &'static str, value: Result<Option<T>, Fault>) -> Result<T, Problem> {
    optional(field, value)?.ok_or(Problem::new(field, "is missing"))
}

/// The field's name to the fault of a value.
pub fn optional<T>(field: &'static str, value: Result<Option<T>, Fault>) -> Result<Option<T>, Problem> {
    value.map_err(|message| Problem::new(field, message))
}

/// A file of rejects: CSV with the file's name, the line's number, the field, the reason, and the line as it was.
pub struct RejectFile {
    writer: csv::Writer<File>,
}

impl RejectFile {
    /// Makes the file, which only its owner may read: lines hold personal data. One that is there is replaced.
    pub fn create(path: &Path) -> Result<Self, ImportError> {
        use std::os::unix::fs::OpenOptionsExt;
        let opened = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        let mut writer = csv::Writer::from_writer(opened.map_err(ImportError::Rejects)?);
        let header = writer.write_record(["file", "line", "field", "reason", "content"]);
        header.map_err(|error| ImportError::Rejects(error.into()))?;
        Ok(Self { writer })
    }

    /// Writes a line down.
    pub fn write(
        &mut self,
        file: &str,
        line: u64,
        field: &str,
        reason: &str,
        content: &[u8],
    ) -> Result<(), ImportError> {
        let number = line.to_string();
        let fields = [file.as_bytes(), number.as_bytes(), field.as_bytes(), reason.as_bytes(), content];
        self.writer.write_record(fields).map_err(|error| ImportError::Rejects(error.into()))
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(), ImportError> {
        self.writer.flush().map_err(ImportError::Rejects)
    }
}
