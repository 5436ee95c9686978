//! The versions of the roles that tenants make for themselves. A version is never changed.

use super::entities::{principal, tenant_policy};
use super::{Changed, Store};
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::access::{PolicyVersion, TenantRoles};
use quintile_store::{Result, StoreError};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use std::collections::HashMap;

impl Store {
    /// Publishes a tenant's roles behind the version that they were made from.
    pub async fn publish_tenant_policy(
        &self,
        tenant: TenantId,
        expected: i64,
        mut version: PolicyVersion,
        now: Instant,
    ) -> Result<Changed<PolicyVersion>> {
        let transaction = self.begin_change().await?;
        let present = newest(&transaction, tenant).await?.map_or(0, |row| row.version);
        if present != expected {
            return Ok(Changed::Stale);
        }
        version.name = version_name(present + 1);
        let row = tenant_policy::ActiveModel {
            tenant: Set(tenant.0),
            version: Set(present + 1),
            body: Set(version.encode_to_vec()),
            published_at: Set(now.micros()),
        };
        tenant_policy::Entity::insert(row).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(Changed::Done(version))
    }

    /// The newest version of a tenant's roles, and its number. `None`: the tenant has made none.
    pub async fn newest_tenant_policy(&self, tenant: TenantId) -> Result<Option<(i64, PolicyVersion)>> {
        let row = newest(self.database.reader(), tenant).await?;
        row.map(|row| Ok((row.version, decode(&row)?))).transpose()
    }

    /// One version.
    pub async fn tenant_policy(&self, tenant: TenantId, version: i64) -> Result<Option<PolicyVersion>> {
        let row = tenant_policy::Entity::find_by_id((tenant.0, version)).one(self.database.reader()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Up to `limit` versions before one, the newest first, with their numbers.
    pub async fn tenant_policies(
        &self,
        tenant: TenantId,
        before: i64,
        limit: u64,
    ) -> Result<Vec<(i64, PolicyVersion)>> {
        let rows = tenant_policy::Entity::find()
            .filter(tenant_policy::Column::Tenant.eq(tenant.0))
            .filter(tenant_policy::Column::Version.lt(before))
            .order_by_desc(tenant_policy::Column::Version)
            .limit(limit)
            .all(self.database.reader())
            .await?;
        rows.iter().map(|row| Ok((row.version, decode(row)?))).collect()
    }

    /// The principals of a tenant that have a role.
    pub async fn principals_of_role(&self, tenant: TenantId, role: &str) -> Result<u64> {
        let of_role = principal::Entity::find()
            .filter(principal::Column::Tenant.eq(tenant.0))
            .filter(principal::Column::Role.eq(role));
        Ok(of_role.count(self.database.reader()).await?)
    }

    /// The roles in force that tenants have made, of the tenants with these names by number.
    pub(super) async fn every_tenants_roles(&self, names: &HashMap<i32, String>) -> Result<Vec<TenantRoles>> {
        let mut numbers: Vec<_> = tenant_policy::Entity::find()
            .select_only()
            .column(tenant_policy::Column::Tenant)
            .distinct()
            .into_tuple::<i32>()
            .all(self.database.reader())
            .await?;
        numbers.sort_unstable();
        let mut every = Vec::with_capacity(numbers.len());
        for number in numbers {
            if let (Some(name), Some((_, version))) =
                (names.get(&number), self.newest_tenant_policy(TenantId(number)).await?)
            {
                every.push(TenantRoles { tenant: name.clone(), roles: version.roles });
            }
        }
        Ok(every)
    }
}

async fn newest(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<tenant_policy::Model>> {
    Ok(tenant_policy::Entity::find()
        .filter(tenant_policy::Column::Tenant.eq(tenant.0))
        .order_by_desc(tenant_policy::Column::Version)
        .one(connection)
        .await?)
}

fn version_name(version: i64) -> String {
    format!("policyVersions/{version}")
}

fn decode(row: &tenant_policy::Model) -> Result<PolicyVersion> {
    PolicyVersion::decode(row.body.as_slice())
        .map_err(|_| StoreError::Configuration(format!("version {} of a tenant's roles does not decode", row.version)))
}
