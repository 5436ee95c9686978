//! The traits that tenants have defined, ready to be computed.

use crate::store::traits::{self, StoredTrait};
use crate::traits::Trait;
use parking_lot::Mutex;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::Trait as TraitMessage;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{Database, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

/// The most traits of a tenant.
pub const MAX_TRAITS: u64 = 100;

/// The traits of every tenant. What is defined is read every time; reading a filter anew is what is saved.
#[derive(Clone)]
pub struct DefinedTraits {
    database: Database,
    read: Arc<Mutex<HashMap<TenantId, Arc<Vec<DefinedTrait>>>>>,
}

/// A trait under its id.
#[derive(Clone)]
pub struct DefinedTrait {
    /// The id.
    pub id: String,
    /// What is computed.
    pub computed: Arc<Trait>,
    stored: StoredTrait,
}

impl DefinedTrait {
    /// Whether it is the trait that was defined under this id at that instant.
    pub fn is_of(&self, id: &str, created_at: Instant) -> bool {
        self.id == id && self.stored.created_at == created_at
    }

    /// The window in days; 0: all facts so far.
    pub fn window_days(&self) -> i32 {
        self.stored.definition.window_days
    }

    /// The trait as callers see it.
    pub fn message(&self) -> TraitMessage {
        let definition = &self.stored.definition;
        TraitMessage {
            name: format!("traits/{}", self.id),
            description: self.stored.description.clone(),
            fact: definition.fact.into(),
            aggregate: definition.aggregate.into(),
            value: definition.value.clone(),
            filter: definition.filter.clone(),
            window_days: definition.window_days,
            sensitivity: self.computed.class() as i32,
            complete: self.stored.complete,
            create_time: Some(convert::timestamp(self.stored.created_at)),
            etag: self.stored.etag(),
        }
    }
}

impl DefinedTraits {
    /// The traits in a database.
    pub fn new(database: Database) -> Self {
        Self { database, read: Arc::default() }
    }

    /// The traits of a tenant as of now, by id.
    pub async fn of(&self, tenant: &Tenant) -> Result<Arc<Vec<DefinedTrait>>, StoreError> {
        let stored = traits::page(self.database.reader(), tenant.id, "", MAX_TRAITS).await?;
        let known = self.read.lock().get(&tenant.id).cloned().unwrap_or_default();
        if known.iter().map(|known| &known.stored).eq(&stored) {
            return Ok(known);
        }
        let digits = tenant.currency.minor_digits();
        let ready = stored.into_iter().map(|stored| {
            let same = known.iter().find(|known| known.id == stored.id && known.stored.created_at == stored.created_at);
            let computed = match same {
                Some(known) => known.computed.clone(),
                None => Arc::new(ready(&stored, digits)?),
            };
            Ok(DefinedTrait { id: stored.id.clone(), computed, stored })
        });
        let ready = Arc::new(ready.collect::<Result<Vec<_>, StoreError>>()?);
        self.read.lock().insert(tenant.id, ready.clone());
        Ok(ready)
    }
}

fn ready(stored: &StoredTrait, minor_digits: u32) -> Result<Trait, StoreError> {
    let minor_digits = u8::try_from(minor_digits).unwrap_or(u8::MAX);
    let read = Trait::new(&stored.definition, minor_digits);
    read.map_err(|error| StoreError::Configuration(format!("a trait that was defined can't be read: {error}")))
}
