//! External issuers: what their URLs must be, and their keys by OpenID Connect discovery.
//!
//! What is fetched is the issuer's word about itself, and all that is taken from it are keys of kinds that are accepted.

mod fetch;

pub use fetch::Fetcher;
use quintile_proto::access::Jwk;
use quintile_rpc::strict_json;
use quintile_rpc::trust::VerifyingKey;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::net::IpAddr;
use thiserror::Error;

/// The most bytes of an issuer's identifier, and of the URL of its keys.
pub const MAX_URL_BYTES: usize = 512;
/// The most keys that are taken of an issuer.
const MAX_KEYS: usize = 64;
/// The most bytes of a key's id.
const MAX_KID_BYTES: usize = 256;

/// Why an issuer's keys can't be had. It names nothing that was answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    /// No connection, no TLS, no HTTP, or nothing in time.
    #[error("the issuer's documents could not be fetched")]
    Unreachable,
    /// Another status than 200; a redirect is one too, and is not followed.
    #[error("the issuer's documents were answered with a status other than 200")]
    Status,
    /// An answer is larger than an issuer needs.
    #[error("the issuer's documents are too large")]
    TooLarge,
    /// An answer is not the JSON that it should be.
    #[error("the issuer's documents are malformed")]
    Malformed,
    /// The discovery document is another issuer's.
    #[error("the discovery document names another issuer")]
    OtherIssuer,
    /// The keys are not where keys may be.
    #[error("the discovery document names no jwks_uri that is accepted")]
    KeysUrl,
    /// There is no key of a kind that is accepted.
    #[error("the issuer has no RSA (2,048 bits), P-256 or Ed25519 key to sign with")]
    NoKeys,
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be an https URL (http for loopback alone) without user, query and fragment, of at most 512 bytes")]
pub struct UrlError;

/// A URL that keys may come from.
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
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The URL of an issuer's discovery document (OpenID Connect Discovery 1.0, section 4.1).
fn discovery_url(issuer: &str) -> Result<Url, UrlError> {
    let issuer = Url::parse(issuer)?;
    Ok(Url { path: format!("{}/.well-known/openid-configuration", issuer.path.trim_end_matches('/')), ..issuer })
}

/// Where a discovery document says that the issuer's keys are. It must be that of the issuer, to the letter.
fn keys_url(document: &[u8], issuer: &str) -> Result<Url, FetchError> {
    let document = strict_json::object(document).ok_or(FetchError::Malformed)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(FetchError::OtherIssuer);
    }
    Url::parse(text("jwks_uri").ok_or(FetchError::KeysUrl)?).map_err(|_| FetchError::KeysUrl)
}

/// The keys of a JWK set that are accepted. The others are skipped: an issuer may have keys for what is none of ours.
fn keys(document: &[u8]) -> Result<Vec<Jwk>, FetchError> {
    let document = strict_json::object(document).ok_or(FetchError::Malformed)?;
    let items = document.get("keys").and_then(Value::as_array).ok_or(FetchError::Malformed)?;
    let mut kids = HashSet::new();
    let mut keys: Vec<_> = items.iter().filter_map(Value::as_object).filter_map(key).collect();
    keys.retain(|key| kids.insert(key.kid.clone()));
    keys.truncate(MAX_KEYS);
    if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(keys) }
}

fn key(members: &Map<String, Value>) -> Option<Jwk> {
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if members.contains_key("use") && text("use") != "sig" {
        return None;
    }
    let kid = text("kid");
    if kid.is_empty() || kid.len() > MAX_KID_BYTES {
        return None;
    }
    let (kty, stated) = (text("kty"), text("alg"));
    let alg = match kty.as_str() {
        "OKP" => "EdDSA",
        "EC" => "ES256",
        "RSA" => "RS256",
        _ => return None,
    };
    // RFC 9864 gave EdDSA with Ed25519 a name of its own.
    let same = stated == alg || (alg == "EdDSA" && stated == "Ed25519");
    if members.contains_key("alg") && !same {
        return None;
    }
    // The public parts alone: nothing else is kept, nor handed to the services.
    let jwk = match alg {
        "RS256" => Jwk { n: text("n"), e: text("e"), ..Jwk::default() },
        "ES256" => Jwk { crv: text("crv"), x: text("x"), y: text("y"), ..Jwk::default() },
        _ => Jwk { crv: text("crv"), x: text("x"), ..Jwk::default() },
    };
    let jwk = Jwk { kid, kty, alg: alg.to_owned(), ..jwk };
    VerifyingKey::from_jwk(&jwk).is_ok().then_some(jwk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    #[test]
    fn discovery_stands_behind_the_issuer_and_one_slash() {
        for (issuer, path) in [
            ("https://login.example", "/.well-known/openid-configuration"),
            ("https://login.example/", "/.well-known/openid-configuration"),
            ("https://login.example/a/b", "/a/b/.well-known/openid-configuration"),
            ("https://login.example/a/b/", "/a/b/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(issuer).unwrap().path, path, "{issuer}");
        }
    }

    #[test]
    fn a_discovery_document_is_the_issuers_to_the_letter() {
        let document = |issuer: &str, keys: Value| json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
        let of = |text: String| keys_url(text.as_bytes(), "https://login.example");
        let good = document("https://login.example", json!("https://keys.example/jwks"));
        assert_eq!(of(good).unwrap(), Url::parse("https://keys.example/jwks").unwrap());
        for issuer in ["https://login.example/", "https://LOGIN.example", "https://evil.example", ""] {
            assert_eq!(of(document(issuer, json!("https://keys.example"))), Err(FetchError::OtherIssuer), "{issuer}");
        }
        for keys in [json!("http://keys.example"), json!("file:///etc/passwd"), json!(null), json!(["https://a"])] {
            assert_eq!(of(document("https://login.example", keys.clone())), Err(FetchError::KeysUrl), "{keys}");
        }
        let doubled = r#"{"issuer":"https://evil","issuer":"https://login.example","jwks_uri":"https://a"}"#;
        assert_eq!(of(doubled.to_owned()), Err(FetchError::Malformed));
    }

    #[test]
    fn keys_that_do_not_sign_here_are_skipped() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let ed = |changes: Value| {
            let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a" });
            for (name, change) in changes.as_object().unwrap() {
                key[name] = change.clone();
            }
            key
        };
        for (key, good) in [
            (ed(json!({})), true),
            (ed(json!({ "use": "sig", "alg": "EdDSA" })), true),
            (ed(json!({ "alg": "Ed25519" })), true),
            // A private part that was published by mistake is not kept.
            (ed(json!({ "d": "secret" })), true),
            (ed(json!({ "use": "enc" })), false),
            (ed(json!({ "use": null })), false),
            (ed(json!({ "alg": "HS256" })), false),
            (ed(json!({ "alg": null })), false),
            (ed(json!({ "kid": "" })), false),
            (ed(json!({ "kid": 1 })), false),
            (ed(json!({ "kid": "a".repeat(257) })), false),
            (ed(json!({ "crv": "X25519" })), false),
            (ed(json!({ "x": "short" })), false),
            (json!({ "kty": "oct", "k": x, "kid": "a" }), false),
            (json!({ "kty": "RSA", "n": x, "e": "AQAB", "kid": "a" }), false),
            (json!("key"), false),
        ] {
            let document = json!({ "keys": [key] }).to_string();
            let expected = Jwk {
                kid: "a".to_owned(),
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                alg: "EdDSA".to_owned(),
                x: x.to_owned(),
                ..Jwk::default()
            };
            let expected = if good { Ok(vec![expected]) } else { Err(FetchError::NoKeys) };
            assert_eq!(keys(document.as_bytes()), expected, "{document}");
        }
        let doubled = json!({ "keys": [ed(json!({})), ed(json!({}))] }).to_string();
        assert_eq!(keys(doubled.as_bytes()).unwrap().len(), 1);
        let many: Vec<_> = (0..100).map(|number| ed(json!({ "kid": number.to_string() }))).collect();
        assert_eq!(keys(json!({ "keys": many }).to_string().as_bytes()).unwrap().len(), MAX_KEYS);
        for malformed in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert_eq!(keys(malformed.as_bytes()), Err(FetchError::Malformed), "{malformed}");
        }
    }
}
