//! External issuers: what was configured, and the keys that were fetched last.

use super::entities::issuer;
use super::{Changed, Store, etag, is_current};
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::access::{Issuer, Jwk, Jwks, RoleMapping};
use quintile_rpc::convert;
use quintile_store::{Result, StoreError};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use std::collections::HashMap;

/// The most issuers of a tenant.
pub const MAX_ISSUERS: u64 = 16;
/// How long after an attempt to fetch keys there is no other.
const ATTEMPT_AGAIN_MICROS: i64 = 60 * 1_000_000;
/// When keys are fetched again although nobody asks.
const FETCH_AGAIN_MICROS: i64 = 5 * 60 * 1_000_000;
/// The most issuers that are fetched again in one turn; the others have theirs a second later.
const DUE_AT_ONCE: u64 = 32;

/// What became of a new issuer.
#[derive(Clone, Debug, PartialEq)]
pub enum NewIssuer {
    /// It is there.
    Created(Box<Issuer>),
    /// The id is taken.
    Taken,
    /// An issuer of the installation has this identifier already.
    IdentifierTaken,
    /// There are [`MAX_ISSUERS`] already.
    Full,
}

/// What changes of an issuer; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IssuerPatch {
    /// The audience.
    pub audience: Option<String>,
    /// The algorithms.
    pub algorithms: Option<Vec<String>>,
    /// The claim that names roles.
    pub role_claim: Option<String>,
    /// What its values mean.
    pub roles: Option<Vec<RoleMapping>>,
}

/// An issuer whose keys are to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The tenant.
    pub tenant: TenantId,
    /// The last part of its name.
    pub id: String,
    /// Its identifier.
    pub issuer: String,
}

impl Store {
    /// Makes an issuer, whose parts have been checked and whose keys were fetched at `now`.
    pub async fn create_issuer(
        &self,
        tenant: TenantId,
        tenant_name: &str,
        id: &str,
        new: &Issuer,
        keys: Vec<Jwk>,
        now: Instant,
    ) -> Result<NewIssuer> {
        let transaction = self.begin_change().await?;
        if issuer::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await?.is_some() {
            return Ok(NewIssuer::Taken);
        }
        let same = issuer::Entity::find().filter(issuer::Column::Issuer.eq(new.issuer.as_str()));
        if same.one(&transaction).await?.is_some() {
            return Ok(NewIssuer::IdentifierTaken);
        }
        let there = issuer::Entity::find().filter(issuer::Column::Tenant.eq(tenant.0)).count(&transaction).await?;
        if there >= MAX_ISSUERS {
            return Ok(NewIssuer::Full);
        }
        let row = issuer::Model {
            tenant: tenant.0,
            id: id.to_owned(),
            issuer: new.issuer.clone(),
            body: configured(new).encode_to_vec(),
            keys: Jwks { keys, ..Jwks::default() }.encode_to_vec(),
            fetched_at: now.micros(),
            attempted_at: now.micros(),
            // One that was deleted and is made again has another etag.
            version: now.micros(),
        };
        let insert = row.clone().into_active_model().reset_all();
        issuer::Entity::insert(insert).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        message(row, format!("tenants/{tenant_name}")).map(|issuer| NewIssuer::Created(Box::new(issuer)))
    }

    /// An issuer.
    pub async fn issuer(&self, tenant: TenantId, tenant_name: &str, id: &str) -> Result<Option<Issuer>> {
        let row = issuer::Entity::find_by_id((tenant.0, id.to_owned())).one(self.database.reader()).await?;
        row.map(|row| message(row, format!("tenants/{tenant_name}"))).transpose()
    }

    /// The issuers of a tenant by id.
    pub async fn issuers(&self, tenant: TenantId, tenant_name: &str) -> Result<Vec<Issuer>> {
        let rows = issuer::Entity::find()
            .filter(issuer::Column::Tenant.eq(tenant.0))
            .order_by_asc(issuer::Column::Id)
            .all(self.database.reader())
            .await?;
        rows.into_iter().map(|row| message(row, format!("tenants/{tenant_name}"))).collect()
    }

    /// The issuers of all tenants, whose names are given.
    pub(super) async fn every_issuer(&self, tenants: &HashMap<i32, String>) -> Result<Vec<Issuer>> {
        let rows = issuer::Entity::find()
            .order_by_asc(issuer::Column::Tenant)
            .order_by_asc(issuer::Column::Id)
            .all(self.database.reader())
            .await?;
        rows.into_iter()
            .map(|row| {
                let tenant = tenants.get(&row.tenant).cloned().unwrap_or_default();
                message(row, tenant)
            })
            .collect()
    }

    /// Changes an issuer.
    pub async fn update_issuer(
        &self,
        tenant: TenantId,
        tenant_name: &str,
        id: &str,
        expected_etag: &str,
        patch: IssuerPatch,
    ) -> Result<Changed<Issuer>> {
        let transaction = self.begin_change().await?;
        let Some(mut row) = issuer::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await? else {
            return Ok(Changed::Absent);
        };
        if !is_current(row.version, expected_etag) {
            return Ok(Changed::Stale);
        }
        let mut body = decode(&row)?;
        body.audience = patch.audience.unwrap_or(body.audience);
        body.algorithms = patch.algorithms.unwrap_or(body.algorithms);
        body.role_claim = patch.role_claim.unwrap_or(body.role_claim);
        body.roles = patch.roles.unwrap_or(body.roles);
        row.body = body.encode_to_vec();
        row.version += 1;
        row.clone().into_active_model().reset_all().update(&transaction).await?;
        transaction.commit().await?;
        message(row, format!("tenants/{tenant_name}")).map(Changed::Done)
    }

    /// Deletes an issuer.
    pub async fn delete_issuer(&self, tenant: TenantId, id: &str, expected_etag: &str) -> Result<Changed<()>> {
        let transaction = self.begin_change().await?;
        let Some(row) = issuer::Entity::find_by_id((tenant.0, id.to_owned())).one(&transaction).await? else {
            return Ok(Changed::Absent);
        };
        if !is_current(row.version, expected_etag) {
            return Ok(Changed::Stale);
        }
        issuer::Entity::delete_by_id((tenant.0, id.to_owned())).exec(&transaction).await?;
        transaction.commit().await?;
        Ok(Changed::Done(()))
    }

    /// The issuers whose keys are due to be fetched again.
    pub async fn due_issuers(&self, now: Instant) -> Result<Vec<Due>> {
        let rows = issuer::Entity::find()
            .filter(issuer::Column::FetchedAt.lte(now.micros().saturating_sub(FETCH_AGAIN_MICROS)))
            .filter(issuer::Column::AttemptedAt.lte(now.micros().saturating_sub(ATTEMPT_AGAIN_MICROS)))
            .order_by_asc(issuer::Column::AttemptedAt)
            .limit(DUE_AT_ONCE)
            .all(self.database.reader())
            .await?;
        Ok(rows.into_iter().map(|row| Due { tenant: TenantId(row.tenant), id: row.id, issuer: row.issuer }).collect())
    }

    /// Takes the right to fetch an issuer's keys, which one of all processes has, once a minute.
    pub async fn claim_fetch(&self, tenant: TenantId, id: &str, now: Instant) -> Result<bool> {
        let claimed = issuer::Entity::update_many()
            .col_expr(issuer::Column::AttemptedAt, Expr::value(now.micros()))
            .filter(issuer::Column::Tenant.eq(tenant.0))
            .filter(issuer::Column::Id.eq(id))
            .filter(issuer::Column::AttemptedAt.lte(now.micros().saturating_sub(ATTEMPT_AGAIN_MICROS)))
            .exec(self.database.writer())
            .await?;
        Ok(claimed.rows_affected > 0)
    }

    /// Keeps the keys that were fetched of an issuer at `now`. It may be gone by then, or be another one.
    pub async fn keep_keys(&self, due: &Due, keys: Vec<Jwk>, now: Instant) -> Result<()> {
        let transaction = self.begin_change().await?;
        issuer::Entity::update_many()
            .col_expr(issuer::Column::Keys, Expr::value(Jwks { keys, ..Jwks::default() }.encode_to_vec()))
            .col_expr(issuer::Column::FetchedAt, Expr::value(now.micros()))
            .filter(issuer::Column::Tenant.eq(due.tenant.0))
            .filter(issuer::Column::Id.eq(due.id.as_str()))
            .filter(issuer::Column::Issuer.eq(due.issuer.as_str()))
            .exec(&transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// What of an issuer was configured and can change.
fn configured(issuer: &Issuer) -> Issuer {
    Issuer {
        audience: issuer.audience.clone(),
        algorithms: issuer.algorithms.clone(),
        role_claim: issuer.role_claim.clone(),
        roles: issuer.roles.clone(),
        ..Issuer::default()
    }
}

fn decode(row: &issuer::Model) -> Result<Issuer> {
    Issuer::decode(row.body.as_slice())
        .map_err(|_| StoreError::Configuration(format!("the issuer {} does not decode", row.id)))
}

fn message(row: issuer::Model, tenant: String) -> Result<Issuer> {
    let body = decode(&row)?;
    let keys = Jwks::decode(row.keys.as_slice())
        .map_err(|_| StoreError::Configuration(format!("the keys of the issuer {} do not decode", row.id)))?;
    Ok(Issuer {
        name: format!("issuers/{}", row.id),
        issuer: row.issuer,
        tenant,
        keys: keys.keys,
        fetch_time: Some(convert::timestamp(Instant::from_micros(row.fetched_at))),
        etag: etag(row.version),
        ..body
    })
}
