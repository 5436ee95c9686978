//! External issuers: what their URLs must be, and their keys by OpenID Connect discovery.
//!
//! What is fetched is the issuer's word about itself, and all that is taken from it are keys of kinds that are accepted.

mod fetch;

pub use fetch::Fetcher;
use quintile_proto::access::Jwk;
use quintile_rpc::outbound::{Url, UrlError};
use quintile_rpc::strict_json;
use quintile_rpc::trust::VerifyingKey;
use serde_json::{Map, Value};
use std::collections::HashSet;
use thiserror::Error;

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

/// The URL of an issuer's discovery document (OpenID Connect Discovery 1.0, section 4.1).
fn discovery_url(issuer: &str) -> Result<Url, UrlError> {
    let issuer = Url::parse(issuer)?;
    let path = format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/'));
    Ok(issuer.with_path(path))
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
    fn discovery_stands_behind_the_issuer_and_one_slash() {
        for (issuer, path) in [
            ("https://login.example", "/.well-known/openid-configuration"),
            ("https://login.example/", "/.well-known/openid-configuration"),
            ("https://login.example/a/b", "/a/b/.well-known/openid-configuration"),
            ("https://login.example/a/b/", "/a/b/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(issuer).unwrap().path(), path, "{issuer}");
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
