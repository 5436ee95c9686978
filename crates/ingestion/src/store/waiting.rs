//! Facts that wait: for an exchange rate, or for their purchase.

use super::entities::{exchange_rate, foreign_fact, refund_fact, subject};
use super::facts::{KEYS_PER_QUERY, Key};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::FactKind;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};
use std::collections::{HashMap, HashSet};

/// Facts in other currencies that are looked at at once.
const ROWS_AT_ONCE: u64 = 1_000;
/// Times that a page looks at most.
const STEPS: usize = 20;
/// Days whose rates are asked for at once, where many have one.
const DAYS_AT_ONCE: u64 = 4_000;

/// A fact in another currency without a rate, and its place among them: by currency, instant and key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unrated {
    /// The number of the currency.
    pub currency: i32,
    /// When it was, in microseconds.
    pub at: i64,
    /// The number of its kind, as in [`FactKind`].
    kind: i32,
    /// Subject, source and event id.
    pub key: Key,
}

impl Unrated {
    /// Before all of them.
    pub fn first() -> Self {
        Self { currency: 0, at: 0, kind: 0, key: Key::default() }
    }

    /// Its kind.
    pub fn kind(&self) -> FactKind {
        FactKind::try_from(self.kind).unwrap_or_default()
    }
}

/// Up to `limit` facts behind a place for which there is no exchange rate, and the place to go on behind, if there may be more.
pub async fn without_rate(
    connection: &impl ConnectionTrait,
    tenant: &Tenant,
    mut behind: Unrated,
    limit: u64,
) -> Result<(Vec<Unrated>, Option<Unrated>), StoreError> {
    let mut found = Vec::new();
    for _ in 0..STEPS {
        let rows = foreign_behind(connection, tenant.id, &behind).await?;
        let Some(first) = rows.first() else { return Ok((found, None)) };
        let day = |row: &Unrated| tenant.zone.local_day(Instant::from_micros(row.at));
        let rated = rated_days(connection, tenant.id, first.currency, day(first)).await?;
        if rated.contains(&day(first)) {
            // Over all days in a row that have their rate.
            let mut next = day(first) + 1;
            while rated.contains(&next) {
                next += 1;
            }
            let before = tenant.zone.start_of_day(next).micros();
            behind = Unrated { currency: first.currency, at: before, ..Unrated::first() };
            continue;
        }
        let (currency, today) = (first.currency, day(first));
        for row in rows.into_iter().take_while(|row| row.currency == currency && day(row) == today) {
            behind = row.clone();
            found.push(row);
            if found.len() as u64 == limit {
                return Ok((found, Some(behind)));
            }
        }
    }
    Ok((found, Some(behind)))
}

async fn foreign_behind(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    behind: &Unrated,
) -> Result<Vec<Unrated>, StoreError> {
    use foreign_fact::Column::{Currency, EventId, Kind, OccurredAt, Source, SubjectId};
    let columns = [Currency, OccurredAt, SubjectId, Kind, Source, EventId];
    let (subject, source, event) = behind.key.clone();
    let place: [Value; 6] =
        [behind.currency.into(), behind.at.into(), subject.into(), behind.kind.into(), source.into(), event.into()];
    let later = Expr::tuple(columns.map(Expr::col)).gt(Expr::tuple(place.map(Expr::val)));
    let mut query = foreign_fact::Entity::find().filter(foreign_fact::Column::TenantId.eq(tenant.0)).filter(later);
    for column in columns {
        query = query.order_by_asc(column);
    }
    let rows = query.limit(ROWS_AT_ONCE).all(connection).await?;
    let unrated = |row: foreign_fact::Model| Unrated {
        currency: row.currency,
        at: row.occurred_at,
        kind: row.kind,
        key: (row.subject_id, row.source, row.event_id),
    };
    Ok(rows.into_iter().map(unrated).collect())
}

/// The days from one on that a currency has a rate of, some thousands at most.
async fn rated_days(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    currency: i32,
    from: i32,
) -> Result<HashSet<i32>, StoreError> {
    let days: Vec<i32> = exchange_rate::Entity::find()
        .select_only()
        .column(exchange_rate::Column::Day)
        .filter(exchange_rate::Column::TenantId.eq(tenant.0))
        .filter(exchange_rate::Column::Currency.eq(currency))
        .filter(exchange_rate::Column::Day.gte(from))
        .order_by_asc(exchange_rate::Column::Day)
        .limit(DAYS_AT_ONCE)
        .into_tuple()
        .all(connection)
        .await?;
    Ok(days.into_iter().collect())
}

/// Up to `limit` subjects from a number on that have refunds, by number.
pub async fn with_refunds(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    from: i64,
    limit: u64,
) -> Result<Vec<i64>, StoreError> {
    Ok(refund_fact::Entity::find()
        .select_only()
        .column(refund_fact::Column::SubjectId)
        .distinct()
        .filter(refund_fact::Column::TenantId.eq(tenant.0))
        .filter(refund_fact::Column::SubjectId.gte(from))
        .order_by_asc(refund_fact::Column::SubjectId)
        .limit(limit)
        .into_tuple()
        .all(connection)
        .await?)
}

/// The customers that subjects belong to.
pub async fn owners(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subjects: &[i64],
) -> Result<HashMap<i64, CustomerId>, StoreError> {
    let mut owners = HashMap::with_capacity(subjects.len());
    for chunk in subjects.chunks(KEYS_PER_QUERY) {
        let rows = subject::Entity::find()
            .filter(subject::Column::TenantId.eq(tenant.0))
            .filter(subject::Column::SubjectId.is_in(chunk.iter().copied()))
            .all(connection)
            .await?;
        for row in rows {
            let customer = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
            owners.insert(row.subject_id, customer);
        }
    }
    Ok(owners)
}
