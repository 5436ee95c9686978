//! Versions of the roles.

use super::Store;
use super::entities::policy;
use prost::Message;
use quintile_domain::time::Instant;
use quintile_proto::access::{PolicySnapshot, RolePolicy};
use quintile_store::{Result, StoreError, Transaction};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QueryOrder};

impl Store {
    /// The roles in force.
    pub(super) async fn roles(&self) -> Result<Vec<RolePolicy>> {
        newest_policy(self.database.reader()).await?.map_or_else(|| Ok(Vec::new()), |row| decode(&row))
    }
}

/// Publishes the roles of this binary, if they are not the newest version already: nothing but the binary makes roles so far, and an
/// upgrade brings methods that somebody must be able to call. During an upgrade the process that starts last has its way.
pub async fn publish_roles(transaction: &Transaction, roles: Vec<RolePolicy>, now: Instant) -> Result<bool> {
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

pub async fn newest_policy(connection: &impl ConnectionTrait) -> Result<Option<policy::Model>> {
    Ok(policy::Entity::find().order_by_desc(policy::Column::Version).one(connection).await?)
}

fn decode(row: &policy::Model) -> Result<Vec<RolePolicy>> {
    let snapshot = PolicySnapshot::decode(row.body.as_slice())
        .map_err(|_| StoreError::Configuration(format!("version {} of the roles does not decode", row.version)))?;
    Ok(snapshot.roles)
}
