//! The configuration, and the files that it names.

use super::Finding;
use crate::config::{Config, Role, read_secret};
use crate::data_dir::{self, master_key_file};
use quintile_store::sealing::{KeyId, master_keys};
use rustix::fs::{Access, access};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What everybody may do to a file, and its group may write to it.
const BY_OTHERS: u32 = 0o027;

/// Checks what can be told without asking anybody.
pub fn check(config: &Config, roles: &[Role]) -> Vec<Finding> {
    let mut findings = vec![settings(config)];
    if let Some(finding) = folder(config) {
        findings.push(finding);
    }
    findings.push(master_key(config));
    findings.push(bootstrap_secret(config));
    findings.push(endpoints(config, roles));
    let unknown = Role::ALL.iter().filter(|role| !roles.contains(role) && config.peer(**role).is_none());
    findings.extend(unknown.map(|role| {
        let todo = format!("set peers.{} to its URL", role.key());
        Finding::fail(
            "configuration",
            format!("peers.{}", role.key()),
            "a service of another process, and not said where",
            todo,
        )
    }));
    findings
}

fn settings(config: &Config) -> Finding {
    let store = match &config.database_url {
        Some(_) => "data in PostgreSQL".to_owned(),
        None => format!("data in {}", config.data_dir.display()),
    };
    match &config.as_of {
        None => Finding::ok("configuration", "settings", store),
        Some(as_of) => Finding::warn(
            "configuration",
            "settings",
            format!("{store}; business time is frozen at {as_of}"),
            "nothing if that is meant: nothing ages until SetAsOf moves it",
        ),
    }
}

fn folder(config: &Config) -> Option<Finding> {
    let path = &config.data_dir;
    let subject = "data directory";
    if is_absent(path) {
        let todo = "nothing before the first start, which makes it; otherwise name another --data-dir";
        return Some(Finding::warn("configuration", subject, format!("{} is not there", path.display()), todo));
    }
    if data_dir::is_restoring(path) {
        let todo = "run `quintile restore` again: it goes on in the same folder";
        return Some(Finding::fail("configuration", subject, "a restore into it was cut off", todo));
    }
    if config.database_url.is_some() {
        return None;
    }
    let found = match fs::read_dir(path).and_then(|_| fs::metadata(path)) {
        Ok(found) => found,
        Err(error) => {
            let todo = "run it as the user that serves: of what is in there nothing can be told";
            let found = format!("cannot read {}: {error}", path.display());
            return Some(Finding::fail("configuration", subject, found, todo));
        }
    };
    if let Some(file) = unwritable(path) {
        let todo = "give it to the user that serves, and run this as that user";
        let found = format!("this user may not write to {}", file.display());
        return Some(Finding::fail("configuration", subject, found, todo));
    }
    (found.mode() & BY_OTHERS != 0).then(|| {
        let todo = format!("chmod 700 {}", path.display());
        Finding::warn("configuration", subject, "others than its owner can enter it", todo)
    })
}

/// The data directory, or a database in it, where whoever asks may not write to it.
fn unwritable(path: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let databases = files.filter(|file| file.extension().is_some_and(|extension| extension == "sqlite"));
    let is_writable = |file: &PathBuf| access(file.as_path(), Access::WRITE_OK).is_ok();
    databases.chain([path.to_owned()]).find(|file| !is_writable(file))
}

/// Who else may read a file of secrets, or change it. `None`: nobody.
fn opened(subject: &str, path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.mode();
    (mode & BY_OTHERS != 0).then(|| {
        let todo = format!("chmod 600 {}", path.display());
        Finding::warn("keys", subject, format!("{} is open to others: mode {:o}", path.display(), mode & 0o777), todo)
    })
}

/// Whether a file is not there, as far as that can be told.
fn is_absent(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

fn master_key(config: &Config) -> Finding {
    let subject = "master keys";
    let path = master_key_file(config);
    let text = match &config.secrets.master_key {
        Some(_) if config.secrets.master_key_file.is_some() => {
            let found = "secrets.master_key and secrets.master_key_file both say them";
            return Finding::fail("keys", subject, found, "set one of them");
        }
        Some(text) => Zeroizing::new(text.expose().to_owned()),
        None if is_absent(&path) && config.secrets.master_key_file.is_none() && !data_dir::has_databases(config) => {
            let todo = "nothing before the first start, which makes it";
            return Finding::warn("keys", subject, format!("{} is not there yet", path.display()), todo);
        }
        None => match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                let todo = "place the master key of these data there: without it nothing that is sealed opens";
                return Finding::fail("keys", subject, format!("cannot read {}: {error}", path.display()), todo);
            }
        },
    };
    match master_keys(&text) {
        Err(error) => {
            Finding::fail("keys", subject, error.to_string(), "restore the file: one key of 32 bytes in base64 a line")
        }
        Ok(keys) => {
            let ids: Vec<String> = keys.iter().map(|key| KeyId::of(key).to_string()).collect();
            let file = config.secrets.master_key.is_none().then(|| opened(subject, &path)).flatten();
            file.unwrap_or_else(|| Finding::ok("keys", subject, format!("present {}", ids.join(", former "))))
        }
    }
}

fn bootstrap_secret(config: &Config) -> Finding {
    let subject = "bootstrap secret";
    let path = data_dir::bootstrap_file(config);
    match read_secret(&path) {
        Ok(secret) if secret.is_empty() => Finding::fail(
            "keys",
            subject,
            format!("{} is empty", path.display()),
            "put a secret of 32 random bytes there",
        ),
        Ok(_) => opened(subject, &path).unwrap_or_else(|| Finding::ok("keys", subject, path.display().to_string())),
        Err(_) if is_absent(&path) && config.secrets.bootstrap_file.is_none() => {
            let todo = "nothing: the next start makes one";
            Finding::warn("keys", subject, format!("{} is not there yet", path.display()), todo)
        }
        Err(error) => {
            Finding::fail("keys", subject, format!("{error:#}"), "place the secret that all processes share there")
        }
    }
}

fn endpoints(config: &Config, roles: &[Role]) -> Finding {
    let subject = "webhooks, mail";
    if let Err(error) = config.endpoints(roles) {
        let todo = "correct it: lifecycle does not start";
        return Finding::fail("configuration", subject, format!("{error:#}"), todo);
    }
    let counted = format!("{} webhooks, {} senders of e-mails", config.webhooks.len(), config.mail.len());
    Finding::ok("configuration", subject, counted)
}
