//! Trainings of churn models that wait or go on: what each is to foretell, as a model of which nothing else is told yet. How far it is stands with its
//! operation, and when that ends this goes.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_proto::lifecycle::ChurnModel;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

/// The feed whose head two that ask for trainings wait for. It holds nothing.
const TURNS: &str = "churn_trainings";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "churn_training")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub operation_id: i64,
        pub asked: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What is there and can't be read.
pub fn malformed() -> StoreError {
    StoreError::Sealed("a stored training is malformed")
}

/// Takes the right to ask for a tenant's trainings, to the end of the transaction.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    feed::next_seq(transaction, tenant, TURNS).await.map(drop)
}

/// How many wait or go on.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, StoreError> {
    Ok(of(tenant).count(connection).await?)
}

/// The numbers of all their operations.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<i64>, StoreError> {
    let rows = of(tenant).order_by_asc(entity::Column::OperationId).all(connection).await?;
    Ok(rows.into_iter().map(|row| row.operation_id).collect())
}

/// The number of the oldest one's operation, and what it is to foretell.
pub async fn oldest(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
) -> Result<Option<(i64, ChurnModel)>, StoreError> {
    let row = of(tenant).order_by_asc(entity::Column::OperationId).one(connection).await?;
    let asked = |row: entity::Model| {
        let asked = ChurnModel::decode(row.asked.as_slice());
        Ok((row.operation_id, asked.map_err(|_| malformed())?))
    };
    row.map(asked).transpose()
}

/// Writes down what an operation is to foretell.
pub async fn insert(
    transaction: &Transaction,
    tenant: TenantId,
    operation: i64,
    asked: &ChurnModel,
) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        operation_id: Set(operation),
        asked: Set(asked.encode_to_vec()),
    };
    entity::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Forgets what an operation was asked for.
pub async fn delete(transaction: &Transaction, tenant: TenantId, operation: i64) -> Result<(), StoreError> {
    entity::Entity::delete_by_id((tenant.0, operation)).exec(transaction).await?;
    Ok(())
}

fn of(tenant: TenantId) -> sea_orm::Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0))
}
