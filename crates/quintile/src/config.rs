//! Configuration: defaults, then a file, then the environment, then flags. Keys that are not known are refused.

mod reference;

pub use reference::reference;

use crate::endpoints::{MailSender, Webhook};
use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use quintile_domain::time::Instant;
use quintile_lifecycle::endpoints::Endpoints;
use quintile_rpc::settings::ServerSettings;
use quintile_rpc::telemetry::TelemetrySettings;
use quintile_segmentation::History;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroize;

/// What stands for a secret where settings are printed.
const HIDDEN: &str = "<secret>";
/// What the names of all settings begin with in the environment.
const PREFIX: &str = "QUINTILE_";
/// What says the master keys in the environment, beside the name that every setting has there.
const MASTER_KEY_VARIABLE: &str = "QUINTILE_MASTER_KEY";
/// What says the collector of traces in the environment of every program that sends some, beside the name that every setting has there.
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The configuration of a process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder that holds keys and secrets, and with the embedded store the data.
    pub data_dir: PathBuf,
    /// A PostgreSQL URL. Without it, the data is in `SQLite` files in `data_dir`.
    pub database_url: Option<String>,
    /// Freezes business time at this instant (RFC 3339), for back-tests and demonstrations.
    pub as_of: Option<String>,
    /// Where this process listens.
    pub listen: Listen,
    /// Where the services that run in other processes are.
    pub peers: Peers,
    /// Files with secrets. Without them they are made in `data_dir`.
    pub secrets: Secrets,
    /// Limits and transport of the servers.
    pub server: ServerSettings,
    /// Logs.
    pub log: Log,
    /// Metrics and traces.
    pub telemetry: TelemetrySettings,
    /// For how long segmentation keeps what it writes down.
    pub history: HistorySettings,
    /// Systems that playbooks may tell to contact customers: tables `[[webhooks]]` of a file, or all of them in one variable, as
    /// `QUINTILE_WEBHOOKS=[{name="messages",url="https://...",secret_file="..."}]`.
    pub webhooks: Vec<Webhook>,
    /// Senders of e-mails that playbooks may write by: tables `[[mail]]` of a file, or all of them in one variable, as
    /// `QUINTILE_MAIL=[{name="care",server="smtps://...",from="..."}]`.
    pub mail: Vec<MailSender>,
}

/// Where the servers listen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// The address.
    pub host: String,
    /// The port of ingestion. 0: any that is free.
    pub ingestion: u16,
    /// The port of scoring.
    pub scoring: u16,
    /// The port of lifecycle.
    pub lifecycle: u16,
    /// The port of segmentation.
    pub segmentation: u16,
    /// The port of access-control.
    pub access: u16,
}

/// The URLs of services that run in other processes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// The URL of ingestion, such as `http://ingestion:7701`.
    pub ingestion: Option<String>,
    /// The URL of scoring.
    pub scoring: Option<String>,
    /// The URL of lifecycle.
    pub lifecycle: Option<String>,
    /// The URL of segmentation.
    pub segmentation: Option<String>,
    /// The URL of access-control.
    pub access: Option<String>,
}

/// Secrets, and the files that hold them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The secret that is exchanged for the first tokens.
    pub bootstrap_file: Option<PathBuf>,
    /// The master keys, one a line, each 32 bytes in base64: keys are wrapped under the first, and the others still open what they
    /// wrapped.
    pub master_key_file: Option<PathBuf>,
    /// The master keys themselves, instead of a file: a secret for the environment, where `QUINTILE_MASTER_KEY` says the same.
    /// Several stand on lines or between commas.
    #[schemars(with = "Option<String>")]
    pub master_key: Option<SecretText>,
}

/// A setting that is a secret: wiped when dropped, and written as `<secret>` wherever it is written.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Logs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged, as `tracing` filters have it: `info`, or `info,quintile_rpc=debug`.
    pub filter: String,
    /// One JSON object a line, for machines.
    pub json: bool,
}

/// For how many days of business time segmentation keeps what it writes down: 1 to 3653 each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistorySettings {
    /// Days that enters and exits of segments and labels are kept for, 1 to 3653: watches go on from a cursor as old as that. Playbooks that segments trigger go by the same: after lifecycle was down, or time jumped, for longer than that, what would have begun runs is lost.
    pub membership_days: i32,
    /// Days of which the sizes of segments and labels are kept, 1 to 3653.
    pub size_days: i32,
    /// Days of which it is kept who had which label, 1 to 3653: each of them.
    pub label_days: i32,
    /// The same of the first day of each month, at least `label_days`.
    pub monthly_label_days: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("quintile-data"),
            database_url: None,
            as_of: None,
            listen: Listen::default(),
            peers: Peers::default(),
            secrets: Secrets::default(),
            server: ServerSettings::default(),
            log: Log::default(),
            telemetry: TelemetrySettings::default(),
            history: HistorySettings::default(),
            webhooks: Vec::new(),
            mail: Vec::new(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            ingestion: 7701,
            scoring: 7702,
            lifecycle: 7703,
            segmentation: 7704,
            access: 7705,
        }
    }
}

impl Default for HistorySettings {
    fn default() -> Self {
        let History { membership_days, size_days, label_days, monthly_label_days } = History::default();
        Self { membership_days, size_days, label_days, monthly_label_days }
    }
}

impl HistorySettings {
    /// The settings as segmentation takes them.
    pub fn history(self) -> anyhow::Result<History> {
        let Self { membership_days, size_days, label_days, monthly_label_days } = self;
        for (name, days) in [("membership_days", membership_days), ("size_days", size_days), ("label_days", label_days)]
        {
            anyhow::ensure!(
                (1..=History::MAX_DAYS).contains(&days),
                "history.{name} must be 1 to {}",
                History::MAX_DAYS
            );
        }
        let is_longer = (label_days..=History::MAX_DAYS).contains(&monthly_label_days);
        anyhow::ensure!(
            is_longer,
            "history.monthly_label_days must be {label_days} (label_days) to {}",
            History::MAX_DAYS
        );
        Ok(History { membership_days, size_days, label_days, monthly_label_days })
    }
}

impl Log {
    /// What is logged.
    pub fn filter(&self) -> anyhow::Result<EnvFilter> {
        EnvFilter::try_new(&self.filter).context("log.filter")
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

/// What the flags of every command can set.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigFlags {
    /// A configuration file in TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder with keys, secrets and embedded data [default: quintile-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl Config {
    /// The configuration by defaults, file, environment (`QUINTILE_DATA_DIR`, `QUINTILE_SERVER__DRAIN_SECONDS`) and flags.
    pub fn load(flags: &ConfigFlags) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &flags.config {
            anyhow::ensure!(file.exists(), "{} is not there", file.display());
            figment = figment.merge(Toml::file_exact(file));
        }
        // What tests and data sets around the product are told by is no setting of it.
        let own = |key: &figment::value::UncasedStr| {
            !["bin", "buf", "cdnow", "data", "test_postgres_url"].iter().any(|other| key == *other)
                && MASTER_KEY_VARIABLE.strip_prefix(PREFIX).is_none_or(|other| key != other)
        };
        // Empty is as if it were not set, as everywhere where it is known.
        let otlp = Env::raw()
            .only(&[OTLP_VARIABLE])
            .filter(|_| env::var_os(OTLP_VARIABLE).is_some_and(|value| !value.is_empty()));
        figment = figment.merge(otlp.map(|_| "telemetry.otlp_endpoint".into()));
        figment = figment.merge(Env::prefixed(PREFIX).filter(own).split("__"));
        figment = figment.merge(Env::raw().only(&[MASTER_KEY_VARIABLE]).map(|_| "secrets.master_key".into()));
        let mut config: Self = figment.extract().context("configuration")?;
        if let Some(data_dir) = &flags.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        config.check()?;
        Ok(config)
    }

    /// Refuses limits by which no process can serve, whatever reads them. Endpoints, keys and addresses are for those that serve by them.
    fn check(&self) -> anyhow::Result<()> {
        self.server.check().map_err(anyhow::Error::msg)?;
        self.history.history()?;
        self.frozen_at()?;
        self.log.filter()?;
        self.telemetry.check().map_err(anyhow::Error::msg)?;
        Ok(())
    }

    /// The instant that business time is frozen at.
    pub fn frozen_at(&self) -> anyhow::Result<Option<Instant>> {
        self.as_of.as_deref().map(Instant::parse).transpose().context("as_of")
    }

    /// The port of a role.
    pub fn port(&self, role: Role) -> u16 {
        match role {
            Role::Ingestion => self.listen.ingestion,
            Role::Scoring => self.listen.scoring,
            Role::Lifecycle => self.listen.lifecycle,
            Role::Segmentation => self.listen.segmentation,
            Role::AccessControl => self.listen.access,
        }
    }

    /// Takes five ports from `base` on; 0 takes any that are free.
    pub fn set_port_base(&mut self, base: u16) -> anyhow::Result<()> {
        anyhow::ensure!(base <= u16::MAX - 4, "--port-base must leave room for five ports: at most {}", u16::MAX - 4);
        let port = |index: u16| if base == 0 { 0 } else { base + index };
        self.listen = Listen {
            host: self.listen.host.clone(),
            ingestion: port(0),
            scoring: port(1),
            lifecycle: port(2),
            segmentation: port(3),
            access: port(4),
        };
        Ok(())
    }

    /// The URL of a role that runs in another process.
    pub fn peer(&self, role: Role) -> Option<&str> {
        match role {
            Role::Ingestion => self.peers.ingestion.as_deref(),
            Role::Scoring => self.peers.scoring.as_deref(),
            Role::Lifecycle => self.peers.lifecycle.as_deref(),
            Role::Segmentation => self.peers.segmentation.as_deref(),
            Role::AccessControl => self.peers.access.as_deref(),
        }
    }

    /// The endpoints that playbooks may send to, with their secrets: none in a process that does not run lifecycle.
    pub fn endpoints(&self, roles: &[Role]) -> anyhow::Result<Endpoints> {
        // Processes of the other roles may have the same configuration, and no business with the secrets.
        if !roles.contains(&Role::Lifecycle) {
            return Ok(Endpoints::new(Vec::new())?);
        }
        let (webhooks, mail) =
            (self.webhooks.iter().map(Webhook::endpoint), self.mail.iter().map(MailSender::endpoint));
        Ok(Endpoints::new(webhooks.chain(mail).collect::<anyhow::Result<Vec<_>>>()?)?)
    }

    /// The same without what is secret, to print.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        if self.database_url.is_some() {
            self.database_url = Some(HIDDEN.to_owned());
        }
        for webhook in &mut self.webhooks {
            HIDDEN.clone_into(&mut webhook.url);
        }
        for sender in &mut self.mail {
            HIDDEN.clone_into(&mut sender.server);
        }
        self
    }
}

/// The services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Role {
    /// Takes in customers and orders.
    Ingestion,
    /// Scores customers.
    Scoring,
    /// Puts customers into stages.
    Lifecycle,
    /// Segments customers.
    Segmentation,
    /// Decides who may call what.
    AccessControl,
}

impl Role {
    /// All services, in the order of the chain.
    pub const ALL: [Self; 5] =
        [Self::Ingestion, Self::Scoring, Self::Lifecycle, Self::Segmentation, Self::AccessControl];

    /// The key under which its endpoint is written down.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ingestion => "ingestion",
            Self::Scoring => "scoring",
            Self::Lifecycle => "lifecycle",
            Self::Segmentation => "segmentation",
            Self::AccessControl => "access",
        }
    }

    /// The name by which it calls itself: of its database, its tokens and its audit log.
    pub fn service(self) -> &'static str {
        match self {
            Self::Ingestion => quintile_ingestion::SERVICE,
            Self::Scoring => quintile_scoring::SERVICE,
            Self::Lifecycle => quintile_lifecycle::SERVICE,
            Self::Segmentation => quintile_segmentation::SERVICE,
            Self::AccessControl => quintile_access_control::SERVICE,
        }
    }
}

/// Reads a secret from a file, white space around it aside.
pub fn read_secret(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_setting_is_read_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quintile.toml");
        std::fs::write(&file, "[secrets]\nmaster_key = \"a master key\"\n").unwrap();
        let config = Config::load(&ConfigFlags { config: Some(file), data_dir: None }).unwrap();
        assert_eq!(config.secrets.master_key.as_ref().unwrap().expose(), "a master key");
        let written = format!("{config:?}{}", serde_json::to_string(&config.clone().redacted()).unwrap());
        assert!(!written.contains("a master key"), "{written}");
        assert_eq!(written.matches(HIDDEN).count(), 2);
    }

    #[test]
    fn history_is_kept_for_a_day_to_ten_years() {
        let defaults = HistorySettings::default();
        assert_eq!(defaults.history().unwrap(), History::default());
        let set = |set: fn(&mut HistorySettings)| {
            let mut settings = defaults;
            set(&mut settings);
            settings.history()
        };
        assert_eq!(set(|it| it.membership_days = 1).unwrap().membership_days, 1);
        assert_eq!(set(|it| it.size_days = 3_653).unwrap().size_days, 3_653);
        for wrong in [
            set(|it| it.membership_days = 0),
            set(|it| it.size_days = 3_654),
            set(|it| it.label_days = -1),
            set(|it| it.monthly_label_days = 99),
        ] {
            assert!(wrong.unwrap_err().to_string().starts_with("history."));
        }
    }

    #[test]
    fn keys_that_are_not_known_and_values_that_none_is_served_by_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quintile.toml");
        let flags = ConfigFlags { config: Some(file.clone()), data_dir: None };
        std::fs::write(&file, "[listen]\nhost = \"::1\"\n").unwrap();
        assert_eq!(Config::load(&flags).unwrap().listen.host, "::1");
        for wrong in [
            "hots = 1",
            "[listen]\nscorring = 1",
            "[server]\ndrain = \"soon\"",
            "as_of = \"yesterday\"",
            "[log]\nfilter = \"info,quintile=loud\"",
            "[history]\nlabel_days = 0",
            "[history]\nmonthly_label_days = 1",
            "[telemetry]\ntrace_ratio = 2",
        ] {
            std::fs::write(&file, wrong).unwrap();
            assert!(Config::load(&flags).is_err(), "{wrong}");
        }
    }
}
