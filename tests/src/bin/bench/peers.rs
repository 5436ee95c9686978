//! Comparisons that are Python programs, in `tests/peers`: given files of numbers, they print what they measured as JSON.

use anyhow::Context;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::process::Command;

/// Runs a comparison. `None`: there is no Python with what it needs (`BENCH_PEERS`), so it does not run.
pub fn run<T: DeserializeOwned>(python: Option<&Path>, program: &str, arguments: &[&str]) -> anyhow::Result<Option<T>> {
    let Some(python) = python else { return Ok(None) };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(program);
    let output = Command::new(python).arg(path).args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| program.to_owned()).map(Some)
}

/// Writes numbers for a comparison to read, little-endian.
pub fn write<const SIZE: usize>(path: &Path, numbers: impl Iterator<Item = [u8; SIZE]>) -> anyhow::Result<()> {
    let bytes: Vec<u8> = numbers.flatten().collect();
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
