//! The keys that sign tokens: Ed25519.

use crate::rotation::{self, Scheduled};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use quintile_domain::time::Instant;
use quintile_proto::access::Jwk;
use quintile_rpc::ApiError;
use quintile_rpc::token::{self, Claims};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of the secret that a key is made from.
pub const SEED_BYTES: usize = 32;
/// What leads the seed in PKCS#8, version 1 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A key that signs.
pub struct SigningKey {
    kid: String,
    x: String,
    pair: Ed25519KeyPair,
    encoding: EncodingKey,
}

impl SigningKey {
    /// The key of a seed. Every 32 bytes are one.
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are an Ed25519 seed");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let mut pkcs8 = Zeroizing::new([0; PKCS8_PREFIX.len() + SEED_BYTES]);
        pkcs8[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
        pkcs8[PKCS8_PREFIX.len()..].copy_from_slice(seed);
        Self { kid: thumbprint(&x), x, pair, encoding: EncodingKey::from_ed_der(pkcs8.as_ref()) }
    }

    /// The key's id: the thumbprint of its public part.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public part, base64url without padding.
    pub fn public_x(&self) -> &str {
        &self.x
    }

    /// Signs bytes that can't be taken for a token: Ed25519, 64 bytes.
    pub fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// Signs a token.
    pub fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        token::sign(claims, &self.kid, &self.encoding)
    }
}

/// The keys that sign, each in its time.
pub struct KeyRing(Vec<(Scheduled, Arc<SigningKey>)>);

impl KeyRing {
    /// The ring of keys and their schedule, in its order.
    pub fn new(keys: Vec<(Scheduled, Arc<SigningKey>)>) -> Self {
        Self(keys)
    }

    /// The key that signs at an instant.
    pub fn signing(&self, now: Instant) -> Option<&Arc<SigningKey>> {
        let schedule: Vec<_> = self.0.iter().map(|(scheduled, _)| scheduled.clone()).collect();
        rotation::signing(&schedule, now).map(|index| &self.0[index].1)
    }
}

/// The public key of an id and its public part, as those who verify need it.
pub fn jwk(kid: String, x: String) -> Jwk {
    Jwk { kid, kty: "OKP".to_owned(), crv: "Ed25519".to_owned(), alg: "EdDSA".to_owned(), x, ..Jwk::default() }
}

// RFC 7638 with the members of RFC 8037: the same key has the same id wherever it is kept.
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_that_of_rfc_8037() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(key.public_x(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
