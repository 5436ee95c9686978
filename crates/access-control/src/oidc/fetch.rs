//! Fetching an issuer's documents.

use super::{FetchError, discovery_url, keys, keys_url};
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use quintile_proto::access::Jwk;
use quintile_rpc::outbound::{Outbound, OutboundError, Outgoing, Url};
use std::time::Duration;

/// How long one document may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Fetches issuers' documents.
#[derive(Clone)]
pub struct Fetcher(Outbound);

impl Fetcher {
    /// A fetcher.
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self(Outbound::new()?))
    }

    /// The keys of an issuer, by its discovery document.
    pub async fn keys(&self, issuer: &str) -> Result<Vec<Jwk>, FetchError> {
        let discovery = self.get(&discovery_url(issuer).map_err(|_| FetchError::Unreachable)?).await?;
        keys(&self.get(&keys_url(&discovery, issuer)?).await?)
    }

    async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        let outgoing = Outgoing {
            method: Method::GET,
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
            body: Bytes::new(),
            timeout: TIMEOUT,
            max_answer_bytes: MAX_DOCUMENT_BYTES,
        };
        match self.0.send(url, outgoing).await {
            Ok((StatusCode::OK, body)) => Ok(body),
            Ok(_) => Err(FetchError::Status),
            Err(OutboundError::TooLarge) => Err(FetchError::TooLarge),
            Err(OutboundError::Unreachable) => Err(FetchError::Unreachable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{RootCertStore, ServerConfig};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// What leads an Ed25519 seed in PKCS#8 (RFC 8410, section 7).
    const PKCS8_PREFIX: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    /// The seed of the server's key.
    const SEED: [u8; 32] = [7; 32];
    /// A certificate for `localhost` that the key signed itself, for the years 2020 to 2120.
    const CERTIFICATE: &str = "\
        MIHwMIGjoAMCAQICAQEwBQYDK2VwMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw\
        MFowFDESMBAGA1UEAwwJbG9jYWxob3N0MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iyjGDAWMBQG\
        A1UdEQQNMAuCCWxvY2FsaG9zdDAFBgMrZXADQQAefQtmJLJHqbmdAXHbuR8OAJ7PBOfNyn6rLH4E3bKbhhmaQT+LRBM5fummejNh\
        kw+dWi8VmT7HJgMsIFUw2EgD";

    fn certificate() -> CertificateDer<'static> {
        CertificateDer::from(STANDARD.decode(CERTIFICATE).unwrap())
    }

    /// A server by TLS that answers whatever it is asked with `body`, in a chunk of unknown total, and its port.
    async fn server(body: String) -> u16 {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &SEED].concat()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                drop(stream.read(&mut [0; 1024]).await);
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let answer = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        port
    }

    fn trusting() -> Fetcher {
        let mut roots = RootCertStore::empty();
        roots.add(certificate()).unwrap();
        Fetcher(Outbound::trusting(roots).unwrap())
    }

    #[tokio::test]
    async fn what_is_elsewhere_is_fetched_by_tls_from_whom_its_certificate_names() {
        let port = server("a document".to_owned()).await;
        let url = Url::parse(&format!("https://localhost:{port}/keys")).unwrap();
        assert_eq!(trusting().get(&url).await.unwrap(), "a document");
        assert_eq!(Fetcher::new().unwrap().get(&url).await, Err(FetchError::Unreachable), "nobody vouches for it");
        let address = Url::parse(&format!("https://127.0.0.1:{port}/keys")).unwrap();
        assert_eq!(trusting().get(&address).await, Err(FetchError::Unreachable), "it is another's");
    }

    #[tokio::test]
    async fn a_document_that_does_not_say_how_large_it_is_is_read_as_far_as_one_may_be() {
        for (bytes, good) in [(MAX_DOCUMENT_BYTES, true), (MAX_DOCUMENT_BYTES + 1, false)] {
            let port = server("x".repeat(bytes)).await;
            let url = Url::parse(&format!("https://localhost:{port}")).unwrap();
            let got = trusting().get(&url).await.map(|body| body.len());
            assert_eq!(got, if good { Ok(bytes) } else { Err(FetchError::TooLarge) });
        }
    }
}
