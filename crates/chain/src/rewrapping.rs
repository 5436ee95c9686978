//! Follows the generation of the master keys: when it grows, a service reads the master keys again, wraps its keys anew, and says
//! how far it has come.

use quintile_proto::access::KeyState;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_store::keys::{KeyStore, RewrapReport};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the policy's generation is looked at.
const POLL: Duration = Duration::from_millis(200);
/// How often an instance says how far it has come, and looks for rows that another has made under a former key meanwhile.
const REPORT_EVERY: Duration = Duration::from_secs(15);

/// Who reports.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The service, by the key of its endpoint.
    pub service: &'static str,
    /// The instance.
    pub instance: Arc<str>,
}

/// Follows without end. `report` returns whether the report has arrived; one that has not is made again.
pub async fn follow<F, Fut>(keys: KeyStore, policy: PolicyHandle, reporter: Reporter, report: F) -> Infallible
where
    F: Fn(KeyState) -> Fut,
    Fut: Future<Output = bool>,
{
    let mut last_report: Option<(i64, Instant)> = None;
    // The generation that is being worked on, and the rows wrapped anew in it.
    let mut progress = (0, 0);
    loop {
        let generation = policy.last().as_ref().map(|policy| policy.key_generation);
        if let Some(generation) = generation.filter(|generation| is_due(last_report, *generation)) {
            let grown = last_report.is_none_or(|(earlier, _)| generation > earlier);
            if progress.0 != generation {
                progress = (generation, 0);
            }
            match wrap_anew(&keys, grown).await {
                Ok(done) => {
                    progress.1 += done.rewrapped;
                    if report(state(&reporter, progress, &done)).await {
                        last_report = Some((generation, Instant::now()));
                    }
                }
                Err(error) => tracing::warn!(generation, %error, "keys are not wrapped anew yet; trying again"),
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_due(last_report: Option<(i64, Instant)>, generation: i64) -> bool {
    last_report.is_none_or(|(earlier, at)| generation > earlier || at.elapsed() >= REPORT_EVERY)
}

async fn wrap_anew(keys: &KeyStore, reload: bool) -> quintile_store::Result<RewrapReport> {
    if reload {
        keys.reload().await?;
    }
    let done = keys.rewrap().await?;
    if done.rewrapped > 0 || done.left > 0 {
        tracing::info!(key_id = %done.key_id, done.rewrapped, done.left, "keys wrapped anew");
    }
    Ok(done)
}

fn state(reporter: &Reporter, (generation, rewrapped): (i64, u64), done: &RewrapReport) -> KeyState {
    KeyState {
        service: reporter.service.to_owned(),
        instance: reporter.instance.to_string(),
        generation,
        key_id: done.key_id.as_str().to_owned(),
        rows_rewrapped: rewrapped as i64,
        rows_left: done.left as i64,
        ..KeyState::default()
    }
}
