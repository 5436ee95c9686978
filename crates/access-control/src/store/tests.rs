//! The store on SQLite, from inside.

use super::entities::{signing_key, tenant};
use super::policies::newest_policy;
use super::*;
use crate::signing::{SEED_BYTES, jwk};
use quintile_domain::ids::TenantId;
use quintile_proto::access::RevenuePolicy;
use quintile_proto::access::revocation::Target;
use quintile_store::StoreError;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::ActiveValue::Set;
use tempfile::TempDir;

const NOW: Instant = Instant::from_micros(1_709_208_000_000_000);

struct Fixture {
    folder: TempDir,
    entropy: Entropy,
    master: Key,
}

impl Fixture {
    fn new() -> Self {
        let entropy = Entropy::new(StdRng::seed_from_u64(7));
        Self { folder: TempDir::new().unwrap(), master: Key::generate(&entropy), entropy }
    }

    async fn store(&self, master: &Key) -> Store {
        let database = open(&DatabaseUrl::SqliteFolder(self.folder.path().to_owned())).await.unwrap();
        migrate(&database).await.unwrap();
        Store::new(database, master.clone())
    }

    async fn seeded(&self, roles: Vec<RolePolicy>) -> Store {
        let store = self.store(&self.master).await;
        store.seed(roles, &self.entropy, NOW).await.unwrap();
        store
    }
}

fn role(name: &str) -> RolePolicy {
    RolePolicy { role: name.to_owned(), ..RolePolicy::default() }
}

#[tokio::test]
async fn the_first_start_makes_a_key_a_tenant_and_the_roles() {
    let fixture = Fixture::new();
    let store = fixture.seeded(vec![role("admin")]).await;
    let snapshot = store.snapshot("issuer").await.unwrap();
    assert_eq!(snapshot.version, 1);
    assert_eq!(snapshot.roles, [role("admin")]);
    let tenant = &snapshot.tenants[0];
    assert_eq!((tenant.name.as_str(), tenant.number), ("tenants/default", 1));
    assert_eq!((tenant.time_zone.as_str(), tenant.base_currency.as_str()), ("UTC", "USD"));
    let jwks = snapshot.jwks.unwrap();
    let key = store.key_ring().await.unwrap().signing(NOW).unwrap().clone();
    assert_eq!(jwks.issuer, "issuer");
    assert_eq!(jwks.keys, [jwk(key.kid().to_owned(), key.public_x().to_owned())]);
}

#[tokio::test]
async fn another_start_changes_nothing() {
    let fixture = Fixture::new();
    let first = fixture.seeded(vec![role("admin")]).await.snapshot("issuer").await.unwrap();
    let second = fixture.seeded(vec![role("admin")]).await.snapshot("issuer").await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_start_with_other_roles_publishes_them_as_a_new_version() {
    let fixture = Fixture::new();
    let first = fixture.seeded(vec![role("admin")]).await.snapshot("issuer").await.unwrap();
    let store = fixture.seeded(vec![role("admin"), role("analyst")]).await;
    let second = store.snapshot("issuer").await.unwrap();
    assert_eq!(second.roles, [role("admin"), role("analyst")]);
    assert_eq!(second.version, first.version + 1);
    assert_eq!(second.jwks, first.jwks);
    assert_eq!(newest_policy(store.database.reader()).await.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn another_master_key_does_not_open_the_signing_key() {
    let fixture = Fixture::new();
    fixture.seeded(Vec::new()).await;
    let other = fixture.store(&Key::generate(&fixture.entropy)).await;
    assert!(matches!(other.key_ring().await, Err(StoreError::Sealed(_))));
}

#[tokio::test]
async fn the_private_key_is_not_in_the_database_file() {
    let fixture = Fixture::new();
    let store = fixture.seeded(Vec::new()).await;
    let row = signing_key::Entity::find().one(store.database.reader()).await.unwrap().unwrap();
    let seed = store.sealing.open(row.kid.as_bytes(), &row.sealed_seed).unwrap();
    store.database.close().await.unwrap();
    let file = std::fs::read(fixture.folder.path().join("access-control.sqlite")).unwrap();
    assert!(file.windows(row.public_x.len()).any(|window| window == row.public_x.as_bytes()), "the row is there");
    assert!(!file.windows(SEED_BYTES).any(|window| window == seed.as_slice()));
}

#[tokio::test]
async fn a_tenant_bumps_the_version_and_a_refused_one_does_not() {
    let fixture = Fixture::new();
    let store = fixture.seeded(Vec::new()).await;
    let before = store.version().await.unwrap();
    let shanghai = Terms { time_zone: "Asia/Shanghai".to_owned(), base_currency: "CNY".to_owned(), ..Terms::default() };
    let NewTenant::Created(tenant) = store.create_tenant("acme", &shanghai, &fixture.entropy).await.unwrap() else {
        panic!("the id is free");
    };
    assert_eq!((tenant.name.as_str(), tenant.number), ("tenants/acme", 2));
    assert_eq!(store.version().await.unwrap(), before + 1);
    assert_eq!(store.create_tenant("acme", &Terms::default(), &fixture.entropy).await.unwrap(), NewTenant::Taken);
    assert_eq!(store.version().await.unwrap(), before + 1);
    assert_eq!(store.tenants().await.unwrap().len(), 2);
}

#[tokio::test]
async fn tenants_are_at_most_a_thousand() {
    let fixture = Fixture::new();
    let store = fixture.seeded(Vec::new()).await;
    let rows = (2..1_000).map(|number| tenant::ActiveModel {
        number: Set(number),
        name: Set(format!("tenant-{number}")),
        time_zone: Set("UTC".to_owned()),
        base_currency: Set("USD".to_owned()),
        revenue_policy: Set(RevenuePolicy::Net.into()),
        sealed_pseudonym_key: Set(None),
    });
    tenant::Entity::insert_many(rows).exec_without_returning(store.database.writer()).await.unwrap();
    assert!(matches!(
        store.create_tenant("last", &Terms::default(), &fixture.entropy).await.unwrap(),
        NewTenant::Created(_)
    ));
    assert_eq!(
        store.create_tenant("one-too-many", &Terms::default(), &fixture.entropy).await.unwrap(),
        NewTenant::Full
    );
    assert_eq!(store.create_tenant("last", &Terms::default(), &fixture.entropy).await.unwrap(), NewTenant::Taken);
}

#[tokio::test]
async fn a_tenant_of_an_older_version_has_its_key_from_the_next_start_on() {
    let fixture = Fixture::new();
    let store = fixture.seeded(Vec::new()).await;
    let key = |tenant: &quintile_proto::access::Tenant| tenant.pseudonym_key.clone();
    let first = key(&store.snapshot("issuer").await.unwrap().tenants[0]);
    assert_eq!(first.len(), 32);
    let without = tenant::ActiveModel {
        number: Set(2),
        name: Set("old".to_owned()),
        time_zone: Set("UTC".to_owned()),
        base_currency: Set("USD".to_owned()),
        revenue_policy: Set(RevenuePolicy::Net.into()),
        sealed_pseudonym_key: Set(None),
    };
    tenant::Entity::insert(without).exec_without_returning(store.database.writer()).await.unwrap();
    assert!(key(&store.snapshot("issuer").await.unwrap().tenants[1]).is_empty());
    let snapshot = fixture.seeded(Vec::new()).await.snapshot("issuer").await.unwrap();
    assert_eq!(key(&snapshot.tenants[0]), first);
    assert_eq!(key(&snapshot.tenants[1]).len(), 32);
    assert_ne!(key(&snapshot.tenants[1]), first);
    assert!(store.tenants().await.unwrap().iter().all(|tenant| tenant.pseudonym_key.is_empty()));
}

#[tokio::test]
async fn what_no_token_can_meet_is_swept() {
    let fixture = Fixture::new();
    let store = fixture.seeded(Vec::new()).await;
    let target = Target::Subject("ann".to_owned());
    let tenant = TenantId(1);
    for _ in 0..2 {
        store.create_revocation(tenant, "default", &target, NOW).await.unwrap().unwrap();
    }
    store.rotate(&fixture.entropy, NOW, NOW.plus_micros(30_000_000)).await.unwrap().unwrap();
    let snapshot = store.snapshot("issuer").await.unwrap();
    // The second of the two says all that the first did.
    assert_eq!((snapshot.revocations.len(), snapshot.jwks.unwrap().keys.len()), (1, 2));
    let life = (12 * 3600 + 60) * 1_000_000;
    assert!(!store.sweep(NOW.plus_micros(life - 1)).await.unwrap());
    assert!(store.sweep(NOW.plus_micros(life)).await.unwrap());
    let snapshot = store.snapshot("issuer").await.unwrap();
    assert_eq!((snapshot.revocations.len(), snapshot.jwks.unwrap().keys.len()), (0, 2));
    assert!(store.sweep(NOW.plus_micros(life + 30_000_000)).await.unwrap());
    assert_eq!(store.snapshot("issuer").await.unwrap().jwks.unwrap().keys.len(), 1);
    assert!(!store.sweep(NOW.plus_micros(2 * life)).await.unwrap());
}
