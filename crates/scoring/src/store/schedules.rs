//! When models of a kind are fitted anew, and what came of it.

use quintile_domain::ids::TenantId;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "refit_schedule")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: i32,
        pub every_days: i32,
        pub publish: bool,
        pub attempted_day: Option<i32>,
        pub made: Option<i64>,
        pub problem: String,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// After how many days. 0: never.
    pub every_days: i32,
    /// Whether what was fitted is put in force.
    pub publish: bool,
    /// The last whole day when it was last attempted, in days since 1970-01-01.
    pub attempted_day: Option<i32>,
    /// The number of the model that came of it.
    pub made: Option<i64>,
    /// Why none did, or why it was not put in force.
    pub problem: String,
    /// How often it has changed.
    pub revision: i64,
}

impl Schedule {
    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}

/// The schedule of a kind of models: one that says never, where nobody has said anything.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId, kind: i32) -> Result<Schedule, StoreError> {
    let row = entity::Entity::find_by_id((tenant.0, kind)).one(connection).await?;
    Ok(row.map(from_row).unwrap_or_default())
}

/// Writes a schedule in the place of the one before it, whose revision it has. Returns whether that was still the one.
pub async fn replace(
    transaction: &Transaction,
    tenant: TenantId,
    kind: i32,
    schedule: &Schedule,
) -> Result<bool, StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        kind: Set(kind),
        every_days: Set(schedule.every_days),
        publish: Set(schedule.publish),
        attempted_day: Set(schedule.attempted_day),
        made: Set(schedule.made),
        problem: Set(schedule.problem.clone()),
        revision: Set(schedule.revision + 1),
    };
    if schedule.revision == 0 {
        let key = [entity::Column::TenantId, entity::Column::Kind];
        let first = OnConflict::columns(key).do_nothing().to_owned();
        return Ok(entity::Entity::insert(row).on_conflict(first).exec_without_returning(transaction).await? == 1);
    }
    let replaced = entity::Entity::update_many()
        .set(row)
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Kind.eq(kind))
        .filter(entity::Column::Revision.eq(schedule.revision))
        .exec(transaction)
        .await?;
    Ok(replaced.rows_affected == 1)
}

fn from_row(row: entity::Model) -> Schedule {
    Schedule {
        every_days: row.every_days,
        publish: row.publish,
        attempted_day: row.attempted_day,
        made: row.made,
        problem: row.problem,
        revision: row.revision,
    }
}
