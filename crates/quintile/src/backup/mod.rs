//! `quintile backup` and `quintile restore`: the embedded databases of all services, copied as of one moment while they are written
//! (`quintile_store::copies` says how), and made a data directory again.
//!
//! A backup is a folder: the databases, `manifest.json`, and `SHA256SUMS` of all of them. It is written under another name and gets its own at its end,
//! so what has the name is whole. Keys are not in it unless they are asked for: whoever finds a backup without them can read no name and no address.
//! What PostgreSQL holds is backed up by its own tools.

mod files;
mod manifest;
mod restoring;

pub use restoring::{RestoreArgs, restore};

use crate::clock;
use crate::config::{Config, ConfigFlags, Role, read_secret};
use crate::data_dir::{self, LOCK, bootstrap_file, master_key_file, write_secret};
use crate::output::thousands;
use anyhow::{Context, bail, ensure};
use files::{copied_digest, own_alone, sync_folder};
use manifest::{BackedUp, Manifest};
use quintile_domain::time::Instant;
use quintile_ingestion::BACKUP_DAYS;
use quintile_store::copies::{self, CopiedFile};
use quintile_store::sealing::{KeyId, master_keys};
use quintile_store::{audit, failpoint};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const DAY_MICROS: i64 = 86_400_000_000;

/// What to back up, and where to.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The folder to make, which must not be there
    #[arg(value_name = "DIR")]
    target: PathBuf,
    /// Puts the master keys and the bootstrap secret into the backup, too: whoever has it can then read everything
    #[arg(long)]
    with_keys: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

/// The databases of all roles, those first that are written the most.
fn databases() -> Vec<String> {
    let services = Role::ALL.iter().map(|role| role.service());
    services.clone().map(str::to_owned).chain(services.map(audit::database_name)).collect()
}

/// Makes a backup.
pub async fn run(args: &BackupArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    ensure!(
        config.database_url.is_none(),
        "the data is in PostgreSQL: back it up by pg_dump or pg_basebackup, and the master keys apart from it"
    );
    ensure!(!args.target.exists(), "{} is there: name a new folder", args.target.display());
    ensure!(
        !data_dir::is_restoring(&config.data_dir),
        "a restore into {} was cut off: run `quintile restore` again before it is backed up",
        config.data_dir.display()
    );
    let draft = Draft::begin(&args.target)?;
    let manifest = match draft.fill(&config, args).await {
        Ok(manifest) => manifest,
        Err(error) => {
            // A disk that is full is to have its room back; what stays of one that was cut off, the next one takes away.
            let _ = fs::remove_dir_all(&draft.folder);
            return Err(error);
        }
    };
    tell(&args.target, &manifest, args.with_keys)
}

/// The ids of the master keys that the copies need.
fn needed_keys(copied: &[CopiedFile]) -> Vec<String> {
    let mut keys: Vec<String> = copied.iter().flat_map(|file| file.master_keys.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Copies the keys, and returns the names of their files.
fn copy_keys(config: &Config, target: &Path, needed: &[String]) -> anyhow::Result<[String; 2]> {
    let keys = match &config.secrets.master_key {
        Some(text) => Zeroizing::new(text.expose().to_owned()),
        None => Zeroizing::new(read_secret(&master_key_file(config))?),
    };
    let held: Vec<KeyId> = master_keys(&keys)?.iter().map(KeyId::of).collect();
    // A rotation may have gone on beside us.
    if let Some(missing) = needed.iter().find(|id| held.iter().all(|key| key.as_str() != id.as_str())) {
        bail!(
            "the master key {missing} of the databases is not among the master keys: try again when they are not being rotated"
        );
    }
    write_secret(&target.join(data_dir::MASTER_KEY), &keys)?;
    write_secret(&target.join(data_dir::BOOTSTRAP_SECRET), &Zeroizing::new(read_secret(&bootstrap_file(config))?))?;
    Ok([data_dir::MASTER_KEY, data_dir::BOOTSTRAP_SECRET].map(str::to_owned))
}

fn tell(target: &Path, manifest: &Manifest, with_keys: bool) -> anyhow::Result<()> {
    let mut bytes = 0;
    for entry in fs::read_dir(target)? {
        bytes += entry?.metadata()?.len();
    }
    say!(
        "{}: {} databases as of {}, {} bytes",
        target.display(),
        manifest.files.len(),
        manifest.taken_at,
        thousands(bytes)
    );
    if with_keys {
        say!("The keys are in it: whoever has it can read everything.");
    } else {
        say!(
            "The keys are not in it, and nothing that is sealed opens without them: keep the master key {} elsewhere.",
            manifest.master_keys.join(", ")
        );
    }
    say!("Delete it by {}: receipts of erasures say that no backup is kept for longer.", manifest.expires_at);
    Ok(())
}

/// Whether a file of a backup, or of one that is being made, has this name.
fn is_of_a_backup(name: &OsStr) -> bool {
    let others = [LOCK, manifest::FILE, manifest::SUMS, data_dir::MASTER_KEY, data_dir::BOOTSTRAP_SECRET];
    let name = name.to_string_lossy();
    let is_database = |database: &String| name.starts_with(&copies::file_name(database));
    others.contains(&name.as_ref()) || databases().iter().any(is_database)
}

/// A backup under another name, until it is whole.
struct Draft {
    folder: PathBuf,
    /// Held while it is written: one of which nobody has the lock was cut off.
    _lock: fs::File,
}

impl Draft {
    fn begin(target: &Path) -> anyhow::Result<Self> {
        let name = target.file_name().context("the folder needs a name")?.to_string_lossy();
        let folder = target.with_file_name(format!("{name}.partial"));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("cannot make {}", folder.display()))?,
        }
        let names: Vec<_> =
            fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name())).collect::<anyhow::Result<_>>()?;
        ensure!(
            names.iter().all(|name| is_of_a_backup(name)),
            "{} has files that no backup has put there: name another folder",
            folder.display()
        );
        let lock = data_dir::lock(&folder).context("another backup is being written there")?;
        for name in names.iter().filter(|name| *name != LOCK) {
            fs::remove_file(folder.join(name)).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        Ok(Self { folder, _lock: lock })
    }

    /// Copies everything, and gives the folder its name.
    async fn fill(&self, config: &Config, args: &BackupArgs) -> anyhow::Result<Manifest> {
        // Before the moment of the copies: a backup never says to be younger than it is.
        let taken_at = clock::machine().now();
        let mut copied = Vec::new();
        for copy in copies::begin(&config.data_dir, &databases(), &self.folder).await? {
            failpoint::reach("backup", "before_file").await;
            let name = copy.name().to_owned();
            let file = copy.write().await.with_context(|| format!("cannot copy {name}"))?;
            ensure!(
                !file.migrations.is_empty(),
                "{name} is empty: there is nothing to back up, and something may be lost"
            );
            copied.push(file);
        }
        let mut names: Vec<String> = copied.iter().map(|file| file.name.clone()).collect();
        let needed = needed_keys(&copied);
        if args.with_keys {
            names.extend(copy_keys(config, &self.folder, &needed)?);
        }
        let manifest = Manifest::new(taken_at, taken_at.plus_micros(BACKUP_DAYS * DAY_MICROS), needed, copied);
        self.finish(&manifest, &names, &args.target).await?;
        Ok(manifest)
    }

    /// Has everything on the disk, and then gives it its name.
    async fn finish(&self, manifest: &Manifest, names: &[String], target: &Path) -> anyhow::Result<()> {
        let written = self.folder.join(manifest::FILE);
        fs::write(&written, serde_json::to_vec_pretty(manifest)?)?;
        let mut sums = BTreeMap::new();
        for name in names.iter().map(String::as_str).chain([manifest::FILE]) {
            let file = self.folder.join(name);
            own_alone(&file)?;
            fs::File::open(&file)?.sync_all()?;
            sums.insert(name.to_owned(), copied_digest(&file, None)?);
        }
        let sums_file = self.folder.join(manifest::SUMS);
        fs::write(&sums_file, manifest::sums_text(&sums))?;
        own_alone(&sums_file)?;
        fs::File::open(&sums_file)?.sync_all()?;
        failpoint::reach("backup", "before_name").await;
        fs::remove_file(self.folder.join(LOCK))?;
        sync_folder(&self.folder)?;
        fs::rename(&self.folder, target).with_context(|| format!("cannot make {}", target.display()))?;
        sync_folder(target.parent().unwrap_or(Path::new(".")))
    }
}

/// When a backup is to be gone, and whether it is past that.
fn is_expired(manifest: &Manifest, now: Instant) -> anyhow::Result<bool> {
    Ok(now > Instant::parse(&manifest.expires_at).context("manifest.json: expires_at")?)
}

impl From<CopiedFile> for BackedUp {
    fn from(file: CopiedFile) -> Self {
        Self { name: file.name, migrations: file.migrations }
    }
}
