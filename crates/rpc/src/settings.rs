//! What an operator can set of a server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
