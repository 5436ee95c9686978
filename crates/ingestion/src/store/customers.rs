//! Customers: what identifies them is ciphertext from the first write.

use super::attributes;
use super::entities::{contact, customer, customer_key};
use super::keys::TenantKeys;
use crate::intake::custom::{from_messages, messages};
use crate::intake::{CustomerPatch, Declared, Identity, Person};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Customer, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};
use quintile_store::StoreError;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::sealing::Key;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::{HashMap, HashSet};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;
/// Customers of one contact that are looked at.
const MAX_OF_ONE_CONTACT: u64 = 100;
/// Rows that a page looks at, at least, for a caller that does not reach all of them.
const LEAST_ROWS_PER_PAGE: u64 = 1_000;

const CUSTOMERS: Target = Target {
    table: "customer",
    columns: &["tenant_id", "customer_id", "attributes", "sealed_person", "created_at", "updated_at", "revision"],
    key: &["tenant_id", "customer_id"],
    on_conflict: OnConflict::Replace(&["attributes", "sealed_person", "updated_at", "revision"]),
};

const KEYS: Target = Target {
    table: "customer_key",
    columns: &["tenant_id", "customer_id", "wrapped_key"],
    key: &["tenant_id", "customer_id"],
    on_conflict: OnConflict::Keep,
};

const CONTACTS: Target = Target {
    table: "contact",
    columns: &["tenant_id", "contact_hmac", "customer_id"],
    key: &["tenant_id", "contact_hmac", "customer_id"],
    on_conflict: OnConflict::Keep,
};

/// A customer, opened.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCustomer {
    /// The number.
    pub id: CustomerId,
    /// The identities.
    pub identities: Vec<Identity>,
    /// What identifies the person.
    pub person: Person,
    /// The attributes.
    pub attributes: CustomerAttributes,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// When it was last changed. Machine time.
    pub updated_at: Instant,
    /// Grows with every change.
    pub revision: i64,
    /// Since when its processing is restricted. Machine time. `None`: it is not.
    pub restricted_at: Option<Instant>,
    wrapped_key: Vec<u8>,
    /// Whether nothing of it was written yet, its key included.
    is_new: bool,
}

impl StoredCustomer {
    /// A new customer.
    pub fn new(tenant: TenantId, keys: &TenantKeys, id: CustomerId, identities: Vec<Identity>, now: Instant) -> Self {
        let data_key = Key::generate(&keys.entropy);
        Self {
            id,
            identities,
            person: Person::default(),
            attributes: CustomerAttributes { kind: CustomerKind::Customer.into(), ..CustomerAttributes::default() },
            created_at: now,
            updated_at: now,
            revision: 1,
            restricted_at: None,
            wrapped_key: keys.wrapping.wrap(&keys.entropy, &key_place(tenant, id), &data_key),
            is_new: true,
        }
    }

    /// Takes over what a patch says. Returns whether anything is different now.
    pub fn merge(&mut self, patch: &CustomerPatch, now: Instant) -> bool {
        let before = (self.person.clone(), self.attributes.clone());
        let given = &patch.person;
        let person = &mut self.person;
        let fields = [
            (&mut person.display_name, &given.display_name),
            (&mut person.phone, &given.phone),
            (&mut person.email, &given.email),
            (&mut person.address, &given.address),
        ];
        for (field, value) in fields {
            if value.is_some() {
                field.clone_from(value);
            }
        }
        if given.birth_date.is_some() {
            person.birth_date = given.birth_date;
        }
        person.custom.extend(given.custom.clone());
        if let Some(attributes) = &patch.attributes {
            self.take_attributes(attributes);
        }
        let changed = before != (self.person.clone(), self.attributes.clone());
        if changed {
            self.changed(now);
        }
        changed
    }

    /// Takes over attributes, but for what the privacy service alone changes.
    pub fn take_attributes(&mut self, given: &CustomerAttributes) {
        let consents = std::mem::take(&mut self.attributes.consents);
        let objections = std::mem::take(&mut self.attributes.objections);
        self.attributes = CustomerAttributes { consents, objections, ..given.clone() };
    }

    /// The customer's data key, opened.
    pub fn data_key(&self, tenant: TenantId, keys: &TenantKeys) -> Result<Key, StoreError> {
        keys.wrapping.unwrap_key(&key_place(tenant, self.id), &self.wrapped_key)
    }

    /// Notes that the customer has changed.
    pub fn changed(&mut self, now: Instant) {
        self.revision += 1;
        self.updated_at = now;
    }

    /// The etag of this revision.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The message, unmasked, with the classes that the tenant's declarations give to custom attributes.
    pub fn message(&self, declared: &Declared) -> Customer {
        let mut message = self.stored_message();
        declared.confirm_classes(&mut message);
        message
    }

    /// The message as it is stored: custom attributes have the classes that they came under.
    fn stored_message(&self) -> Customer {
        let person = self.person.clone();
        Customer {
            name: self.id.to_string(),
            identities: self.identities.iter().map(identity_message).collect(),
            display_name: person.display_name,
            phone: person.phone,
            email: person.email,
            address: person.address,
            birth_date: person.birth_date,
            attributes: Some(self.attributes.clone()),
            create_time: Some(quintile_rpc::convert::timestamp(self.created_at)),
            update_time: Some(quintile_rpc::convert::timestamp(self.updated_at)),
            etag: self.etag(),
            custom_attributes: messages(&person.custom),
        }
    }
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

/// Writes customers, new and changed ones, with the hashes by which their contacts are found. Custom attributes that are not declared
/// any more leave them here.
pub async fn write(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &mut [StoredCustomer],
) -> Result<(), StoreError> {
    customers.sort_unstable_by_key(|customer| customer.id);
    forget_undeclared(transaction, tenant, customers).await?;
    let customers = &*customers;
    let mut sealed = Vec::with_capacity(customers.len());
    for customer in customers {
        let data_key = customer.data_key(tenant, keys)?;
        // The message is the format: fields may join it, and old ciphertext still opens.
        let plain = Customer {
            attributes: None,
            create_time: None,
            update_time: None,
            etag: String::new(),
            ..customer.stored_message()
        };
        sealed.push(data_key.seal(&keys.entropy, &person_place(tenant, customer.id), &plain.encode_to_vec()));
    }
    let columns = vec![
        Column::Int(vec![tenant.0; customers.len()]),
        Column::BigInt(customers.iter().map(|customer| customer.id.as_i64()).collect()),
        Column::Bytes(customers.iter().map(|customer| customer.attributes.encode_to_vec()).collect()),
        Column::Bytes(sealed),
        Column::BigInt(customers.iter().map(|customer| customer.created_at.micros()).collect()),
        Column::BigInt(customers.iter().map(|customer| customer.updated_at.micros()).collect()),
        Column::BigInt(customers.iter().map(|customer| customer.revision).collect()),
    ];
    CUSTOMERS.write(transaction, columns).await?;
    let new = || customers.iter().filter(|customer| customer.is_new);
    let ids: Vec<_> = new().map(|customer| customer.id.as_i64()).collect();
    let wrapped = new().map(|customer| customer.wrapped_key.clone()).collect();
    let columns = vec![Column::Int(vec![tenant.0; ids.len()]), Column::BigInt(ids), Column::Bytes(wrapped)];
    KEYS.write(transaction, columns).await?;
    write_contacts(transaction, tenant, keys, customers).await
}

/// Takes the custom attributes that are not declared any more from customers that are about to change.
pub async fn forget_undeclared(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    customers: &mut [StoredCustomer],
) -> Result<(), StoreError> {
    if customers.iter().any(|customer| !customer.person.custom.is_empty()) {
        // Read in the transaction: what was declared when they were checked may be gone, or newer than what this process knows.
        let declared = attributes::declared(transaction, tenant).await?;
        for customer in customers {
            customer.person.custom.retain(|key, value| declared.covers(key, value.class));
        }
    }
    Ok(())
}

async fn write_contacts(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &[StoredCustomer],
) -> Result<(), StoreError> {
    let changed: Vec<_> =
        customers.iter().filter(|customer| customer.revision > 1).map(|customer| customer.id.as_i64()).collect();
    for chunk in changed.chunks(KEYS_PER_QUERY) {
        contact::Entity::delete_many()
            .filter(contact::Column::TenantId.eq(tenant.0))
            .filter(contact::Column::CustomerId.is_in(chunk.iter().copied()))
            .exec(transaction)
            .await?;
    }
    let mut rows = Vec::new();
    for customer in customers {
        rows.extend(customer.person.phone.iter().map(|phone| (keys.phone_hash(phone), customer.id.as_i64())));
        rows.extend(customer.person.email.iter().map(|email| (keys.email_hash(email), customer.id.as_i64())));
    }
    rows.sort_unstable();
    let (hashes, ids): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let columns = vec![Column::Int(vec![tenant.0; ids.len()]), Column::Bytes(hashes), Column::BigInt(ids)];
    CONTACTS.write(transaction, columns).await?;
    Ok(())
}

/// The customers with these numbers that are there, opened, by number.
pub async fn load(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    ids: &[CustomerId],
) -> Result<Vec<StoredCustomer>, StoreError> {
    let mut customers = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows = customer::Entity::find()
            .filter(customer::Column::TenantId.eq(tenant.0))
            .filter(customer::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .filter(customer::Column::ErasedAt.is_null())
            .order_by_asc(customer::Column::CustomerId)
            .all(connection)
            .await?;
        customers.extend(open_all(connection, tenant, keys, rows).await?);
    }
    Ok(customers)
}

/// Opens rows, with their keys in one query more.
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
    // Read behind the rows, a key that is gone says that its customer was erased in between.
    let rows = rows.into_iter().filter_map(|row| wrapped.remove(&row.customer_id).map(|key| (row, key)));
    rows.map(|(row, wrapped_key)| open(tenant, keys, &row, wrapped_key)).collect()
}

/// One customer, opened.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    id: CustomerId,
) -> Result<Option<StoredCustomer>, StoreError> {
    Ok(load(connection, tenant, keys, &[id]).await?.pop())
}

/// A page of customers.
pub struct CustomerPage {
    /// Those that are to be seen, opened, by number.
    pub customers: Vec<StoredCustomer>,
    /// The last customer that was looked at.
    pub last: Option<i64>,
    /// Whether there may be more behind it.
    pub more: bool,
}

/// Up to `limit` customers behind `after` of whom `reaches` holds. It looks at so many rows and no more: a page of a caller that reaches
/// few may be short, or empty, with more behind it.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    after: i64,
    limit: u64,
    reaches: Option<&(dyn Fn(&CustomerAttributes) -> bool + Sync)>,
) -> Result<CustomerPage, StoreError> {
    let rows_to_look_at = if reaches.is_some() { limit.max(LEAST_ROWS_PER_PAGE) } else { limit };
    let rows = customer::Entity::find()
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(customer::Column::CustomerId.gt(after))
        .filter(customer::Column::ErasedAt.is_null())
        .order_by_asc(customer::Column::CustomerId)
        .limit(rows_to_look_at)
        .all(connection)
        .await?;
    let more = rows.len() as u64 >= rows_to_look_at;
    let mut page = CustomerPage { customers: Vec::new(), last: None, more };
    let mut within_reach = Vec::new();
    for row in rows {
        if within_reach.len() as u64 == limit {
            page.more = true;
            break;
        }
        page.last = Some(row.customer_id);
        // Before the row is opened: what nobody will see stays sealed.
        let attributes = decode_attributes(&row.attributes)?;
        if reaches.is_none_or(|reaches| reaches(&attributes)) {
            within_reach.push(row);
        }
    }
    page.customers = open_all(connection, tenant, keys, within_reach).await?;
    Ok(page)
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
    transaction: &DatabaseTransaction,
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
        .filter(customer::Column::CustomerId.eq(id.as_i64()))
        .filter(is_there)
        .exec(transaction)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// The attributes, which are in clear, of those of these customers that are processed: neither erased nor restricted.
pub async fn attributes(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    ids: &[CustomerId],
) -> Result<Vec<(CustomerId, CustomerAttributes)>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(i64, Vec<u8>)> = customer::Entity::find()
            .select_only()
            .column(customer::Column::CustomerId)
            .column(customer::Column::Attributes)
            .filter(customer::Column::TenantId.eq(tenant.0))
            .filter(customer::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .filter(customer::Column::ErasedAt.is_null())
            .filter(customer::Column::RestrictedAt.is_null())
            .order_by_asc(customer::Column::CustomerId)
            .into_tuple()
            .all(connection)
            .await?;
        for (id, attributes) in rows {
            let id = CustomerId::try_from(id).map_err(|_| StoreError::Sealed("customer id"))?;
            found.push((id, decode_attributes(&attributes)?));
        }
    }
    Ok(found)
}

/// The customers with a contact of this hash, as far as anybody wants to know: nobody is looked up among more.
pub async fn with_contact(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    hash: Vec<u8>,
) -> Result<Vec<CustomerId>, StoreError> {
    let rows = contact::Entity::find()
        .filter(contact::Column::TenantId.eq(tenant.0))
        .filter(contact::Column::ContactHmac.eq(hash))
        .order_by_asc(contact::Column::CustomerId)
        .limit(MAX_OF_ONE_CONTACT)
        .all(connection)
        .await?;
    rows.into_iter()
        .map(|row| CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id")))
        .collect()
}

fn open(
    tenant: TenantId,
    keys: &TenantKeys,
    row: &customer::Model,
    wrapped_key: Vec<u8>,
) -> Result<StoredCustomer, StoreError> {
    let id = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let data_key = keys.wrapping.unwrap_key(&key_place(tenant, id), &wrapped_key)?;
    let plain = data_key.open(&person_place(tenant, id), &row.sealed_person)?;
    let message = Customer::decode(plain.as_slice()).map_err(|_| StoreError::Sealed("customer"))?;
    let identities = message.identities.into_iter();
    Ok(StoredCustomer {
        id,
        identities: identities.map(|it| Identity { source: it.source, id: it.id.unwrap_or_default() }).collect(),
        person: Person {
            display_name: message.display_name,
            phone: message.phone,
            email: message.email,
            address: message.address,
            birth_date: message.birth_date,
            custom: from_messages(message.custom_attributes),
        },
        attributes: decode_attributes(&row.attributes)?,
        created_at: Instant::from_micros(row.created_at),
        updated_at: Instant::from_micros(row.updated_at),
        revision: row.revision,
        restricted_at: row.restricted_at.map(Instant::from_micros),
        wrapped_key,
        is_new: false,
    })
}
