//! The keys that a service keeps: each for one purpose of one tenant or of the service itself, random, and wrapped by a master key.
//!
//! What they seal outlives every master key: a rotation wraps the keys anew, row by row, while everybody goes on using them.

use crate::sealing::{Key, KeyEncryption, KeyId, WrappedKey};
use crate::tables::wrapped_key;
use crate::{Database, Result, StoreError};
use parking_lot::RwLock;
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The tenant under whose number a service's own keys are kept; no tenant has it.
pub const SERVICE: TenantId = TenantId(0);
/// The purpose of the key of cursors and page tokens, a service's own.
pub const CURSORS: &str = "cursors and page tokens";
/// Rows that are read at once to be wrapped anew.
const REWRAP_PAGE: u64 = 100;

/// The keys of a service's database, opened once.
#[derive(Clone)]
pub struct KeyStore(Arc<State>);

struct State {
    database: Database,
    encryption: Arc<dyn KeyEncryption>,
    entropy: Entropy,
    open: RwLock<HashMap<(TenantId, &'static str), Key>>,
    // A key that is just being made under the former master key must be in its row before rows are looked for.
    making: Mutex<()>,
}

/// What came of wrapping keys anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrapReport {
    /// The present master key.
    pub key_id: KeyId,
    /// Rows that were wrapped anew.
    pub rewrapped: u64,
    /// Rows that are still under another master key.
    pub left: u64,
}

impl KeyStore {
    /// The keys in a database that has been migrated, under the master keys of `encryption`.
    pub fn new(database: Database, encryption: Arc<dyn KeyEncryption>, entropy: Entropy) -> Self {
        let making = Mutex::new(());
        Self(Arc::new(State { database, encryption, entropy, open: RwLock::default(), making }))
    }

    /// The key of a tenant, or of the service ([`SERVICE`]), for one purpose; made when it is first asked for. An error says that
    /// the master key that wrapped it is not there, or that the row was changed.
    pub async fn of(&self, tenant: TenantId, purpose: &'static str) -> Result<Key> {
        if let Some(key) = self.0.open.read().get(&(tenant, purpose)) {
            return Ok(key.clone());
        }
        let row = match self.read(tenant, purpose).await? {
            Some(row) => row,
            None => self.make(tenant, purpose).await?,
        };
        let key = self.0.encryption.unwrap(&KeyId::new(row.key_id), &place(tenant, purpose), &row.wrapped).await?;
        self.0.open.write().insert((tenant, purpose), key.clone());
        Ok(key)
    }

    async fn read(&self, tenant: TenantId, purpose: &str) -> Result<Option<wrapped_key::Model>> {
        let row = wrapped_key::Entity::find_by_id((tenant.0, purpose.to_owned()));
        // Of the writer: a key that has just been made is there.
        Ok(row.one(self.0.database.writer()).await?)
    }

    async fn make(&self, tenant: TenantId, purpose: &str) -> Result<wrapped_key::Model> {
        let _making = self.0.making.lock().await;
        let fresh = Key::generate(&self.0.entropy);
        let WrappedKey { key_id, wrapped } = self.0.encryption.wrap(&fresh, &place(tenant, purpose)).await?;
        let row = wrapped_key::ActiveModel {
            tenant_id: Set(tenant.0),
            purpose: Set(purpose.to_owned()),
            key_id: Set(key_id.as_str().to_owned()),
            wrapped: Set(wrapped),
        };
        // Another replica may have been faster: then its key is the one.
        wrapped_key::Entity::insert(row)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(self.0.database.writer())
            .await?;
        self.read(tenant, purpose).await?.ok_or(StoreError::Sealed("a key is gone"))
    }

    /// Looks again which master keys there are. What is made from now on is made under the present one.
    pub async fn reload(&self) -> Result<()> {
        let _making = self.0.making.lock().await;
        self.0.encryption.reload().await
    }

    /// Wraps every key anew that is not under the present master key. Any number of replicas may do it at once, and it may be cut
    /// off and begun again: each row changes by itself, and only from what was read. A key that does not open is left as it is.
    pub async fn rewrap(&self) -> Result<RewrapReport> {
        let key_id = self.0.encryption.current_id().await?;
        let (mut rewrapped, mut after) = (0, None);
        loop {
            let rows = self.behind(&key_id, after.as_ref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some((last.tenant_id, last.purpose.clone()));
            for row in rows {
                rewrapped += self.rewrap_row(row).await?;
            }
        }
        let left = elsewhere(&key_id).count(self.0.database.writer()).await?;
        Ok(RewrapReport { key_id, rewrapped, left })
    }

    /// The next rows that are not under a master key.
    async fn behind(&self, id: &KeyId, after: Option<&(i32, String)>) -> Result<Vec<wrapped_key::Model>> {
        let mut rows = elsewhere(id);
        if let Some((tenant, purpose)) = after {
            let same_tenant =
                wrapped_key::Column::TenantId.eq(*tenant).and(wrapped_key::Column::Purpose.gt(purpose.as_str()));
            rows = rows.filter(Condition::any().add(wrapped_key::Column::TenantId.gt(*tenant)).add(same_tenant));
        }
        let rows = rows.order_by_asc(wrapped_key::Column::TenantId).order_by_asc(wrapped_key::Column::Purpose);
        Ok(rows.limit(REWRAP_PAGE).all(self.0.database.writer()).await?)
    }

    /// Wraps one row anew, and returns how many rows that changed: none where another replica was faster.
    async fn rewrap_row(&self, row: wrapped_key::Model) -> Result<u64> {
        let place = place(TenantId(row.tenant_id), &row.purpose);
        let key = match self.0.encryption.unwrap(&KeyId::new(row.key_id.as_str()), &place, &row.wrapped).await {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(tenant = row.tenant_id, row.purpose, %error, "a key can't be wrapped anew");
                return Ok(0);
            }
        };
        let WrappedKey { key_id, wrapped } = self.0.encryption.wrap(&key, &place).await?;
        let changed = wrapped_key::Entity::update_many()
            .set(wrapped_key::ActiveModel {
                key_id: Set(key_id.as_str().to_owned()),
                wrapped: Set(wrapped),
                ..Default::default()
            })
            .filter(wrapped_key::Column::TenantId.eq(row.tenant_id))
            .filter(wrapped_key::Column::Purpose.eq(row.purpose))
            .filter(wrapped_key::Column::Wrapped.eq(row.wrapped))
            .exec(self.0.database.writer())
            .await?;
        Ok(changed.rows_affected)
    }
}

/// Why a wrapped key does not open.
pub(crate) enum KeyFault {
    /// The master key that wrapped it is not among the master keys.
    NoMasterKey,
    /// It is, and the row was changed.
    Damaged,
}

/// Whether a wrapped key opens.
pub(crate) async fn opens(
    encryption: &dyn KeyEncryption,
    row: &wrapped_key::Model,
) -> std::result::Result<(), KeyFault> {
    let place = place(TenantId(row.tenant_id), &row.purpose);
    match encryption.unwrap(&KeyId::new(row.key_id.as_str()), &place, &row.wrapped).await {
        Ok(_) => Ok(()),
        Err(StoreError::Sealed(_)) => Err(KeyFault::Damaged),
        Err(_) => Err(KeyFault::NoMasterKey),
    }
}

/// The rows that are not under a master key.
fn elsewhere(id: &KeyId) -> sea_orm::Select<wrapped_key::Entity> {
    wrapped_key::Entity::find().filter(wrapped_key::Column::KeyId.ne(id.as_str()))
}

fn place(tenant: TenantId, purpose: &str) -> Vec<u8> {
    format!("wrapped_key {} {purpose}", tenant.0).into_bytes()
}
