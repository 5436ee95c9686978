//! Writing customers, and what they are found by.

use super::record::Record;
use super::{KEYS_PER_QUERY, StoredCustomer, person_message, person_place, record_key};
use crate::store::entities::contact;
use crate::store::keys::TenantKeys;
use crate::store::{attributes, conflicts, referrals};
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

const CUSTOMERS: Target = Target {
    table: "customer",
    columns: &[
        "tenant_id",
        "customer_id",
        "attributes",
        "sealed_person",
        "created_at",
        "updated_at",
        "revision",
        "said_at",
    ],
    key: &["tenant_id", "customer_id"],
    on_conflict: OnConflict::Replace(&["attributes", "sealed_person", "updated_at", "revision", "said_at"]),
};

const NEW_CUSTOMERS: Target = Target { on_conflict: OnConflict::Never, ..CUSTOMERS };

const KEYS: Target = Target {
    table: "customer_key",
    columns: &["tenant_id", "customer_id", "wrapped_key"],
    key: &["tenant_id", "customer_id"],
    on_conflict: OnConflict::Never,
};

const CONTACTS: Target = Target {
    table: "contact",
    columns: &["tenant_id", "contact_hmac", "customer_id"],
    key: &["tenant_id", "contact_hmac", "customer_id"],
    on_conflict: OnConflict::Keep,
};

/// Writes the records of customers that are new or changed, with the hashes by which their contacts and their referrers are found. Custom
/// attributes that are not declared any more leave them here. Returns whose referrers are others now, as [`referrals::write`] does.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &mut [StoredCustomer],
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    forget_undeclared(transaction, tenant, customers).await?;
    let records = customers.iter().flat_map(|customer| &customer.records).filter(|record| record.is_changed);
    let mut records: Vec<&Record> = records.collect();
    records.sort_unstable_by_key(|record| record.home);
    let (new, others): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.is_new);
    // A number is given once: nobody asks whether a new customer's rows are there.
    NEW_CUSTOMERS.write(transaction, customer_columns(tenant, keys, &new)?).await?;
    CUSTOMERS.write(transaction, customer_columns(tenant, keys, &others)?).await?;
    let ids: Vec<_> = new.iter().map(|record| record.home.as_i64()).collect();
    let wrapped = new.iter().map(|record| record.wrapped_key.clone()).collect();
    let columns = vec![Column::Int(vec![tenant.0; ids.len()]), Column::BigInt(ids), Column::Bytes(wrapped)];
    KEYS.write(transaction, columns).await?;
    write_contacts(transaction, tenant, keys, customers).await?;
    referrals::write(transaction, tenant, keys, customers).await
}

fn customer_columns(tenant: TenantId, keys: &TenantKeys, records: &[&Record]) -> Result<Vec<Column>, StoreError> {
    let mut sealed = Vec::with_capacity(records.len());
    for record in records {
        // The message is the format: fields may join it, and old ciphertext still opens.
        let plain = person_message(record.home, &record.identities, &record.person).encode_to_vec();
        sealed.push(record_key(tenant, keys, record)?.seal(&keys.entropy, &person_place(tenant, record.home), &plain));
    }
    Ok(vec![
        Column::Int(vec![tenant.0; records.len()]),
        Column::BigInt(records.iter().map(|record| record.home.as_i64()).collect()),
        Column::Bytes(records.iter().map(|record| record.attributes.encode_to_vec()).collect()),
        Column::Bytes(sealed),
        Column::BigInt(records.iter().map(|record| record.created_at.micros()).collect()),
        Column::BigInt(records.iter().map(|record| record.updated_at.micros()).collect()),
        Column::BigInt(records.iter().map(|record| record.revision).collect()),
        Column::Bytes(records.iter().map(|record| record.times.encode(record.updated_at)).collect()),
    ])
}

/// Takes the custom attributes that are not declared any more from customers that are about to change.
pub async fn forget_undeclared(
    transaction: &Transaction,
    tenant: TenantId,
    customers: &mut [StoredCustomer],
) -> Result<(), StoreError> {
    if customers.iter().any(|customer| !customer.person.custom.is_empty()) {
        // Read in the transaction: what was declared when they were checked may be gone, or newer than what this process knows.
        let declared = attributes::declared(transaction, tenant).await?;
        for customer in customers.iter_mut().filter(|customer| !customer.person.custom.is_empty()) {
            customer.retain_custom(|key, value| declared.covers(key, value.class));
        }
    }
    Ok(())
}

/// Writes the hashes by which customers are found: the contacts of all their records, and the birthday. Notes with whom they share a contact.
async fn write_contacts(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &[StoredCustomer],
) -> Result<(), StoreError> {
    let changed: Vec<_> =
        customers.iter().filter(|customer| customer.had_some()).map(|customer| customer.id.as_i64()).collect();
    for chunk in changed.chunks(KEYS_PER_QUERY) {
        contact::Entity::delete_many()
            .filter(contact::Column::TenantId.eq(tenant.0))
            .filter(contact::Column::CustomerId.is_in(chunk.iter().copied()))
            .exec(transaction)
            .await?;
    }
    let is_new = |customer: &&StoredCustomer| customer.records.iter().all(|record| record.is_new);
    let (new, others): (Vec<_>, Vec<_>) = customers.iter().partition(is_new);
    let (new, others) = (contacts_of(keys, &new), contacts_of(keys, &others));
    // Before they are written: what most of them find then is nothing.
    conflicts::note_shared_contacts(transaction, tenant, keys, customers, [&new, &others]).await?;
    let new_contacts = Target { on_conflict: OnConflict::Never, ..CONTACTS };
    new_contacts.write(transaction, contact_columns(tenant, new)).await?;
    CONTACTS.write(transaction, contact_columns(tenant, others)).await?;
    Ok(())
}

/// The hashes by which customers are found, each with the customer's number; sorted, and each pair once.
fn contacts_of(keys: &TenantKeys, customers: &[&StoredCustomer]) -> Vec<(Vec<u8>, i64)> {
    let mut rows = Vec::new();
    for customer in customers {
        for person in customer.records.iter().map(|record| &record.person) {
            rows.extend(person.phone.iter().map(|phone| (keys.phone_hash(phone), customer.id.as_i64())));
            rows.extend(person.email.iter().map(|email| (keys.email_hash(email), customer.id.as_i64())));
        }
        // Of what its records say, a customer has one birthday.
        let born = customer.person.birth_date.iter();
        rows.extend(born.map(|date| (keys.birthday_hash(date.month, date.day), customer.id.as_i64())));
    }
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn contact_columns(tenant: TenantId, contacts: Vec<(Vec<u8>, i64)>) -> Vec<Column> {
    let (hashes, ids): (Vec<_>, Vec<_>) = contacts.into_iter().unzip();
    vec![Column::Int(vec![tenant.0; ids.len()]), Column::Bytes(hashes), Column::BigInt(ids)]
}
