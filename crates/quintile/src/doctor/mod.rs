//! `quintile doctor`: looks at configuration, secrets, certificates, databases, keys, clocks, services, feeds and audit logs, and says what to do.
//!
//! It changes nothing, works whether services run or not, and ends in a bounded time whatever does not answer. To check one more thing, add it to the
//! module that looks at such things, with what an operator is to do about it.

mod certificates;
mod configuration;
mod databases;
mod feeds;
mod services;

use crate::clock;
use crate::config::{Config, Role};
use crate::output::Format;
use crate::serving_flags::ServingFlags;
use anyhow::ensure;
use databases::Looked;
use futures::future::join_all;
use serde::Serialize;
use std::time::Duration;

/// How long one check may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    served: ServingFlags,
    /// The form of the output
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// It works, or may be meant so; somebody should look.
    Warn,
    /// It does not work, or data is at risk.
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What was found by one check.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// Which kind of thing was looked at: `database`, `keys`.
    area: &'static str,
    /// Which of them.
    subject: String,
    /// What was found. No value of a customer and no secret.
    found: String,
    /// What to do. Empty: nothing.
    to_do: String,
}

impl Finding {
    fn ok(area: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, area, subject: subject.into(), found: found.into(), to_do: String::new() }
    }

    fn warn(
        area: &'static str,
        subject: impl Into<String>,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warn, area, subject: subject.into(), found: found.into(), to_do: to_do.into() }
    }

    fn fail(
        area: &'static str,
        subject: impl Into<String>,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fail, area, subject: subject.into(), found: found.into(), to_do: to_do.into() }
    }
}

/// Looks at everything, prints what was found, and fails where anything has.
pub async fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let findings = match args.served.load() {
        Ok((config, roles)) => look(&config, &roles).await,
        Err(error) => vec![Finding::fail(
            "configuration",
            "settings",
            format!("{error:#}"),
            "correct it; `quintile config reference` lists all settings",
        )],
    };
    print(&findings, args.output)?;
    let failed = findings.iter().filter(|finding| finding.level == Level::Fail).count();
    ensure!(failed == 0, "{failed} of {} checks failed", findings.len());
    Ok(())
}

async fn look(config: &Config, roles: &[Role]) -> Vec<Finding> {
    let now = clock::machine().now();
    let mut findings = configuration::check(config, roles);
    if let Some(tls) = &config.server.tls {
        findings.extend(certificates::check(config, roles, tls, now));
    }
    findings.extend(databases::check_disk(config));
    let health = join_all(roles.iter().map(|role| services::health(config, *role))).await;
    findings.extend(health.iter().map(services::Health::finding));
    let looked = join_all(roles.iter().map(async |role| {
        let looking = databases::look(config, *role, now);
        tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| {
            let found = format!("no answer within {} s", DEADLINE.as_secs());
            Looked::only(
                *role,
                Finding::fail("database", role.service(), found, "look at the load and the log of the database"),
            )
        })
    }));
    let mut looked = looked.await;
    for each in &mut looked {
        findings.append(&mut each.findings);
    }
    let serving: Vec<Role> = health.iter().filter(|health| health.is_serving()).map(|health| health.role).collect();
    findings.extend(feeds::check(config, &serving, &looked).await);
    findings
}

fn print(findings: &[Finding], format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        let is_healthy = findings.iter().all(|finding| finding.level != Level::Fail);
        let report = serde_json::json!({ "healthy": is_healthy, "findings": findings });
        say!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or_default();
    for Finding { level, area, subject, found, to_do } in findings {
        let what = if to_do.is_empty() { String::new() } else { format!(" -> {to_do}") };
        say!("{:<4}  {area:<13}  {subject:<width$}  {found}{what}", level.word());
    }
    Ok(())
}
