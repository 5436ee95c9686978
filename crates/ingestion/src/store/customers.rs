//! Customers: what identifies them is ciphertext from the first write.

use super::entities::{contact, customer};
use super::keys::TenantKeys;
use crate::intake::{CustomerPatch, Identity, Person};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Customer, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};
use quintile_store::StoreError;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::sealing::Key;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;
/// Rows that a page looks at, at least, for a caller that does not reach all of them.
const LEAST_ROWS_PER_PAGE: u64 = 1_000;

const CUSTOMERS: Target = Target {
    table: "customer",
    columns: &[
        "tenant_id",
        "customer_id",
        "attributes",
        "data_key",
        "sealed_person",
        "created_at",
        "updated_at",
        "revision",
    ],
    key: &["tenant_id", "customer_id"],
    on_conflict: OnConflict::Replace(&["attributes", "sealed_person", "updated_at", "revision"]),
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
    data_key: Vec<u8>,
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
            data_key: keys.wrapping.wrap(&keys.entropy, &key_place(tenant, id), &data_key),
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
        if let Some(attributes) = &patch.attributes {
            self.attributes = attributes.clone();
        }
        let changed = before != (self.person.clone(), self.attributes.clone());
        if changed {
            self.changed(now);
        }
        changed
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

    /// The message, unmasked.
    pub fn message(&self) -> Customer {
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

/// Writes customers, new and changed ones, with the hashes by which their contacts are found.
pub async fn write(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    keys: &TenantKeys,
    mut customers: Vec<StoredCustomer>,
) -> Result<(), StoreError> {
    customers.sort_unstable_by_key(|customer| customer.id);
    let mut sealed = Vec::with_capacity(customers.len());
    for customer in &customers {
        let data_key = keys.wrapping.unwrap_key(&key_place(tenant, customer.id), &customer.data_key)?;
        // The message is the format: fields may join it, and old ciphertext still opens.
        let plain = Customer {
            attributes: None,
            create_time: None,
            update_time: None,
            etag: String::new(),
            ..customer.message()
        };
        sealed.push(data_key.seal(&keys.entropy, &person_place(tenant, customer.id), &plain.encode_to_vec()));
    }
    let columns = vec![
        Column::Int(vec![tenant.0; customers.len()]),
        Column::BigInt(customers.iter().map(|customer| customer.id.as_i64()).collect()),
        Column::Bytes(customers.iter().map(|customer| customer.attributes.encode_to_vec()).collect()),
        Column::Bytes(customers.iter().map(|customer| customer.data_key.clone()).collect()),
        Column::Bytes(sealed),
        Column::BigInt(customers.iter().map(|customer| customer.created_at.micros()).collect()),
        Column::BigInt(customers.iter().map(|customer| customer.updated_at.micros()).collect()),
        Column::BigInt(customers.iter().map(|customer| customer.revision).collect()),
    ];
    CUSTOMERS.write(transaction, columns).await?;
    write_contacts(transaction, tenant, keys, &customers).await
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
            .order_by_asc(customer::Column::CustomerId)
            .all(connection)
            .await?;
        for row in rows {
            customers.push(open(tenant, keys, row)?);
        }
    }
    Ok(customers)
}

/// One customer, opened.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    id: CustomerId,
) -> Result<Option<StoredCustomer>, StoreError> {
    let row = customer::Entity::find_by_id((tenant.0, id.as_i64())).one(connection).await?;
    row.map(|row| open(tenant, keys, row)).transpose()
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
        .order_by_asc(customer::Column::CustomerId)
        .limit(rows_to_look_at)
        .all(connection)
        .await?;
    let more = rows.len() as u64 >= rows_to_look_at;
    let mut page = CustomerPage { customers: Vec::new(), last: None, more };
    for row in rows {
        if page.customers.len() as u64 == limit {
            page.more = true;
            break;
        }
        page.last = Some(row.customer_id);
        // Before the row is opened: what nobody will see stays sealed.
        let attributes = decode_attributes(&row.attributes)?;
        if reaches.is_none_or(|reaches| reaches(&attributes)) {
            page.customers.push(open(tenant, keys, row)?);
        }
    }
    Ok(page)
}

fn decode_attributes(encoded: &[u8]) -> Result<CustomerAttributes, StoreError> {
    CustomerAttributes::decode(encoded).map_err(|_| StoreError::Sealed("attributes"))
}

/// The attributes of these customers, which are in clear.
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

/// The customers with a contact of this hash; two at most are of interest.
pub async fn with_contact(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    hash: Vec<u8>,
) -> Result<Vec<CustomerId>, StoreError> {
    let rows = contact::Entity::find()
        .filter(contact::Column::TenantId.eq(tenant.0))
        .filter(contact::Column::ContactHmac.eq(hash))
        .order_by_asc(contact::Column::CustomerId)
        .limit(2)
        .all(connection)
        .await?;
    rows.into_iter()
        .map(|row| CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id")))
        .collect()
}

fn open(tenant: TenantId, keys: &TenantKeys, row: customer::Model) -> Result<StoredCustomer, StoreError> {
    let id = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let data_key = keys.wrapping.unwrap_key(&key_place(tenant, id), &row.data_key)?;
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
        },
        attributes: decode_attributes(&row.attributes)?,
        created_at: Instant::from_micros(row.created_at),
        updated_at: Instant::from_micros(row.updated_at),
        revision: row.revision,
        data_key: row.data_key,
    })
}
