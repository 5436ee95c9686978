//! What the process tells of itself, as the configuration says: metrics, and traces.

use crate::config::{Config, Role};
use anyhow::Context;
use quintile_rpc::telemetry::{Sending, metrics, scraping};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What a process of several roles calls itself.
const SUITE: &str = "quintile";
/// Where Linux says what a process takes.
const STATUS: &str = "/proc/self/status";

/// Metrics and traces, until it is stopped.
pub struct Telemetry {
    sending: Option<Sending>,
    scraping: Option<JoinHandle<Infallible>>,
}

impl Telemetry {
    /// Starts what the configuration asks for: before anything counts.
    pub async fn start(config: &Config, roles: &[Role]) -> anyhow::Result<Self> {
        let service = match roles {
            [role] => role.service(),
            _ => SUITE,
        };
        let settings = &config.telemetry;
        let sending = Sending::start(settings, service.to_owned()).map_err(anyhow::Error::msg)?;
        let mut scraping = None;
        if let Some(address) = &settings.metrics_address {
            let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            let registry = scraping::start(service.to_owned()).map_err(anyhow::Error::msg)?;
            observe_process(config.data_dir.clone());
            tracing::info!(address = %listener.local_addr()?, "metrics");
            scraping = Some(tokio::spawn(scraping::serve(listener, registry)));
        }
        Ok(Self { sending, scraping })
    }

    /// Sends the last traces and stops.
    pub async fn stop(self) {
        self.scraping.iter().for_each(JoinHandle::abort);
        if let Some(sending) = self.sending {
            sending.stop().await;
        }
    }
}

/// Has the calls be told that are in work, of those that may be.
pub fn observe_calls(permits: &Arc<Semaphore>, limit: usize) {
    let permits = permits.clone();
    metrics::CALLS_IN_PROGRESS.observe(move |tell| tell(limit.saturating_sub(permits.available_permits()) as f64, &[]));
    metrics::CALLS_LIMIT.observe(move |tell| tell(limit as f64, &[]));
}

fn observe_process(data_dir: PathBuf) {
    metrics::MEMORY.observe(|tell| {
        if let Some(bytes) = std::fs::read_to_string(STATUS).ok().and_then(|status| resident_bytes(&status)) {
            tell(bytes as f64, &[]);
        }
    });
    let folder = data_dir.clone();
    metrics::DISK_FREE.observe(move |tell| {
        if let Some((free, _)) = disk(&folder) {
            tell(free as f64, &[]);
        }
    });
    metrics::DISK_SIZE.observe(move |tell| {
        if let Some((_, size)) = disk(&data_dir) {
            tell(size as f64, &[]);
        }
    });
}

/// The bytes that are free to the process on the file system of a folder, and all of them. `None`: the folder is not there.
fn disk(folder: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

/// The physical memory of a process by its status. `None`: the status does not say.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_disk_are_read_from_the_system() {
        assert_eq!(resident_bytes("Name:\tquintile\nVmRSS:\t    2048 kB\nThreads:\t4\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident_bytes("Name:\tquintile\n"), None);
        let (free, size) = disk(Path::new("/")).unwrap();
        assert!(free <= size && size > 0);
        assert_eq!(disk(Path::new("/nowhere/at/all")), None);
    }
}
