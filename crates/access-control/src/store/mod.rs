//! What access-control keeps: tenants, signing keys, versions of the roles, and the version of all of it together.
//!
//! Every change begins by bumping that version, whose row stays locked to the end of the transaction: changes of all processes come
//! one after the other, and none goes unnoticed.

mod entities;
mod migrations;

use crate::signing::{SEED_BYTES, SigningKey, jwk};
use entities::{policy, signing_key, snapshot_head, tenant};
use prost::Message;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::{Jwks, PolicySnapshot, RolePolicy, Tenant};
use quintile_store::sealing::Key;
use quintile_store::{Database, DatabaseUrl, Result, StoreError};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder,
};
use zeroize::Zeroizing;

/// The most tenants of an installation.
pub const MAX_TENANTS: u64 = 1_000;
/// The tenant that is there from the start.
pub const DEFAULT_TENANT: &str = "default";
/// The one row of the snapshot's version.
const HEAD: i32 = 1;
/// The state of a key that signs and verifies. A key in a state that this version does not know does neither.
const SIGNING: &str = "signing";

/// Opens the database of access-control.
pub async fn open(url: &DatabaseUrl) -> Result<Database> {
    Database::open(url, "access-control").await
}

/// Brings its schema up to date.
pub async fn migrate(database: &Database) -> Result<()> {
    quintile_store::migration::migrate::<migrations::Migrator>(database).await
}

/// What access-control keeps, behind the key that seals its private keys.
#[derive(Clone)]
pub struct Store {
    database: Database,
    sealing: Key,
}

/// What became of a new tenant.
#[derive(Clone, Debug, PartialEq)]
pub enum NewTenant {
    /// It is there.
    Created(Tenant),
    /// The id is taken.
    Taken,
    /// There are [`MAX_TENANTS`] already.
    Full,
}

impl Store {
    /// The store in a database that has been migrated.
    pub fn new(database: Database, master: &Key) -> Self {
        Self { database, sealing: master.derive("signing keys") }
    }

    /// Makes what is missing: the first signing key, the tenant `default`, and the roles of this binary as the newest version.
    pub async fn seed(&self, roles: Vec<RolePolicy>, entropy: &Entropy, machine_now: Instant) -> Result<()> {
        let transaction = self.begin_change().await?;
        let made_key = self.seed_key(&transaction, entropy, machine_now).await?;
        let made_tenant = seed_tenant(&transaction).await?;
        let made_policy = publish_roles(&transaction, roles, machine_now).await?;
        if made_key || made_tenant || made_policy {
            transaction.commit().await?;
            tracing::info!(made_key, made_tenant, made_policy, "seeded");
        } else {
            // The version was bumped for nothing.
            transaction.rollback().await?;
        }
        Ok(())
    }

    async fn seed_key(&self, transaction: &DatabaseTransaction, entropy: &Entropy, now: Instant) -> Result<bool> {
        let there = signing_key::Entity::find().filter(signing_key::Column::State.eq(SIGNING)).one(transaction).await?;
        if there.is_some() {
            return Ok(false);
        }
        let seed = Zeroizing::new(entropy.bytes::<SEED_BYTES>());
        let key = SigningKey::from_seed(&seed);
        let row = signing_key::ActiveModel {
            kid: Set(key.kid().to_owned()),
            sealed_seed: Set(self.sealing.seal(entropy, key.kid().as_bytes(), seed.as_ref())),
            public_x: Set(key.public_x().to_owned()),
            created_at: Set(now.micros()),
            state: Set(SIGNING.to_owned()),
        };
        signing_key::Entity::insert(row).exec_without_returning(transaction).await?;
        Ok(true)
    }

    /// The newest key that signs.
    pub async fn signing_key(&self) -> Result<SigningKey> {
        let row = signing_key::Entity::find()
            .filter(signing_key::Column::State.eq(SIGNING))
            .order_by_desc(signing_key::Column::CreatedAt)
            .order_by_asc(signing_key::Column::Kid)
            .one(self.database.reader())
            .await?
            .ok_or_else(|| StoreError::Configuration("there is no signing key".to_owned()))?;
        let opened = self.sealing.open(row.kid.as_bytes(), &row.sealed_seed)?;
        let seed: &[u8; SEED_BYTES] =
            opened.as_slice().try_into().map_err(|_| StoreError::Sealed("a signing key of another length"))?;
        Ok(SigningKey::from_seed(seed))
    }

    /// The version of the snapshot.
    pub async fn version(&self) -> Result<i64> {
        let row = snapshot_head::Entity::find_by_id(HEAD).one(self.database.reader()).await?;
        Ok(row.map_or(0, |row| row.version))
    }

    /// The snapshot, whose keys sign for `issuer`.
    pub async fn snapshot(&self, issuer: &str) -> Result<PolicySnapshot> {
        // The version first: a change that comes meanwhile is then read again under its own version, and never missed.
        let version = self.version().await?;
        let roles = newest_policy(self.database.reader()).await?.map_or_else(|| Ok(Vec::new()), |row| decode(&row))?;
        let keys = signing_key::Entity::find()
            .filter(signing_key::Column::State.eq(SIGNING))
            .order_by_asc(signing_key::Column::CreatedAt)
            .order_by_asc(signing_key::Column::Kid)
            .all(self.database.reader())
            .await?;
        let keys = keys.into_iter().map(|key| jwk(key.kid, key.public_x)).collect();
        Ok(PolicySnapshot {
            version,
            roles,
            tenants: self.tenants().await?,
            jwks: Some(Jwks { keys, issuer: issuer.to_owned() }),
            ..PolicySnapshot::default()
        })
    }

    /// The tenants by number.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        let rows = tenant::Entity::find().order_by_asc(tenant::Column::Number).all(self.database.reader()).await?;
        Ok(rows.into_iter().map(tenant_message).collect())
    }

    /// Makes a tenant, under the next number.
    pub async fn create_tenant(&self, id: &str, time_zone: &str, base_currency: &str) -> Result<NewTenant> {
        let transaction = self.begin_change().await?;
        let taken = tenant::Entity::find().filter(tenant::Column::Name.eq(id)).one(&transaction).await?;
        if taken.is_some() {
            return Ok(NewTenant::Taken);
        }
        if tenant::Entity::find().count(&transaction).await? >= MAX_TENANTS {
            return Ok(NewTenant::Full);
        }
        let last = tenant::Entity::find().order_by_desc(tenant::Column::Number).one(&transaction).await?;
        let row = tenant::Model {
            number: last.map_or(1, |row| row.number + 1),
            name: id.to_owned(),
            time_zone: time_zone.to_owned(),
            base_currency: base_currency.to_owned(),
        };
        insert_tenant(&transaction, row.clone()).await?;
        transaction.commit().await?;
        Ok(NewTenant::Created(tenant_message(row)))
    }

    /// Begins a change of what the snapshot holds, behind every change that is under way. Dropped without a commit, it undoes
    /// the bump too.
    async fn begin_change(&self) -> Result<DatabaseTransaction> {
        let transaction = self.database.begin().await?;
        snapshot_head::Entity::update_many()
            .col_expr(snapshot_head::Column::Version, Expr::col(snapshot_head::Column::Version).add(1))
            .filter(snapshot_head::Column::Id.eq(HEAD))
            .exec(&transaction)
            .await?;
        Ok(transaction)
    }
}

async fn seed_tenant(transaction: &DatabaseTransaction) -> Result<bool> {
    if tenant::Entity::find().count(transaction).await? > 0 {
        return Ok(false);
    }
    let row = tenant::Model {
        number: 1,
        name: DEFAULT_TENANT.to_owned(),
        time_zone: "UTC".to_owned(),
        base_currency: "USD".to_owned(),
    };
    insert_tenant(transaction, row).await?;
    Ok(true)
}

/// Publishes the roles of this binary, if they are not the newest version already: nothing but the binary makes roles so far, and an
/// upgrade brings methods that somebody must be able to call. During an upgrade the process that starts last has its way.
async fn publish_roles(transaction: &DatabaseTransaction, roles: Vec<RolePolicy>, now: Instant) -> Result<bool> {
    let body = PolicySnapshot { roles, ..PolicySnapshot::default() }.encode_to_vec();
    let newest = newest_policy(transaction).await?;
    if newest.as_ref().is_some_and(|row| row.body == body) {
        return Ok(false);
    }
    let row = policy::ActiveModel {
        version: Set(newest.map_or(1, |row| row.version + 1)),
        body: Set(body),
        created_at: Set(now.micros()),
    };
    policy::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(true)
}

async fn newest_policy(connection: &impl ConnectionTrait) -> Result<Option<policy::Model>> {
    Ok(policy::Entity::find().order_by_desc(policy::Column::Version).one(connection).await?)
}

async fn insert_tenant(transaction: &DatabaseTransaction, row: tenant::Model) -> Result<()> {
    let row = tenant::ActiveModel {
        number: Set(row.number),
        name: Set(row.name),
        time_zone: Set(row.time_zone),
        base_currency: Set(row.base_currency),
    };
    tenant::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

fn decode(row: &policy::Model) -> Result<Vec<RolePolicy>> {
    let snapshot = PolicySnapshot::decode(row.body.as_slice())
        .map_err(|_| StoreError::Configuration(format!("version {} of the roles does not decode", row.version)))?;
    Ok(snapshot.roles)
}

fn tenant_message(row: tenant::Model) -> Tenant {
    Tenant {
        name: format!("tenants/{}", row.name),
        number: row.number,
        time_zone: row.time_zone,
        base_currency: row.base_currency,
        ..Tenant::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
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
            Store::new(database, master)
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
        let key = store.signing_key().await.unwrap();
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
        assert!(matches!(other.signing_key().await, Err(StoreError::Sealed(_))));
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
        let NewTenant::Created(tenant) = store.create_tenant("acme", "Asia/Shanghai", "CNY").await.unwrap() else {
            panic!("the id is free");
        };
        assert_eq!((tenant.name.as_str(), tenant.number), ("tenants/acme", 2));
        assert_eq!(store.version().await.unwrap(), before + 1);
        assert_eq!(store.create_tenant("acme", "UTC", "USD").await.unwrap(), NewTenant::Taken);
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
        });
        tenant::Entity::insert_many(rows).exec_without_returning(store.database.writer()).await.unwrap();
        assert!(matches!(store.create_tenant("last", "UTC", "USD").await.unwrap(), NewTenant::Created(_)));
        assert_eq!(store.create_tenant("one-too-many", "UTC", "USD").await.unwrap(), NewTenant::Full);
        assert_eq!(store.create_tenant("last", "UTC", "USD").await.unwrap(), NewTenant::Taken);
    }
}
