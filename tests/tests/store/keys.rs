//! Keys: each made once, opened by the master key that wrapped it, and wrapped anew while everybody goes on.

use futures::future::join_all;
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use quintile_store::keys::{KeyStore, RewrapReport, SERVICE};
use quintile_store::sealing::{Key, KeyEncryption, KeyId, LocalKeys, WrappedKey};
use quintile_store::{Database, Result, StoreError};
use quintile_tests::{TestStore, on_both_databases};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::{ConnectionTrait, Statement};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

on_both_databases! {
    a_key_is_made_once_whoever_asks_first,
    every_purpose_of_every_tenant_has_a_key_of_its_own,
    without_its_master_key_a_key_does_not_open_and_no_other_is_made,
    a_row_that_was_moved_to_another_tenant_or_changed_does_not_open,
    a_rotation_leaves_every_key_what_it_was,
    a_rotation_that_is_cut_off_goes_on_where_it_was,
    replicas_may_wrap_anew_at_once_while_keys_are_made,
    a_replica_that_is_behind_opens_what_one_ahead_has_wrapped,
    a_key_that_does_not_open_is_left_as_it_is_and_holds_up_no_other,
    a_retired_master_key_opens_nothing_and_the_present_one_everything,
}

const PURPOSES: [&str; 3] = ["sealing", "hashing", "wrapping"];
const TENANTS: [TenantId; 4] = [SERVICE, TenantId(1), TenantId(2), TenantId(i32::MAX)];
/// The rows that [`make_all`] makes.
const ROWS: u64 = (PURPOSES.len() * TENANTS.len()) as u64;

fn entropy(seed: u64) -> Entropy {
    Entropy::new(StdRng::seed_from_u64(seed))
}

/// A file of master keys, as an operator has it.
struct MasterKeys {
    folder: TempDir,
    keys: Vec<String>,
    entropy: Entropy,
}

impl MasterKeys {
    fn new() -> Self {
        let mut keys = Self { folder: TempDir::new().unwrap(), keys: Vec::new(), entropy: entropy(1) };
        keys.rotate();
        keys
    }

    fn write(&self) {
        std::fs::write(self.folder.path().join("master.key"), self.keys.join("\n")).unwrap();
    }

    /// Puts a fresh key in front.
    fn rotate(&mut self) {
        self.keys.insert(0, Key::generate(&self.entropy).to_base64().to_string());
        self.write();
    }

    /// Takes all but the first away.
    fn retire(&mut self) {
        self.keys.truncate(1);
        self.write();
    }

    fn present_id(&self) -> KeyId {
        KeyId::of(&Key::from_base64(&self.keys[0]).unwrap())
    }

    fn local(&self) -> Arc<LocalKeys> {
        Arc::new(LocalKeys::from_file(&self.folder.path().join("master.key"), self.entropy.clone()).unwrap())
    }

    /// The keys of a database, as a process has them that has just started.
    fn open(&self, database: &Database) -> KeyStore {
        KeyStore::new(database.clone(), self.local(), self.entropy.clone())
    }
}

/// All keys, made where they are not there, in one order.
async fn make_all(keys: &KeyStore) -> Vec<[u8; 32]> {
    let mut all = Vec::new();
    for tenant in TENANTS {
        for purpose in PURPOSES {
            all.push(*keys.of(tenant, purpose).await.unwrap().expose());
        }
    }
    all
}

async fn execute(database: &Database, sql: &str) -> u64 {
    let statement = Statement::from_string(database.backend(), sql);
    database.writer().execute_raw(statement).await.unwrap().rows_affected()
}

/// Another service's keys behind ours: slower, counted, and out of order after some calls.
struct Remote {
    inner: Arc<LocalKeys>,
    wraps: AtomicUsize,
    most_wraps: usize,
}

impl Remote {
    fn behind(inner: Arc<LocalKeys>, most_wraps: usize) -> Arc<Self> {
        Arc::new(Self { inner, wraps: AtomicUsize::new(0), most_wraps })
    }
}

#[async_trait::async_trait]
impl KeyEncryption for Remote {
    async fn current_id(&self) -> Result<KeyId> {
        self.inner.current_id().await
    }

    async fn wrap(&self, key: &Key, place: &[u8]) -> Result<WrappedKey> {
        tokio::task::yield_now().await;
        if self.wraps.fetch_add(1, Ordering::SeqCst) >= self.most_wraps {
            return Err(StoreError::Configuration("the key service does not answer".to_owned()));
        }
        self.inner.wrap(key, place).await
    }

    async fn unwrap(&self, id: &KeyId, place: &[u8], wrapped: &[u8]) -> Result<Key> {
        tokio::task::yield_now().await;
        self.inner.unwrap(id, place, wrapped).await
    }

    async fn reload(&self) -> Result<()> {
        self.inner.reload().await
    }
}

async fn a_key_is_made_once_whoever_asks_first(store: TestStore) {
    let masters = MasterKeys::new();
    let replicas = [store.open_again().await, store.open_again().await];
    let asked = replicas.iter().cycle().take(12).map(|database| {
        let keys = masters.open(database);
        tokio::spawn(async move { make_all(&keys).await })
    });
    let found: BTreeSet<_> = join_all(asked).await.into_iter().map(|made| made.unwrap()).collect();
    assert_eq!(found.len(), 1, "all have the same keys");
    assert_eq!(found.first(), Some(&make_all(&masters.open(&store.database)).await));
}

async fn every_purpose_of_every_tenant_has_a_key_of_its_own(store: TestStore) {
    let all = make_all(&MasterKeys::new().open(&store.database)).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len() as u64, ROWS);
}

async fn without_its_master_key_a_key_does_not_open_and_no_other_is_made(store: TestStore) {
    let masters = MasterKeys::new();
    let made = make_all(&masters.open(&store.database)).await;
    let mut other = MasterKeys::new();
    other.entropy = entropy(2);
    other.rotate();
    other.retire();
    let problem = other.open(&store.database).of(TENANTS[0], PURPOSES[0]).await.unwrap_err();
    assert!(matches!(problem, StoreError::Configuration(_)), "{problem}");
    let text = format!("{problem} {problem:?}");
    assert!(text.contains(masters.present_id().as_str()), "it says which key is missing: {text}");
    for secret in [&masters.keys[0], &other.keys[0]] {
        assert!(!text.contains(secret.trim_end_matches('=')), "{text}");
    }
    assert_eq!(make_all(&masters.open(&store.database)).await, made);
}

async fn a_row_that_was_moved_to_another_tenant_or_changed_does_not_open(store: TestStore) {
    let masters = MasterKeys::new();
    make_all(&masters.open(&store.database)).await;
    let sql = "UPDATE wrapped_key SET wrapped = (SELECT wrapped FROM wrapped_key WHERE tenant_id = 2 AND purpose = 'sealing') \
               WHERE tenant_id = 1 AND purpose = 'sealing'";
    assert_eq!(execute(&store.database, sql).await, 1);
    let keys = masters.open(&store.database);
    assert!(matches!(keys.of(TenantId(1), "sealing").await, Err(StoreError::Sealed(_))));
    keys.of(TenantId(2), "sealing").await.unwrap();
}

async fn a_rotation_leaves_every_key_what_it_was(store: TestStore) {
    let mut masters = MasterKeys::new();
    let keys = masters.open(&store.database);
    let made = make_all(&keys).await;
    let nothing = RewrapReport { key_id: masters.present_id(), rewrapped: 0, left: 0 };
    assert_eq!(keys.rewrap().await.unwrap(), nothing, "all are under the present key already");
    masters.rotate();
    assert_eq!(keys.rewrap().await.unwrap(), nothing, "nobody has told it yet");
    keys.reload().await.unwrap();
    let all = RewrapReport { key_id: masters.present_id(), rewrapped: ROWS, left: 0 };
    assert_eq!(keys.rewrap().await.unwrap(), all);
    assert_eq!(keys.rewrap().await.unwrap(), RewrapReport { rewrapped: 0, ..all });
    assert_eq!(make_all(&keys).await, made);
    assert_eq!(make_all(&masters.open(&store.database)).await, made);
}

async fn a_rotation_that_is_cut_off_goes_on_where_it_was(store: TestStore) {
    let mut masters = MasterKeys::new();
    let made = make_all(&masters.open(&store.database)).await;
    masters.rotate();
    let cut_off = Remote::behind(masters.local(), 5);
    let keys = KeyStore::new(store.database.clone(), cut_off.clone(), entropy(3));
    assert!(keys.rewrap().await.is_err());
    assert_eq!(cut_off.wraps.load(Ordering::SeqCst), 6);
    // Some are under the one key and some under the other: both open.
    assert_eq!(make_all(&keys).await, made);
    let again = masters.open(&store.database);
    assert_eq!(make_all(&again).await, made);
    assert_eq!(again.rewrap().await.unwrap().rewrapped, ROWS - 5);
    assert_eq!(make_all(&masters.open(&store.database)).await, made);
}

async fn replicas_may_wrap_anew_at_once_while_keys_are_made(store: TestStore) {
    let mut masters = MasterKeys::new();
    // More than a page of rows.
    let made = make_all(&masters.open(&store.database)).await;
    let many: Vec<_> = (10..120).map(TenantId).collect();
    let old = masters.open(&store.database);
    for tenant in &many {
        old.of(*tenant, "sealing").await.unwrap();
    }
    masters.rotate();
    let databases = [store.open_again().await, store.open_again().await];
    let replicas: Vec<_> = databases
        .iter()
        .map(|database| KeyStore::new(database.clone(), Remote::behind(masters.local(), usize::MAX), entropy(4)))
        .collect();
    let makers = (200..240).map(|tenant| {
        let keys = old.clone();
        tokio::spawn(async move { keys.of(TenantId(tenant), "sealing").await.unwrap() })
    });
    let makers: Vec<_> = makers.collect();
    let at_work = replicas.iter().cloned().map(|keys| tokio::spawn(async move { keys.rewrap().await.unwrap() }));
    let reports: Vec<_> = join_all(at_work).await.into_iter().map(|report| report.unwrap()).collect();
    let late: Vec<_> = join_all(makers).await.into_iter().map(|key| *key.unwrap().expose()).collect();
    // What a replica that is behind has made meanwhile is found by the next pass.
    let rest = replicas[0].rewrap().await.unwrap();
    assert_eq!((rest.left, &rest.key_id), (0, &masters.present_id()));
    let total: u64 = reports.iter().map(|report| report.rewrapped).sum::<u64>() + rest.rewrapped;
    // Who is behind learns of the present key by the rows of others, and may make its last rows under it.
    let before = ROWS + many.len() as u64;
    assert!((before..=before + 40).contains(&total), "every row is wrapped anew at most once: {total}");
    masters.retire();
    let keys = masters.open(&store.database);
    assert_eq!(make_all(&keys).await, made);
    for (tenant, key) in (200..240).zip(late) {
        assert_eq!(*keys.of(TenantId(tenant), "sealing").await.unwrap().expose(), key);
    }
}

async fn a_replica_that_is_behind_opens_what_one_ahead_has_wrapped(store: TestStore) {
    let mut masters = MasterKeys::new();
    let behind = masters.open(&store.database);
    masters.rotate();
    let made = make_all(&masters.open(&store.database)).await;
    assert_eq!(make_all(&behind).await, made);
}

async fn a_key_that_does_not_open_is_left_as_it_is_and_holds_up_no_other(store: TestStore) {
    let mut masters = MasterKeys::new();
    make_all(&masters.open(&store.database)).await;
    let sql = "UPDATE wrapped_key SET key_id = 'nobody' WHERE tenant_id = 1";
    assert_eq!(execute(&store.database, sql).await, PURPOSES.len() as u64);
    masters.rotate();
    let keys = masters.open(&store.database);
    let report = keys.rewrap().await.unwrap();
    assert_eq!((report.rewrapped, report.left), (ROWS - 3, 3));
    let sql = "SELECT COUNT(*) AS rows FROM wrapped_key WHERE key_id = 'nobody'";
    let row = store.database.reader().query_one_raw(Statement::from_string(store.database.backend(), sql));
    assert_eq!(row.await.unwrap().unwrap().try_get::<i64>("", "rows").unwrap(), 3);
}

async fn a_retired_master_key_opens_nothing_and_the_present_one_everything(store: TestStore) {
    let mut masters = MasterKeys::new();
    let made = make_all(&masters.open(&store.database)).await;
    let old = LocalKeys::from_text(&masters.keys[0], entropy(5)).unwrap();
    masters.rotate();
    masters.open(&store.database).rewrap().await.unwrap();
    masters.retire();
    assert_eq!(make_all(&masters.open(&store.database)).await, made);
    let old = KeyStore::new(store.database.clone(), Arc::new(old), entropy(6));
    for tenant in TENANTS {
        for purpose in PURPOSES {
            assert!(matches!(old.of(tenant, purpose).await, Err(StoreError::Configuration(_))));
        }
    }
}
