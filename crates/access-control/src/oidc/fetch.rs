//! Fetching: one request per connection, by TLS where it leaves the machine, of bounded size and time, and no further than asked.

use super::{FetchError, Url, discovery_url, keys, keys_url};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use quintile_proto::access::Jwk;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// How long one document may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The most bytes of an answer's headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Fetches issuers' documents. The certificates of those that are elsewhere must lead to one of Mozilla's authorities.
#[derive(Clone)]
pub struct Fetcher(TlsConnector);

impl Fetcher {
    /// A fetcher.
    pub fn new() -> Result<Self, rustls::Error> {
        Self::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    fn trusting(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The keys of an issuer, by its discovery document.
    pub async fn keys(&self, issuer: &str) -> Result<Vec<Jwk>, FetchError> {
        let discovery = self.get(&discovery_url(issuer).map_err(|_| FetchError::Unreachable)?).await?;
        keys(&self.get(&keys_url(&discovery, issuer)?).await?)
    }

    async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        tokio::time::timeout(TIMEOUT, self.exchange(url)).await.unwrap_or(Err(FetchError::Unreachable))
    }

    async fn exchange(&self, url: &Url) -> Result<Bytes, FetchError> {
        let address = (url.host.as_str(), url.port);
        let stream = TcpStream::connect(address).await.map_err(|_| FetchError::Unreachable)?;
        if !url.secure {
            return request(stream, url).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(|_| FetchError::Unreachable)?;
        request(self.0.connect(name, stream).await.map_err(|_| FetchError::Unreachable)?, url).await
    }
}

async fn request<S>(stream: S, url: &Url) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| FetchError::Unreachable)?;
    // It ends with this call, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(&url.path)
        .header(HOST, &url.authority)
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Unreachable)?;
    let response = sender.send_request(request).await.map_err(|_| FetchError::Unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status);
    }
    let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() { FetchError::TooLarge } else { FetchError::Unreachable }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rustls::ServerConfig;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
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
        Fetcher::trusting(roots).unwrap()
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
