//! What access-control keeps: tenants, signing keys, principals, issuers, revocations, versions of the roles, and the version of all of
//! it together.
//!
//! Every change of what the snapshot holds begins by bumping that version, whose row stays locked to the end of the transaction: changes
//! of all processes come one after the other, and none goes unnoticed. To keep one more kind of thing, give it a file of its own here.

pub mod checkpoints;
mod entities;
pub mod issuers;
mod master_keys;
mod migrations;
mod policies;
pub mod principals;
pub mod revocations;
pub mod signing_keys;
pub mod tenant_policies;
pub mod tenants;
#[cfg(test)]
mod tests;

use entities::snapshot_head;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::{Jwks, PolicySnapshot, RolePolicy};
use quintile_store::sealing::Key;
use quintile_store::{Database, DatabaseUrl, Result, Transaction};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
pub use tenants::{MAX_TENANTS, NewTenant, Terms};
use zeroize::Zeroizing;

/// The one row of the snapshot's version.
const HEAD: i32 = 1;

/// Opens the database of access-control.
pub async fn open(url: &DatabaseUrl) -> Result<Database> {
    Database::open(url, crate::SERVICE).await
}

/// The names of its migrations, in order.
pub fn migrations() -> Vec<String> {
    quintile_store::migration::names::<migrations::Migrator>()
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

/// What became of a change of something that may have changed meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed<T> {
    /// It is done.
    Done(T),
    /// There is no such thing.
    Absent,
    /// Its etag is another one by now.
    Stale,
}

impl Store {
    /// The store in a database that has been migrated, and the key that seals its private keys.
    pub fn new(database: Database, sealing: Key) -> Self {
        Self { database, sealing }
    }

    /// Makes what is missing: the first signing key, the tenant `default`, tenants' keys, and the roles of this binary as the newest
    /// version.
    pub async fn seed(&self, roles: Vec<RolePolicy>, entropy: &Entropy, machine_now: Instant) -> Result<()> {
        let transaction = self.begin_change().await?;
        let made_key = self.seed_key(&transaction, entropy, machine_now).await?;
        let made_tenant = self.seed_tenant(&transaction, entropy).await?;
        let made_policy = policies::publish_roles(&transaction, roles, machine_now).await?;
        if made_key || made_tenant || made_policy {
            transaction.commit().await?;
            tracing::info!(made_key, made_tenant, made_policy, "seeded");
        } else {
            // The version was bumped for nothing.
            transaction.rollback().await?;
        }
        Ok(())
    }

    /// The version of the snapshot.
    pub async fn version(&self) -> Result<i64> {
        version(self.database.reader()).await
    }

    /// The snapshot, whose keys sign for `issuer`.
    pub async fn snapshot(&self, issuer: &str) -> Result<PolicySnapshot> {
        // The version first: a change that comes meanwhile is then read again under its own version, and never missed.
        let version = self.version().await?;
        let tenants = self.tenants_with_keys().await?;
        let names = tenants.iter().map(|tenant| (tenant.number, tenant.name.clone())).collect();
        Ok(PolicySnapshot {
            version,
            roles: self.roles().await?,
            jwks: Some(Jwks { keys: self.public_keys().await?, issuer: issuer.to_owned() }),
            issuers: self.every_issuer(&names).await?,
            revocations: self.every_revocation(&names).await?,
            key_generation: self.key_generation().await?,
            tenant_roles: self.every_tenants_roles(&names).await?,
            tenants,
            ..PolicySnapshot::default()
        })
    }

    /// Deletes what no token can meet any more: revocations, and keys that verify nothing. Returns whether there was anything.
    pub async fn sweep(&self, machine_now: Instant) -> Result<bool> {
        let revocations = self.expired_revocations(machine_now).await?;
        let keys = self.gone_keys(machine_now).await?;
        if revocations == 0 && keys.is_empty() {
            return Ok(false);
        }
        let transaction = self.begin_change().await?;
        revocations::delete_expired(&transaction, machine_now).await?;
        signing_keys::delete(&transaction, keys).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Begins a change of what the snapshot holds, behind every change that is under way. Dropped without a commit, it undoes
    /// the bump too.
    async fn begin_change(&self) -> Result<Transaction> {
        self.begin_behind_others(1).await
    }

    /// Begins a change of what the snapshot does not hold, behind every change that is under way.
    async fn begin_unseen_change(&self) -> Result<Transaction> {
        self.begin_behind_others(0).await
    }

    async fn begin_behind_others(&self, bump: i64) -> Result<Transaction> {
        let transaction = self.database.begin().await?;
        snapshot_head::Entity::update_many()
            .col_expr(snapshot_head::Column::Version, Expr::col(snapshot_head::Column::Version).add(bump))
            .filter(snapshot_head::Column::Id.eq(HEAD))
            .exec(&transaction)
            .await?;
        Ok(transaction)
    }

    /// Seals a secret for its place. Everything that this store seals goes through here.
    fn seal(&self, entropy: &Entropy, place: &str, secret: &[u8]) -> Vec<u8> {
        self.sealing.seal(entropy, place.as_bytes(), secret)
    }

    /// Opens what was sealed for a place.
    fn open_sealed(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.sealing.open(place.as_bytes(), sealed)
    }
}

async fn version(connection: &impl ConnectionTrait) -> Result<i64> {
    let row = snapshot_head::Entity::find_by_id(HEAD).one(connection).await?;
    Ok(row.map_or(0, |row| row.version))
}

fn etag(version: i64) -> String {
    format!("{version:x}")
}

/// Whether a version is the one of an etag; an empty etag is that of any.
fn is_current(version: i64, expected: &str) -> bool {
    expected.is_empty() || expected == etag(version)
}
