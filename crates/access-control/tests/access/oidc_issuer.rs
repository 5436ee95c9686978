//! An OpenID Connect issuer of our own on a loopback port, which can be put wrong in every way that matters.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How the issuer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Good,
    /// Not at all.
    Down,
    /// With an error.
    Failing,
    /// By a redirect to what would be good.
    Redirect,
    /// With a discovery document of more bytes than one may have.
    Oversize,
    /// With a discovery document of another issuer.
    OtherIssuer,
    /// With keys where keys may not be.
    KeysElsewhere,
    /// With what is not JSON.
    Nonsense,
    /// With keys of no kind that is accepted.
    NoKeys,
}

/// The issuer.
pub struct OidcIssuer {
    /// Its identifier.
    pub url: String,
    state: Arc<State>,
}

struct State {
    manner: Mutex<Manner>,
    /// Key ids and seeds.
    keys: Mutex<Vec<(String, u8)>>,
    discoveries: AtomicUsize,
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

impl OidcIssuer {
    /// Starts an issuer with one key, `a`.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/realm", listener.local_addr().unwrap());
        let state = Arc::new(State {
            manner: Mutex::new(Manner::Good),
            keys: Mutex::new(vec![("a".to_owned(), 1)]),
            discoveries: AtomicUsize::new(0),
        });
        let (serving, issuer) = (state.clone(), url.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone(), issuer.clone()));
            }
        });
        Self { url, state }
    }

    /// Has it answer otherwise from now on.
    pub fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Has it publish these keys, by id and seed.
    pub fn publish(&self, keys: &[(&str, u8)]) {
        *self.state.keys.lock().unwrap() = keys.iter().map(|(kid, seed)| ((*kid).to_owned(), *seed)).collect();
    }

    /// How often it was asked for its discovery document.
    pub fn discoveries(&self) -> usize {
        self.state.discoveries.load(Ordering::Relaxed)
    }

    /// A token that it issues at an instant, signed by the key of a seed.
    pub fn token(&self, kid: &str, seed: u8, now: i64, groups: &[&str]) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid });
        let claims = json!({
            "iss": self.url, "aud": ["quintile"], "sub": "ann",
            "iat": now, "nbf": now, "exp": now + 600, "groups": groups,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair(seed).sign(message.as_bytes())))
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>, issuer: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path == "/realm/.well-known/openid-configuration" {
        state.discoveries.fetch_add(1, Ordering::Relaxed);
    }
    let manner = *state.manner.lock().unwrap();
    if let Some(answer) = answer(path, manner, &state, &issuer) {
        // Whoever hangs up early has read enough.
        drop(stream.write_all(answer.as_bytes()).await);
    }
}

fn answer(path: &str, manner: Manner, state: &State, issuer: &str) -> Option<String> {
    let ok = |body: String| Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let discovery = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
    let keys_url = format!("{issuer}/keys");
    match (path, manner) {
        (_, Manner::Down) => None,
        (_, Manner::Failing) => Some("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ("/realm/.well-known/openid-configuration", Manner::Redirect) => {
            Some("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned())
        }
        ("/realm/.well-known/openid-configuration", Manner::Oversize) => {
            ok(format!("{}{}", discovery(issuer, &keys_url), " ".repeat(256 * 1024)))
        }
        ("/realm/.well-known/openid-configuration", Manner::OtherIssuer) => {
            ok(discovery(&format!("{issuer}/"), &keys_url))
        }
        ("/realm/.well-known/openid-configuration", Manner::KeysElsewhere) => {
            ok(discovery(issuer, "http://keys.example/keys"))
        }
        (_, Manner::Nonsense) => ok("<html>".to_owned()),
        ("/realm/.well-known/openid-configuration" | "/elsewhere", _) => ok(discovery(issuer, &keys_url)),
        ("/realm/keys", Manner::NoKeys) => {
            ok(json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }] }).to_string())
        }
        ("/realm/keys", _) => {
            let keys = state.keys.lock().unwrap();
            let keys: Vec<_> = keys
                .iter()
                .map(|(kid, seed)| {
                    let x = URL_SAFE_NO_PAD.encode(pair(*seed).public_key());
                    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": x })
                })
                .collect();
            ok(json!({ "keys": keys }).to_string())
        }
        _ => Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()),
    }
}
