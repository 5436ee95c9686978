//! Principals, and the hashes of service accounts' secrets.

use super::entities::{principal, principal_secret};
use super::{Changed, Store, etag, is_current, revocations};
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::access::revocation::Target;
use quintile_proto::access::{Principal, PrincipalKind, PrincipalSecret};
use quintile_rpc::convert;
use quintile_store::Result;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use std::collections::HashMap;

/// The most principals of a tenant.
pub const MAX_PRINCIPALS: u64 = 10_000;
/// The most secrets of a service account that have not expired: the one in use, and the one that follows it.
pub const MAX_SECRETS: usize = 2;

/// What became of a new principal.
#[derive(Clone, Debug, PartialEq)]
pub enum NewPrincipal {
    /// It is there.
    Created(Principal),
    /// The id is taken.
    Taken,
    /// There are [`MAX_PRINCIPALS`] already.
    Full,
}

/// What became of a new secret.
#[derive(Clone, Debug, PartialEq)]
pub enum NewSecret {
    /// It is there.
    Created(PrincipalSecret),
    /// There is no such principal.
    Absent,
    /// The principal is a person, who has no secrets here.
    User,
    /// There are [`MAX_SECRETS`] already.
    Full,
}

/// A secret to keep: of a secret of 256 random bits, which nobody can guess by trying, a plain hash tells nothing.
pub struct SecretRow {
    /// The id, the last part of its name.
    pub id: String,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// From when it buys nothing any more. `None`: never.
    pub expires: Option<Instant>,
}

/// What changes of a principal; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrincipalPatch {
    /// The role.
    pub role: Option<String>,
    /// The department.
    pub department: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether it is shut out.
    pub disabled: Option<bool>,
}

/// What an exchange of a secret is decided by.
#[derive(Debug, Default)]
pub struct Account {
    /// The principal, if there is one.
    pub principal: Option<Principal>,
    /// The hashes of its secrets that have not expired.
    pub hashes: Vec<Vec<u8>>,
}

impl Store {
    /// Makes a principal, whose parts have been checked.
    pub async fn create_principal(
        &self,
        tenant: TenantId,
        id: &str,
        new: &Principal,
        now: Instant,
    ) -> Result<NewPrincipal> {
        let transaction = self.begin_unseen_change().await?;
        if principal::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await?.is_some() {
            return Ok(NewPrincipal::Taken);
        }
        let there =
            principal::Entity::find().filter(principal::Column::Tenant.eq(tenant.0)).count(&transaction).await?;
        if there >= MAX_PRINCIPALS {
            return Ok(NewPrincipal::Full);
        }
        let row = principal::Model {
            tenant: tenant.0,
            id: id.to_owned(),
            kind: new.kind,
            role: new.role.clone(),
            department: new.department.clone(),
            region: new.region.clone(),
            disabled: new.disabled,
            created_at: now.micros(),
            // One that was deleted and is made again has another etag.
            version: now.micros(),
        };
        let insert = row.clone().into_active_model().reset_all();
        principal::Entity::insert(insert).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(NewPrincipal::Created(message(row, &[])))
    }

    /// A principal.
    pub async fn principal(&self, tenant: TenantId, id: &str, now: Instant) -> Result<Option<Principal>> {
        let connection = self.database.reader();
        let row = principal::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?;
        let Some(row) = row else { return Ok(None) };
        let secrets = secrets(connection, tenant, vec![id.to_owned()], now).await?;
        Ok(Some(message(row, &secrets)))
    }

    /// Principals by id, behind the id `after`.
    pub async fn principals(&self, tenant: TenantId, after: &str, limit: u64, now: Instant) -> Result<Vec<Principal>> {
        let connection = self.database.reader();
        let rows = principal::Entity::find()
            .filter(principal::Column::Tenant.eq(tenant.0))
            .filter(principal::Column::Id.gt(after))
            .order_by_asc(principal::Column::Id)
            .limit(limit)
            .all(connection)
            .await?;
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        let mut of: HashMap<String, Vec<principal_secret::Model>> = HashMap::new();
        for secret in secrets(connection, tenant, ids, now).await? {
            of.entry(secret.principal.clone()).or_default().push(secret);
        }
        Ok(rows
            .into_iter()
            .map(|row| (of.remove(&row.id).unwrap_or_default(), row))
            .map(|(s, row)| message(row, &s))
            .collect())
    }

    /// Changes a principal, and revokes the tokens that state what it was.
    pub async fn update_principal(
        &self,
        tenant: TenantId,
        id: &str,
        expected_etag: &str,
        patch: PrincipalPatch,
        clock: &MachineClock,
    ) -> Result<Changed<Principal>> {
        let transaction = self.begin_change().await?;
        // Once it is its turn: tokens that were issued while it waited are revoked too.
        let now = clock.now();
        let Some(row) = principal::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await? else {
            return Ok(Changed::Absent);
        };
        if !is_current(row.version, expected_etag) {
            return Ok(Changed::Stale);
        }
        let mut changed = row.clone();
        changed.role = patch.role.unwrap_or(changed.role);
        changed.department = patch.department.unwrap_or(changed.department);
        changed.region = patch.region.unwrap_or(changed.region);
        changed.disabled = patch.disabled.unwrap_or(changed.disabled);
        let secrets = secrets(&transaction, tenant, vec![id.to_owned()], now).await?;
        if changed == row {
            return Ok(Changed::Done(message(row, &secrets)));
        }
        changed.version += 1;
        changed.clone().into_active_model().reset_all().update(&transaction).await?;
        revocations::revoke(&transaction, tenant, &Target::Subject(id.to_owned()), now).await?;
        transaction.commit().await?;
        Ok(Changed::Done(message(changed, &secrets)))
    }

    /// Deletes a principal with its secrets, and revokes its tokens.
    pub async fn delete_principal(
        &self,
        tenant: TenantId,
        id: &str,
        expected_etag: &str,
        clock: &MachineClock,
    ) -> Result<Changed<()>> {
        let transaction = self.begin_change().await?;
        // Once it is its turn: tokens that were issued while it waited are revoked too.
        let now = clock.now();
        let Some(row) = principal::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await? else {
            return Ok(Changed::Absent);
        };
        if !is_current(row.version, expected_etag) {
            return Ok(Changed::Stale);
        }
        principal_secret::Entity::delete_many()
            .filter(principal_secret::Column::Tenant.eq(tenant.0))
            .filter(principal_secret::Column::Principal.eq(id))
            .exec(&transaction)
            .await?;
        principal::Entity::delete_by_id((tenant.0, id.to_owned())).exec(&transaction).await?;
        revocations::revoke(&transaction, tenant, &Target::Subject(id.to_owned()), now).await?;
        transaction.commit().await?;
        Ok(Changed::Done(()))
    }

    /// Keeps a secret of a service account.
    pub async fn create_secret(
        &self,
        tenant: TenantId,
        id: &str,
        secret: SecretRow,
        now: Instant,
    ) -> Result<NewSecret> {
        let transaction = self.begin_unseen_change().await?;
        let Some(row) = principal::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await? else {
            return Ok(NewSecret::Absent);
        };
        if row.kind != PrincipalKind::ServiceAccount as i32 {
            return Ok(NewSecret::User);
        }
        principal_secret::Entity::delete_many()
            .filter(principal_secret::Column::Tenant.eq(tenant.0))
            .filter(principal_secret::Column::Principal.eq(id))
            .filter(principal_secret::Column::ExpiresAt.lte(now.micros()))
            .exec(&transaction)
            .await?;
        if secrets(&transaction, tenant, vec![id.to_owned()], now).await?.len() >= MAX_SECRETS {
            return Ok(NewSecret::Full);
        }
        let row = principal_secret::Model {
            tenant: tenant.0,
            principal: id.to_owned(),
            id: secret.id,
            hash: secret.hash,
            created_at: now.micros(),
            expires_at: secret.expires.map(Instant::micros),
        };
        let insert = row.clone().into_active_model().reset_all();
        principal_secret::Entity::insert(insert).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(NewSecret::Created(secret_message(&row)))
    }

    /// Deletes a secret. Returns whether it was there.
    pub async fn delete_secret(&self, tenant: TenantId, id: &str, secret: &str) -> Result<bool> {
        let key = (tenant.0, id.to_owned(), secret.to_owned());
        let deleted = principal_secret::Entity::delete_by_id(key).exec(self.database.writer()).await?;
        Ok(deleted.rows_affected > 0)
    }

    /// What an exchange of a secret is decided by, with as many queries whether there is such an account or not.
    pub async fn account(&self, tenant: TenantId, id: &str, now: Instant) -> Result<Account> {
        let connection = self.database.reader();
        let row = principal::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?;
        let secrets = secrets(connection, tenant, vec![id.to_owned()], now).await?;
        Ok(Account {
            principal: row.map(|row| message(row, &[])),
            hashes: secrets.into_iter().map(|secret| secret.hash).collect(),
        })
    }
}

/// The secrets of principals that have not expired, the oldest first.
async fn secrets(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    principals: Vec<String>,
    now: Instant,
) -> Result<Vec<principal_secret::Model>> {
    let rows = principal_secret::Entity::find()
        .filter(principal_secret::Column::Tenant.eq(tenant.0))
        .filter(principal_secret::Column::Principal.is_in(principals))
        .order_by_asc(principal_secret::Column::CreatedAt)
        .order_by_asc(principal_secret::Column::Id)
        .all(connection)
        .await?;
    Ok(rows.into_iter().filter(|row| row.expires_at.is_none_or(|expires| expires > now.micros())).collect())
}

fn message(row: principal::Model, secrets: &[principal_secret::Model]) -> Principal {
    Principal {
        name: format!("principals/{}", row.id),
        kind: row.kind,
        role: row.role,
        department: row.department,
        region: row.region,
        disabled: row.disabled,
        secrets: secrets.iter().map(secret_message).collect(),
        create_time: Some(convert::timestamp(Instant::from_micros(row.created_at))),
        etag: etag(row.version),
    }
}

fn secret_message(row: &principal_secret::Model) -> PrincipalSecret {
    let stamp = |micros: i64| convert::timestamp(Instant::from_micros(micros));
    PrincipalSecret {
        name: format!("principals/{}/secrets/{}", row.principal, row.id),
        create_time: Some(stamp(row.created_at)),
        expire_time: row.expires_at.map(stamp),
    }
}
