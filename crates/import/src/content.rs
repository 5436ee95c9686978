//! The name of a stream, made of the content that it carries.

use crate::error::ImportError;
use crate::mapping::Mapping;
use crate::prepare::Input;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Changes with the order of facts and the bounds of batches: an offset means nothing in a stream that was cut otherwise.
const CUT: &[u8] = b"quintile import 2";

/// The name of the stream of files under a mapping: the same content is the same stream.
pub fn stream_id(input: &Input, mapping: &Mapping) -> Result<String, ImportError> {
    let mut hash = Sha256::new();
    hash.update(CUT);
    hash.update(mapping.text.as_bytes());
    for file in input.all_files(mapping) {
        digest(&mut hash, &file).map_err(|error| ImportError::file(&file, error))?;
    }
    let first_bytes = hash.finalize().into_iter().take(8);
    Ok(format!("import-{:016x}", first_bytes.fold(0_u64, |number, byte| number << 8 | u64::from(byte))))
}

fn digest(hash: &mut Sha256, file: &Path) -> std::io::Result<()> {
    let opened = File::open(file)?;
    // Where one file ends and the next begins is part of the content.
    hash.update(opened.metadata()?.len().to_le_bytes());
    let mut reader = BufReader::with_capacity(1024 * 1024, opened);
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Ok(());
        }
        hash.update(part);
        let read = part.len();
        reader.consume(read);
    }
}
