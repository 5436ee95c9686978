//! Looking at a database: what is there is told, and nothing is made or changed.

use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use quintile_store::follower::{self, Place};
use quintile_store::inspection::{Inspection, KeysFound};
use quintile_store::keys::{CURSORS, KeyStore, SERVICE as OF_SERVICE};
use quintile_store::lease;
use quintile_store::sealing::{Key, KeyId, LocalKeys};
use quintile_tests::{Backend, FEED, SERVICE, TENANT, TestStore, commit, on_both_databases};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::{ConnectionTrait, Statement};
use std::sync::Arc;
use std::time::Duration;

on_both_databases! {
    what_workers_and_leases_say_is_told_as_it_is,
    a_database_that_is_not_there_is_not_made,
    keys_are_told_apart_that_open_and_that_do_not,
    whoever_looks_can_not_write,
}

async fn look(store: &TestStore) -> Inspection {
    Inspection::open(store.url(), SERVICE).await.unwrap().unwrap()
}

async fn what_workers_and_leases_say_is_told_as_it_is(store: TestStore) {
    let seq = commit(&store.database, &[(1, b"body".to_vec())]).await.unwrap();
    let place = Place { cursor: "c".to_owned(), facts_position: 3, time_micros: 5 };
    let transaction = store.database.begin().await.unwrap();
    follower::advance(&transaction, TENANT, FEED, &Place::default(), &place).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(lease::acquire(&store.database, "worker/1", "me", Duration::from_hours(1)).await.unwrap());

    let inspection = look(&store).await;
    let prefix = if store.backend == Backend::Sqlite { "SQLite 3." } else { "PostgreSQL " };
    assert!(inspection.version().await.unwrap().starts_with(prefix));
    assert_eq!(inspection.applied().await.unwrap(), ["m0001_chassis", "m0002_variety"]);
    assert_eq!(inspection.places().await.unwrap(), [(TENANT, FEED.to_owned(), place)]);
    assert_eq!(inspection.heads(FEED).await.unwrap(), [(TENANT, seq)]);
    assert_eq!(inspection.heads("another").await.unwrap(), []);
    let [lease] = inspection.leases().await.unwrap().try_into().unwrap();
    assert_eq!((lease.name.as_str(), lease.holder.as_str()), ("worker/1", "me"));
    assert!(lease.expires_at > inspection.now().await.unwrap());
    assert_eq!(inspection.durability().await.unwrap().is_none(), store.backend == Backend::Sqlite);
    assert_eq!(inspection.is_sound().await.unwrap(), (store.backend == Backend::Sqlite).then_some(true));
}

async fn a_database_that_is_not_there_is_not_made(store: TestStore) {
    for _ in 0..2 {
        assert!(Inspection::open(store.url(), "nobody").await.unwrap().is_none());
    }
}

async fn keys_are_told_apart_that_open_and_that_do_not(store: TestStore) {
    let entropy = Entropy::new(StdRng::seed_from_u64(3));
    let [ours, another] = [Key::generate(&entropy), Key::generate(&entropy)];
    let held = |key: &Key| Arc::new(LocalKeys::from_text(&key.to_base64(), entropy.clone()).unwrap());
    let keys = KeyStore::new(store.database.clone(), held(&ours), entropy.clone());
    keys.of(OF_SERVICE, CURSORS).await.unwrap();
    keys.of(TenantId(1), "a purpose").await.unwrap();

    let inspection = look(&store).await;
    let found = inspection.open_keys(held(&ours).as_ref()).await.unwrap();
    assert_eq!(found, KeysFound { opened: 2, missing: Vec::new(), damaged: 0 });
    let found = inspection.open_keys(held(&another).as_ref()).await.unwrap();
    assert_eq!(found, KeysFound { opened: 0, missing: vec![KeyId::of(&ours).to_string()], damaged: 0 });
    let damage = "UPDATE wrapped_key SET purpose = 'another purpose' WHERE tenant_id = 1";
    store.database.writer().execute_unprepared(damage).await.unwrap();
    let found = inspection.open_keys(held(&ours).as_ref()).await.unwrap();
    assert_eq!(found, KeysFound { opened: 1, missing: Vec::new(), damaged: 1 });
}

async fn whoever_looks_can_not_write(store: TestStore) {
    let inspection = look(&store).await;
    let write = Statement::from_string(store.database.backend(), "DELETE FROM lease");
    assert!(inspection.connection().execute_raw(write).await.is_err());
}
