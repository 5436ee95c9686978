//! What holds for all playbooks, as each tenant says.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_proto::lifecycle::ContactPolicy;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};

/// The name of the policy.
pub const POLICY: &str = "contactPolicy";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "contact_policy")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        pub body: Vec<u8>,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The policy of a tenant, with its name and etag.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<ContactPolicy, StoreError> {
    from_row(entity::Entity::find_by_id(tenant.0).one(connection).await?)
}

fn from_row(row: Option<entity::Model>) -> Result<ContactPolicy, StoreError> {
    let Some(row) = row else {
        return Ok(ContactPolicy { name: POLICY.to_owned(), etag: etag(0), ..ContactPolicy::default() });
    };
    let policy = ContactPolicy::decode(row.body.as_slice());
    let policy = policy.map_err(|_| StoreError::Sealed("a stored contact policy is malformed"))?;
    Ok(ContactPolicy { name: POLICY.to_owned(), etag: etag(row.revision), ..policy })
}

fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// Replaces a policy, as the change of this number of what playbooks are.
pub async fn replace(
    transaction: &Transaction,
    tenant: TenantId,
    policy: ContactPolicy,
    revision: i64,
) -> Result<ContactPolicy, StoreError> {
    let policy = ContactPolicy { name: String::new(), etag: String::new(), ..policy };
    let row =
        entity::ActiveModel { tenant_id: Set(tenant.0), body: Set(policy.encode_to_vec()), revision: Set(revision) };
    let replaced = [entity::Column::Body, entity::Column::Revision];
    let on_conflict = OnConflict::column(entity::Column::TenantId).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(ContactPolicy { name: POLICY.to_owned(), etag: etag(revision), ..policy })
}
