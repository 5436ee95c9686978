//! Warnings as they are listed and watched.

use super::warnings::entity::{Column, Entity};
use super::warnings::{Stored, WARNINGS, from_row};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_store::history::Position;
use quintile_store::{StoreError, feed};
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::cmp::Reverse;

/// Which warnings are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of one customer. `None`: everybody's.
    pub customer: Option<CustomerId>,
    /// Of these states.
    pub states: Vec<i32>,
    /// Whether all of these go on, or none does. `None`: some do.
    pub goes_on: Option<bool>,
    /// Of these kinds. Empty: all.
    pub kinds: Vec<i32>,
    /// At least so severe.
    pub min_severity: i32,
    /// Of this assignee. Empty: all.
    pub assignee: String,
    /// The most valuable first; otherwise the last raised.
    pub by_value: bool,
}

impl Wanted {
    /// What they are ordered by before where they were raised.
    const fn order(&self) -> Column {
        if self.by_value { Column::ValueAtStake } else { Column::RaisedAt }
    }

    /// The condition, of warnings that go on or of those that do not.
    fn condition(&self, tenant: TenantId, goes_on: Option<bool>) -> Condition {
        let among = |column: Column, numbers: &[i32]| (!numbers.is_empty()).then(|| column.is_in(numbers.to_vec()));
        let assignee = (!self.assignee.is_empty()).then(|| {
            // As the index says it, which is of those alone that are somebody's.
            Column::Assignee.eq(self.assignee.as_str()).and(Expr::cust("assignee <> ''"))
        });
        Condition::all()
            .add(Column::TenantId.eq(tenant.0))
            .add_option(goes_on.map(|goes_on| Column::GoesOn.eq(i32::from(goes_on))))
            .add_option(self.customer.map(|customer| Column::CustomerId.eq(customer.as_i64())))
            .add_option(among(Column::State, &self.states))
            .add_option(among(Column::Kind, &self.kinds))
            .add_option((self.min_severity > 0).then(|| Column::Severity.gte(self.min_severity)))
            .add_option(assignee)
    }
}

/// Where a page of a list ends: what it is ordered by, and where the warning was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageEnd {
    /// The instant in microseconds, or the value in minor units.
    pub by: i64,
    /// Where it was raised.
    pub raised: Position,
}

impl PageEnd {
    /// Before everything.
    pub const NONE: Self = Self { by: i64::MAX, raised: Position::END };

    /// As the bytes of a page token.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.by.to_be_bytes().to_vec(), self.raised.to_bytes()].concat()
    }

    /// Of such bytes. `None`: they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (by, raised) = bytes.split_at_checked(8)?;
        Some(Self { by: by.try_into().ok().map(i64::from_be_bytes)?, raised: Position::from_bytes(raised)? })
    }
}

/// Up to `limit` warnings behind the end of a page, each with its end.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    wanted: &Wanted,
    end: PageEnd,
    limit: u64,
) -> Result<Vec<(PageEnd, Stored)>, StoreError> {
    let walks: &[Option<bool>] = match wanted.goes_on {
        // By the key: a customer has few.
        _ if wanted.customer.is_some() => &[None],
        Some(true) => &[Some(true)],
        Some(false) => &[Some(false)],
        // An index is of one or the other.
        None => &[Some(true), Some(false)],
    };
    let order = wanted.order();
    let key = [order, Column::Seq, Column::Place].map(ColumnTrait::into_expr);
    let values = [end.by, end.raised.seq, end.raised.place].map(Expr::value);
    let mut found = Vec::new();
    for goes_on in walks {
        let rows = Entity::find()
            .filter(wanted.condition(tenant, *goes_on))
            .filter(Expr::tuple(key.clone()).lt(Expr::tuple(values.clone())))
            .order_by_desc(order)
            .order_by_desc(Column::Seq)
            .order_by_desc(Column::Place)
            .limit(limit)
            .all(connection)
            .await?;
        for row in rows {
            let by = if wanted.by_value { row.value_at_stake } else { row.raised_at };
            let end = PageEnd { by, raised: Position { seq: row.seq, place: row.place } };
            found.push((end, from_row(&row)?));
        }
    }
    found.sort_by_key(|(end, _)| Reverse(*end));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// Where a watcher has read to: a number of the feed, and the warning that was read last of those that changed under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadTo {
    /// The number.
    pub changed: i64,
    /// Where that warning was raised.
    pub raised: Position,
}

impl ReadTo {
    /// Behind everything that has changed.
    pub async fn now(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Self, StoreError> {
        Ok(Self { changed: feed::head(connection, tenant, WARNINGS).await?, raised: Position::END })
    }

    /// As the bytes of a cursor.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.changed.to_be_bytes().to_vec(), self.raised.to_bytes()].concat()
    }

    /// Of such bytes. `None`: they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (changed, raised) = bytes.split_at_checked(8)?;
        Some(Self { changed: changed.try_into().ok().map(i64::from_be_bytes)?, raised: Position::from_bytes(raised)? })
    }
}

/// Up to `limit` warnings that changed behind `read_to`, and where they end. `None`: there is nothing.
pub async fn changed(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    read_to: ReadTo,
    limit: u64,
) -> Result<(Vec<Stored>, Option<ReadTo>), StoreError> {
    // Whatever is committed under a number that the head has passed is there to be read.
    let head = feed::head(connection, tenant, WARNINGS).await?;
    let ReadTo { changed, raised } = read_to;
    let raised_later = Column::Seq.gt(raised.seq).or(Column::Seq.eq(raised.seq).and(Column::Place.gt(raised.place)));
    let rows = Entity::find()
        .filter(Column::TenantId.eq(tenant.0))
        .filter(Column::ChangedSeq.between(changed, head))
        .filter(Column::ChangedSeq.gt(changed).or(raised_later))
        .order_by_asc(Column::ChangedSeq)
        .order_by_asc(Column::Seq)
        .order_by_asc(Column::Place)
        .limit(limit)
        .all(connection)
        .await?;
    let last =
        rows.last().map(|row| ReadTo { changed: row.changed_seq, raised: Position { seq: row.seq, place: row.place } });
    Ok((rows.iter().map(from_row).collect::<Result<_, _>>()?, last))
}
