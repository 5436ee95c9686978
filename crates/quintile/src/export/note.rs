//! What an export notes beside its files: whose it is, and which of them are whole. By it an interrupted one goes on, and nothing is
//! replaced that no export has made.

use crate::remote::Identity;
use anyhow::{Context, bail, ensure};
use quintile_domain::time::Instant;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the note.
const NOTE: &str = "export.json";

/// An export of a folder.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    tenant: String,
    role: String,
    subject: String,
    /// When it was begun.
    begun: String,
    /// When it was over. `None`: it goes on, or was interrupted.
    ended: Option<String>,
    /// The files that exports have begun here.
    made: BTreeSet<String>,
    /// Those that are whole, of earlier exports too.
    files: BTreeMap<String, Whole>,
}

/// A file that is whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Whole {
    rows: u64,
    /// When the export that made it was begun.
    begun: String,
}

/// A folder with the note of its export, which nobody else writes to meanwhile.
pub struct Folder {
    path: PathBuf,
    /// The note.
    pub note: Note,
    /// Whether the export goes on with one that was interrupted.
    pub goes_on: bool,
    _locked: File,
}

impl Folder {
    /// Begins an export of `files` into a folder, or goes on with one. What is there and was made by nobody's export, or by somebody
    /// else's, is replaced with `force` alone.
    pub fn begin(
        path: &Path,
        identity: &Identity,
        files: &[String],
        force: bool,
        now: Instant,
    ) -> anyhow::Result<Self> {
        let problem = || format!("cannot write into {}", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(problem)?;
        let locked = File::open(path).with_context(problem)?;
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another export writes into {}", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(problem),
        }
        let earlier = if force { None } else { read(&path.join(NOTE))? };
        if let Some(note) = &earlier {
            ensure!(
                note.is_of(identity),
                "the files in {} were made as {}: name another folder, or replace them by --force",
                path.display(),
                note.whose()
            );
        }
        let is_ours = |file: &String| earlier.as_ref().is_some_and(|note| note.made.contains(file));
        let foreign = files.iter().find(|file| !is_ours(file) && path.join(file).exists());
        if let Some(file) = foreign.filter(|_| !force) {
            bail!(
                "{} is there, and no export that is noted here made it: name another folder, or replace it by --force",
                path.join(file).display()
            );
        }
        let goes_on = earlier.as_ref().is_some_and(|note| note.ended.is_none());
        let mut note = earlier.unwrap_or_else(|| Note::new(identity));
        if !goes_on {
            (note.begun, note.ended) = (now.to_string(), None);
        }
        note.made.extend(files.iter().cloned());
        // What an interrupted export left half made.
        note.made.iter().for_each(|file| drop(fs::remove_file(path.join(format!("{file}.part")))));
        let folder = Self { path: path.to_owned(), note, goes_on, _locked: locked };
        folder.write()?;
        Ok(folder)
    }

    /// Where a file lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The rows of a file that this export has made already.
    pub fn rows_of(&self, name: &str) -> Option<u64> {
        self.note.files.get(name).filter(|whole| whole.begun == self.note.begun).map(|whole| whole.rows)
    }

    /// Notes that files are whole, all of them or none.
    pub fn finished(&mut self, files: &[(String, u64)]) -> anyhow::Result<()> {
        for (name, rows) in files {
            self.note.files.insert(name.clone(), Whole { rows: *rows, begun: self.note.begun.clone() });
        }
        self.write()
    }

    /// Notes that the export is over.
    pub fn end(&mut self, now: Instant) -> anyhow::Result<()> {
        self.note.ended = Some(now.to_string());
        self.write()
    }

    /// A reader finds the former note or the new one, and so does who starts after a power cut.
    fn write(&self) -> anyhow::Result<()> {
        let (path, temporary) = (self.path.join(NOTE), self.path.join(format!("{NOTE}.part")));
        let write = || {
            let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
            let mut file = opened?;
            file.write_all(serde_json::to_string_pretty(&self.note)?.as_bytes())?;
            file.sync_all()?;
            anyhow::Ok(fs::rename(&temporary, &path)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Note {
    fn new(identity: &Identity) -> Self {
        Self {
            tenant: identity.tenant.clone(),
            role: identity.role.clone(),
            subject: identity.subject.clone(),
            begun: String::new(),
            ended: None,
            made: BTreeSet::new(),
            files: BTreeMap::new(),
        }
    }

    fn is_of(&self, identity: &Identity) -> bool {
        (&self.tenant, &self.role, &self.subject) == (&identity.tenant, &identity.role, &identity.subject)
    }

    /// Whose it is, for people.
    fn whose(&self) -> String {
        let subject = if self.subject.is_empty() { String::new() } else { format!(" by {}", self.subject) };
        format!("{}{subject} of the tenant {}", self.role, self.tenant)
    }

    /// When the export was begun.
    pub fn begun(&self) -> &str {
        &self.begun
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Note>> {
    match fs::read(path) {
        Ok(text) => {
            let note = serde_json::from_slice(&text);
            note.map(Some).with_context(|| format!("{} is no note of an export: name another folder", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(path: &Path, role: &str, files: &[&str], force: bool) -> anyhow::Result<Folder> {
        let files: Vec<_> = files.iter().map(|file| (*file).to_owned()).collect();
        Folder::begin(path, &Identity::of_role(role), &files, force, Instant::from_micros(0))
    }

    #[test]
    fn an_interrupted_export_goes_on_with_what_is_whole_and_one_that_is_over_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = begin(directory.path(), "analyst", &["a", "b"], false).unwrap();
        assert!(!first.goes_on);
        first.finished(&[("a".to_owned(), 7)]).unwrap();
        assert!(begin(directory.path(), "analyst", &["a"], false).is_err(), "two exports at once");
        drop(first);
        // Its name was given, and it was not noted any more that it is whole.
        fs::write(directory.path().join("b"), "").unwrap();
        let mut second = begin(directory.path(), "analyst", &["a", "b"], false).unwrap();
        assert_eq!((second.goes_on, second.rows_of("a"), second.rows_of("b")), (true, Some(7), None));
        second.end(Instant::from_micros(1)).unwrap();
        drop(second);
        let later = Instant::from_micros(2);
        let third = Folder::begin(directory.path(), &Identity::of_role("analyst"), &["a".to_owned()], false, later);
        let third = third.unwrap();
        assert_eq!((third.goes_on, third.rows_of("a")), (false, None));
    }

    #[test]
    fn what_no_export_of_the_same_caller_made_is_replaced_by_force_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "").unwrap();
        assert!(begin(directory.path(), "analyst", &["a"], false).is_err());
        drop(begin(directory.path(), "analyst", &["b"], false).unwrap());
        assert!(begin(directory.path(), "analyst", &["a"], false).is_err());
        assert!(begin(directory.path(), "admin", &["b"], false).is_err());
        assert!(begin(directory.path(), "admin", &["a"], true).is_ok());
        fs::write(directory.path().join(NOTE), "{}").unwrap();
        assert!(begin(directory.path(), "admin", &["a"], false).is_err());
    }
}
