//! What an operator can set of a server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Limits and transport of every server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Calls that the process works on at once; more are answered with `RESOURCE_EXHAUSTED`.
    pub max_concurrent_calls: usize,
    /// Streams that one connection may have open.
    pub max_streams_per_connection: u32,
    /// How long a server that is told to stop waits for the calls that it is working on, in seconds.
    pub drain_seconds: u64,
    /// Whether reflection answers without a token.
    pub open_reflection: bool,
    /// How long a service that can't reach access-control goes on by the policy that it has, in seconds; then it refuses every call.
    pub policy_max_age_seconds: u64,
    /// TLS. Without it the servers speak plain HTTP/2.
    pub tls: Option<TlsSettings>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_concurrent_calls: 1024,
            max_streams_per_connection: 256,
            drain_seconds: 10,
            open_reflection: false,
            policy_max_age_seconds: 60,
            tls: None,
        }
    }
}

/// What `max_concurrent_calls` may be.
const CONCURRENT_CALLS: RangeInclusive<usize> = 1..=1_000_000;

impl ServerSettings {
    /// Refuses limits by which nothing could be served, with the name of the setting.
    pub fn check(&self) -> Result<(), String> {
        if !CONCURRENT_CALLS.contains(&self.max_concurrent_calls) {
            return Err(format!("server.max_concurrent_calls must be within 1 and {}", CONCURRENT_CALLS.end()));
        }
        for (name, is_none) in [
            ("max_streams_per_connection", self.max_streams_per_connection == 0),
            ("policy_max_age_seconds", self.policy_max_age_seconds == 0),
        ] {
            if is_none {
                return Err(format!("server.{name} must be 1 at least"));
            }
        }
        Ok(())
    }
}

/// TLS by files in PEM.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate, with its chain.
    pub certificate_file: PathBuf,
    /// The certificate's private key.
    pub key_file: PathBuf,
    /// The authority that signs the services' certificates: services trust it, and with `require_client_certificate` so do servers.
    pub authority_file: PathBuf,
    /// Whether a client must show a certificate of that authority.
    #[serde(default)]
    pub require_client_certificate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_by_which_nothing_could_be_served_are_refused_by_name() {
        let settings = ServerSettings::default;
        assert_eq!(settings().check(), Ok(()));
        let wrong = [
            (ServerSettings { max_concurrent_calls: 0, ..settings() }, "max_concurrent_calls"),
            (ServerSettings { max_concurrent_calls: usize::MAX, ..settings() }, "max_concurrent_calls"),
            (ServerSettings { max_streams_per_connection: 0, ..settings() }, "max_streams_per_connection"),
            (ServerSettings { policy_max_age_seconds: 0, ..settings() }, "policy_max_age_seconds"),
        ];
        for (settings, name) in wrong {
            assert!(settings.check().is_err_and(|problem| problem.contains(name)), "{name}");
        }
    }
}
