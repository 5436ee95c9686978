//! Loyalty tiers, and how customers came into them.

use crate::offers::tiers::{LOYALTY_TIERS, Standing};
use prost::Message;
use quintile_chain::feed::{self, Removed};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{CustomerTier, LoyaltyTier, TierChange};
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict as BulkConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    Select,
};
use std::cmp::Reverse;

/// Changes that are kept of a customer.
pub const KEPT: usize = 100;

mod tier {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "loyalty_tier")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub tier_id: String,
        pub number: i64,
        pub body: Vec<u8>,
        pub created_at: i64,
        pub updated_at: i64,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod change {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tier_change")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub tier: i64,
        pub body: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl History for change::Entity {
    const TENANT: change::Column = change::Column::TenantId;
    const CUSTOMER: change::Column = change::Column::CustomerId;
    const SEQ: change::Column = change::Column::Seq;
    const PLACE: change::Column = change::Column::Place;
}

const CHANGES: Target = Target {
    table: "tier_change",
    columns: &["tenant_id", "customer_id", "seq", "place", "tier", "body"],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: BulkConflict::Never,
};

/// A tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// By which customers are in it: never another's, also where the id is given again.
    pub number: i64,
    /// What it is.
    pub tier: LoyaltyTier,
    /// Which change of the tenant's offers and tiers changed it last.
    pub revision: i64,
}

impl Stored {
    /// A new one.
    pub fn new(id: &str, number: i64, content: LoyaltyTier, now: Instant) -> Self {
        let now = Some(convert::timestamp(now));
        let tier = LoyaltyTier {
            name: format!("{LOYALTY_TIERS}{id}"),
            create_time: now,
            update_time: now,
            ..content_of(content)
        };
        Self { number, tier, revision: number }
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The tier as callers see it.
    pub fn message(&self) -> LoyaltyTier {
        LoyaltyTier { etag: self.etag(), ..self.tier.clone() }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.tier.name.trim_start_matches(LOYALTY_TIERS)
    }
}

/// A tier without what only the service says of it.
fn content_of(tier: LoyaltyTier) -> LoyaltyTier {
    LoyaltyTier { name: String::new(), create_time: None, update_time: None, etag: String::new(), ..tier }
}

/// All tiers of a tenant, by rank.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Stored>, StoreError> {
    let rows = tiers(tenant).all(connection).await?;
    let mut tiers = rows.iter().map(from_row).collect::<Result<Vec<Stored>, _>>()?;
    tiers.sort_by_key(|stored| stored.tier.rank);
    Ok(tiers)
}

/// A tier.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId, id: &str) -> Result<Option<Stored>, StoreError> {
    let row = tier::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?;
    row.as_ref().map(from_row).transpose()
}

/// Writes a tier, in the place of what is there under its id.
pub async fn write(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    let micros = |time| convert::sent_instant(time).map(Instant::micros).unwrap_or_default();
    let row = tier::ActiveModel {
        tenant_id: Set(tenant.0),
        tier_id: Set(stored.id().to_owned()),
        number: Set(stored.number),
        body: Set(content_of(stored.tier.clone()).encode_to_vec()),
        created_at: Set(micros(stored.tier.create_time.as_ref())),
        updated_at: Set(micros(stored.tier.update_time.as_ref())),
        revision: Set(stored.revision),
    };
    let replaced = [tier::Column::Body, tier::Column::UpdatedAt, tier::Column::Revision];
    let key = [tier::Column::TenantId, tier::Column::TierId];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    tier::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Deletes a tier.
pub async fn delete(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    tier::Entity::delete_by_id((tenant.0, stored.id().to_owned())).exec(transaction).await?;
    Ok(())
}

fn tiers(tenant: TenantId) -> Select<tier::Entity> {
    tier::Entity::find().filter(tier::Column::TenantId.eq(tenant.0)).order_by_asc(tier::Column::TierId)
}

fn from_row(row: &tier::Model) -> Result<Stored, StoreError> {
    let content = LoyaltyTier::decode(row.body.as_slice());
    let content = content.map_err(|_| StoreError::Sealed("a stored loyalty tier is malformed"))?;
    let time = |micros| Some(convert::timestamp(Instant::from_micros(micros)));
    Ok(Stored {
        number: row.number,
        tier: LoyaltyTier {
            name: format!("{LOYALTY_TIERS}{}", row.tier_id),
            create_time: time(row.created_at),
            update_time: time(row.updated_at),
            ..content
        },
        revision: row.revision,
    })
}

/// That a customer came into a tier or out of one, and where that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The customer.
    pub customer: CustomerId,
    /// Where it stands.
    pub made: Position,
    /// The number of the tier. 0: none.
    pub tier: i64,
    /// What else there is to know, aside from the name.
    pub change: TierChange,
}

impl Change {
    /// The change with its name.
    pub fn named(self) -> TierChange {
        let Position { seq, place } = self.made;
        TierChange { name: self.customer.part_name(&format!("tierChanges/{seq}-{place}")), ..self.change }
    }

    /// Where the customer stands behind it, among these tiers. `None`: in none, or in one that is no more.
    pub fn standing<'a>(&self, tiers: impl IntoIterator<Item = &'a Stored>) -> Option<Standing> {
        let tier = tiers.into_iter().find(|stored| stored.number == self.tier)?;
        Some(Standing {
            tier: self.tier,
            rank: tier.tier.rank,
            since: convert::sent_instant(self.change.since_time.as_ref()).unwrap_or_default(),
            until: convert::sent_instant(self.change.until_time.as_ref()),
        })
    }
}

/// The tier that a customer is in at an instant, by its last change and among these tiers.
pub fn tier_of(customer: CustomerId, last: Option<&Change>, tiers: &[Stored], at: Instant) -> CustomerTier {
    let name = customer.part_name("loyaltyTier");
    let holds = |last: &&Change| last.standing(tiers).is_some_and(|standing| standing.holds(at));
    let Some(last) = last.filter(holds) else { return CustomerTier { name, ..CustomerTier::default() } };
    let TierChange { tier, since_time, until_time, playbook, run, set_by, .. } = last.change.clone();
    CustomerTier { name, tier, since_time, until_time, playbook, run, set_by }
}

/// The last change of each of these customers.
pub async fn last_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[i64],
) -> Result<Vec<Change>, StoreError> {
    let mut read = Vec::new();
    for numbers in Numbers::queries(customers) {
        let of_customers = || changes(tenant).filter(numbers.contain(change::Column::CustomerId));
        let latest = of_customers()
            .select_only()
            .column(change::Column::CustomerId)
            .expr(change::Column::Seq.max())
            .group_by(change::Column::CustomerId);
        let key = [change::Column::CustomerId, change::Column::Seq].map(ColumnTrait::into_expr);
        let rows = of_customers().filter(Expr::tuple(key).in_subquery(latest.into_query())).all(connection).await?;
        for row in &rows {
            read.push(from_change(row)?);
        }
    }
    // There may be several of one commit.
    read.sort_by_key(|change| (change.customer, Reverse(change.made)));
    read.dedup_by_key(|change| change.customer);
    Ok(read)
}

/// Up to `limit` changes of a customer before a position, the last first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    before: Position,
    limit: u64,
) -> Result<Vec<Change>, StoreError> {
    let rows = history::before::<change::Entity>(connection, tenant, customer, before, limit).await?;
    rows.iter().map(from_change).collect()
}

/// Writes changes that are new, sorted by customer and position.
pub async fn append(transaction: &Transaction, tenant: TenantId, changes: &[Change]) -> Result<(), StoreError> {
    let all = || changes.iter();
    let columns = vec![
        Column::Int(vec![tenant.0; changes.len()]),
        Column::BigInt(all().map(|change| change.customer.as_i64()).collect()),
        Column::BigInt(all().map(|change| change.made.seq).collect()),
        Column::BigInt(all().map(|change| change.made.place).collect()),
        Column::BigInt(all().map(|change| change.tier).collect()),
        Column::Bytes(all().map(|change| change.change.encode_to_vec()).collect()),
    ];
    CHANGES.write(transaction, columns).await?;
    Ok(())
}

/// Forgets the changes of these customers behind the last ones, of which so many are kept.
pub async fn forget_old(transaction: &Transaction, tenant: TenantId, customers: &[i64]) -> Result<(), StoreError> {
    for numbers in Numbers::queries(customers) {
        let many = changes(tenant)
            .select_only()
            .column(change::Column::CustomerId)
            .filter(numbers.contain(change::Column::CustomerId))
            .group_by(change::Column::CustomerId)
            .having(change::Column::Seq.count().gt(KEPT as i64));
        for customer in many.into_tuple::<i64>().all(transaction).await? {
            let last = changes(tenant)
                .filter(change::Column::CustomerId.eq(customer))
                .order_by_desc(change::Column::Seq)
                .order_by_desc(change::Column::Place)
                .offset(KEPT as u64)
                .limit(1)
                .one(transaction)
                .await?;
            if let Some(last) = last {
                forget_up_to(transaction, tenant, &from_change(&last)?).await?;
            }
        }
    }
    Ok(())
}

/// Forgets the changes of a customer up to one of them.
async fn forget_up_to(transaction: &Transaction, tenant: TenantId, last: &Change) -> Result<(), StoreError> {
    let key = [change::Column::Seq, change::Column::Place].map(ColumnTrait::into_expr);
    change::Entity::delete_many()
        .filter(change::Column::TenantId.eq(tenant.0))
        .filter(change::Column::CustomerId.eq(last.customer.as_i64()))
        .filter(Expr::tuple(key).lte(Expr::tuple([last.made.seq, last.made.place].map(Expr::value))))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Forgets all changes of those who were erased.
pub async fn erase(transaction: &Transaction, tenant: TenantId, removed: &[Removed]) -> Result<(), StoreError> {
    history::forget::<change::Entity>(transaction, tenant, &feed::erased(removed)).await
}

/// How many changes of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<change::Entity>(connection, tenant, customer).await
}

fn changes(tenant: TenantId) -> Select<change::Entity> {
    change::Entity::find().filter(change::Column::TenantId.eq(tenant.0))
}

fn from_change(row: &change::Model) -> Result<Change, StoreError> {
    let malformed = || StoreError::Sealed("a stored change of a loyalty tier is malformed");
    Ok(Change {
        customer: CustomerId::try_from(row.customer_id).map_err(|_| malformed())?,
        made: Position { seq: row.seq, place: row.place },
        tier: row.tier,
        change: TierChange::decode(&*row.body).map_err(|_| malformed())?,
    })
}
