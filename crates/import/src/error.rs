//! Why an import cannot go on.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why an import cannot go on. No text holds a value of the file.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The mapping is malformed, or does not fit the file.
    #[error("mapping: `{key}` {problem}")]
    Mapping {
        /// The key at fault, as a path.
        key: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The mapping is no TOML.
    #[error("mapping: {0}")]
    Toml(#[from] toml::de::Error),
    /// A file cannot be read.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A line was rejected, and that is not tolerated.
    #[error("{file}, line {line}: {field}: {message}")]
    Rejected {
        /// The file's name.
        file: String,
        /// The line's number, from 1.
        line: u64,
        /// The field at fault, as a path.
        field: &'static str,
        /// What is wrong.
        message: &'static str,
    },
    /// The temporary files fail.
    #[error("the temporary directory: {0}: name another one with --temp-dir")]
    Temporary(std::io::Error),
    /// What was written to a temporary file does not come back.
    #[error("a temporary file came back otherwise than it was written: run the import again")]
    Damaged,
    /// The rejects cannot be written.
    #[error("the file of rejects: {0}")]
    Rejects(std::io::Error),
}

impl ImportError {
    /// A fault of a file.
    pub(crate) fn file(file: &Path, problem: impl std::fmt::Display) -> Self {
        Self::File { file: file.to_owned(), problem: format!("{problem}") }
    }

    /// A fault of a mapping.
    pub(crate) fn mapping(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Mapping { key: key.into(), problem: problem.into() }
    }
}
