//! The keys of a tenant: for the ciphertext of its customers, and for the keyed hashes by which they are found.

use crate::intake::Identity;
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use quintile_store::StoreError;
use quintile_store::keys::KeyStore;
use quintile_store::sealing::Key;

/// The purpose of the key that wraps customers' data keys.
const WRAPPING: &str = "customers' data keys";
/// The purpose of the key of keyed hashes. A rotation of the master key leaves it as it is: every hash stays true.
const BLIND_INDEX: &str = "blind index";

/// The keys of every tenant, opened once.
#[derive(Clone)]
pub struct KeyRing {
    keys: KeyStore,
    entropy: Entropy,
}

/// The keys of one tenant.
#[derive(Clone)]
pub struct TenantKeys {
    /// Wraps the data keys of customers, and seals rejects.
    pub wrapping: Key,
    blind_index: Key,
    /// Randomness for what these keys seal.
    pub entropy: Entropy,
}

impl KeyRing {
    /// The keys of tenants among a service's keys.
    pub fn new(keys: KeyStore, entropy: Entropy) -> Self {
        Self { keys, entropy }
    }

    /// A tenant's keys, made when they are first asked for.
    pub async fn of(&self, tenant: TenantId) -> Result<TenantKeys, StoreError> {
        Ok(TenantKeys {
            wrapping: self.keys.of(tenant, WRAPPING).await?,
            blind_index: self.keys.of(tenant, BLIND_INDEX).await?,
            entropy: self.entropy.clone(),
        })
    }
}

impl TenantKeys {
    /// The hash by which an identity is found.
    pub fn identity_hash(&self, identity: &Identity) -> Vec<u8> {
        // Lengths first: no two pairs of source and id run together into one text.
        let value = format!("identity {} {} {}", identity.source.len(), identity.source, identity.id);
        self.blind_index.hash(value.as_bytes()).to_vec()
    }

    /// The hash by which a phone number in E.164 is found.
    pub fn phone_hash(&self, phone: &str) -> Vec<u8> {
        self.blind_index.hash(format!("phone {phone}").as_bytes()).to_vec()
    }

    /// The hash by which an e-mail address in lower case is found.
    pub fn email_hash(&self, email: &str) -> Vec<u8> {
        self.blind_index.hash(format!("email {email}").as_bytes()).to_vec()
    }

    /// The hash by which those are found whose birthday a day of the year is.
    pub fn birthday_hash(&self, month: i32, day: i32) -> Vec<u8> {
        self.blind_index.hash(format!("birthday {month} {day}").as_bytes()).to_vec()
    }
}
