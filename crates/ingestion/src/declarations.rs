//! Which custom attributes tenants have declared, as this process knows it.

use crate::intake::Declared;
use crate::store::attributes;
use parking_lot::Mutex;
use quintile_domain::ids::TenantId;
use quintile_store::{Database, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// How long what was read holds: what another process takes back is hidden here well within 5 seconds. It can't be read: no answer.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The declarations of every tenant, as they were last read.
#[derive(Clone)]
pub struct Declarations {
    database: Database,
    read: Arc<Mutex<HashMap<TenantId, Read>>>,
}

struct Read {
    /// When the reading began.
    began: MachineInstant,
    declared: Arc<Declared>,
}

impl Declarations {
    /// The declarations in a database.
    pub fn new(database: Database) -> Self {
        Self { database, read: Arc::default() }
    }

    /// What a tenant has declared, as of a second ago at most.
    pub async fn of(&self, tenant: TenantId) -> Result<Arc<Declared>, StoreError> {
        if let Some(read) = self.read.lock().get(&tenant).filter(|read| read.began.elapsed() < MAX_AGE) {
            return Ok(read.declared.clone());
        }
        self.read_anew(tenant).await
    }

    /// The same for rows with these keys: a key that is not known may have been declared just now, elsewhere, and is asked for once.
    pub async fn for_keys(&self, tenant: TenantId, keys: &[&str]) -> Result<Arc<Declared>, StoreError> {
        if keys.is_empty() {
            return Ok(Arc::default());
        }
        let declared = self.of(tenant).await?;
        if keys.iter().all(|key| declared.knows(key)) { Ok(declared) } else { self.read_anew(tenant).await }
    }

    /// Forgets what was read of a tenant, which has changed.
    pub fn forget(&self, tenant: TenantId) {
        self.read.lock().remove(&tenant);
    }

    async fn read_anew(&self, tenant: TenantId) -> Result<Arc<Declared>, StoreError> {
        let began = MachineInstant::now();
        let declared = Arc::new(attributes::declared(self.database.reader(), tenant).await?);
        let mut read = self.read.lock();
        // Of two that read at once, the one that began later knows more.
        if read.get(&tenant).is_none_or(|read| read.began <= began) {
            read.insert(tenant, Read { began, declared: declared.clone() });
        }
        Ok(declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::attributes::StoredAttribute;
    use quintile_domain::masking::Sensitivity;
    use quintile_domain::time::Instant;
    use quintile_store::DatabaseUrl;
    use tempfile::TempDir;

    const TENANT: TenantId = TenantId(1);
    /// How soon a deletion has to be hidden everywhere.
    const BOUND: Duration = Duration::from_secs(5);

    async fn database() -> (TempDir, Database) {
        let folder = TempDir::new().unwrap();
        let database = crate::migrate(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
        (folder, database)
    }

    async fn declare(database: &Database, id: &str, class: Sensitivity) {
        let transaction = database.begin().await.unwrap();
        let attribute = StoredAttribute {
            id: id.to_owned(),
            class,
            description: String::new(),
            created_at: Instant::from_micros(1),
        };
        attributes::insert(&transaction, TENANT, &attribute).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn take_back(database: &Database, id: &str) {
        let transaction = database.begin().await.unwrap();
        attributes::delete(&transaction, TENANT, id).await.unwrap();
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_key_that_another_process_has_just_declared_is_found_at_once() {
        let (_folder, database) = database().await;
        let declarations = Declarations::new(database.clone());
        assert!(!declarations.of(TENANT).await.unwrap().knows("size"));
        declare(&database, "size", Sensitivity::None).await;
        assert!(declarations.for_keys(TENANT, &["size"]).await.unwrap().covers("size", Sensitivity::None));
        assert!(declarations.of(TENANT).await.unwrap().knows("size"), "what was read for rows is there for reads");
        let unknown = declarations.for_keys(TENANT, &["size", "weight"]).await.unwrap();
        assert!(unknown.knows("size") && !unknown.knows("weight"));
        assert!(!declarations.for_keys(TenantId(2), &["size"]).await.unwrap().knows("size"), "another tenant's");
    }

    #[tokio::test]
    async fn what_another_process_has_taken_back_is_not_covered_for_long() {
        let (_folder, database) = database().await;
        let declarations = Declarations::new(database.clone());
        declare(&database, "phone", Sensitivity::Phone).await;
        assert!(declarations.for_keys(TENANT, &["phone"]).await.unwrap().covers("phone", Sensitivity::Phone));
        take_back(&database, "phone").await;
        let gone = async {
            while declarations.of(TENANT).await.unwrap().knows("phone") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, gone).await.unwrap();
    }

    #[tokio::test]
    async fn what_this_process_has_changed_is_read_anew() {
        let (_folder, database) = database().await;
        let declarations = Declarations::new(database.clone());
        declare(&database, "phone", Sensitivity::Phone).await;
        assert!(declarations.of(TENANT).await.unwrap().knows("phone"));
        take_back(&database, "phone").await;
        declare(&database, "phone", Sensitivity::None).await;
        declarations.forget(TENANT);
        assert!(declarations.of(TENANT).await.unwrap().covers("phone", Sensitivity::None));
    }

    #[tokio::test]
    async fn what_can_t_be_read_is_an_error_and_not_an_old_answer() {
        let (_folder, database) = database().await;
        let declarations = Declarations::new(database.clone());
        declare(&database, "phone", Sensitivity::Phone).await;
        declarations.of(TENANT).await.unwrap();
        database.close().await.unwrap();
        let refused = async {
            while declarations.of(TENANT).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, refused).await.unwrap();
    }
}
