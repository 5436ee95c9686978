//! The keys of a tenant: for the ciphertext of its customers, and for the keyed hashes by which they are found.

use super::entities::tenant_key;
use crate::intake::Identity;
use parking_lot::RwLock;
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use quintile_store::sealing::Key;
use quintile_store::{Database, StoreError};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, EntityTrait};
use std::collections::HashMap;
use std::sync::Arc;

/// The keys of every tenant, opened once.
#[derive(Clone)]
pub struct KeyRing {
    master: Key,
    entropy: Entropy,
    database: Database,
    open: Arc<RwLock<HashMap<TenantId, TenantKeys>>>,
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
    /// The keys in a database, under the master key.
    pub fn new(master: Key, entropy: Entropy, database: Database) -> Self {
        Self { master, entropy, database, open: Arc::default() }
    }

    /// A tenant's keys, made when they are first asked for.
    pub async fn of(&self, tenant: TenantId) -> Result<TenantKeys, StoreError> {
        if let Some(keys) = self.open.read().get(&tenant) {
            return Ok(keys.clone());
        }
        let place = format!("tenant_key {}", tenant.0);
        let wrapped = match self.read(tenant).await? {
            Some(wrapped) => wrapped,
            None => self.make(tenant, place.as_bytes()).await?,
        };
        let keys = TenantKeys {
            wrapping: self.master.derive("tenant keys").unwrap_key(place.as_bytes(), &wrapped)?,
            blind_index: self.master.derive(&format!("blind index of tenant {}", tenant.0)),
            entropy: self.entropy.clone(),
        };
        self.open.write().insert(tenant, keys.clone());
        Ok(keys)
    }

    async fn read(&self, tenant: TenantId) -> Result<Option<Vec<u8>>, StoreError> {
        let row = tenant_key::Entity::find_by_id(tenant.0).one(self.database.writer()).await?;
        Ok(row.map(|row| row.wrapped_key))
    }

    async fn make(&self, tenant: TenantId, place: &[u8]) -> Result<Vec<u8>, StoreError> {
        let fresh = Key::generate(&self.entropy);
        let wrapped_key = self.master.derive("tenant keys").wrap(&self.entropy, place, &fresh);
        let row = tenant_key::ActiveModel { tenant_id: Set(tenant.0), wrapped_key: Set(wrapped_key) };
        // Another replica may have been faster: then its key is the one.
        tenant_key::Entity::insert(row)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(self.database.writer())
            .await?;
        self.read(tenant).await?.ok_or(StoreError::Sealed("a tenant's key is gone"))
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
}
