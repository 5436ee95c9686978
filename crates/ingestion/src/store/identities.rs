//! Who is who: identities to subjects, subjects to customers, and numbers for new ones.

use super::customers::StoredCustomer;
use super::entities::{counter, identity, subject};
use super::keys::TenantKeys;
use crate::intake::Identity;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_store::StoreError;
use quintile_store::bulk::{Column, OnConflict, Target};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, Statement};
use std::collections::HashMap;

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

/// The counter of subjects.
const SUBJECT_NUMBERS: &str = "subject";

const IDENTITIES: Target = Target {
    table: "identity",
    columns: &["tenant_id", "identity_hmac", "subject_id"],
    key: &["tenant_id", "identity_hmac"],
    on_conflict: OnConflict::Keep,
};

const SUBJECTS: Target = Target {
    table: "subject",
    columns: &["tenant_id", "subject_id", "customer_id", "home_id"],
    key: &["tenant_id", "subject_id"],
    on_conflict: OnConflict::Keep,
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
    let mut subjects: HashMap<Vec<u8>, i64> = HashMap::with_capacity(by_hash.len());
    for chunk in by_hash.chunks(KEYS_PER_QUERY) {
        let rows = identity::Entity::find()
            .filter(identity::Column::TenantId.eq(tenant.0))
            .filter(identity::Column::IdentityHmac.is_in(chunk.iter().map(|(hash, _)| hash.clone())))
            .all(connection)
            .await?;
        subjects.extend(rows.into_iter().map(|row| (row.identity_hmac, row.subject_id)));
    }
    let mut subject_ids: Vec<i64> = subjects.values().copied().collect();
    subject_ids.sort_unstable();
    let mut customers = HashMap::with_capacity(subject_ids.len());
    for chunk in subject_ids.chunks(KEYS_PER_QUERY) {
        let rows = subject::Entity::find()
            .filter(subject::Column::TenantId.eq(tenant.0))
            .filter(subject::Column::SubjectId.is_in(chunk.iter().copied()))
            .all(connection)
            .await?;
        customers.extend(rows.into_iter().map(|row| (row.subject_id, (row.customer_id, row.home_id))));
    }
    let mut owners = HashMap::with_capacity(by_hash.len());
    for (hash, identity) in by_hash {
        let owner = subjects.get(&hash).and_then(|subject_id| Some((*subject_id, *customers.get(subject_id)?)));
        if let Some((subject_id, (customer, home))) = owner {
            let number = |id| CustomerId::try_from(id).map_err(|_| StoreError::Sealed("customer id"));
            owners.insert(identity.clone(), Owner { subject_id, customer: number(customer)?, home: number(home)? });
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
    transaction: &DatabaseTransaction,
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
    transaction: &DatabaseTransaction,
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
