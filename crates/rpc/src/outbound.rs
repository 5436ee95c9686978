//! Requests to servers that are not ours: one per connection, by TLS where it leaves the machine, of bounded size and time, and no further than asked.

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// The most bytes of a URL.
pub const MAX_URL_BYTES: usize = 512;
/// The most bytes of an answer's headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be an https URL (http for loopback alone) without user, query and fragment, of at most 512 bytes")]
pub struct UrlError;

/// A URL that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether by TLS.
    secure: bool,
    host: String,
    port: u16,
    /// What the request's `host` says.
    authority: String,
    path: String,
}

impl Url {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // The parser is lenient with some of these, and drops others.
        if text.len() > MAX_URL_BYTES
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
            || text.contains(['@', '?', '#', '\\'])
        {
            return Err(UrlError);
        }
        let uri: http::Uri = text.parse().map_err(|_| UrlError)?;
        let authority = uri.authority().ok_or(UrlError)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(&host) => false,
            _ => return Err(UrlError),
        };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // What stands there is no port.
            None if authority.as_str() != authority.host() => return Err(UrlError),
            None if secure => 443,
            None => 80,
        };
        if host.is_empty() || port == 0 {
            return Err(UrlError);
        }
        Ok(Self { secure, host, port, authority: authority.to_string(), path: uri.path().to_owned() })
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same server's URL with another path.
    #[must_use]
    pub fn with_path(self, path: String) -> Self {
        Self { path, ..self }
    }
}

/// Whether a host is the machine itself.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why there is no answer. It names nothing that was answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OutboundError {
    /// No connection, no TLS, no HTTP, or nothing in time.
    #[error("the server could not be reached")]
    Unreachable,
    /// The answer is larger than it may be.
    #[error("the server's answer is too large")]
    TooLarge,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// How.
    pub method: Method,
    /// With which headers, aside from those of the connection.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
    /// How long it may take, the answer included.
    pub timeout: Duration,
    /// The most bytes of an answer.
    pub max_answer_bytes: usize,
}

/// Sends requests. The certificates of servers that are elsewhere must lead to one of the authorities that it trusts.
#[derive(Clone)]
pub struct Outbound(TlsConnector);

impl Outbound {
    /// One that trusts Mozilla's authorities.
    pub fn new() -> Result<Self, rustls::Error> {
        Self::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    /// One that trusts these.
    pub fn trusting(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Sends a request. A redirect is an answer like any, and is not followed.
    pub async fn send(&self, url: &Url, outgoing: Outgoing) -> Result<(StatusCode, Bytes), OutboundError> {
        let timeout = outgoing.timeout;
        tokio::time::timeout(timeout, self.exchange(url, outgoing)).await.unwrap_or(Err(OutboundError::Unreachable))
    }

    async fn exchange(&self, url: &Url, outgoing: Outgoing) -> Result<(StatusCode, Bytes), OutboundError> {
        let address = (url.host.as_str(), url.port);
        let stream = TcpStream::connect(address).await.map_err(|_| OutboundError::Unreachable)?;
        if !url.secure {
            return exchange_over(stream, url, outgoing).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(|_| OutboundError::Unreachable)?;
        let stream = self.0.connect(name, stream).await.map_err(|_| OutboundError::Unreachable)?;
        exchange_over(stream, url, outgoing).await
    }
}

async fn exchange_over<S>(stream: S, url: &Url, outgoing: Outgoing) -> Result<(StatusCode, Bytes), OutboundError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| OutboundError::Unreachable)?;
    // It ends with this call, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let Outgoing { method, headers, body, max_answer_bytes, .. } = outgoing;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.path.parse().map_err(|_| OutboundError::Unreachable)?;
    *request.headers_mut() = headers;
    let host = HeaderValue::from_str(&url.authority).map_err(|_| OutboundError::Unreachable)?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let response = sender.send_request(request).await.map_err(|_| OutboundError::Unreachable)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), max_answer_bytes).collect().await;
    let body = body.map(Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() { OutboundError::TooLarge } else { OutboundError::Unreachable }
    })?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_or_of_the_machine_itself() {
        for (text, good) in [
            ("https://login.example", true),
            ("https://login.example/tenant/v2", true),
            ("https://login.example:8443/", true),
            ("https://10.0.0.1", true),
            ("http://localhost:8080/realm", true),
            ("http://127.0.0.1:8080", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("http://login.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost.evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://evil.example#@localhost", false),
            ("http://evil.example\\@localhost", false),
            ("http://2130706433", false),
            ("http://[::ffff:10.0.0.1]", false),
            ("https://user:secret@login.example", false),
            ("https://login.example?a=b", false),
            ("https://login.example/#a", false),
            ("https://", false),
            ("https://login.example:0", false),
            ("https://login.example:65536", false),
            ("https://login.example/a b", false),
            ("https://login.example/ä", false),
            ("ftp://localhost", false),
            ("file:///etc/passwd", false),
            ("//login.example", false),
            ("login.example", false),
            ("", false),
        ] {
            assert_eq!(Url::parse(text).is_ok(), good, "{text}");
        }
        assert!(Url::parse(&format!("https://login.example/{}", "a".repeat(512))).is_err());
    }
}
