//! Histories of customers: tables of what has changed of each, that a service appends to with its commits and forgets with an erasure. A row stands at a
//! [`Position`]; everything else of it is the service's own.
//!
//! To keep another history: a table with these four columns as its key, an entity of it, and [`History`] for that.

use crate::numbers::Numbers;
use crate::{Result, Transaction};
use quintile_domain::ids::{CustomerId, TenantId};
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

/// Where a change stands: a commit, and a place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The commit.
    pub seq: i64,
    /// The change's place in it.
    pub place: i64,
}

impl Position {
    /// Behind everything.
    pub const END: Self = Self { seq: i64::MAX, place: i64::MAX };

    /// The position as the bytes of a cursor or page token.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.seq.to_be_bytes(), self.place.to_be_bytes()].concat()
    }

    /// The position of a cursor or page token. `None`: it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seq, place) = bytes.split_at_checked(8)?;
        let number = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).ok();
        Some(Self { seq: number(seq)?, place: number(place)? })
    }
}

/// The columns that say whose a row is and where it stands: together its key.
pub trait History: EntityTrait {
    /// The tenant's number.
    const TENANT: Self::Column;
    /// The customer's number.
    const CUSTOMER: Self::Column;
    /// The commit.
    const SEQ: Self::Column;
    /// The place in it.
    const PLACE: Self::Column;
}

/// Forgets everything of customers, as part of a transaction.
pub async fn forget<H: History>(transaction: &Transaction, tenant: TenantId, customers: &[i64]) -> Result<()> {
    for numbers in Numbers::queries(customers) {
        H::delete_many().filter(H::TENANT.eq(tenant.0)).filter(numbers.contain(H::CUSTOMER)).exec(transaction).await?;
    }
    Ok(())
}

/// How many changes of a customer are kept.
pub async fn count<H: History>(connection: &impl ConnectionTrait, tenant: TenantId, customer: CustomerId) -> Result<i64>
where
    H::Model: Sync,
{
    let of_customer = H::find().filter(H::TENANT.eq(tenant.0)).filter(H::CUSTOMER.eq(customer.as_i64()));
    Ok(of_customer.count(connection).await?.cast_signed())
}

/// Up to `limit` changes of a customer before a position, the newest first.
pub async fn before<H: History>(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    position: Position,
    limit: u64,
) -> Result<Vec<H::Model>> {
    let earlier = Condition::any()
        .add(H::SEQ.lt(position.seq))
        .add(Condition::all().add(H::SEQ.eq(position.seq)).add(H::PLACE.lt(position.place)));
    let rows = H::find()
        .filter(H::TENANT.eq(tenant.0))
        .filter(H::CUSTOMER.eq(customer.as_i64()))
        .filter(earlier)
        .order_by_desc(H::SEQ)
        .order_by_desc(H::PLACE)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows)
}
