//! Revocations, each under the version of the snapshot that brought it: a number that grows and is never used twice.

use super::entities::revocation;
use super::{Store, version};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::access::Revocation;
use quintile_proto::access::revocation::Target;
use quintile_rpc::convert;
use quintile_rpc::token::{LEEWAY_SECONDS, MAX_LIFETIME_SECONDS};
use quintile_store::{Result, StoreError, Transaction};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use std::collections::HashMap;

/// The most revocations of a tenant at a time.
const MAX_REVOCATIONS: u64 = 10_000;
/// The most revocations of an installation at a time: every service has all of them in memory.
const MAX_REVOCATIONS_OF_ALL: u64 = 100_000;
/// How long a token that is older can still be met, the leeways of both clocks included.
const MEETS_MICROS: i64 = (MAX_LIFETIME_SECONDS + 2 * LEEWAY_SECONDS) * 1_000_000;
const TOKEN: &str = "token";
const SUBJECT: &str = "subject";
const TENANT: &str = "tenant";

impl Store {
    /// Revokes tokens of a tenant; nothing, if there are [`MAX_REVOCATIONS`] already, or as many as all tenants together may have.
    pub async fn create_revocation(
        &self,
        tenant: TenantId,
        tenant_name: &str,
        target: &Target,
        now: Instant,
    ) -> Result<Option<Revocation>> {
        let transaction = self.begin_change().await?;
        delete_expired(&transaction, now).await?;
        let there =
            revocation::Entity::find().filter(revocation::Column::Tenant.eq(tenant.0)).count(&transaction).await?;
        let of_all = revocation::Entity::find().count(&transaction).await?;
        if there >= MAX_REVOCATIONS || of_all >= MAX_REVOCATIONS_OF_ALL {
            return Ok(None);
        }
        let row = revoke(&transaction, tenant, target, now).await?;
        transaction.commit().await?;
        message(row, format!("tenants/{tenant_name}")).map(Some)
    }

    /// The revocations of a tenant that a token can still meet, the newest first, older than the one of number `before`.
    pub async fn revocations(
        &self,
        tenant: TenantId,
        tenant_name: &str,
        before: i64,
        limit: u64,
        now: Instant,
    ) -> Result<Vec<Revocation>> {
        let rows = revocation::Entity::find()
            .filter(revocation::Column::Tenant.eq(tenant.0))
            .filter(revocation::Column::Number.lt(before))
            .filter(revocation::Column::ExpiresAt.gt(now.micros()))
            .order_by_desc(revocation::Column::Number)
            .limit(limit)
            .all(self.database.reader())
            .await?;
        rows.into_iter().map(|row| message(row, format!("tenants/{tenant_name}"))).collect()
    }

    /// The revocations of all tenants, whose names are given.
    pub(super) async fn every_revocation(&self, tenants: &HashMap<i32, String>) -> Result<Vec<Revocation>> {
        let rows =
            revocation::Entity::find().order_by_asc(revocation::Column::Number).all(self.database.reader()).await?;
        rows.into_iter()
            .map(|row| {
                let tenant = tenants.get(&row.tenant).cloned().unwrap_or_default();
                message(row, tenant)
            })
            .collect()
    }

    /// How many revocations no token can meet any more.
    pub(super) async fn expired_revocations(&self, now: Instant) -> Result<u64> {
        let expired = revocation::Entity::find().filter(revocation::Column::ExpiresAt.lte(now.micros()));
        Ok(expired.count(self.database.reader()).await?)
    }
}

/// Revokes tokens, in a transaction that bumped the version and revokes once.
pub async fn revoke(
    transaction: &Transaction,
    tenant: TenantId,
    target: &Target,
    now: Instant,
) -> Result<revocation::Model> {
    let issued_before = match target {
        Target::IssuedBefore(instant) => convert::sent_instant(Some(instant)),
        _ => None,
    };
    let (kind, text) = match target {
        Target::TokenId(id) => (TOKEN, id.as_str()),
        Target::Subject(subject) => (SUBJECT, subject.as_str()),
        Target::IssuedBefore(_) => (TENANT, ""),
    };
    let row = revocation::Model {
        number: version(transaction).await?,
        tenant: tenant.0,
        kind: kind.to_owned(),
        target: text.to_owned(),
        issued_before: issued_before.map(Instant::micros),
        revoked_at: now.micros(),
        expires_at: issued_before.unwrap_or(now).max(now).plus_micros(MEETS_MICROS).micros(),
    };
    // What the new one says of them too need not be said twice.
    let covered = Condition::any()
        .add(revocation::Column::IssuedBefore.is_null())
        .add(revocation::Column::IssuedBefore.lte(row.issued_before));
    revocation::Entity::delete_many()
        .filter(revocation::Column::Tenant.eq(row.tenant))
        .filter(revocation::Column::Kind.eq(row.kind.as_str()))
        .filter(revocation::Column::Target.eq(row.target.as_str()))
        .filter(revocation::Column::RevokedAt.lte(row.revoked_at))
        .filter(covered)
        .exec(transaction)
        .await?;
    let insert = revocation::ActiveModel {
        number: Set(row.number),
        tenant: Set(row.tenant),
        kind: Set(row.kind.clone()),
        target: Set(row.target.clone()),
        issued_before: Set(row.issued_before),
        revoked_at: Set(row.revoked_at),
        expires_at: Set(row.expires_at),
    };
    revocation::Entity::insert(insert).exec_without_returning(transaction).await?;
    Ok(row)
}

/// Deletes the revocations that no token can meet any more.
pub async fn delete_expired(transaction: &Transaction, now: Instant) -> Result<()> {
    revocation::Entity::delete_many().filter(revocation::Column::ExpiresAt.lte(now.micros())).exec(transaction).await?;
    Ok(())
}

fn message(row: revocation::Model, tenant: String) -> Result<Revocation> {
    let stamp = |micros: i64| convert::timestamp(Instant::from_micros(micros));
    let target = match (row.kind.as_str(), row.issued_before) {
        (TOKEN, _) => Target::TokenId(row.target),
        (SUBJECT, _) => Target::Subject(row.target),
        (TENANT, Some(instant)) => Target::IssuedBefore(stamp(instant)),
        // Left out, it would revoke nothing.
        _ => return Err(StoreError::Configuration(format!("revocation {} is of no known kind", row.number))),
    };
    Ok(Revocation {
        name: format!("revocations/{}", row.number),
        tenant,
        target: Some(target),
        revoke_time: Some(stamp(row.revoked_at)),
        expire_time: Some(stamp(row.expires_at)),
    })
}
