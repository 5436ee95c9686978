//! Pairs of customers that may be one person: for people to decide upon, never merged silently.

use super::customers::StoredCustomer;
use super::entities::{customer, identity_conflict};
use super::hashes;
use super::identities::Owner;
use super::keys::TenantKeys;
use super::merges::Pair;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{ConflictReason, ConflictState};
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement, Value};
use std::collections::{BTreeMap, HashMap};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

const CONFLICTS: Target = Target {
    table: "identity_conflict",
    columns: &["tenant_id", "left_id", "right_id", "reason", "state", "created_at"],
    key: &["tenant_id", "left_id", "right_id"],
    on_conflict: OnConflict::Keep,
};

/// Notes pairs, each with why. What was noted or decided before stays.
pub async fn note(
    transaction: &Transaction,
    tenant: TenantId,
    pairs: &BTreeMap<Pair, ConflictReason>,
    now: Instant,
) -> Result<(), StoreError> {
    let columns = vec![
        Column::Int(vec![tenant.0; pairs.len()]),
        Column::BigInt(pairs.keys().map(|pair| pair.left.as_i64()).collect()),
        Column::BigInt(pairs.keys().map(|pair| pair.right.as_i64()).collect()),
        Column::Int(pairs.values().map(|reason| (*reason).into()).collect()),
        Column::Int(vec![ConflictState::Open.into(); pairs.len()]),
        Column::BigInt(vec![now.micros(); pairs.len()]),
    ];
    CONFLICTS.write(transaction, columns).await?;
    Ok(())
}

/// A record with a contact.
struct Holder {
    customer: CustomerId,
    home: CustomerId,
    reason: ConflictReason,
    at: Instant,
}

/// Notes who has the telephone number or the e-mail address of one of these customers: the lowest, or the highest beside the lowest, of many with
/// the same one, so that a number that everybody gives makes no more pairs than customers. `contacts` are those of these customers, which are
/// about to be written, sorted lists of hashes with customers' numbers; none from before is there any more.
pub async fn note_shared_contacts(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customers: &[StoredCustomer],
    contacts: [&[(Vec<u8>, i64)]; 2],
) -> Result<(), StoreError> {
    let holders = holders(keys, customers);
    let found = lowest_and_highest(transaction, tenant, holders.keys()).await?;
    let mut pairs: BTreeMap<Pair, ConflictReason> = BTreeMap::new();
    for (hash, holders) in &holders {
        let of_these = contacts.into_iter().filter_map(|contacts| ends(contacts, hash));
        let ids: Vec<i64> = of_these.chain(found.get(hash).copied()).flat_map(|(low, high)| [low, high]).collect();
        let ends = [ids.iter().min(), ids.iter().max()].into_iter().flatten();
        let ends: Vec<_> = ends.filter_map(|id| CustomerId::try_from(*id).ok()).collect();
        for holder in holders {
            let other = ends.iter().copied().filter(|other| *other != holder.customer).min();
            // By its home: taken apart, the two that have the contact are still asked about.
            pairs.extend(other.and_then(|other| Pair::of(other, holder.home)).map(|pair| (pair, holder.reason)));
        }
    }
    let now = holders.values().flatten().map(|holder| holder.at).max();
    match now {
        Some(now) if !pairs.is_empty() => note(transaction, tenant, &pairs, now).await,
        _ => Ok(()),
    }
}

/// The lowest and the highest customer with each of these contacts, where there is any.
async fn lowest_and_highest(
    transaction: &Transaction,
    tenant: TenantId,
    hashes: impl Iterator<Item = &Vec<u8>>,
) -> Result<HashMap<Vec<u8>, (i64, i64)>, StoreError> {
    let mut hashes: Vec<_> = hashes.collect();
    hashes.sort_unstable();
    let backend = transaction.get_database_backend();
    let mut found = HashMap::new();
    for (condition, values) in hashes::conditions(backend, tenant, &hashes) {
        let sql = format!(
            "SELECT contact_hmac, min(customer_id), max(customer_id) FROM contact \
             WHERE tenant_id = $1 AND contact_hmac {condition} GROUP BY contact_hmac"
        );
        for row in transaction.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
            found.insert(row.try_get_by_index(0)?, (row.try_get_by_index(1)?, row.try_get_by_index(2)?));
        }
    }
    Ok(found)
}

/// The lowest and the highest customer with a contact in a sorted list.
fn ends(contacts: &[(Vec<u8>, i64)], hash: &Vec<u8>) -> Option<(i64, i64)> {
    let from = contacts.partition_point(|(other, _)| other < hash);
    let with_it = &contacts[from..from + contacts[from..].partition_point(|(other, _)| other == hash)];
    Some((with_it.first()?.1, with_it.last()?.1))
}

/// Who has which contact among the records that are new or changed.
fn holders(keys: &TenantKeys, customers: &[StoredCustomer]) -> HashMap<Vec<u8>, Vec<Holder>> {
    let mut holders: HashMap<Vec<u8>, Vec<Holder>> = HashMap::new();
    for customer in customers {
        for record in customer.records().iter().filter(|record| record.is_changed) {
            let phone = record.person.phone.iter().map(|phone| (keys.phone_hash(phone), ConflictReason::SamePhone));
            let email = record.person.email.iter().map(|email| (keys.email_hash(email), ConflictReason::SameEmail));
            for (hash, reason) in phone.chain(email) {
                let holder = Holder { customer: customer.id, home: record.home, reason, at: record.updated_at };
                holders.entry(hash).or_default().push(holder);
            }
        }
    }
    holders
}

/// Takes away what is not decided of these homes' contacts, which are about to be compared anew.
pub async fn forget_shared_contacts(
    transaction: &Transaction,
    tenant: TenantId,
    homes: &[CustomerId],
) -> Result<(), StoreError> {
    for chunk in homes.chunks(KEYS_PER_QUERY) {
        let ids = || chunk.iter().map(|home| home.as_i64());
        let of_homes = Condition::any()
            .add(identity_conflict::Column::LeftId.is_in(ids()))
            .add(identity_conflict::Column::RightId.is_in(ids()));
        identity_conflict::Entity::delete_many()
            .filter(identity_conflict::Column::TenantId.eq(tenant.0))
            .filter(identity_conflict::Column::State.eq(i32::from(ConflictState::Open)))
            .filter(identity_conflict::Column::Reason.ne(i32::from(ConflictReason::Identities)))
            .filter(of_homes)
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// Whether it was decided of one of these pairs to keep them apart.
pub async fn any_kept_apart(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    pairs: &[(Owner, Owner)],
) -> Result<bool, StoreError> {
    for (one, other) in pairs {
        let Some(pair) = Pair::of(one.home, other.home) else { continue };
        let decided = get(connection, tenant, pair).await?;
        if decided.is_some_and(|conflict| conflict.state == i32::from(ConflictState::KeptApart)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One conflict.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    pair: Pair,
) -> Result<Option<identity_conflict::Model>, StoreError> {
    let key = (tenant.0, pair.left.as_i64(), pair.right.as_i64());
    Ok(identity_conflict::Entity::find_by_id(key).one(connection).await?)
}

/// Up to `limit` conflicts of a state, or of all (`Unspecified`), behind a pair of numbers.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    state: ConflictState,
    (left, right): (i64, i64),
    limit: u64,
) -> Result<Vec<identity_conflict::Model>, StoreError> {
    use identity_conflict::Column::{LeftId, RightId, State};
    let values: [Value; 2] = [left.into(), right.into()];
    let later = Expr::tuple([LeftId, RightId].map(Expr::col)).gt(Expr::tuple(values.map(Expr::val)));
    let mut query =
        identity_conflict::Entity::find().filter(identity_conflict::Column::TenantId.eq(tenant.0)).filter(later);
    if state != ConflictState::Unspecified {
        query = query.filter(State.eq(i32::from(state)));
    }
    Ok(query.order_by_asc(LeftId).order_by_asc(RightId).limit(limit).all(connection).await?)
}

/// Writes down what was decided. Returns whether there was such a conflict.
pub async fn decide(
    transaction: &Transaction,
    tenant: TenantId,
    pair: Pair,
    state: ConflictState,
    now: Instant,
) -> Result<bool, StoreError> {
    let changed = identity_conflict::Entity::update_many()
        .col_expr(identity_conflict::Column::State, Expr::value(i32::from(state)))
        .col_expr(identity_conflict::Column::DecidedAt, Expr::value(Some(now.micros())))
        .filter(identity_conflict::Column::TenantId.eq(tenant.0))
        .filter(identity_conflict::Column::LeftId.eq(pair.left.as_i64()))
        .filter(identity_conflict::Column::RightId.eq(pair.right.as_i64()))
        .exec(transaction)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// Whether there is a customer of this number that is not erased, merged into another or not.
pub async fn is_there(connection: &impl ConnectionTrait, tenant: TenantId, id: CustomerId) -> Result<bool, StoreError> {
    let row = customer::Entity::find_by_id((tenant.0, id.as_i64())).one(connection).await?;
    Ok(row.is_some_and(|row| row.erased_at.is_none()))
}

/// Takes away every conflict of a customer's homes, who is being erased.
pub async fn forget(transaction: &Transaction, tenant: TenantId, customer: &StoredCustomer) -> Result<u64, StoreError> {
    let homes = || customer.records().iter().map(|record| record.home.as_i64());
    let of_homes = Condition::any()
        .add(identity_conflict::Column::LeftId.is_in(homes()))
        .add(identity_conflict::Column::RightId.is_in(homes()));
    let deleted = identity_conflict::Entity::delete_many()
        .filter(identity_conflict::Column::TenantId.eq(tenant.0))
        .filter(of_homes)
        .exec(transaction)
        .await?;
    Ok(deleted.rows_affected)
}
