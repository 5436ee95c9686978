//! Customers: what identifies them is ciphertext from the first write. A customer has a record for every founding identity that belongs to
//! it: one, until it is merged with others.

pub mod attributes;
mod clear;
mod page;
pub mod record;
#[cfg(test)]
mod tests;
mod write;

pub use clear::{Processed, attributes_of, processed};
pub use page::{last, page};
pub use write::{forget_undeclared, write};

use super::entities::{contact, customer, customer_key};
use super::keys::TenantKeys;
use crate::intake::custom::{CustomValue, from_messages, messages};
use crate::intake::{CustomerPatch, Declared, Identity, Person};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Customer, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};
use quintile_store::numbers::Numbers;
use quintile_store::sealing::Key;
use quintile_store::{StoreError, Transaction};
use record::{FieldTimes, Record, compose};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use std::collections::{HashMap, HashSet};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;
/// Customers of one contact that are looked at.
pub const MAX_OF_ONE_CONTACT: u64 = 100;

/// A customer, opened.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCustomer {
    /// The number: that of its first founding identity.
    pub id: CustomerId,
    /// The identities.
    pub identities: Vec<Identity>,
    /// What identifies the person.
    pub person: Person,
    /// The attributes.
    pub attributes: CustomerAttributes,
    /// Since when its processing is restricted. Machine time. `None`: it is not.
    pub restricted_at: Option<Instant>,
    /// Its records, by home; its own is the first.
    records: Vec<Record>,
}

impl StoredCustomer {
    /// A new customer.
    pub fn new(tenant: TenantId, keys: &TenantKeys, id: CustomerId, identities: Vec<Identity>, now: Instant) -> Self {
        let data_key = Key::generate(&keys.entropy);
        Self::of(
            id,
            vec![Record {
                home: id,
                identities,
                person: Person::default(),
                attributes: CustomerAttributes { kind: CustomerKind::Customer.into(), ..CustomerAttributes::default() },
                times: FieldTimes::default(),
                created_at: now,
                updated_at: now,
                revision: 1,
                restricted_at: None,
                wrapped_key: keys.wrapping.wrap(&keys.entropy, &key_place(tenant, id), &data_key),
                is_new: true,
                is_changed: true,
            }],
        )
    }

    /// The customer that these records come to.
    pub fn of(id: CustomerId, mut records: Vec<Record>) -> Self {
        records.sort_unstable_by_key(|record| record.home);
        let composed = compose(&records, id);
        Self {
            id,
            identities: records.iter().flat_map(|record| record.identities.clone()).collect(),
            person: composed.person,
            attributes: composed.attributes,
            restricted_at: records.iter().filter_map(|record| record.restricted_at).min(),
            records,
        }
    }

    /// Its records, by home.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Takes over what a patch by an identity of `home` says. Returns whether anything is different now.
    pub fn merge(&mut self, patch: &CustomerPatch, home: CustomerId, now: Instant) -> bool {
        let composed = compose(&self.records, self.id);
        let at = self.behind_all(now);
        let changed = self.record_of(home).merge(patch, &composed, at);
        if changed {
            self.recompose();
        }
        changed
    }

    /// Takes away that these identities have sent the customer, from every record that says so.
    pub fn forget_referrer(&mut self, gone: &[Identity], now: Instant) {
        for record in &mut self.records {
            if record.person.referrer.as_ref().is_some_and(|referrer| gone.contains(referrer)) {
                record.person.referrer = None;
                record.changed(now);
            }
        }
        self.recompose();
    }

    /// Adds identities of a home.
    pub fn join(&mut self, identities: &[Identity], home: CustomerId, now: Instant) {
        self.record_of(home).join(identities, now);
        self.recompose();
    }

    /// Notes a change of a home's record in which nothing may be different.
    pub fn touch(&mut self, home: CustomerId, now: Instant) {
        self.record_of(home).changed(now);
    }

    /// Has every record written again.
    pub fn rewrite(&mut self, now: Instant) {
        for record in &mut self.records {
            record.changed(now);
        }
    }

    /// An instant behind everything that was said: what comes together, or by another clock, has an order too.
    fn behind_all(&self, now: Instant) -> Instant {
        let last = self.records.iter().map(|record| record.times.last()).max().unwrap_or_default();
        now.max(Instant::from_micros(last.saturating_add(1)))
    }

    fn record_of(&mut self, home: CustomerId) -> &mut Record {
        let place = self.records.iter().position(|record| record.home == home).unwrap_or_default();
        &mut self.records[place]
    }

    fn recompose(&mut self) {
        *self = Self::of(self.id, std::mem::take(&mut self.records));
    }

    /// Takes over attributes, but for what the privacy service alone changes.
    pub fn take_attributes(&mut self, given: &CustomerAttributes) {
        let consents = std::mem::take(&mut self.attributes.consents);
        let objections = std::mem::take(&mut self.attributes.objections);
        self.attributes = CustomerAttributes { consents, objections, ..given.clone() };
    }

    /// The data key of the record of a home, opened.
    pub fn data_key(&self, tenant: TenantId, keys: &TenantKeys, home: CustomerId) -> Result<Key, StoreError> {
        let record = self.records.iter().find(|record| record.home == home);
        record_key(tenant, keys, record.ok_or(StoreError::Sealed("the record of a home"))?)
    }

    /// Takes the present fields over into the customer's own record, and notes that it has changed.
    pub fn changed(&mut self, now: Instant) {
        let now = self.behind_all(now);
        let composed = compose(&self.records, self.id);
        // Empty there may be what others say: an attribute that was taken away is taken away from all.
        let gone = |key: &String| !self.person.custom.contains_key(key);
        for record in &mut self.records {
            let before = record.person.custom.len();
            record.person.custom.retain(|key, _| !gone(key));
            record.is_changed |= before != record.person.custom.len();
        }
        let own = &mut self.records[0];
        own.absorb(&composed, (&self.person, &self.attributes), now);
        own.changed(now);
        self.recompose();
    }

    /// Notes that what was made and changed within one transaction was made so.
    pub fn is_made_so(&mut self) {
        for record in self.records.iter_mut().filter(|record| record.is_new) {
            record.revision = 1;
        }
    }

    /// Whether something of it may have been written before.
    pub fn had_some(&self) -> bool {
        self.records.iter().any(|record| record.revision > 1)
    }

    /// Keeps those custom attributes of which `holds` is true.
    pub fn retain_custom(&mut self, holds: impl Fn(&str, &CustomValue) -> bool) {
        for record in &mut self.records {
            record.person.custom.retain(|key, value| holds(key, value));
        }
        self.recompose();
    }

    /// The etag of this revision.
    pub fn etag(&self) -> String {
        let revisions: Vec<String> = self.records.iter().map(|record| record.revision.to_string()).collect();
        format!("\"{}\"", revisions.join("-"))
    }

    /// The message, unmasked, with the classes that the tenant's declarations give to custom attributes.
    pub fn message(&self, declared: &Declared) -> Customer {
        let created = self.records.iter().map(|record| record.created_at).min();
        let updated = self.records.iter().map(|record| record.updated_at).max();
        let mut message = Customer {
            attributes: Some(self.attributes.clone()),
            create_time: created.map(quintile_rpc::convert::timestamp),
            update_time: updated.map(quintile_rpc::convert::timestamp),
            etag: self.etag(),
            ..person_message(self.id, &self.identities, &self.person)
        };
        declared.confirm_classes(&mut message);
        message
    }
}

/// What identifies a person, as a message. Custom attributes have the classes that they came under.
fn person_message(id: CustomerId, identities: &[Identity], person: &Person) -> Customer {
    let person = person.clone();
    Customer {
        name: id.to_string(),
        identities: identities.iter().map(identity_message).collect(),
        display_name: person.display_name,
        phone: person.phone,
        email: person.email,
        address: person.address,
        birth_date: person.birth_date,
        referrer_source: person.referrer.as_ref().map(|referrer| referrer.source.clone()),
        referrer: person.referrer.map(|referrer| referrer.id),
        custom_attributes: messages(&person.custom),
        ..Customer::default()
    }
}

/// Who sent a customer, as a record holds it. What was written before there was a source has that of the first identity, as in rows.
fn referrer(message: &Customer) -> Option<Identity> {
    let own = || message.identities.first().map(|identity| identity.source.clone());
    let source = message.referrer_source.clone().or_else(own).unwrap_or_default();
    message.referrer.clone().map(|id| Identity { source, id })
}

fn record_key(tenant: TenantId, keys: &TenantKeys, record: &Record) -> Result<Key, StoreError> {
    keys.wrapping.unwrap_key(&key_place(tenant, record.home), &record.wrapped_key)
}

fn identity_message(identity: &Identity) -> SourceIdentity {
    SourceIdentity { source: identity.source.clone(), id: Some(identity.id.clone()) }
}

fn key_place(tenant: TenantId, customer: CustomerId) -> Vec<u8> {
    format!("customer.data_key {} {}", tenant.0, customer.0).into_bytes()
}

fn person_place(tenant: TenantId, customer: CustomerId) -> Vec<u8> {
    format!("customer.sealed_person {} {}", tenant.0, customer.0).into_bytes()
}

/// The customers with these numbers that are there, opened, by number. One that was merged into another is not.
pub async fn load(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    ids: &[CustomerId],
) -> Result<Vec<StoredCustomer>, StoreError> {
    let mut customers = Vec::with_capacity(ids.len());
    for numbers in lists(ids) {
        let rows = rows_of(tenant, &numbers).all(connection).await?;
        customers.extend(open_all(connection, tenant, keys, rows).await?);
    }
    customers.sort_unstable_by_key(|customer| customer.id);
    Ok(customers)
}

/// As [`load`], for whoever writes them back beside others: nobody else changes them until the transaction ends. `ids` are sorted, so that
/// two who ask for the same never wait for each other.
pub async fn load_to_change(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    ids: &[CustomerId],
) -> Result<Vec<StoredCustomer>, StoreError> {
    let mut customers = Vec::with_capacity(ids.len());
    for numbers in lists(ids) {
        // SQLite has one writer, and no such clause.
        let rows = rows_of(tenant, &numbers).lock_exclusive().all(transaction).await?;
        customers.extend(open_all(transaction, tenant, keys, rows).await?);
    }
    Ok(customers)
}

/// The rows of customers that are there, by number, those of everybody who was merged into them included.
pub(super) fn rows_of(tenant: TenantId, numbers: &Numbers) -> Select<customer::Entity> {
    let own =
        Condition::all().add(numbers.contain(customer::Column::CustomerId)).add(customer::Column::MergedInto.is_null());
    customer::Entity::find()
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(customer::Column::ErasedAt.is_null())
        .filter(Condition::any().add(own).add(numbers.contain(customer::Column::MergedInto)))
        .order_by_asc(customer::Column::CustomerId)
}

/// These customers in lists of bounded length.
fn lists(ids: &[CustomerId]) -> impl Iterator<Item = Numbers> {
    ids.chunks(KEYS_PER_QUERY).map(|chunk| Numbers::List(chunk.iter().map(|id| id.as_i64()).collect()))
}

/// The customer that a row belongs to.
fn survivor(row: &customer::Model) -> Result<CustomerId, StoreError> {
    number(row.merged_into.unwrap_or(row.customer_id))
}

/// Opens the rows of customers, with their keys in one query more.
async fn open_all(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    rows: Vec<customer::Model>,
) -> Result<Vec<StoredCustomer>, StoreError> {
    let mut wrapped = HashMap::with_capacity(rows.len());
    for chunk in rows.chunks(KEYS_PER_QUERY) {
        let found = customer_key::Entity::find()
            .filter(customer_key::Column::TenantId.eq(tenant.0))
            .filter(customer_key::Column::CustomerId.is_in(chunk.iter().map(|row| row.customer_id)))
            .all(connection)
            .await?;
        wrapped.extend(found.into_iter().map(|row| (row.customer_id, row.wrapped_key)));
    }
    let mut records: HashMap<CustomerId, Vec<Record>> = HashMap::with_capacity(rows.len());
    for row in rows {
        // Read behind the rows, a key that is gone says that its customer was erased in between.
        let Some(wrapped_key) = wrapped.remove(&row.customer_id) else { continue };
        records.entry(survivor(&row)?).or_default().push(open(tenant, keys, &row, wrapped_key)?);
    }
    let whole = records.into_iter().filter(|(id, records)| records.iter().any(|record| record.home == *id));
    Ok(whole.map(|(id, records)| StoredCustomer::of(id, records)).collect())
}

/// One customer, opened. One that was merged into another is that one.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    id: CustomerId,
) -> Result<Option<StoredCustomer>, StoreError> {
    let row = customer::Entity::find_by_id((tenant.0, id.as_i64())).one(connection).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(load(connection, tenant, keys, &[survivor(&row)?]).await?.pop())
}

fn number(id: i64) -> Result<CustomerId, StoreError> {
    CustomerId::try_from(id).map_err(|_| StoreError::Sealed("customer id"))
}

fn decode_attributes(encoded: &[u8]) -> Result<CustomerAttributes, StoreError> {
    CustomerAttributes::decode(encoded).map_err(|_| StoreError::Sealed("attributes"))
}

/// Which of these customers were erased.
pub async fn erased(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    ids: &[CustomerId],
) -> Result<HashSet<CustomerId>, StoreError> {
    let mut erased = HashSet::new();
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<i64> = customer::Entity::find()
            .select_only()
            .column(customer::Column::CustomerId)
            .filter(customer::Column::TenantId.eq(tenant.0))
            .filter(customer::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .filter(customer::Column::ErasedAt.is_not_null())
            .into_tuple()
            .all(connection)
            .await?;
        erased.extend(rows.into_iter().filter_map(|id| CustomerId::try_from(id).ok()));
    }
    Ok(erased)
}

/// Restricts a customer's processing since an instant, or ends that. Returns whether anything is different now.
pub async fn restrict(
    transaction: &Transaction,
    tenant: TenantId,
    id: CustomerId,
    since: Option<Instant>,
) -> Result<bool, StoreError> {
    let is_there = if since.is_some() {
        customer::Column::RestrictedAt.is_null()
    } else {
        customer::Column::RestrictedAt.is_not_null()
    };
    let changed = customer::Entity::update_many()
        .col_expr(customer::Column::RestrictedAt, Expr::value(since.map(Instant::micros)))
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(
            Condition::any()
                .add(customer::Column::CustomerId.eq(id.as_i64()))
                .add(customer::Column::MergedInto.eq(id.as_i64())),
        )
        .filter(is_there)
        .exec(transaction)
        .await?;
    Ok(changed.rows_affected > 0)
}

/// Up to `limit` customers behind `after` with a contact or birthday of this hash, by number.
pub async fn with_hash(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    hash: Vec<u8>,
    after: i64,
    limit: u64,
) -> Result<Vec<CustomerId>, StoreError> {
    let rows = contact::Entity::find()
        .filter(contact::Column::TenantId.eq(tenant.0))
        .filter(contact::Column::ContactHmac.eq(hash))
        .filter(contact::Column::CustomerId.gt(after))
        .order_by_asc(contact::Column::CustomerId)
        .limit(limit)
        .all(connection)
        .await?;
    rows.into_iter().map(|row| number(row.customer_id)).collect()
}

fn open(
    tenant: TenantId,
    keys: &TenantKeys,
    row: &customer::Model,
    wrapped_key: Vec<u8>,
) -> Result<Record, StoreError> {
    let home = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let data_key = keys.wrapping.unwrap_key(&key_place(tenant, home), &wrapped_key)?;
    let plain = data_key.open(&person_place(tenant, home), &row.sealed_person)?;
    let message = Customer::decode(plain.as_slice()).map_err(|_| StoreError::Sealed("customer"))?;
    let referrer = referrer(&message);
    let identities = message.identities.into_iter();
    let updated_at = Instant::from_micros(row.updated_at);
    let custom = from_messages(message.custom_attributes);
    Ok(Record {
        home,
        identities: identities.map(|it| Identity { source: it.source, id: it.id.unwrap_or_default() }).collect(),
        person: Person {
            display_name: message.display_name,
            phone: message.phone,
            email: message.email,
            address: message.address,
            birth_date: message.birth_date,
            referrer,
            custom: custom.clone(),
        },
        attributes: decode_attributes(&row.attributes)?,
        times: FieldTimes::decode(&row.said_at, updated_at, &custom),
        created_at: Instant::from_micros(row.created_at),
        updated_at,
        revision: row.revision,
        restricted_at: row.restricted_at.map(Instant::from_micros),
        wrapped_key,
        is_new: false,
        is_changed: false,
    })
}
