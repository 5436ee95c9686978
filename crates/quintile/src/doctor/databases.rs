//! The databases: whether they answer, which schema they have, whether they keep what is acknowledged, whether their keys open, and their audit logs.

use super::Finding;
use crate::clock;
use crate::config::{Config, Role};
use crate::data_dir::{database_url, has_databases, has_lost, master_key_file};
use crate::suite::migrations;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::follower::Place;
use quintile_store::inspection::{AuditLog, Durability, Inspection, KeysFound, Lease};
use quintile_store::sealing::LocalKeys;
use quintile_store::{StoreError, audit, copies};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The feed of facts, as ingestion calls it.
const FACTS: &str = "facts";
/// A SQLite file that is larger is not read through.
const READ_THROUGH_BYTES: u64 = 256 * MEGABYTE;
/// A log of SQLite that is larger is kept by somebody who reads for long.
const LOG_BYTES: u64 = 1_024 * MEGABYTE;
const MEGABYTE: u64 = 1_024 * 1_024;
/// Room on the disk below which somebody should look, and below which the next large commit may fail.
const ROOM_BYTES: (u64, u64) = (2_048 * MEGABYTE, 256 * MEGABYTE);
/// How far clocks may be apart: tokens allow for 30 s, and leases for a little.
const APART: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// How long entries of an audit log wait for a signature at most while all is well: six times as long as they usually do.
const UNSIGNED: Duration = Duration::from_mins(1);

/// What was found of a role's databases.
pub struct Looked {
    /// Whose.
    pub role: Role,
    /// The findings.
    pub findings: Vec<Finding>,
    /// How the role follows others. `None`: it could not be read.
    pub following: Option<Following>,
}

/// How far the workers of a role are.
#[derive(Clone)]
pub struct Following {
    /// Where they stand.
    pub places: Vec<(TenantId, String, Place)>,
    /// The last position of the facts, by tenant: ingestion's alone.
    pub facts: Vec<(TenantId, i64)>,
    /// Their leases.
    pub leases: Vec<Lease>,
    /// The database's clock when that was read.
    pub now: Instant,
}

impl Looked {
    /// What can be told where nothing could be looked at.
    pub fn only(role: Role, finding: Finding) -> Self {
        Self { role, findings: vec![finding], following: None }
    }
}

/// Checks the room on the disk of the data directory, where the data is there.
pub fn check_disk(config: &Config) -> Option<Finding> {
    if config.database_url.is_some() {
        return None;
    }
    let subject = "disk";
    let found = rustix::fs::statvfs(&config.data_dir).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let told = format!("{} MB free in {}", free / MEGABYTE, config.data_dir.display());
    let todo = "make room: without it every write is refused";
    Some(match free {
        _ if free < ROOM_BYTES.1 => Finding::fail("database", subject, told, todo),
        _ if free < ROOM_BYTES.0 => Finding::warn("database", subject, told, todo),
        _ => Finding::ok("database", subject, told),
    })
}

/// Looks at the two databases of a role.
pub async fn look(config: &Config, role: Role, now: Instant) -> Looked {
    let mut looked = Looked { role, findings: Vec::new(), following: None };
    match Inspection::open(&database_url(config), role.service()).await {
        Err(error) => looked.findings.push(silent(config, role.service(), &error)),
        Ok(None) => looked.findings.push(absent(config, role.service())),
        Ok(Some(database)) => {
            let mut findings = look_at(config, role, &database, now).await;
            looked.findings.append(&mut findings);
            looked.following = following(role, &database).await.ok();
            // It was read from, and nothing depends on how it is let go.
            let _ = database.close().await;
        }
    }
    looked.findings.extend(look_at_audit(config, role, now).await);
    looked
}

/// Where a role's workers stand by now.
pub async fn look_again(config: &Config, role: Role) -> Option<Following> {
    let database = Inspection::open(&database_url(config), role.service()).await.ok()??;
    let found = following(role, &database).await.ok();
    let _ = database.close().await;
    found
}

async fn following(role: Role, database: &Inspection) -> Result<Following, StoreError> {
    if role == Role::AccessControl {
        return Ok(Following { places: Vec::new(), facts: Vec::new(), leases: Vec::new(), now: database.now().await? });
    }
    // Facts first: they grow, and nobody is told to be behind for what came while we looked.
    let facts = if role == Role::Ingestion { database.heads(FACTS).await? } else { Vec::new() };
    let (places, leases) = (database.places().await?, database.leases().await?);
    Ok(Following { places, facts, leases, now: database.now().await? })
}

fn silent(config: &Config, name: &str, error: &StoreError) -> Finding {
    let todo = match &config.database_url {
        Some(_) => "start PostgreSQL, or correct database_url and what lets this machine in",
        None => "look who else has the file open, and at its owner and mode",
    };
    Finding::fail("database", name, error.to_string(), todo)
}

fn absent(config: &Config, name: &str) -> Finding {
    let found = "it is not there";
    if let Err(error) = file_of(config, name).try_exists()
        && config.database_url.is_none()
    {
        return Finding::fail("database", name, error.to_string(), "run it as the user that serves");
    }
    if config.database_url.is_none() && has_databases(config) {
        let todo = "restore the last backup: the other databases are there";
        return Finding::fail("database", name, found, todo);
    }
    Finding::warn(
        "database",
        name,
        found,
        "nothing before the first start: `quintile serve` or `quintile migrate` makes it",
    )
}

async fn look_at(config: &Config, role: Role, database: &Inspection, now: Instant) -> Vec<Finding> {
    let name = role.service();
    if has_lost(config, name) {
        return vec![lost(name)];
    }
    let mut findings = vec![schema(database, name, &migrations(role)).await];
    findings.extend(soundness(config, database, name).await);
    match database.durability().await {
        Ok(Some(durability)) => findings.push(durable(name, &durability)),
        Ok(None) => findings.extend(log_of(config, name)),
        Err(error) => findings.push(silent(config, name, &error)),
    }
    if config.database_url.is_some() {
        findings.extend(database.now().await.ok().map(|theirs| clocks(name, now, theirs)));
    }
    findings.extend(keys(config, database, name).await);
    findings
}

/// What is told of a database that was made here and is empty.
fn lost(name: &str) -> Finding {
    Finding::fail("database", name, "it was made here, and is empty", "restore the last backup: `serve` makes no other")
}

async fn schema(database: &Inspection, name: &str, known: &[String]) -> Finding {
    let (version, applied) = match (database.version().await, database.applied().await) {
        (Ok(version), Ok(applied)) => (version, applied),
        (Err(error), _) | (_, Err(error)) => {
            let todo = "look at the database's log; a file that is damaged is restored from the last backup";
            return Finding::fail("database", name, error.to_string(), todo);
        }
    };
    let missing: Vec<&String> = known.iter().filter(|known| !applied.contains(known)).collect();
    let newer = applied.iter().filter(|applied| !known.contains(applied)).count();
    // All that are missing come last where a database has never been ahead of them.
    let is_prefix = known.iter().take(known.len() - missing.len()).all(|known| applied.contains(known));
    let migrate = "`quintile migrate` brings it up to date, and so does the next start";
    if !is_prefix {
        let first = missing.first().map(|name| name.as_str()).unwrap_or_default();
        let found = format!("{version}: the migration {first} is missing, and later ones are there");
        return Finding::fail("database", name, found, "restore the last backup: no version leaves a schema so");
    }
    if newer > 0 {
        let found = format!("{version}: {newer} migrations that this version does not know");
        let todo = "go on with the newer version, unless a release is being rolled back";
        return Finding::warn("database", name, found, todo);
    }
    match missing.len() {
        0 => Finding::ok("database", name, format!("{version}, schema up to date")),
        behind if behind == known.len() => {
            Finding::warn("database", name, format!("{version}, without a schema"), migrate)
        }
        behind => Finding::warn("database", name, format!("{version}, schema {behind} migrations behind"), migrate),
    }
}

fn file_of(config: &Config, name: &str) -> PathBuf {
    config.data_dir.join(copies::file_name(name))
}

async fn soundness(config: &Config, database: &Inspection, name: &str) -> Option<Finding> {
    if config.database_url.is_some() {
        return None;
    }
    let bytes = fs::metadata(file_of(config, name)).map(|file| file.len()).unwrap_or_default();
    if bytes > READ_THROUGH_BYTES {
        let found = format!("{} MB, too large to be read through here", bytes / MEGABYTE);
        return Some(Finding::ok("database", name, found));
    }
    let todo = "stop the suite and restore the last backup";
    Some(match database.is_sound().await {
        Ok(Some(true)) => Finding::ok("database", name, format!("{} MB, read through: sound", bytes / MEGABYTE)),
        Ok(_) => Finding::fail("database", name, "the file is damaged", todo),
        Err(error) => Finding::fail("database", name, format!("the file can't be read through: {error}"), todo),
    })
}

/// What is wrong with the write-ahead log of a SQLite file. `None`: nothing.
fn log_of(config: &Config, name: &str) -> Option<Finding> {
    let bytes = fs::metadata(file_of(config, name).with_extension("sqlite-wal")).ok()?.len();
    (bytes > LOG_BYTES).then(|| {
        let found = format!("its write-ahead log has {} MB", bytes / MEGABYTE);
        Finding::warn(
            "database",
            name,
            found,
            "look who reads the file for so long: a backup, or a tool that was left open",
        )
    })
}

fn durable(name: &str, durability: &Durability) -> Finding {
    let Durability { fsync, synchronous_commit, full_page_writes, is_standby } = durability;
    let told = format!("fsync {fsync}, synchronous_commit {synchronous_commit}, full_page_writes {full_page_writes}");
    if *is_standby {
        return Finding::fail("database", name, "the server is a standby", "have database_url name the primary");
    }
    let lost = "set all three to on: what is acknowledged may be lost with the server's power otherwise";
    match (fsync.as_str(), synchronous_commit.as_str(), full_page_writes.as_str()) {
        ("off", ..) | (_, "off", _) | (.., "off") => Finding::fail("database", name, told, lost),
        _ => Finding::ok("database", name, told),
    }
}

fn clocks(name: &str, ours: Instant, theirs: Instant) -> Finding {
    let apart = Duration::from_micros(ours.micros().abs_diff(theirs.micros()));
    let told = format!("the database's and this machine's are {} ms apart", apart.as_millis());
    let todo = "have both set their clocks by the same time servers";
    match apart {
        _ if apart > APART.1 => Finding::fail("clock", name, told, todo),
        _ if apart > APART.0 => Finding::warn("clock", name, told, todo),
        _ => Finding::ok("clock", name, told),
    }
}

async fn keys(config: &Config, database: &Inspection, name: &str) -> Option<Finding> {
    let entropy = clock::entropy().ok()?;
    let master = match &config.secrets.master_key {
        Some(text) => LocalKeys::from_text(text.expose(), entropy),
        None => LocalKeys::from_file(&master_key_file(config), entropy),
    };
    // That they can't be read is told once, of the configuration.
    let KeysFound { opened, missing, damaged } = database.open_keys(&master.ok()?).await.ok()?;
    if !missing.is_empty() {
        let found = format!("wrapped by master keys that are not there: {}", missing.join(", "));
        let todo = "put the former master keys behind the present one";
        return Some(Finding::fail("keys", name, found, todo));
    }
    if damaged > 0 {
        let found = format!("{damaged} keys do not open: their rows were changed");
        return Some(Finding::fail("keys", name, found, "restore the last backup"));
    }
    Some(Finding::ok("keys", name, format!("{opened} open")))
}

async fn look_at_audit(config: &Config, role: Role, now: Instant) -> Vec<Finding> {
    let name = audit::database_name(role.service());
    let database = match Inspection::open(&database_url(config), &name).await {
        Err(error) => return vec![silent(config, &name, &error)],
        Ok(None) => return vec![absent(config, &name)],
        Ok(Some(database)) => database,
    };
    if has_lost(config, &name) {
        return vec![lost(&name)];
    }
    let mut findings = vec![schema(&database, &name, &audit::migrations()).await];
    match database.audit_logs().await {
        Err(error) => findings.push(Finding::fail("audit", name, error.to_string(), "look at the database's log")),
        Ok(logs) => findings.extend(logs.iter().map(|log| audited(&name, log, now))),
    }
    let _ = database.close().await;
    findings
}

fn audited(name: &str, log: &AuditLog, now: Instant) -> Finding {
    let subject = format!("{name}, tenant {}", log.standing.tenant.0);
    let (entries, signed) = (log.standing.head.seq, log.standing.checkpoint_seq);
    if !log.is_whole {
        let found = format!("the last of {entries} entries is not the one that the head names");
        return Finding::fail("audit", subject, found, "run `quintile audit verify`, and find out who has changed it");
    }
    let waited = log.unsigned_since.map_or(0, |since| now.micros().saturating_sub(since.micros()).max(0));
    let waited = Duration::from_micros(waited.unsigned_abs());
    if waited > UNSIGNED {
        let found =
            format!("{} of {entries} entries are not signed, the first for {} s", entries - signed, waited.as_secs());
        let todo = "start the service and access-control; where they run, their logs say why nothing is signed";
        return Finding::warn("audit", subject, found, todo);
    }
    Finding::ok("audit", subject, format!("{entries} entries, signed up to {signed}"))
}
