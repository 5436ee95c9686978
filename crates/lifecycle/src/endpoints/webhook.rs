//! Webhooks: how they are signed and called.

use super::{Attempt, EndpointError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use quintile_domain::time::Instant;
use quintile_rpc::outbound::{Outbound, Outgoing, Url};
use sha2::Sha256;
use std::time::Duration;
use zeroize::Zeroizing;

/// Calls at once.
pub(super) const AT_ONCE: usize = 16;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer, which nobody reads.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The lengths of secrets, as the Standard Webhooks specification has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What secrets begin with there.
const SECRET_PREFIX: &str = "whsec_";

/// A webhook.
#[derive(Clone)]
pub struct Webhook {
    url: Url,
    secret: Zeroizing<Vec<u8>>,
}

impl Webhook {
    /// A webhook by its URL and the secret that calls are signed by.
    pub fn new(url: &str, secret: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(url)?;
        // Some programs break lines of it.
        let secret = Zeroizing::new(secret.split_whitespace().collect::<String>());
        let secret = STANDARD
            .decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(&secret))
            .map(Zeroizing::new)
            .map_err(|_| EndpointError::Secret)?;
        if SECRET_BYTES.contains(&secret.len()) { Ok(Self { url, secret }) } else { Err(EndpointError::Secret) }
    }

    /// Sends a message, once.
    pub async fn call(&self, outbound: &Outbound, id: &str, payload: Vec<u8>, now: Instant) -> Attempt {
        let Some(headers) = self.headers(id, now, &payload) else { return Attempt::Refused(0) };
        let outgoing = Outgoing {
            method: Method::POST,
            headers,
            body: Bytes::from(payload),
            timeout: TIMEOUT,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        match outbound.send(&self.url, outgoing).await {
            Ok((status, _)) => answered(status),
            Err(_) => Attempt::Failed(0),
        }
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

fn answered(status: StatusCode) -> Attempt {
    let may_succeed_later = [408, 425, 429].contains(&status.as_u16()) || status.is_server_error();
    match status.as_u16() {
        number if status.is_success() => Attempt::Delivered(number),
        number if may_succeed_later => Attempt::Failed(number),
        number => Attempt::Refused(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries' own tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_message_is_signed_as_the_standard_has_it() {
        let at = Instant::from_micros(1_614_265_330_000_000);
        let webhook = Webhook::new("https://hooks.example/a", SECRET).unwrap();
        let headers = webhook.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        let of = |url: &str, secret: &str| Webhook::new(url, secret).map(|_| ());
        let (url, bare) = ("https://hooks.example", SECRET.trim_start_matches(SECRET_PREFIX));
        assert_eq!(of(url, SECRET), Ok(()));
        assert_eq!(of("http://127.0.0.1:80/x", bare), Ok(()));
        for elsewhere in ["http://hooks.example", "ftp://localhost", "https://user@hooks.example", ""] {
            assert!(matches!(of(elsewhere, SECRET), Err(EndpointError::Url(_))), "{elsewhere}");
        }
        for secret in ["", "whsec_", "c2hvcnQ=", "not base64!", &"A".repeat(88)] {
            assert_eq!(of(url, secret), Err(EndpointError::Secret), "{secret}");
        }
    }

    #[test]
    fn only_what_may_succeed_later_is_tried_again() {
        let of = |number| answered(StatusCode::from_u16(number).unwrap());
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
