//! Who was sent by whom. A record of a customer names an identity as its referrer, whether or not somebody is known by that yet: so what is kept is
//! the identity's keyed hash, which the table of identities is found by too. Of what its records name, a customer is shown one.

use super::customers::StoredCustomer;
use super::entities::{customer, identity, order_fact, referral, subject};
use super::keys::TenantKeys;
use super::{hashes, identities, openings};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction};
use roaring::RoaringBitmap;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Select, Statement};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

const REFERRALS: Target = Target {
    table: "referral",
    columns: &["tenant_id", "customer_id", "referrer_hmac", "is_shown"],
    key: &["tenant_id", "customer_id", "referrer_hmac"],
    // Those of a customer are taken away before.
    on_conflict: OnConflict::Never,
};

/// The hashes of the identities that records of a customer name as its referrer, and whether it is shown as that one's.
type Named = BTreeMap<Vec<u8>, bool>;

/// Somebody who was sent.
pub struct Sent {
    /// The subject that the referrer is known by.
    pub referrer: i64,
    /// Who was sent.
    pub customer: CustomerId,
    /// When that one first bought. `None`: it has not, or is not processed.
    pub first_order: Option<Instant>,
    /// How many of its orders there are.
    pub orders: i64,
}

/// What a customer has bought.
#[derive(Default)]
struct Bought {
    first: Option<Instant>,
    orders: i64,
}

impl Bought {
    fn add(&mut self, first: Instant, orders: i64) {
        self.first = Some(self.first.map_or(first, |other| other.min(first)));
        self.orders += orders;
    }
}

/// Writes whom customers name. Returns those who are shown as sent by another now, each with the hashes of the former and of the new one.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &[StoredCustomer],
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    // Who comes beside new facts of its own, with nothing that is new, names whom it named.
    let is_changed = |customer: &&StoredCustomer| customer.records().iter().any(|record| record.is_changed);
    let customers: Vec<_> = customers.iter().filter(is_changed).collect();
    let had_some: Vec<_> =
        customers.iter().filter(|customer| customer.had_some()).map(|customer| customer.id).collect();
    let mut before = of_customers(transaction, tenant, &had_some).await?;
    let (mut others, mut gone, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for customer in customers {
        let id = customer.id.as_i64();
        let (was, is) = (before.remove(&id).unwrap_or_default(), named(keys, customer));
        if was == is {
            continue;
        }
        if !was.is_empty() {
            gone.push(customer.id);
        }
        rows.extend(is.iter().map(|(hash, shown)| (id, hash.clone(), i32::from(*shown))));
        let (left, come) = (shown(was), shown(is));
        if left != come {
            others.extend(left.into_iter().chain(come).map(|hash| (id, hash)));
        }
    }
    delete(transaction, tenant, &gone).await?;
    rows.sort_unstable();
    let columns = vec![
        Column::Int(vec![tenant.0; rows.len()]),
        Column::BigInt(rows.iter().map(|(id, _, _)| *id).collect()),
        Column::Bytes(rows.iter().map(|(_, hash, _)| hash.clone()).collect()),
        Column::Int(rows.iter().map(|(_, _, shown)| *shown).collect()),
    ];
    REFERRALS.write(transaction, columns).await?;
    Ok(others)
}

/// Takes away whom customers name. Returns the hashes.
pub async fn forget(
    transaction: &Transaction,
    tenant: TenantId,
    customers: &[CustomerId],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let named = of_customers(transaction, tenant, customers).await?;
    delete(transaction, tenant, customers).await?;
    Ok(named.into_values().flat_map(Named::into_keys).collect())
}

/// The customers who are known by identities with these hashes. Asked for under the lock of the feed's head, or while nobody else changes customers:
/// whoever becomes known later finds what has named it.
pub async fn owners(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    hashes: &[Vec<u8>],
) -> Result<RoaringBitmap, StoreError> {
    let hashes: BTreeSet<&Vec<u8>> = hashes.iter().collect();
    let hashes: Vec<_> = hashes.into_iter().collect();
    let owners = identities::owners_of_hashes(connection, tenant, &hashes).await?;
    Ok(owners.values().map(|owner| owner.customer.0).collect())
}

/// Who has sent a customer, if that is known.
pub async fn referrers(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<RoaringBitmap, StoreError> {
    let named = of_customers(connection, tenant, &[customer]).await?;
    let hashes: Vec<_> = named.into_values().flat_map(Named::into_keys).collect();
    owners(connection, tenant, &hashes).await
}

/// Who has sent some customers by what [`write`] returned: a customer who has not bought counts with nobody.
pub async fn of_buyers(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    named: Vec<(i64, Vec<u8>)>,
) -> Result<RoaringBitmap, StoreError> {
    let customers: BTreeSet<i64> = named.iter().map(|(customer, _)| *customer).collect();
    let customers: Vec<i64> = customers.into_iter().collect();
    let bought = bought_before(connection, tenant, &customers, Instant::from_micros(i64::MAX)).await?;
    let hashes: Vec<_> =
        named.into_iter().filter(|(customer, _)| bought.contains(customer)).map(|(_, hash)| hash).collect();
    owners(connection, tenant, &hashes).await
}

/// Who has sent those of some buyers whose first order one of these may be: of whom no order from before all of them is known.
pub async fn of_first_orders(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    orders: &[(u32, Instant)],
) -> Result<RoaringBitmap, StoreError> {
    let Some(earliest) = orders.iter().map(|(_, at)| *at).min() else { return Ok(RoaringBitmap::new()) };
    if !is_any(connection, tenant).await? {
        return Ok(RoaringBitmap::new());
    }
    let buyers: BTreeSet<i64> = orders.iter().map(|(customer, _)| i64::from(*customer)).collect();
    let mut first = Vec::new();
    for numbers in Numbers::queries(&buyers.into_iter().collect::<Vec<_>>()) {
        let shown: Vec<(i64, Vec<u8>)> = referral::Entity::find()
            .select_only()
            .columns([referral::Column::CustomerId, referral::Column::ReferrerHmac])
            .filter(referral::Column::TenantId.eq(tenant.0))
            .filter(numbers.contain(referral::Column::CustomerId))
            .filter(referral::Column::IsShown.eq(1))
            .into_tuple()
            .all(connection)
            .await?;
        let sent: BTreeSet<i64> = shown.iter().map(|(customer, _)| *customer).collect();
        let sent: Vec<i64> = sent.into_iter().collect();
        let old = bought_before(connection, tenant, &sent, earliest).await?;
        first.extend(shown.into_iter().filter(|(customer, _)| !old.contains(customer)).map(|(_, hash)| hash));
    }
    owners(connection, tenant, &first).await
}

/// Up to `limit` customers of whom records name identities with these hashes.
pub async fn naming(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    hashes: &[Vec<u8>],
    limit: u64,
) -> Result<Vec<CustomerId>, StoreError> {
    let mut found: Vec<i64> = referral::Entity::find()
        .select_only()
        .column(referral::Column::CustomerId)
        .filter(referral::Column::TenantId.eq(tenant.0))
        .filter(referral::Column::ReferrerHmac.is_in(hashes.iter().cloned()))
        .limit(limit)
        .into_tuple()
        .all(connection)
        .await?;
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(number).collect()
}

/// Those who were sent by somebody of these subjects, which are sorted. Whoever was sent is there once, and may be the one of the subject itself.
pub async fn sent(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subjects: &[i64],
) -> Result<Vec<Sent>, StoreError> {
    if !is_any(connection, tenant).await? {
        return Ok(Vec::new());
    }
    let mut known: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for numbers in Numbers::queries(subjects) {
        let found: Vec<(Vec<u8>, i64)> = identity::Entity::find()
            .select_only()
            .columns([identity::Column::IdentityHmac, identity::Column::SubjectId])
            .filter(identity::Column::TenantId.eq(tenant.0))
            .filter(numbers.contain(identity::Column::SubjectId))
            .into_tuple()
            .all(connection)
            .await?;
        known.extend(found);
    }
    let backend = connection.get_database_backend();
    let mut referrers: BTreeMap<i64, i64> = BTreeMap::new();
    for (condition, values) in hashes::conditions(backend, tenant, &known.keys().collect::<Vec<_>>()) {
        let sql = format!(
            "SELECT customer_id, referrer_hmac FROM referral \
             WHERE tenant_id = $1 AND referrer_hmac {condition} AND is_shown = 1"
        );
        for row in connection.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
            let (customer, hash): (i64, Vec<u8>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            referrers.extend(known.get(&hash).map(|subject| (customer, *subject)));
        }
    }
    let customers: Vec<i64> = referrers.keys().copied().collect();
    let mut bought = bought(connection, tenant, &customers).await?;
    let sent = |(customer, referrer): (i64, i64)| {
        let Bought { first, orders } = bought.remove(&customer).unwrap_or_default();
        Ok(Sent { referrer, customer: number(customer)?, first_order: first, orders })
    };
    referrers.into_iter().map(sent).collect()
}

fn named(keys: &TenantKeys, customer: &StoredCustomer) -> Named {
    let shown = customer.person.referrer.as_ref();
    let said = customer.records().iter().filter_map(|record| record.person.referrer.as_ref()).chain(shown);
    said.map(|referrer| (keys.identity_hash(referrer), Some(referrer) == shown)).collect()
}

/// The hash of whom a customer is shown as sent by.
fn shown(named: Named) -> Option<Vec<u8>> {
    named.into_iter().find_map(|(hash, is_shown)| is_shown.then_some(hash))
}

/// Whether anybody names anybody: where nobody does, nothing more is asked.
async fn is_any(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<bool, StoreError> {
    let any = referral::Entity::find().filter(referral::Column::TenantId.eq(tenant.0)).limit(1);
    Ok(any.one(connection).await?.is_some())
}

async fn of_customers(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[CustomerId],
) -> Result<BTreeMap<i64, Named>, StoreError> {
    let mut found: BTreeMap<i64, Named> = BTreeMap::new();
    for chunk in customers.chunks(KEYS_PER_QUERY) {
        let rows = referral::Entity::find()
            .filter(referral::Column::TenantId.eq(tenant.0))
            .filter(referral::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .all(connection)
            .await?;
        for row in rows {
            found.entry(row.customer_id).or_default().insert(row.referrer_hmac, row.is_shown == 1);
        }
    }
    Ok(found)
}

async fn delete(transaction: &Transaction, tenant: TenantId, customers: &[CustomerId]) -> Result<(), StoreError> {
    for chunk in customers.chunks(KEYS_PER_QUERY) {
        referral::Entity::delete_many()
            .filter(referral::Column::TenantId.eq(tenant.0))
            .filter(referral::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// Those of these customers, who are sorted, of whom an order from before an instant is known.
async fn bought_before(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[i64],
    instant: Instant,
) -> Result<HashSet<i64>, StoreError> {
    let mut bought = HashSet::new();
    for numbers in Numbers::queries(customers) {
        let owners = subjects_of(connection, tenant, &numbers).await?;
        let subjects: Vec<i64> = owners.keys().copied().collect();
        for subjects in Numbers::queries(&subjects) {
            let found: Vec<i64> = with_order_before(tenant, &subjects, instant).into_tuple().all(connection).await?;
            bought.extend(found.iter().filter_map(|subject| owners.get(subject)));
        }
        let openings = openings::decoded(&openings::bodies(connection, tenant, &subjects).await?)?;
        let dropped = openings.iter().filter(|(_, opening)| opening.first_order.is_some_and(|first| first < instant));
        bought.extend(dropped.filter_map(|(subject, _)| owners.get(subject)));
    }
    Ok(bought)
}

/// Those of these subjects with an order from before an instant. One order of each is enough, however many there are: neither database makes a join of
/// a value that it asks for row by row.
fn with_order_before(tenant: TenantId, subjects: &Numbers, instant: Instant) -> Select<subject::Entity> {
    let order = Query::select()
        .column(order_fact::Column::OccurredAt)
        .from(order_fact::Entity)
        .and_where(order_fact::Column::TenantId.eq(tenant.0))
        .and_where(order_fact::Column::SubjectId.into_expr().eq(subject::Column::SubjectId.into_expr()))
        .and_where(order_fact::Column::OccurredAt.lt(instant.micros()))
        .limit(1)
        .take();
    subject::Entity::find()
        .select_only()
        .column(subject::Column::SubjectId)
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(subjects.contain(subject::Column::SubjectId))
        .filter(Expr::from(order).is_not_null())
}

/// What these customers, who are sorted, have bought: of those who are not processed, when is left out.
async fn bought(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[i64],
) -> Result<HashMap<i64, Bought>, StoreError> {
    let mut bought: HashMap<i64, Bought> = HashMap::new();
    for numbers in Numbers::queries(customers) {
        let owners = subjects_of(connection, tenant, &numbers).await?;
        let subjects: Vec<i64> = owners.keys().copied().collect();
        let mut found = Vec::new();
        for subjects in Numbers::queries(&subjects) {
            let some: Vec<(i64, i64, i64)> = order_fact::Entity::find()
                .select_only()
                .column(order_fact::Column::SubjectId)
                .column_as(order_fact::Column::OccurredAt.min(), "earliest")
                .column_as(order_fact::Column::OccurredAt.count(), "orders")
                .filter(order_fact::Column::TenantId.eq(tenant.0))
                .filter(subjects.contain(order_fact::Column::SubjectId))
                .group_by(order_fact::Column::SubjectId)
                .into_tuple()
                .all(connection)
                .await?;
            found.extend(some.into_iter().map(|(subject, at, orders)| (subject, Instant::from_micros(at), orders)));
        }
        // Read behind the orders: one that was dropped in between is in the balance.
        let openings = openings::decoded(&openings::bodies(connection, tenant, &subjects).await?)?;
        found.extend(openings.into_iter().filter_map(|(subject, opening)| Some((subject, opening.first_order?, 0))));
        for (subject, first, orders) in found {
            if let Some(customer) = owners.get(&subject) {
                bought.entry(*customer).or_default().add(first, orders);
            }
        }
        for customer in restricted(connection, tenant, &numbers).await? {
            bought.entry(customer).or_default().first = None;
        }
    }
    Ok(bought)
}

/// The subjects of customers, each with its customer.
async fn subjects_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &Numbers,
) -> Result<BTreeMap<i64, i64>, StoreError> {
    let links = subject::Entity::find()
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(customers.contain(subject::Column::CustomerId))
        .all(connection)
        .await?;
    Ok(links.into_iter().map(|link| (link.subject_id, link.customer_id)).collect())
}

/// Those of these customers whose processing is restricted.
async fn restricted(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &Numbers,
) -> Result<HashSet<i64>, StoreError> {
    let rows: Vec<(i64, Option<i64>)> = customer::Entity::find()
        .select_only()
        .columns([customer::Column::CustomerId, customer::Column::MergedInto])
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(customer::Column::RestrictedAt.is_not_null())
        .filter(
            Condition::any()
                .add(customers.contain(customer::Column::CustomerId))
                .add(customers.contain(customer::Column::MergedInto)),
        )
        .into_tuple()
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id, survivor)| survivor.unwrap_or(id)).collect())
}

fn number(id: i64) -> Result<CustomerId, StoreError> {
    CustomerId::try_from(id).map_err(|_| StoreError::Sealed("customer id"))
}

#[cfg(test)]
mod tests;
