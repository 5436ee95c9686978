//! Offers as they are defined, and how often each was granted.

use crate::offers::OFFERS;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Offer, OfferState};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use std::collections::BTreeSet;

/// The feed whose positions number the changes of a tenant's offers and loyalty tiers. It holds nothing: its head is what two that change them wait for.
const REVISIONS: &str = "offers";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "offer")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub offer_id: String,
        pub number: i64,
        pub state: i32,
        pub granted: i64,
        pub body: Vec<u8>,
        pub created_at: i64,
        pub updated_at: i64,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// By which its grants name it.
    pub number: i64,
    /// What it is, and where it stands.
    pub offer: Offer,
    /// How often it was granted, to whomever.
    pub granted: i64,
    /// Which change of the tenant's offers changed it last.
    pub revision: i64,
}

impl Stored {
    /// A new one, which can be granted.
    pub fn active(id: &str, number: i64, content: Offer, now: Instant) -> Self {
        let now = Some(convert::timestamp(now));
        let offer = Offer {
            name: format!("{OFFERS}{id}"),
            state: OfferState::Active.into(),
            create_time: now,
            update_time: now,
            ..content_of(content)
        };
        Self { number, offer, granted: 0, revision: number }
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The offer as callers see it.
    pub fn message(&self) -> Offer {
        Offer { etag: self.etag(), ..self.offer.clone() }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.offer.name.trim_start_matches(OFFERS)
    }
}

/// An offer without what only the service says of it.
fn content_of(offer: Offer) -> Offer {
    Offer { name: String::new(), state: 0, create_time: None, update_time: None, etag: String::new(), ..offer }
}

/// Takes the right to change a tenant's offers and loyalty tiers, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// An offer.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId, id: &str) -> Result<Option<Stored>, StoreError> {
    let row = entity::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?;
    row.as_ref().map(from_row).transpose()
}

/// Those of some ids that are there, by id. `hold`: they are granted by nobody else until the transaction ends.
pub async fn some(
    transaction: &Transaction,
    tenant: TenantId,
    ids: &BTreeSet<String>,
    hold: bool,
) -> Result<Vec<Stored>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = of(tenant).filter(entity::Column::OfferId.is_in(ids.iter().map(String::as_str)));
    let select = if hold { select.lock_exclusive() } else { select };
    select.all(transaction).await?.iter().map(from_row).collect()
}

/// Up to `limit` offers behind an id, by id.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    behind: &str,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = of(tenant).filter(entity::Column::OfferId.gt(behind)).limit(limit).all(connection).await?;
    rows.iter().map(from_row).collect()
}

/// How many there are.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, StoreError> {
    Ok(of(tenant).count(connection).await?)
}

/// Writes an offer, in the place of what is there under its id. How often it was granted stays as it is.
pub async fn write(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    let micros = |time| convert::sent_instant(time).map(Instant::micros).unwrap_or_default();
    let offer = &stored.offer;
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        offer_id: Set(stored.id().to_owned()),
        number: Set(stored.number),
        state: Set(offer.state),
        granted: Set(stored.granted),
        body: Set(content_of(offer.clone()).encode_to_vec()),
        created_at: Set(micros(offer.create_time.as_ref())),
        updated_at: Set(micros(offer.update_time.as_ref())),
        revision: Set(stored.revision),
    };
    let replaced = [entity::Column::State, entity::Column::Body, entity::Column::UpdatedAt, entity::Column::Revision];
    let key = [entity::Column::TenantId, entity::Column::OfferId];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Counts grants of an offer that is held.
pub async fn count_granted(
    transaction: &Transaction,
    tenant: TenantId,
    number: i64,
    grants: i64,
) -> Result<(), StoreError> {
    entity::Entity::update_many()
        .col_expr(entity::Column::Granted, Expr::col(entity::Column::Granted).add(grants))
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.eq(number))
        .exec(transaction)
        .await?;
    Ok(())
}

fn of(tenant: TenantId) -> Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0)).order_by_asc(entity::Column::OfferId)
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let content = Offer::decode(row.body.as_slice()).map_err(|_| StoreError::Sealed("a stored offer is malformed"))?;
    let time = |micros| Some(convert::timestamp(Instant::from_micros(micros)));
    Ok(Stored {
        number: row.number,
        offer: Offer {
            name: format!("{OFFERS}{}", row.offer_id),
            state: row.state,
            create_time: time(row.created_at),
            update_time: time(row.updated_at),
            ..content
        },
        granted: row.granted,
        revision: row.revision,
    })
}
