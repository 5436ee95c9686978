//! Calling another service: with the service's own short-lived token, on behalf of the user where there is one, within what is left of
//! the user's deadline.

use crate::settings::TlsSettings;
use crate::token::SUITE;
use crate::{ApiError, Caller};
use quintile_proto::access::IssueTokenRequest;
use quintile_proto::access::token_service_client::TokenServiceClient;
use quintile_proto::types::Purpose;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

pub use crate::channel::Channel;

/// The metadata key of the caller's token.
pub const AUTHORIZATION: &str = "authorization";
/// The metadata key of the token of the user that a service calls for.
pub const ON_BEHALF_OF: &str = "x-quintile-on-behalf-of";
/// The metadata key of the purpose that a call states: `marketing`, `profiling`, `analytics`, `support` or `third_party`.
pub const PURPOSE: &str = "x-quintile-purpose";
/// How long a service's token is asked for; it is renewed after half of it.
const TOKEN_LIFETIME: Duration = Duration::from_mins(10);
/// How long a service waits for another where no user's deadline says less.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream may take that a user waits for.
const STREAM_TIMEOUT: Duration = Duration::from_mins(10);
/// HTTP/2 windows for streams of records.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A channel to a service that connects when it is first used, and again when it has to.
pub fn channel(url: &str, tls: Option<&TlsSettings>) -> Result<Channel, String> {
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|_| format!("{url} is not a URL"))?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if let Some(tls) = tls.filter(|_| url.starts_with("https://")) {
        let read = |path: &std::path::Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let identity = Identity::from_pem(read(&tls.certificate_file)?, read(&tls.key_file)?);
        let config =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&tls.authority_file)?)).identity(identity);
        endpoint = endpoint.tls_config(config).map_err(|error| error.to_string())?;
    }
    Ok(endpoint.connect_lazy().into())
}

/// A service's own tokens, one per tenant, had from access-control for the bootstrap secret and renewed in time.
#[derive(Clone)]
pub struct Credentials {
    service: &'static str,
    secret: Arc<str>,
    access: Channel,
    tokens: Arc<Mutex<HashMap<String, Token>>>,
}

#[derive(Clone)]
struct Token {
    value: MetadataValue<Ascii>,
    renew_at: Instant,
}

impl Credentials {
    /// The credentials of a service, by the bootstrap secret, from access-control behind `access`.
    pub fn new(service: &'static str, secret: &str, access: Channel) -> Self {
        Self { service, secret: secret.into(), access, tokens: Arc::default() }
    }

    /// The service whose credentials they are.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// A request of the service's own, for a tenant.
    pub async fn request<T>(&self, tenant: &str, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(AUTHORIZATION, self.token(tenant).await?);
        Ok(request)
    }

    /// A request on behalf of a user: with the user's rights, and within what is left of the user's deadline.
    pub async fn request_for<T>(&self, caller: &Caller, message: T) -> Result<Request<T>, Status> {
        let mut request = self.request(&caller.tenant().name, message).await?;
        let token =
            format!("Bearer {}", caller.token).parse().map_err(|_| Status::from(ApiError::internal("token")))?;
        request.metadata_mut().insert(ON_BEHALF_OF, token);
        if let Some(purpose) = purpose_name(caller.purpose()) {
            request.metadata_mut().insert(PURPOSE, MetadataValue::from_static(purpose));
        }
        let left = caller.deadline.map_or(CALL_TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
        request.set_timeout(left.min(CALL_TIMEOUT));
        Ok(request)
    }

    /// The same of a stream that may go on for long: within what is left of the user's deadline, or ten minutes.
    pub async fn stream_for<T>(&self, caller: &Caller, message: T) -> Result<Request<T>, Status> {
        let mut request = self.request_for(caller, message).await?;
        let left =
            caller.deadline.map_or(STREAM_TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
        request.set_timeout(left.min(STREAM_TIMEOUT));
        Ok(request)
    }

    async fn token(&self, tenant: &str) -> Result<MetadataValue<Ascii>, Status> {
        // One caller renews, the others wait for it.
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(tenant).filter(|token| token.renew_at > Instant::now()) {
            return Ok(token.value.clone());
        }
        let mut request = Request::new(IssueTokenRequest {
            bootstrap_secret: self.secret.to_string(),
            role: "service".to_owned(),
            subject: format!("{SUITE}{}", self.service),
            tenant: tenant.to_owned(),
            lifetime: Some(crate::convert::duration(TOKEN_LIFETIME)),
            ..IssueTokenRequest::default()
        });
        request.set_timeout(CALL_TIMEOUT);
        let answer = TokenServiceClient::new(self.access.clone()).issue_token(request).await?.into_inner();
        let value: MetadataValue<Ascii> =
            format!("Bearer {}", answer.token).parse().map_err(|_| Status::from(ApiError::internal("token")))?;
        let token = Token { value: value.clone(), renew_at: Instant::now() + TOKEN_LIFETIME / 2 };
        tokens.insert(tenant.to_owned(), token);
        Ok(value)
    }
}

/// A purpose as the metadata states it. `None`: none.
pub fn purpose_name(purpose: Purpose) -> Option<&'static str> {
    match purpose {
        Purpose::Unspecified => None,
        Purpose::Marketing => Some("marketing"),
        Purpose::Profiling => Some("profiling"),
        Purpose::Analytics => Some("analytics"),
        Purpose::Support => Some("support"),
        Purpose::ThirdParty => Some("third_party"),
    }
}

/// What a failed call to another service means to our own caller: refusals are the caller's own, everything else is an outage.
pub fn upstream_error(status: &Status) -> ApiError {
    match status.code() {
        Code::NotFound => ApiError::not_found(),
        Code::PermissionDenied => ApiError::method_denied(),
        Code::DeadlineExceeded => ApiError::deadline_exceeded(),
        code => ApiError::unavailable(format!("upstream answered {code:?}")),
    }
}
