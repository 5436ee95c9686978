//! Exchange rates into the base currency, and which facts they are for.

use super::entities::{exchange_rate, foreign_fact};
use super::facts::KEYS_PER_QUERY;
use crate::intake::{Amount, Event, RateRow};
use quintile_domain::ids::TenantId;
use quintile_domain::money::{Currency, ExchangeRate};
use quintile_domain::time::TimeZone;
use quintile_proto::ingestion;
use quintile_rpc::convert;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use roaring::RoaringBitmap;
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement};
use std::collections::{BTreeMap, HashMap};

const RATES: Target = Target {
    table: "exchange_rate",
    columns: &["tenant_id", "currency", "day", "rate_nanos"],
    key: &["tenant_id", "currency", "day"],
    on_conflict: OnConflict::Replace(&["rate_nanos"]),
};

const FOREIGN: Target = Target {
    table: "foreign_fact",
    columns: &["tenant_id", "currency", "occurred_at", "subject_id", "kind", "source", "event_id"],
    key: &["tenant_id", "currency", "occurred_at", "subject_id", "kind", "source", "event_id"],
    on_conflict: OnConflict::Keep,
};

/// What a fact in another currency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignKind {
    /// An order.
    Order = 1,
    /// A refund.
    Refund = 2,
}

/// A fact in another currency, as it is found when a rate comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignFact {
    /// The number of the currency.
    pub currency: i32,
    /// When it was.
    pub at: i64,
    /// Whose it is.
    pub subject_id: i64,
    /// What it is.
    pub kind: ForeignKind,
    /// Source and event id.
    pub id: (String, String),
}

impl ForeignFact {
    /// The entry of a fact. `None`: it is in the base currency.
    pub fn of(kind: ForeignKind, subject_id: i64, event: &Event, amount: &Amount) -> Option<Self> {
        let currency = amount.foreign?.number();
        let id = (event.customer.source.clone(), event.event_id.clone());
        Some(Self { currency, at: event.at.micros(), subject_id, kind, id })
    }
}

/// Rates by the number of the currency and the local day.
#[derive(Clone, Debug, Default)]
pub struct Rates(HashMap<(i32, i32), ExchangeRate>);

impl Rates {
    /// An amount of a currency in the base currency, by the rate of a day. `None`: there is no rate yet.
    pub fn base(&self, minor: i64, currency: i32, day: i32, base: Currency) -> Option<i64> {
        if currency == 0 {
            return Some(minor);
        }
        let rate = self.0.get(&(currency, day))?;
        Some(rate.convert(minor, Currency::from_number(currency).ok()?, base))
    }
}

/// The currency with a number, where 0 is the base currency.
pub fn currency(number: i32, base: Currency) -> Currency {
    Currency::from_number(number).unwrap_or(base)
}

/// The rates of these currencies and days that are there.
pub async fn load(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    wanted: &[(i32, i32)],
) -> Result<Rates, StoreError> {
    let mut days: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (currency, day) in wanted {
        days.entry(*currency).or_default().push(*day);
    }
    let mut rates = Rates::default();
    for (currency, days) in days {
        for chunk in days.chunks(KEYS_PER_QUERY) {
            let rows = exchange_rate::Entity::find()
                .filter(exchange_rate::Column::TenantId.eq(tenant.0))
                .filter(exchange_rate::Column::Currency.eq(currency))
                .filter(exchange_rate::Column::Day.is_in(chunk.iter().copied()))
                .all(connection)
                .await?;
            for row in rows {
                let rate = ExchangeRate::from_nanos(row.rate_nanos).ok_or(StoreError::Sealed("exchange rate"))?;
                rates.0.insert((row.currency, row.day), rate);
            }
        }
    }
    Ok(rates)
}

/// Writes rates; the last of a currency and day holds. Returns those that are new or different now.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    rows: &[RateRow],
) -> Result<Vec<(i32, i32)>, StoreError> {
    let last: BTreeMap<(i32, i32), ExchangeRate> =
        rows.iter().map(|row| ((row.currency.number(), row.day), row.rate)).collect();
    let wanted: Vec<_> = last.keys().copied().collect();
    let there = load(transaction, tenant, &wanted).await?;
    let changed: Vec<_> = last.into_iter().filter(|(key, rate)| there.0.get(key) != Some(rate)).collect();
    let columns = vec![
        Column::Int(vec![tenant.0; changed.len()]),
        Column::Int(changed.iter().map(|((currency, _), _)| *currency).collect()),
        Column::Int(changed.iter().map(|((_, day), _)| *day).collect()),
        Column::BigInt(changed.iter().map(|(_, rate)| rate.nanos()).collect()),
    ];
    RATES.write(transaction, columns).await?;
    Ok(changed.into_iter().map(|(key, _)| key).collect())
}

/// Notes facts in other currencies.
pub async fn note(transaction: &Transaction, tenant: TenantId, mut facts: Vec<ForeignFact>) -> Result<(), StoreError> {
    facts.sort_unstable();
    let columns = vec![
        Column::Int(vec![tenant.0; facts.len()]),
        Column::Int(facts.iter().map(|fact| fact.currency).collect()),
        Column::BigInt(facts.iter().map(|fact| fact.at).collect()),
        Column::BigInt(facts.iter().map(|fact| fact.subject_id).collect()),
        Column::Int(facts.iter().map(|fact| fact.kind as i32).collect()),
        Column::Text(facts.iter().map(|fact| fact.id.0.clone()).collect()),
        Column::Text(facts.iter().map(|fact| fact.id.1.clone()).collect()),
    ];
    FOREIGN.write(transaction, columns).await?;
    Ok(())
}

/// Takes notes of facts in other currencies back, which are dropped.
pub async fn forget(transaction: &Transaction, tenant: TenantId, facts: &[ForeignFact]) -> Result<(), StoreError> {
    for fact in facts {
        let (source, event_id) = fact.id.clone();
        let key = (tenant.0, fact.currency, fact.at, fact.subject_id, fact.kind as i32, source, event_id);
        foreign_fact::Entity::delete_by_id(key).exec(transaction).await?;
    }
    Ok(())
}

/// The customers with facts that a rate of this currency and day converts.
pub async fn customers_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    (currency, day): (i32, i32),
    zone: &TimeZone,
) -> Result<RoaringBitmap, StoreError> {
    let (from, to) = (zone.start_of_day(day), zone.start_of_day(day + 1));
    let statement = Statement::from_sql_and_values(
        connection.get_database_backend(),
        "SELECT DISTINCT subject.customer_id FROM foreign_fact JOIN subject ON subject.tenant_id = foreign_fact.tenant_id \
         AND subject.subject_id = foreign_fact.subject_id WHERE foreign_fact.tenant_id = $1 AND foreign_fact.currency = $2 \
         AND foreign_fact.occurred_at >= $3 AND foreign_fact.occurred_at < $4",
        [tenant.0.into(), currency.into(), from.micros().into(), to.micros().into()],
    );
    let mut customers = RoaringBitmap::new();
    for row in connection.query_all_raw(statement).await? {
        let customer: i64 = row.try_get("", "customer_id")?;
        customers.insert(u32::try_from(customer).map_err(|_| StoreError::Sealed("customer id"))?);
    }
    Ok(customers)
}

/// Up to `limit` rates behind a currency and day, by currency and day.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    (currency, day): (i32, i32),
    limit: u64,
) -> Result<Vec<exchange_rate::Model>, StoreError> {
    let later =
        Condition::all().add(exchange_rate::Column::Currency.eq(currency)).add(exchange_rate::Column::Day.gt(day));
    let rows = exchange_rate::Entity::find()
        .filter(exchange_rate::Column::TenantId.eq(tenant.0))
        .filter(Condition::any().add(exchange_rate::Column::Currency.gt(currency)).add(later))
        .order_by_asc(exchange_rate::Column::Currency)
        .order_by_asc(exchange_rate::Column::Day)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows)
}

/// The message of a rate, as it came in.
pub fn message(row: &exchange_rate::Model, base: Currency) -> ingestion::ExchangeRate {
    ingestion::ExchangeRate {
        currency_code: currency(row.currency, base).code().to_owned(),
        date: Some(convert::date(row.day)),
        rate: ExchangeRate::from_nanos(row.rate_nanos).map(|rate| rate.to_string()).unwrap_or_default(),
    }
}
