//! Making a data directory of a backup.

use super::files::{copied_digest, sync_folder};
use super::manifest::{self, Manifest};
use super::{databases, is_expired};
use crate::clock;
use crate::config::{Config, ConfigFlags};
use crate::data_dir::{self, LOCK, MASTER_KEY, RESTORING, is_restoring};
use anyhow::{Context, ensure};
use quintile_store::{copies, failpoint};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What to restore; `--data-dir` says where to.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// Restores a backup that should be gone, too: people are in it who were told that they are in none
    #[arg(long)]
    even_expired: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Checks a backup all through, and makes a data directory of it where there is none.
pub async fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    ensure!(config.database_url.is_none(), "the data is in PostgreSQL: restore it by pg_restore");
    let (manifest, sums) = manifest::read(&args.source)?;
    ensure!(
        args.even_expired || !is_expired(&manifest, clock::machine().now())?,
        "the backup should be gone since {}: people may be in it who were told that they are in none any more. With --even-expired it is \
         restored, and then they have to be erased again",
        manifest.expires_at
    );
    let target = &config.data_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(target)
        .with_context(|| format!("cannot make {}", target.display()))?;
    if !target.join(LOCK).exists() {
        // Before one is made: what is refused is left as it is.
        check_room(target)?;
    }
    let _lock = data_dir::lock(target)?;
    check_room(target)?;
    make_room(target, &sums)?;
    for (name, sum) in &sums {
        failpoint::reach("restore", "before_file").await;
        let copied = copied_digest(&args.source.join(name), Some(&target.join(name)))?;
        ensure!(copied == *sum, "{name} has changed while it was restored");
    }
    sync_folder(target)?;
    data_dir::note_made(target, databases().iter().map(|database| copies::file_name(database)))?;
    failpoint::reach("restore", "before_end").await;
    fs::remove_file(target.join(RESTORING))?;
    sync_folder(target)?;
    tell(&config, &manifest, sums.contains_key(MASTER_KEY));
    Ok(())
}

/// Refuses a folder in which something is that no earlier restore has left.
fn check_room(target: &Path) -> anyhow::Result<()> {
    if is_restoring(target) {
        return Ok(());
    }
    for entry in fs::read_dir(target)? {
        let name = entry?.file_name();
        // What a file system puts into every volume is no data.
        ensure!(
            name == LOCK || name == "lost+found",
            "{} is not empty, and a restore changes nothing that is there: name a new folder by --data-dir",
            target.display()
        );
    }
    Ok(())
}

/// Notes that a restore is under way, and takes away what an earlier one has left.
fn make_room(target: &Path, sums: &BTreeMap<String, String>) -> anyhow::Result<()> {
    if !is_restoring(target) {
        File::create(target.join(RESTORING))?.sync_all()?;
        sync_folder(target)?;
    }
    let left = databases().into_iter().map(|database| copies::file_name(&database)).chain(sums.keys().cloned());
    for name in left {
        match fs::remove_file(target.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn tell(config: &Config, manifest: &Manifest, with_keys: bool) {
    let target = config.data_dir.display();
    say!("{target}: restored as of {}", manifest.taken_at);
    let is_configured = config.secrets.master_key.is_some() || config.secrets.master_key_file.is_some();
    if !with_keys && !is_configured {
        say!(
            "Place the master key {} at {target}/{MASTER_KEY} before `quintile serve`.",
            manifest.master_keys.join(", ")
        );
    }
    say!(
        "Whoever was erased since then is there again: ask for those erasures again. Whoever watches a feed begins anew."
    );
}
