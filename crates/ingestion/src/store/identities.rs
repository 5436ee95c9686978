//! Who is who: identities to subjects, subjects to customers, and numbers for new ones.

use super::customers::StoredCustomer;
use super::entities::counter;
use super::hashes;
use super::keys::TenantKeys;
use crate::intake::Identity;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::{ConnectionTrait, EntityTrait, Statement};
use std::collections::HashMap;

/// The counter of subjects.
const SUBJECT_NUMBERS: &str = "subject";

const IDENTITIES: Target = Target {
    table: "identity",
    columns: &["tenant_id", "identity_hmac", "subject_id"],
    key: &["tenant_id", "identity_hmac"],
    on_conflict: OnConflict::KeepOptimistically("take_identities"),
};

const SUBJECTS: Target = Target {
    table: "subject",
    columns: &["tenant_id", "subject_id", "customer_id", "home_id"],
    key: &["tenant_id", "subject_id"],
    // The numbers were reserved.
    on_conflict: OnConflict::Never,
};

/// A subject and the customer that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The subject: facts hang on it.
    pub subject_id: i64,
    /// The customer.
    pub customer: CustomerId,
    /// The customer that the subject was made with.
    pub home: CustomerId,
}

/// The owners of these identities, as far as they are known.
pub async fn resolve(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    identities: &[&Identity],
) -> Result<HashMap<Identity, Owner>, StoreError> {
    let mut by_hash: Vec<(Vec<u8>, &Identity)> =
        identities.iter().map(|identity| (keys.identity_hash(identity), *identity)).collect();
    by_hash.sort_unstable();
    let hashes: Vec<&Vec<u8>> = by_hash.iter().map(|(hash, _)| hash).collect();
    let found = owners_of_hashes(connection, tenant, &hashes).await?;
    let owner = |(hash, identity): (Vec<u8>, &Identity)| Some((identity.clone(), *found.get(&hash)?));
    Ok(by_hash.into_iter().filter_map(owner).collect())
}

/// The owners of identities by their hashes.
pub async fn owners_of_hashes(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    hashes: &[&Vec<u8>],
) -> Result<HashMap<Vec<u8>, Owner>, StoreError> {
    let backend = connection.get_database_backend();
    let mut owners = HashMap::with_capacity(hashes.len());
    for (condition, values) in hashes::conditions(backend, tenant, hashes) {
        let sql = format!(
            "SELECT identity_hmac, subject_id, customer_id, home_id FROM identity \
             JOIN subject USING (tenant_id, subject_id) WHERE tenant_id = $1 AND identity_hmac {condition}"
        );
        let statement = Statement::from_sql_and_values(backend, sql, values);
        for row in connection.query_all_raw(statement).await? {
            let customer = |column| {
                CustomerId::try_from(row.try_get_by_index::<i64>(column)?)
                    .map_err(|_| StoreError::Sealed("customer id"))
            };
            let owner = Owner { subject_id: row.try_get_by_index(1)?, customer: customer(2)?, home: customer(3)? };
            owners.insert(row.try_get_by_index(0)?, owner);
        }
    }
    Ok(owners)
}

/// The identities of customers by subject.
pub async fn by_subject(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &[StoredCustomer],
) -> Result<HashMap<i64, Identity>, StoreError> {
    let asked: Vec<_> = customers.iter().flat_map(|customer| &customer.identities).collect();
    let owners = resolve(connection, tenant, keys, &asked).await?;
    Ok(owners.into_iter().map(|(identity, owner)| (owner.subject_id, identity)).collect())
}

/// Identities that nobody knows yet, of one customer.
#[derive(Clone, Debug)]
pub struct Newcomers {
    /// The identities; one at least.
    pub identities: Vec<Identity>,
    /// The customer and home that they join. `None`: the first of them founds a customer.
    pub join: Option<(CustomerId, CustomerId)>,
}

/// Gives identities that nobody knows yet their subjects.
pub async fn register(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    newcomers: &[Newcomers],
) -> Result<HashMap<Identity, Owner>, StoreError> {
    let count = newcomers.iter().map(|group| group.identities.len()).sum::<usize>() as i64;
    if count == 0 {
        return Ok(HashMap::new());
    }
    let mut next = reserve(transaction, tenant, SUBJECT_NUMBERS, count).await?;
    let mut owners = HashMap::with_capacity(newcomers.len());
    let (mut hashes, mut subjects) = (Vec::new(), Vec::new());
    for group in newcomers {
        let founded = CustomerId::try_from(next).map_err(|_| StoreError::Sealed("there are too many customers"))?;
        let (customer, home) = group.join.unwrap_or((founded, founded));
        for identity in &group.identities {
            let owner = Owner { subject_id: next, customer, home };
            owners.insert(identity.clone(), owner);
            hashes.push((keys.identity_hash(identity), next));
            subjects.push(owner);
            next += 1;
        }
    }
    hashes.sort_unstable();
    let (hashes, of_hashes): (Vec<_>, Vec<_>) = hashes.into_iter().unzip();
    let rows = subjects.len();
    let tenants = || Column::Int(vec![tenant.0; rows]);
    let written =
        IDENTITIES.write(transaction, vec![tenants(), Column::Bytes(hashes), Column::BigInt(of_hashes)]).await?;
    if written != rows as u64 {
        // Another replica was faster with one of them: with its rows the next attempt will find it.
        return Err(StoreError::Fenced);
    }
    let columns = vec![
        tenants(),
        Column::BigInt(subjects.iter().map(|owner| owner.subject_id).collect()),
        Column::BigInt(subjects.iter().map(|owner| owner.customer.as_i64()).collect()),
        Column::BigInt(subjects.iter().map(|owner| owner.home.as_i64()).collect()),
    ];
    SUBJECTS.write(transaction, columns).await?;
    Ok(owners)
}

/// Reserves `count` numbers and returns the first. Numbers of a transaction that fails are given again: ids stay dense.
pub async fn reserve(
    transaction: &Transaction,
    tenant: TenantId,
    counter: &str,
    count: i64,
) -> Result<i64, StoreError> {
    let statement = Statement::from_sql_and_values(
        transaction.get_database_backend(),
        "INSERT INTO counter (tenant_id, name, last_id) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, name) DO UPDATE SET last_id = counter.last_id + excluded.last_id RETURNING last_id",
        [tenant.0.into(), counter.into(), count.into()],
    );
    let row = transaction.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| sea_orm::DbErr::RecordNotFound("counter".to_owned()))?;
    let last: i64 = row.try_get("", "last_id")?;
    Ok(last - count + 1)
}

/// The highest number of a subject so far, and so of a customer; 0 for none.
pub async fn last_number(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    let row = counter::Entity::find_by_id((tenant.0, SUBJECT_NUMBERS.to_owned())).one(connection).await?;
    Ok(row.map_or(0, |row| row.last_id))
}
