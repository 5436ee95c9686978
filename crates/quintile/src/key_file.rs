//! The file of the master keys as an operator's commands change it: all at once, and readable by its owner alone.

use crate::config::Config;
use crate::data_dir::{master_key_file, write_secret};
use anyhow::{Context, bail, ensure};
use quintile_store::sealing::{Key, KeyId, MAX_MASTER_KEYS, master_keys};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The master keys of a file, the present one first.
pub struct KeyFile {
    path: PathBuf,
    keys: Vec<Key>,
}

impl KeyFile {
    /// Reads the file of a configuration.
    pub fn read(config: &Config) -> anyhow::Result<Self> {
        ensure!(
            config.secrets.master_key.is_none(),
            "the master keys are a setting and in no file: change the setting of every process, the new key first, start \
             them again, and run `quintile keys rotate --rewrap-only`"
        );
        let path = master_key_file(config);
        let text = fs::read_to_string(&path).map(Zeroizing::new);
        let keys = master_keys(&text.with_context(|| format!("cannot read {}", path.display()))?)?;
        Ok(Self { path, keys })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids of the keys, the present one's first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(KeyId::of).collect()
    }

    /// Puts a key in front of the others.
    pub fn put_in_front(&mut self, key: Key) -> anyhow::Result<()> {
        ensure!(
            self.keys.len() < MAX_MASTER_KEYS,
            "there are {MAX_MASTER_KEYS} master keys: run `quintile keys retire` first"
        );
        self.keys.insert(0, key);
        self.write()
    }

    /// Takes all keys but the first away.
    pub fn keep_the_first(&mut self) -> anyhow::Result<()> {
        self.keys.truncate(1);
        self.write()
    }

    /// A reader finds the former keys or the new ones, and so does who starts after a power cut.
    fn write(&self) -> anyhow::Result<()> {
        let former = fs::symlink_metadata(&self.path)?;
        if !former.is_file() {
            bail!(
                "{} is no file of its own: place the new key, first, where it comes from, and run `quintile keys rotate \
                 --rewrap-only`",
                self.path.display()
            );
        }
        let lines: Vec<_> = self.keys.iter().map(Key::to_base64).collect();
        let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
        let draft = self.path.with_extension("new");
        ensure!(
            !draft.exists(),
            "{} is there: another command is changing the keys, or was cut off; then remove it",
            draft.display()
        );
        let written = write_secret(&draft, &Zeroizing::new(lines.join("\n")))
            // A service that runs as somebody else must be able to read it still.
            .and_then(|()| chown_like(&draft, &former))
            .and_then(|()| Ok(fs::rename(&draft, &self.path)?));
        if written.is_err() {
            // What is not in force must not lie about.
            let _ = fs::remove_file(&draft);
        }
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Ok(File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
    }
}

fn chown_like(path: &Path, former: &fs::Metadata) -> anyhow::Result<()> {
    let present = fs::metadata(path)?;
    if (present.uid(), present.gid()) == (former.uid(), former.gid()) {
        return Ok(());
    }
    Ok(chown(path, Some(former.uid()), Some(former.gid()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::os::unix::fs::PermissionsExt;

    fn config(folder: &Path) -> Config {
        Config { data_dir: folder.to_owned(), ..Config::default() }
    }

    #[test]
    fn a_new_key_comes_first_and_the_others_go_when_they_are_retired() {
        let entropy = clock::entropy().unwrap();
        let [old, new] = [Key::generate(&entropy), Key::generate(&entropy)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        fs::write(&path, format!("{}\n", old.to_base64().as_str())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let mut file = KeyFile::read(&config(folder.path())).unwrap();
        assert_eq!(file.ids(), [KeyId::of(&old)]);
        file.put_in_front(new.clone()).unwrap();
        let mut again = KeyFile::read(&config(folder.path())).unwrap();
        assert_eq!(again.ids(), [&new, &old].map(KeyId::of));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        again.keep_the_first().unwrap();
        assert_eq!(KeyFile::read(&config(folder.path())).unwrap().ids(), [KeyId::of(&new)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn two_changes_at_once_are_refused_and_so_is_a_link() {
        let entropy = clock::entropy().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let text = Key::generate(&entropy).to_base64();
        fs::write(&path, text.as_str()).unwrap();
        fs::write(folder.path().join("master.new"), "").unwrap();
        let mut file = KeyFile::read(&config(folder.path())).unwrap();
        assert!(file.put_in_front(Key::generate(&entropy)).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text.as_str());

        fs::remove_file(folder.path().join("master.new")).unwrap();
        fs::rename(&path, folder.path().join("secret")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), &path).unwrap();
        let mut file = KeyFile::read(&config(folder.path())).unwrap();
        assert!(file.put_in_front(Key::generate(&entropy)).unwrap_err().to_string().contains("--rewrap-only"));
    }
}
