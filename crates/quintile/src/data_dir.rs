//! The data directory: keys, secrets, the embedded databases, and where the running servers are.

use crate::config::{Config, Role, read_secret};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quintile_domain::entropy::Entropy;
use quintile_store::DatabaseUrl;
use quintile_store::sealing::{Key, LocalKeys};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the endpoints of the running servers are written down.
const ENDPOINTS: &str = "endpoints.json";

/// The file of the master keys, where the configuration names no other.
const MASTER_KEY: &str = "master.key";

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
        Ok(Self { path, _lock: lock })
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
            write_secret(&own, &Key::generate(entropy).to_base64())?;
        }
        Ok(LocalKeys::from_file(&master_key_file(config), entropy.clone())?)
    }

    /// The bootstrap secret, made at the first start.
    pub fn bootstrap_secret(&self, config: &Config, entropy: &Entropy) -> anyhow::Result<String> {
        secret(config.secrets.bootstrap_file.as_deref(), &self.path.join("bootstrap.secret"), || {
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

/// The bootstrap secret as a command reads it.
pub fn existing_bootstrap_secret(config: &Config) -> anyhow::Result<String> {
    let path = config.secrets.bootstrap_file.clone().unwrap_or_else(|| config.data_dir.join("bootstrap.secret"));
    read_secret(&path).with_context(|| {
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

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))?;
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
