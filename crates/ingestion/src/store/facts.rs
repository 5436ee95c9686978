//! Orders.

use super::entities::{order_fact, subject};
use super::identities::Owner;
use crate::features::OrderFact;
use crate::intake::{Identity, OrderRow};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Order, OrderLine, SourceIdentity};
use quintile_rpc::convert;
use quintile_store::StoreError;
use quintile_store::bulk::{Column, OnConflict, Target};
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

const ORDERS: Target = Target {
    table: "order_fact",
    columns: &[
        "tenant_id",
        "subject_id",
        "source",
        "event_id",
        "body_hash",
        "occurred_at",
        "channel",
        "amount_minor",
        "lines",
    ],
    key: &["tenant_id", "subject_id", "source", "event_id"],
    on_conflict: OnConflict::Keep,
};

/// What became of orders.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Orders that were new.
    pub applied: usize,
    /// Orders that were there, the same.
    pub duplicates: usize,
    /// The places, in the input, of orders whose id is there with another body.
    pub conflicts: Vec<usize>,
}

/// Writes orders; those that are there already stay as they are.
pub async fn write(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    orders: &[(Owner, OrderRow)],
) -> Result<Written, StoreError> {
    let mut sorted: Vec<&(Owner, OrderRow)> = orders.iter().collect();
    sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let columns = vec![
        Column::Int(vec![tenant.0; sorted.len()]),
        Column::BigInt(sorted.iter().map(|(owner, _)| owner.subject_id).collect()),
        Column::Text(sorted.iter().map(|(_, order)| order.customer.source.clone()).collect()),
        Column::Text(sorted.iter().map(|(_, order)| order.event_id.clone()).collect()),
        Column::Bytes(sorted.iter().map(|(_, order)| order.body_hash.clone()).collect()),
        Column::BigInt(sorted.iter().map(|(_, order)| order.at.micros()).collect()),
        Column::Text(sorted.iter().map(|(_, order)| order.channel.clone()).collect()),
        Column::BigInt(sorted.iter().map(|(_, order)| order.amount_minor).collect()),
        Column::Bytes(sorted.iter().map(|(_, order)| order.lines.clone()).collect()),
    ];
    let applied = ORDERS.write(transaction, columns).await? as usize;
    if applied == orders.len() {
        return Ok(Written { applied, ..Written::default() });
    }
    // Some were there: only now is it worth reading what is.
    let stored = hashes(transaction, tenant, orders).await?;
    let differs = |place: &usize| stored.get(&owned_key(&orders[*place])) != Some(&orders[*place].1.body_hash);
    let conflicts: Vec<usize> = (0..orders.len()).filter(differs).collect();
    Ok(Written { applied, duplicates: orders.len() - applied - conflicts.len(), conflicts })
}

fn key((owner, order): &(Owner, OrderRow)) -> (i64, &str, &str) {
    (owner.subject_id, &order.customer.source, &order.event_id)
}

fn owned_key((owner, order): &(Owner, OrderRow)) -> (i64, String, String) {
    (owner.subject_id, order.customer.source.clone(), order.event_id.clone())
}

async fn hashes(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    orders: &[(Owner, OrderRow)],
) -> Result<HashMap<(i64, String, String), Vec<u8>>, StoreError> {
    let mut subjects: Vec<i64> = orders.iter().map(|(owner, _)| owner.subject_id).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let mut found = HashMap::with_capacity(orders.len());
    for chunk in subjects.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(i64, String, String, Vec<u8>)> = order_fact::Entity::find()
            .select_only()
            .column(order_fact::Column::SubjectId)
            .column(order_fact::Column::Source)
            .column(order_fact::Column::EventId)
            .column(order_fact::Column::BodyHash)
            .filter(order_fact::Column::TenantId.eq(tenant.0))
            .filter(order_fact::Column::SubjectId.is_in(chunk.iter().copied()))
            .into_tuple()
            .all(connection)
            .await?;
        found.extend(rows.into_iter().map(|(subject, source, event, hash)| ((subject, source, event), hash)));
    }
    Ok(found)
}

/// The orders of these customers, of all their subjects.
pub async fn of_customers(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, Vec<OrderFact>>, StoreError> {
    let mut orders: HashMap<CustomerId, Vec<OrderFact>> = HashMap::with_capacity(customers.len());
    for chunk in customers.chunks(KEYS_PER_QUERY) {
        let links = subject::Entity::find()
            .filter(subject::Column::TenantId.eq(tenant.0))
            .filter(subject::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .all(connection)
            .await?;
        let owners: HashMap<i64, i64> = links.iter().map(|link| (link.subject_id, link.customer_id)).collect();
        for subjects in links.chunks(KEYS_PER_QUERY) {
            let rows: Vec<(i64, i64, i64, String)> = order_fact::Entity::find()
                .select_only()
                .column(order_fact::Column::SubjectId)
                .column(order_fact::Column::OccurredAt)
                .column(order_fact::Column::AmountMinor)
                .column(order_fact::Column::Channel)
                .filter(order_fact::Column::TenantId.eq(tenant.0))
                .filter(order_fact::Column::SubjectId.is_in(subjects.iter().map(|link| link.subject_id)))
                .into_tuple()
                .all(connection)
                .await?;
            for (subject_id, occurred_at, amount_minor, channel) in rows {
                let customer = owners.get(&subject_id).and_then(|id| CustomerId::try_from(*id).ok());
                let customer = customer.ok_or(StoreError::Sealed("an order without a customer"))?;
                let at = Instant::from_micros(occurred_at);
                orders.entry(customer).or_default().push(OrderFact { at, amount_minor, channel });
            }
        }
    }
    Ok(orders)
}

/// Up to `limit` orders of a subject behind a source and event id, in their order.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subject_id: i64,
    (source, event_id): &(String, String),
    limit: u64,
) -> Result<Vec<order_fact::Model>, StoreError> {
    let same_source = Condition::all()
        .add(order_fact::Column::Source.eq(source.as_str()))
        .add(order_fact::Column::EventId.gt(event_id.as_str()));
    let rows = order_fact::Entity::find()
        .filter(order_fact::Column::TenantId.eq(tenant.0))
        .filter(order_fact::Column::SubjectId.eq(subject_id))
        .filter(Condition::any().add(order_fact::Column::Source.gt(source.as_str())).add(same_source))
        .order_by_asc(order_fact::Column::Source)
        .order_by_asc(order_fact::Column::EventId)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows)
}

/// The message of an order, as it came in, of a customer's identity.
pub fn message(row: order_fact::Model, identity: Option<&Identity>, currency: Currency) -> Result<Order, StoreError> {
    let mut lines = Vec::new();
    let mut encoded = row.lines.as_slice();
    while !encoded.is_empty() {
        lines.push(OrderLine::decode_length_delimited(&mut encoded).map_err(|_| StoreError::Sealed("order lines"))?);
    }
    Ok(Order {
        customer: Some(SourceIdentity { source: row.source, id: identity.map(|identity| identity.id.clone()) }),
        event_id: row.event_id,
        order_time: Some(convert::timestamp(Instant::from_micros(row.occurred_at))),
        channel: row.channel,
        amount: Some(convert::money(currency, row.amount_minor)),
        lines,
    })
}
