//! The fields of a tenant's own that have become known, in the order in which they did.

use crate::own_fields::{OwnField, Source};
use quintile_domain::ids::TenantId;
use quintile_domain::masking::Sensitivity;
use quintile_expr::Type;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "own_field")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub source: String,
        pub field_id: i32,
        pub kind: i32,
        pub sensitivity: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The types, as numbers from 1.
const TYPES: [Type; 6] = [Type::Int, Type::Text, Type::Bool, Type::Instant, Type::Money, Type::Decimal];

/// All fields of a tenant, in their order.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<OwnField>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .order_by_asc(entity::Column::FieldId)
        .all(connection)
        .await?;
    let malformed = || StoreError::Sealed("own field");
    let field = |row: entity::Model| {
        let ty = usize::try_from(row.kind - 1).ok().and_then(|index| TYPES.get(index)).copied();
        Ok(OwnField {
            source: Source::from_text(&row.source).ok_or_else(malformed)?,
            ty: ty.ok_or_else(malformed)?,
            sensitivity: Sensitivity::of_number(row.sensitivity).ok_or_else(malformed)?,
        })
    };
    rows.into_iter().map(field).collect()
}

/// Writes fields down that have become known, or that have turned out to be of another class, as part of a transaction.
pub async fn write(transaction: &Transaction, tenant: TenantId, fields: &[OwnField]) -> Result<(), StoreError> {
    if fields.is_empty() {
        return Ok(());
    }
    let last = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .order_by_desc(entity::Column::FieldId)
        .one(transaction)
        .await?;
    let next = last.map_or(0, |last| last.field_id + 1);
    for (field, place) in fields.iter().zip(next..) {
        let kind = TYPES.iter().position(|ty| *ty == field.ty).and_then(|index| i32::try_from(index).ok());
        let row = entity::ActiveModel {
            tenant_id: Set(tenant.0),
            source: Set(field.source.to_text()),
            field_id: Set(place),
            kind: Set(kind.unwrap_or(0) + 1),
            sensitivity: Set(field.sensitivity as i32),
        };
        let replace = OnConflict::columns([entity::Column::TenantId, entity::Column::Source])
            .update_column(entity::Column::Sensitivity)
            .to_owned();
        entity::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    }
    Ok(())
}
