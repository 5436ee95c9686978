//! What must not be read is sealed: AES-256-GCM-SIV, bound to where it stands, under keys that a master key wraps.
//!
//! A customer's identifying fields are sealed by a data key of the customer's own, which is wrapped by the tenant's key, which is
//! wrapped by the master key (see [`crate::keys`]). Equality look-up goes by a keyed hash under a separate key.

mod key_encryption;

pub use key_encryption::{KeyEncryption, KeyId, LocalKeys, MAX_MASTER_KEYS, WrappedKey, master_keys};

use crate::{Result, StoreError};
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use sha2::Sha256;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce, which leads every sealed value behind the version.
const NONCE_BYTES: usize = 12;
/// The version that leads every sealed value.
const VERSION: u8 = 1;

/// A secret key; wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl Key {
    /// A fresh random key.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(Arc::new(Zeroizing::new(entropy.bytes())))
    }

    /// The key that base64 text spells, white space around it aside.
    pub fn from_base64(text: &str) -> Result<Self> {
        let bytes = Zeroizing::new(
            STANDARD.decode(text.trim()).map_err(|_| StoreError::Configuration("a key is not base64".to_owned()))?,
        );
        Self::from_bytes(&bytes)
    }

    /// The key of 32 bytes, as a service that wraps keys hands them over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes: [u8; KEY_BYTES] =
            bytes.try_into().map_err(|_| StoreError::Configuration("a key must have 32 bytes".to_owned()))?;
        Ok(Self(Arc::new(Zeroizing::new(bytes))))
    }

    /// The key's bytes, for a service that wraps keys. They are copied nowhere else.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key as base64 text, for the file that keeps the master key.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_ref()))
    }

    /// The keyed hash of a value (HMAC-SHA-256).
    pub fn hash(&self, value: &[u8]) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_ref().as_ref()).expect("HMAC takes keys of any length");
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    /// Seals a value so that it opens only in the same `place`.
    pub fn seal(&self, entropy: &Entropy, place: &[u8], value: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = entropy.bytes();
        let sealed = self
            .cipher()
            .encrypt(&Nonce::from(nonce), Payload { msg: value, aad: place })
            .expect("a value in memory is far shorter than the cipher's limit");
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`Key::seal`] sealed for the same `place`.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (version, rest) = sealed.split_first().ok_or(StoreError::Sealed("empty"))?;
        if *version != VERSION || rest.len() < NONCE_BYTES {
            return Err(StoreError::Sealed("unknown version"));
        }
        let (nonce, ciphertext) = rest.split_at(NONCE_BYTES);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| StoreError::Sealed("nonce"))?;
        self.cipher()
            .decrypt(&Nonce::from(nonce), Payload { msg: ciphertext, aad: place })
            .map(Zeroizing::new)
            .map_err(|_| StoreError::Sealed("the key is not the one that sealed it, or it was changed"))
    }

    /// Seals another key.
    pub fn wrap(&self, entropy: &Entropy, place: &[u8], key: &Self) -> Vec<u8> {
        self.seal(entropy, place, key.0.as_ref().as_ref())
    }

    /// Opens a key that [`Key::wrap`] sealed.
    pub fn unwrap_key(&self, place: &[u8], wrapped: &[u8]) -> Result<Self> {
        Self::from_bytes(&self.open(place, wrapped)?)
    }

    fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new_from_slice(self.0.as_ref().as_ref()).expect("a key has 32 bytes")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(<secret>)")
    }
}

/// Seals cursors and page tokens: opaque to clients, and good only for the tenant and the query that they were made for.
#[derive(Clone)]
pub struct TokenSealer {
    key: Key,
    entropy: Entropy,
}

impl TokenSealer {
    /// A sealer under a key that seals nothing else.
    pub fn new(key: Key, entropy: Entropy) -> Self {
        Self { key, entropy }
    }

    /// Seals `value` for `query` (method and every argument but the page) of a tenant.
    pub fn seal(&self, tenant: TenantId, query: &[u8], value: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.key.seal(&self.entropy, &Self::place(tenant, query), value))
    }

    /// Opens a token. An error says that it is not one of ours, or was made for another tenant or query.
    pub fn open(&self, tenant: TenantId, query: &[u8], token: &str) -> Result<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| StoreError::Sealed("not base64url"))?;
        Ok(self.key.open(&Self::place(tenant, query), &sealed)?.to_vec())
    }

    fn place(tenant: TenantId, query: &[u8]) -> Vec<u8> {
        [&tenant.0.to_be_bytes(), query].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn entropy() -> Entropy {
        Entropy::new(StdRng::seed_from_u64(7))
    }

    #[test]
    fn a_sealed_value_opens_in_its_own_place_only() {
        let (entropy, key) = (entropy(), Key::generate(&entropy()));
        let sealed = key.seal(&entropy, b"tenant 1, customer 42", b"secret");
        assert_eq!(key.open(b"tenant 1, customer 42", &sealed).unwrap().as_slice(), b"secret");
        assert!(key.open(b"tenant 1, customer 43", &sealed).is_err());
        assert!(Key::generate(&entropy).open(b"tenant 1, customer 42", &sealed).is_err());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let (entropy, key) = (entropy(), Key::generate(&entropy()));
        let sealed = key.seal(&entropy, b"place", b"secret");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(key.open(b"place", &changed).is_err(), "byte {index}");
        }
        assert!(key.open(b"place", b"").is_err());
    }

    #[test]
    fn a_token_is_good_for_its_own_query_only() {
        let sealer = TokenSealer::new(Key::generate(&entropy()), entropy());
        let token = sealer.seal(TenantId(1), b"ListCustomers", b"42");
        assert_eq!(sealer.open(TenantId(1), b"ListCustomers", &token).unwrap(), b"42");
        assert!(sealer.open(TenantId(2), b"ListCustomers", &token).is_err());
        assert!(sealer.open(TenantId(1), b"ListSegments", &token).is_err());
        assert!(sealer.open(TenantId(1), b"ListCustomers", "nonsense").is_err());
    }
}
