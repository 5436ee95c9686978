//! Files: copied, hashed, and on the disk when that is said.

use anyhow::Context;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// The SHA-256 of a file, in hexadecimal; with a target, of what was copied into that new file, which then is on the disk.
pub fn copied_digest(source: &Path, target: Option<&Path>) -> anyhow::Result<String> {
    let context = || format!("cannot read {}", source.display());
    let mut source_file = File::open(source).with_context(context)?;
    let mut target_file = match target {
        Some(target) => {
            let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(target);
            Some(made.with_context(|| format!("cannot make {}", target.display()))?)
        }
        None => None,
    };
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let read = source_file.read(&mut chunk).with_context(context)?;
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        if let Some(file) = &mut target_file {
            file.write_all(&chunk[..read])?;
        }
    }
    if let Some(file) = target_file {
        file.sync_all()?;
    }
    let mut text = String::new();
    for byte in digest.finalize() {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Lets nobody but the owner read a file.
pub fn own_alone(file: &Path) -> anyhow::Result<()> {
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}

/// Has the names in a folder on the disk.
pub fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Ok(File::open(folder)?.sync_all()?)
}
