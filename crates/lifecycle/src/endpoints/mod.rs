//! The endpoints that playbooks send to, webhooks and senders of e-mails, as whoever runs the suite has configured them.
//!
//! They are configured and not told by an RPC: whom the suite connects to, and with which secrets, is its operator's to say, not a tenant's.

mod mail;
mod webhook;

pub use mail::{Mail, MailServer};
pub use webhook::Webhook;

use quintile_domain::names;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::DeliveryKind;
use quintile_rpc::outbound::{Outbound, UrlError};
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

/// How often a delivery is tried.
const ATTEMPTS: i32 = 12;
/// The longest time between two attempts, in seconds.
const MAX_RETRY_SECONDS: u64 = 6 * 3_600;

/// Why there is no such endpoint.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Its name is no name.
    #[error("the name of an endpoint: {0}")]
    Name(String),
    /// Its tenant is none.
    #[error("the tenant of endpoint {0} must be the id of one")]
    Tenant(String),
    /// It would be tried again at once.
    #[error("retry_after_seconds of endpoint {0} must be 1 or more")]
    Retry(String),
    /// There are two.
    #[error("there are two endpoints {0} for the same tenant, be they webhooks or senders of e-mails")]
    Twice(String),
    /// Its URL is none that is called.
    #[error("the URL of a webhook: {0}")]
    Url(#[from] UrlError),
    /// Its secret is none.
    #[error("the secret of a webhook must be 24 to 64 bytes in base64, with or without whsec_ in front")]
    Secret,
    /// Its server is none that e-mails go to.
    #[error(
        "the server of a sender of e-mails must be smtps://host or smtp://host, with a port or without, of at most 512 bytes"
    )]
    Server,
    /// It sends as nobody.
    #[error("from, of a sender of e-mails, must be an e-mail address, with or without a name")]
    From,
    /// Nobody could unsubscribe by it.
    #[error("unsubscribe, of a sender of e-mails, must be an https or mailto URL of at most 512 bytes")]
    Unsubscribe,
    /// A password without whose it is, or the other way round.
    #[error("user and password_file, of a sender of e-mails, come together")]
    Login,
    /// Requests can't be secured.
    #[error("no TLS: {0}")]
    Tls(String),
}

/// By which way an endpoint is reached.
#[derive(Clone)]
pub enum Way {
    /// It is called.
    Webhook(Webhook),
    /// It sends e-mails.
    Mail(Mail),
}

/// One endpoint.
#[derive(Clone)]
pub struct Endpoint {
    name: String,
    tenant: Option<String>,
    retry_after_seconds: u64,
    /// By which way it is reached.
    pub way: Way,
}

impl Endpoint {
    /// An endpoint by its configuration, for one tenant or for all.
    pub fn new(
        name: String,
        tenant: Option<String>,
        retry_after_seconds: u64,
        way: Way,
    ) -> Result<Self, EndpointError> {
        if let Err(error) = names::resource_id(&name) {
            return Err(EndpointError::Name(error.to_string()));
        }
        if tenant.as_deref().is_some_and(|tenant| names::resource_id(tenant).is_err()) {
            return Err(EndpointError::Tenant(name));
        }
        if retry_after_seconds == 0 {
            return Err(EndpointError::Retry(name));
        }
        Ok(Self { name, tenant, retry_after_seconds, way })
    }

    /// Which deliveries it takes.
    pub fn kind(&self) -> DeliveryKind {
        match self.way {
            Way::Webhook(_) => DeliveryKind::Webhook,
            Way::Mail(_) => DeliveryKind::Email,
        }
    }

    /// Deliveries that are on their way to it at once, at most.
    pub fn at_once(&self) -> usize {
        match self.way {
            Way::Webhook(_) => webhook::AT_ONCE,
            Way::Mail(_) => mail::AT_ONCE,
        }
    }

    /// When a delivery is tried again that was tried so often in vain. `None`: never.
    pub fn next_attempt(&self, attempts: i32, now: Instant) -> Option<Instant> {
        if attempts >= ATTEMPTS {
            return None;
        }
        let seconds = self.retry_after_seconds.saturating_mul(3_u64.saturating_pow(attempts.max(1).unsigned_abs() - 1));
        Some(now.plus_micros(seconds.min(MAX_RETRY_SECONDS).cast_signed() * 1_000_000))
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
    /// There is no address to send to.
    NoAddress,
    /// The customer does not permit it any more, or is gone.
    Withdrawn,
}

impl Attempt {
    /// The status of the answer. 0: there was none.
    pub fn status(self) -> u16 {
        match self {
            Self::Delivered(status) | Self::Failed(status) | Self::Refused(status) => status,
            Self::NoAddress | Self::Withdrawn => 0,
        }
    }
}

/// All endpoints.
#[derive(Clone)]
pub struct Endpoints {
    all: Arc<Vec<Endpoint>>,
    /// By which webhooks are called.
    pub outbound: Outbound,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        Way::Webhook(Webhook::new("https://hooks.example/a", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap())
    }

    fn endpoint(name: &str, tenant: Option<&str>) -> Endpoint {
        Endpoint::new(name.to_owned(), tenant.map(str::to_owned), 10, way()).unwrap()
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let of = |name: &str, tenant: Option<&str>, retry| {
            Endpoint::new(name.to_owned(), tenant.map(str::to_owned), retry, way()).map(|_| ())
        };
        assert_eq!(of("a", None, 1), Ok(()));
        assert!(matches!(of("A b", None, 1), Err(EndpointError::Name(_))));
        assert_eq!(of("a", Some("No Tenant"), 1), Err(EndpointError::Tenant("a".to_owned())));
        assert_eq!(of("a", None, 0), Err(EndpointError::Retry("a".to_owned())));
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
}
