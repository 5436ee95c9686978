//! The data directory: keys, secrets, the embedded databases, and where the running servers are.

use crate::config::{Config, Role, read_secret};
use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quintile_domain::entropy::Entropy;
use quintile_store::sealing::{Key, LocalKeys};
use quintile_store::{DatabaseUrl, audit, copies};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the endpoints of the running servers are written down.
const ENDPOINTS: &str = "endpoints.json";

/// The file of the master keys, where the configuration names no other.
pub const MASTER_KEY: &str = "master.key";
/// The file of the bootstrap secret, where the configuration names no other.
pub const BOOTSTRAP_SECRET: &str = "bootstrap.secret";
/// What lies in a data directory for as long as a restore into it is not done.
pub const RESTORING: &str = "restoring";
/// The names of the databases' files that were made here, one in a line.
const MADE: &str = "databases";
/// Whose lock keeps a second process out.
pub const LOCK: &str = "lock";

/// An opened data directory.
pub struct DataDir {
    path: PathBuf,
    // Held for as long as the process runs: two processes on the same files would each believe to be alone.
    _lock: Option<File>,
}

impl DataDir {
    /// Opens the directory for serving, making it if it is not there: readable by its owner alone.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let path = config.data_dir.clone();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let lock = if config.database_url.is_none() { Some(lock(&path)?) } else { None };
        ensure!(
            !is_restoring(&path),
            "a restore into {} was cut off: run `quintile restore` again, which goes on in the same folder",
            path.display()
        );
        if let Some(lost) = made(&path)?.iter().map(|name| path.join(name)).find(|file| is_lost(file)) {
            bail!(
                "{} was made here, and is gone or empty: restore the last backup. A new one would hold nothing, and the others' places would be wrong",
                lost.display()
            );
        }
        Ok(Self { path, _lock: lock })
    }

    /// Notes that these roles' embedded databases were made here: none of them is ever made anew.
    pub fn note_databases(&self, config: &Config, roles: &[Role]) -> anyhow::Result<()> {
        let files = roles.iter().flat_map(|role| files_of(*role));
        if config.database_url.is_some() { Ok(()) } else { note_made(&self.path, files) }
    }

    /// The master keys of the configuration, or of a file of its own, which is made at the first start.
    pub fn master_keys(&self, config: &Config, entropy: &Entropy) -> anyhow::Result<LocalKeys> {
        if let Some(text) = &config.secrets.master_key {
            anyhow::ensure!(
                config.secrets.master_key_file.is_none(),
                "secrets.master_key and secrets.master_key_file both say the master keys: set one of them"
            );
            return Ok(LocalKeys::from_text(text.expose(), entropy.clone())?);
        }
        let own = self.path.join(MASTER_KEY);
        if config.secrets.master_key_file.is_none() && !own.exists() {
            // A fresh key opens nothing of them, and would only look as if it were theirs.
            ensure!(
                !has_databases(config),
                "{} is not there, and the databases beside it are sealed by it: place their master key there",
                own.display()
            );
            write_secret(&own, &Key::generate(entropy).to_base64())?;
        }
        Ok(LocalKeys::from_file(&master_key_file(config), entropy.clone())?)
    }

    /// The bootstrap secret, made at the first start.
    pub fn bootstrap_secret(&self, config: &Config, entropy: &Entropy) -> anyhow::Result<String> {
        secret(config.secrets.bootstrap_file.as_deref(), &self.path.join(BOOTSTRAP_SECRET), || {
            URL_SAFE_NO_PAD.encode(entropy.bytes::<32>())
        })
    }

    /// Writes down where the servers are, all at once: who reads it finds all of them or none.
    pub fn write_endpoints(&self, endpoints: &BTreeMap<&'static str, String>) -> anyhow::Result<()> {
        // Processes of one role each, on one PostgreSQL, may share the folder, and one takes no other's draft away.
        let draft = self.path.join(format!("endpoints.json.{}", std::process::id()));
        fs::write(&draft, serde_json::to_vec_pretty(endpoints)?)?;
        fs::rename(draft, self.path.join(ENDPOINTS))?;
        Ok(())
    }

    /// Takes the note of the endpoints away.
    pub fn remove_endpoints(&self) {
        // It may not be there.
        let _ = fs::remove_file(self.path.join(ENDPOINTS));
    }
}

/// Where the data of a configuration is.
pub fn database_url(config: &Config) -> DatabaseUrl {
    match &config.database_url {
        Some(url) => DatabaseUrl::Postgres(url.clone()),
        None => DatabaseUrl::SqliteFolder(config.data_dir.clone()),
    }
}

/// Where the master keys are, unless the configuration has them itself.
pub fn master_key_file(config: &Config) -> PathBuf {
    config.secrets.master_key_file.clone().unwrap_or_else(|| config.data_dir.join(MASTER_KEY))
}

/// Where the bootstrap secret is.
pub fn bootstrap_file(config: &Config) -> PathBuf {
    config.secrets.bootstrap_file.clone().unwrap_or_else(|| config.data_dir.join(BOOTSTRAP_SECRET))
}

/// Whether a restore into a data directory is not done.
pub fn is_restoring(path: &Path) -> bool {
    path.join(RESTORING).exists()
}

/// The files of a role's two embedded databases.
fn files_of(role: Role) -> [String; 2] {
    [role.service().to_owned(), audit::database_name(role.service())].map(|database| copies::file_name(&database))
}

/// The files of databases that were made in a data directory. Of those that were never noted nothing is told.
fn made(path: &Path) -> anyhow::Result<Vec<String>> {
    match fs::read_to_string(path.join(MADE)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.join(MADE).display())),
    }
}

/// Notes which files of databases were made in a data directory, beside those that were noted before.
pub fn note_made(path: &Path, files: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let before: BTreeSet<String> = made(path)?.into_iter().collect();
    let all: BTreeSet<String> = before.iter().cloned().chain(files).collect();
    if all != before {
        let draft = path.join(format!("{MADE}.draft"));
        let mut file = File::create(&draft)?;
        all.iter().try_for_each(|name| writeln!(file, "{name}"))?;
        file.sync_all()?;
        fs::rename(draft, path.join(MADE))?;
    }
    Ok(())
}

fn is_lost(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.len() == 0) || matches!(file.try_exists(), Ok(false))
}

/// Whether a database was made in the data directory of a configuration, and its file is gone or empty.
pub fn has_lost(config: &Config, database: &str) -> bool {
    let file = copies::file_name(database);
    let is_made = made(&config.data_dir).is_ok_and(|made| made.contains(&file));
    config.database_url.is_none() && is_made && is_lost(&config.data_dir.join(file))
}

/// Whether the data directory has databases, the embedded ones, or may have: one that may not be looked into does not look new.
pub fn has_databases(config: &Config) -> bool {
    let is_there = |role: &Role| config.data_dir.join(copies::file_name(role.service())).try_exists().unwrap_or(true);
    config.database_url.is_none() && Role::ALL.iter().any(is_there)
}

/// The bootstrap secret as a command reads it.
pub fn existing_bootstrap_secret(config: &Config) -> anyhow::Result<String> {
    read_secret(&bootstrap_file(config)).with_context(|| {
        format!("no bootstrap secret: has `quintile serve --data-dir {}` been started?", config.data_dir.display())
    })
}

/// The URL of a role: as written down by the servers of the data directory, else by configuration, else by default.
pub fn endpoint(config: &Config, role: Role) -> anyhow::Result<String> {
    if let Some(url) = config.peer(role) {
        return Ok(url.to_owned());
    }
    let Ok(text) = fs::read(config.data_dir.join(ENDPOINTS)) else {
        return Ok(format!("http://{}:{}", config.listen.host, config.port(role)));
    };
    let endpoints: BTreeMap<String, String> = serde_json::from_slice(&text).context("endpoints.json")?;
    endpoints.get(role.key()).cloned().with_context(|| format!("endpoints.json names no {}", role.key()))
}

/// The host at which the servers of this process are reached from within: one that listens everywhere, at loopback.
pub fn own_host(config: &Config) -> String {
    let host = config.listen.host.as_str();
    if host == "0.0.0.0" { "127.0.0.1".to_owned() } else { host.to_owned() }
}

/// The URL of a role that runs here: as written down by the servers of the data directory, else where it is configured to listen. Not where `peers` has
/// it, which may be another replica.
pub fn own_endpoint(config: &Config, role: Role) -> String {
    let noted = fs::read(config.data_dir.join(ENDPOINTS)).ok();
    let noted: Option<BTreeMap<String, String>> = noted.and_then(|text| serde_json::from_slice(&text).ok());
    noted.and_then(|endpoints| endpoints.get(role.key()).cloned()).unwrap_or_else(|| {
        let scheme = if config.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{}", own_host(config), config.port(role))
    })
}

/// Locks a data directory for this process alone.
pub fn lock(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => bail!("{} is in use by another process", path.display()),
        Err(fs::TryLockError::Error(error)) => Err(error).context("cannot lock the data directory"),
    }
}

fn secret(configured: Option<&Path>, own: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    if let Some(path) = configured {
        return read_secret(path);
    }
    if own.exists() {
        return read_secret(own);
    }
    let secret = make();
    write_secret(own, &secret)?;
    Ok(secret)
}

/// Writes a file that is not there yet, readable by its owner alone, to the disk.
pub fn write_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    Ok(())
}
