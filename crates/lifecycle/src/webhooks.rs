//! The endpoints of webhooks, as whoever runs the suite has configured them, and how they are called.
//!
//! They are configured and not told by an RPC: whom the suite connects to, and with which secrets, is its operator's to say, not a tenant's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use quintile_domain::names;
use quintile_domain::time::Instant;
use quintile_rpc::outbound::{Outbound, Outgoing, Url, UrlError};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer, which nobody reads.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The lengths of secrets, as the Standard Webhooks specification has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What secrets begin with there.
const SECRET_PREFIX: &str = "whsec_";
/// How often a delivery is tried.
const ATTEMPTS: i32 = 12;
/// The longest time between two attempts, in seconds.
const MAX_RETRY_SECONDS: u64 = 6 * 3_600;

/// Why there is no such endpoint.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Its name is no name.
    #[error("the name of a webhook: {0}")]
    Name(String),
    /// Its URL is none that is called.
    #[error("the URL of webhook {name}: {error}")]
    Url {
        /// The endpoint.
        name: String,
        /// Why.
        error: UrlError,
    },
    /// Its tenant is none.
    #[error("the tenant of webhook {0} must be the id of one")]
    Tenant(String),
    /// Its secret is none.
    #[error("the secret of webhook {0} must be 24 to 64 bytes in base64, with or without whsec_ in front")]
    Secret(String),
    /// It would be tried again at once.
    #[error("retry_after_seconds of webhook {0} must be 1 or more")]
    Retry(String),
    /// There are two.
    #[error("there are two webhooks {0} for the same tenant")]
    Twice(String),
    /// Requests can't be secured.
    #[error("no TLS: {0}")]
    Tls(String),
}

/// One endpoint.
#[derive(Clone)]
pub struct Endpoint {
    name: String,
    url: Url,
    secret: Zeroizing<Vec<u8>>,
    tenant: Option<String>,
    retry_after_seconds: u64,
}

impl Endpoint {
    /// An endpoint by its configuration, for one tenant or for all.
    pub fn new(
        name: String,
        url: &str,
        secret: &str,
        tenant: Option<String>,
        retry_after_seconds: u64,
    ) -> Result<Self, EndpointError> {
        if let Err(error) = names::resource_id(&name) {
            return Err(EndpointError::Name(error.to_string()));
        }
        let url = Url::parse(url).map_err(|error| EndpointError::Url { name: name.clone(), error })?;
        if tenant.as_deref().is_some_and(|tenant| names::resource_id(tenant).is_err()) {
            return Err(EndpointError::Tenant(name));
        }
        // Some programs break lines of it.
        let secret = Zeroizing::new(secret.split_whitespace().collect::<String>());
        let secret = STANDARD
            .decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(&secret))
            .map(Zeroizing::new)
            .map_err(|_| EndpointError::Secret(name.clone()))?;
        if !SECRET_BYTES.contains(&secret.len()) {
            return Err(EndpointError::Secret(name));
        }
        if retry_after_seconds == 0 {
            return Err(EndpointError::Retry(name));
        }
        Ok(Self { name, url, secret, tenant, retry_after_seconds })
    }

    /// When a delivery is tried again that was tried so often in vain. `None`: never.
    pub fn next_attempt(&self, attempts: i32, now: Instant) -> Option<Instant> {
        if attempts >= ATTEMPTS {
            return None;
        }
        let seconds = self.retry_after_seconds.saturating_mul(3_u64.saturating_pow(attempts.max(1).unsigned_abs() - 1));
        Some(now.plus_micros(seconds.min(MAX_RETRY_SECONDS).cast_signed() * 1_000_000))
    }

    /// The headers of a message: Standard Webhooks 1.0.0.
    fn headers(&self, id: &str, sent_at: Instant, payload: &[u8]) -> Option<HeaderMap> {
        let timestamp = (sent_at.micros() / 1_000_000).to_string();
        let mut hmac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.secret).ok()?;
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", payload] {
            hmac.update(part);
        }
        let signature = format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()));
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let content = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
        Some(HeaderMap::from_iter([
            (CONTENT_TYPE, content),
            (HeaderName::from_static("webhook-id"), value(id)?),
            (HeaderName::from_static("webhook-timestamp"), value(&timestamp)?),
            (HeaderName::from_static("webhook-signature"), value(&signature)?),
        ]))
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Delivered(u16),
    /// It may succeed another time. 0: there was no answer.
    Failed(u16),
    /// It will not.
    Refused(u16),
}

impl Attempt {
    fn answered(status: StatusCode) -> Self {
        let may_succeed_later = [408, 425, 429].contains(&status.as_u16()) || status.is_server_error();
        match status.as_u16() {
            number if status.is_success() => Self::Delivered(number),
            number if may_succeed_later => Self::Failed(number),
            number => Self::Refused(number),
        }
    }

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Delivered(status) | Self::Failed(status) | Self::Refused(status) => status,
        }
    }
}

/// All endpoints.
#[derive(Clone)]
pub struct Endpoints {
    all: Arc<Vec<Endpoint>>,
    outbound: Outbound,
}

impl Endpoints {
    /// Endpoints with a name for each tenant once.
    pub fn new(all: Vec<Endpoint>) -> Result<Self, EndpointError> {
        for (index, endpoint) in all.iter().enumerate() {
            let same = |other: &Endpoint| other.name == endpoint.name && other.tenant == endpoint.tenant;
            if all[..index].iter().any(same) {
                return Err(EndpointError::Twice(endpoint.name.clone()));
            }
        }
        let outbound = Outbound::new().map_err(|error| EndpointError::Tls(error.to_string()))?;
        Ok(Self { all: Arc::new(all), outbound })
    }

    /// The endpoint of a name for a tenant: its own before everybody's.
    pub fn of(&self, tenant: &str, name: &str) -> Option<&Endpoint> {
        let named = || self.all.iter().filter(|endpoint| endpoint.name == name);
        let own = named().find(|endpoint| endpoint.tenant.as_deref() == Some(tenant));
        own.or_else(|| named().find(|endpoint| endpoint.tenant.is_none()))
    }

    /// The names of a tenant's endpoints, everybody's included.
    pub fn names(&self, tenant: &str) -> BTreeSet<&str> {
        let of_tenant = |endpoint: &&Endpoint| endpoint.tenant.as_deref().is_none_or(|of| of == tenant);
        self.all.iter().filter(of_tenant).map(|endpoint| endpoint.name.as_str()).collect()
    }

    /// Sends a message to an endpoint, once.
    pub async fn send(&self, endpoint: &Endpoint, id: &str, payload: Vec<u8>, now: Instant) -> Attempt {
        let Some(headers) = endpoint.headers(id, now, &payload) else { return Attempt::Refused(0) };
        let outgoing = Outgoing {
            method: Method::POST,
            headers,
            body: Bytes::from(payload),
            timeout: TIMEOUT,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        match self.outbound.send(&endpoint.url, outgoing).await {
            Ok((status, _)) => Attempt::answered(status),
            Err(_) => Attempt::Failed(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries' own tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn endpoint(name: &str, tenant: Option<&str>) -> Endpoint {
        Endpoint::new(name.to_owned(), "https://hooks.example/a", SECRET, tenant.map(str::to_owned), 10).unwrap()
    }

    #[test]
    fn a_message_is_signed_as_the_standard_has_it() {
        let at = Instant::from_micros(1_614_265_330_000_000);
        let headers =
            endpoint("a", None).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let of = |name: &str, url: &str, secret: &str, retry| {
            Endpoint::new(name.to_owned(), url, secret, None, retry).map(|_| ())
        };
        let (url, bare) = ("https://hooks.example", SECRET.trim_start_matches(SECRET_PREFIX));
        assert_eq!(of("a", url, SECRET, 1), Ok(()));
        assert_eq!(of("a", "http://127.0.0.1:80/x", bare, 1), Ok(()));
        assert!(matches!(of("A b", url, SECRET, 1), Err(EndpointError::Name(_))));
        for elsewhere in ["http://hooks.example", "ftp://localhost", "https://user@hooks.example", ""] {
            assert!(matches!(of("a", elsewhere, SECRET, 1), Err(EndpointError::Url { .. })), "{elsewhere}");
        }
        for secret in ["", "whsec_", "c2hvcnQ=", "not base64!", &"A".repeat(88)] {
            assert_eq!(of("a", url, secret, 1), Err(EndpointError::Secret("a".to_owned())), "{secret}");
        }
        assert_eq!(of("a", url, SECRET, 0), Err(EndpointError::Retry("a".to_owned())));
        let twice = Endpoints::new(vec![endpoint("a", None), endpoint("a", Some("x")), endpoint("a", None)]);
        assert_eq!(twice.err(), Some(EndpointError::Twice("a".to_owned())));
    }

    #[test]
    fn a_tenants_own_endpoint_comes_before_everybodys() {
        let endpoints = Endpoints::new(vec![endpoint("a", None), endpoint("a", Some("x")), endpoint("b", Some("x"))]);
        let endpoints = endpoints.unwrap();
        let tenant_of = |tenant, name| endpoints.of(tenant, name).map(|endpoint| endpoint.tenant.as_deref());
        assert_eq!(tenant_of("x", "a"), Some(Some("x")));
        assert_eq!(tenant_of("y", "a"), Some(None));
        assert_eq!(tenant_of("y", "b"), None);
    }

    #[test]
    fn attempts_come_three_times_as_late_each_time_and_end() {
        let of = |attempts| endpoint("a", None).next_attempt(attempts, Instant::from_micros(0));
        let seconds: Vec<_> = (1..12).map(|attempts| of(attempts).unwrap().micros() / 1_000_000).collect();
        assert_eq!(seconds, [10, 30, 90, 270, 810, 2_430, 7_290, 21_600, 21_600, 21_600, 21_600]);
        assert_eq!(of(12), None);
    }

    #[test]
    fn only_what_may_succeed_later_is_tried_again() {
        let of = |number| Attempt::answered(StatusCode::from_u16(number).unwrap());
        for status in [200, 202, 204, 299] {
            assert_eq!(of(status), Attempt::Delivered(status));
        }
        for status in [408, 425, 429, 500, 502, 503, 599] {
            assert_eq!(of(status), Attempt::Failed(status));
        }
        for status in [301, 307, 400, 401, 404, 410, 413] {
            assert_eq!(of(status), Attempt::Refused(status));
        }
    }
}
