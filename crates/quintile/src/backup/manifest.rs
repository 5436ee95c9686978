//! What a backup says of itself: `manifest.json`, and `SHA256SUMS` as `sha256sum --check` reads it. They tell damage, and not forgery.

use super::databases;
use super::files::copied_digest;
use crate::config::Role;
use crate::data_dir;
use crate::suite::migrations;
use anyhow::{Context, bail, ensure};
use quintile_domain::time::Instant;
use quintile_store::audit;
use quintile_store::copies::{self, CopiedFile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The manifest's file.
pub const FILE: &str = "manifest.json";
/// The file of hashes: of every file of the backup but itself.
pub const SUMS: &str = "SHA256SUMS";
/// The present form of backups.
const FORMAT: u32 = 1;
/// The product's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a backup is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of backups that it has.
    pub format: u32,
    /// The version of the product that made it.
    pub version: String,
    /// The moment that it shows, or shortly before (RFC 3339).
    pub taken_at: String,
    /// When it is to be gone (RFC 3339).
    pub expires_at: String,
    /// The ids of the master keys that open it.
    pub master_keys: Vec<String>,
    /// The databases.
    pub files: Vec<BackedUp>,
}

/// A database of a backup.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackedUp {
    /// The file's name.
    pub name: String,
    /// The migrations that it has had, in order.
    pub migrations: Vec<String>,
}

impl Manifest {
    /// The manifest of a backup of this version.
    pub fn new(taken_at: Instant, expires_at: Instant, master_keys: Vec<String>, copied: Vec<CopiedFile>) -> Self {
        Self {
            format: FORMAT,
            version: VERSION.to_owned(),
            taken_at: taken_at.to_string(),
            expires_at: expires_at.to_string(),
            master_keys,
            files: copied.into_iter().map(BackedUp::from).collect(),
        }
    }

    /// Refuses what this version can't go on with.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            numbers(&self.version)? <= numbers(VERSION)?,
            "the backup was made by quintile {}, and this is {VERSION}: restore it with that version or a later one",
            self.version
        );
        let mut names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        let mut expected: Vec<String> = databases().iter().map(|name| copies::file_name(name)).collect();
        expected.sort_unstable();
        ensure!(names == expected, "{FILE} does not name the databases of all services: the backup is not whole");
        for file in &self.files {
            let known = known_migrations(&file.name);
            if let Some(unknown) = file.migrations.iter().find(|migration| !known.contains(migration)) {
                bail!(
                    "{} has had the migration {unknown}, which {VERSION} does not know: restore it with a later version",
                    file.name
                );
            }
        }
        Ok(())
    }
}

fn known_migrations(file: &str) -> Vec<String> {
    let role = Role::ALL.into_iter().find(|role| copies::file_name(role.service()) == file);
    role.map_or_else(audit::migrations, migrations)
}

fn numbers(version: &str) -> anyhow::Result<Vec<u64>> {
    let parts = version.split('-').next().unwrap_or_default().split('.').map(str::parse);
    parts.collect::<Result<_, _>>().with_context(|| format!("{FILE}: {version} is no version"))
}

/// `SHA256SUMS` of files by name.
pub fn sums_text(sums: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = sums.iter().map(|(name, sum)| format!("{sum}  {name}")).collect();
    lines.join("\n") + "\n"
}

/// Reads a backup all through: its manifest and its files by name with their hashes. Refuses one that is damaged, not whole, or of a newer version.
pub fn read(folder: &Path) -> anyhow::Result<(Manifest, BTreeMap<String, String>)> {
    let text = fs::read_to_string(folder.join(SUMS))
        .with_context(|| format!("{} is no whole backup: {SUMS} can't be read", folder.display()))?;
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let (sum, name) = line.split_once("  ").with_context(|| format!("{SUMS} is damaged"))?;
        // Names of ours alone: a path would lead elsewhere.
        ensure!(is_known(name), "{SUMS} names {name}, which is no file of a backup");
        sums.insert(name.to_owned(), sum.to_owned());
    }
    ensure!(sums.contains_key(FILE), "{SUMS} does not name {FILE}: the backup is not whole");
    for (name, sum) in &sums {
        ensure!(
            copied_digest(&folder.join(name), None)? == *sum,
            "{name} is damaged: it does not have the hash of {SUMS}"
        );
    }
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(FILE))?).context(FILE)?;
    ensure!(
        manifest["format"] == FORMAT,
        "the backup has the format {}, and this version knows {FORMAT}: restore it with the version that made it",
        manifest["format"]
    );
    let manifest: Manifest = serde_json::from_value(manifest).context(FILE)?;
    manifest.check()?;
    for file in &manifest.files {
        ensure!(sums.contains_key(&file.name), "{SUMS} does not name {}: the backup is not whole", file.name);
    }
    sums.remove(FILE);
    Ok((manifest, sums))
}

fn is_known(name: &str) -> bool {
    [FILE, data_dir::MASTER_KEY, data_dir::BOOTSTRAP_SECRET].contains(&name)
        || databases().iter().any(|database| copies::file_name(database) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("0.10.0").unwrap() > numbers("0.9.9").unwrap());
        assert!(numbers("1.0.0").unwrap() > numbers("0.99.0").unwrap());
        assert_eq!(numbers("0.2.0-rc.1").unwrap(), [0, 2, 0]);
        assert!(numbers("new").is_err());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_file_of_a_backup() {
        for name in ["../master.key", "/etc/passwd", "other.sqlite", ""] {
            assert!(!is_known(name), "{name}");
        }
        assert!(is_known("ingestion.sqlite") && is_known("access-control-audit.sqlite") && is_known(FILE));
    }
}
