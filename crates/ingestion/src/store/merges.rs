//! Merging customers and taking it back. A merge is a link between two founding identities; a customer is what is linked together, and
//! bears the lowest number. So the order of merges does not show, and without a link everything is as if it had never been.

use super::customers::{self, StoredCustomer};
use super::entities::{contact, customer, customer_merge, subject};
use super::keys::TenantKeys;
use super::{conflicts, consents, referrals};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::MergeCause;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction};
use roaring::RoaringBitmap;
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of one query: under the parameter limits of both databases.
const KEYS_PER_QUERY: usize = 500;

const MERGES: Target = Target {
    table: "customer_merge",
    columns: &["tenant_id", "left_id", "right_id", "cause", "created_at"],
    key: &["tenant_id", "left_id", "right_id"],
    on_conflict: OnConflict::Keep,
};

/// Two homes, the lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The lower.
    pub left: CustomerId,
    /// The higher.
    pub right: CustomerId,
}

impl Pair {
    /// The pair of two homes. `None`: they are one.
    pub fn of(one: CustomerId, other: CustomerId) -> Option<Self> {
        (one != other).then(|| Self { left: one.min(other), right: one.max(other) })
    }
}

/// Whom links touch that came or went.
#[derive(Default)]
pub struct Regrouped {
    /// Those whose homes they link.
    pub linked: RoaringBitmap,
    /// Those who have sent them.
    pub referrers: RoaringBitmap,
}

/// Links pairs. Nobody is touched by it if all links were there.
pub async fn link(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    pairs: &[Pair],
    cause: MergeCause,
    now: Instant,
) -> Result<Regrouped, StoreError> {
    let columns = vec![
        Column::Int(vec![tenant.0; pairs.len()]),
        Column::BigInt(pairs.iter().map(|pair| pair.left.as_i64()).collect()),
        Column::BigInt(pairs.iter().map(|pair| pair.right.as_i64()).collect()),
        Column::Int(vec![cause.into(); pairs.len()]),
        Column::BigInt(vec![now.micros(); pairs.len()]),
    ];
    if MERGES.write(transaction, columns).await? == 0 {
        return Ok(Regrouped::default());
    }
    regroup(transaction, tenant, keys, pairs, now).await
}

/// Takes a link away. `None`: it was not there.
pub async fn unlink(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    pair: Pair,
    now: Instant,
) -> Result<Option<Regrouped>, StoreError> {
    let key = (tenant.0, pair.left.as_i64(), pair.right.as_i64());
    if customer_merge::Entity::delete_by_id(key).exec(transaction).await?.rows_affected == 0 {
        return Ok(None);
    }
    regroup(transaction, tenant, keys, &[pair], now).await.map(Some)
}

/// Groups the homes around some pairs anew by the links that there are. Nobody else changes customers meanwhile.
async fn regroup(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    around: &[Pair],
    now: Instant,
) -> Result<Regrouped, StoreError> {
    let homes: BTreeSet<CustomerId> = around.iter().flat_map(|pair| [pair.left, pair.right]).collect();
    let present = homes_around(transaction, tenant, &homes).await?;
    let links = links_of(transaction, tenant, present.keys()).await?;
    let grouped = components(present.keys().copied(), &links);
    for (home, survivor) in &grouped {
        if present.get(home) != Some(survivor) {
            move_home(transaction, tenant, *home, present.get(home).copied().unwrap_or(*home), *survivor).await?;
        }
    }
    let touched: Vec<CustomerId> = grouped.keys().copied().collect();
    let mut named = referrals::forget(transaction, tenant, &touched).await?;
    for chunk in touched.chunks(KEYS_PER_QUERY) {
        contact::Entity::delete_many()
            .filter(contact::Column::TenantId.eq(tenant.0))
            .filter(contact::Column::CustomerId.is_in(chunk.iter().map(|id| id.as_i64())))
            .exec(transaction)
            .await?;
    }
    let survivors: BTreeSet<CustomerId> = grouped.values().copied().collect();
    let survivors: Vec<_> = survivors.into_iter().collect();
    let mut regrouped = customers::load(transaction, tenant, keys, &survivors).await?;
    for customer in &mut regrouped {
        consents::stand(transaction, tenant, customer).await?;
        customer.changed(now);
        // Also where nothing else differs: an etag from before must not be good any more, and contacts are compared anew.
        customer.rewrite(now);
    }
    conflicts::forget_shared_contacts(transaction, tenant, &touched).await?;
    let written = customers::write(transaction, tenant, keys, &mut regrouped).await?;
    named.extend(written.into_iter().map(|(_, hash)| hash));
    let referrers = referrals::owners(transaction, tenant, &named).await?;
    Ok(Regrouped { linked: touched.into_iter().map(|id| id.0).collect(), referrers })
}

/// Every home of the customers that these homes belong to, with the customer.
async fn homes_around(
    transaction: &Transaction,
    tenant: TenantId,
    homes: &BTreeSet<CustomerId>,
) -> Result<BTreeMap<CustomerId, CustomerId>, StoreError> {
    let mut found = BTreeMap::new();
    let homes: Vec<i64> = homes.iter().map(|home| home.as_i64()).collect();
    for chunk in homes.chunks(KEYS_PER_QUERY) {
        let own = customer::Entity::find()
            .filter(customer::Column::TenantId.eq(tenant.0))
            .filter(customer::Column::CustomerId.is_in(chunk.iter().copied()))
            .all(transaction)
            .await?;
        let survivors: Vec<i64> = own.iter().map(|row| row.merged_into.unwrap_or(row.customer_id)).collect();
        let rows = customers::rows_of(tenant, &Numbers::List(survivors)).all(transaction).await?;
        for row in rows {
            found.insert(number(row.customer_id)?, number(row.merged_into.unwrap_or(row.customer_id))?);
        }
    }
    Ok(found)
}

async fn links_of(
    transaction: &Transaction,
    tenant: TenantId,
    homes: impl Iterator<Item = &CustomerId>,
) -> Result<Vec<(CustomerId, CustomerId)>, StoreError> {
    let homes: Vec<i64> = homes.map(|home| home.as_i64()).collect();
    let mut links = Vec::new();
    for chunk in homes.chunks(KEYS_PER_QUERY) {
        let rows = customer_merge::Entity::find()
            .filter(customer_merge::Column::TenantId.eq(tenant.0))
            .filter(customer_merge::Column::LeftId.is_in(chunk.iter().copied()))
            .all(transaction)
            .await?;
        for row in rows {
            links.push((number(row.left_id)?, number(row.right_id)?));
        }
    }
    Ok(links)
}

/// For each home the lowest one that it is linked with, over however many links.
fn components(
    homes: impl Iterator<Item = CustomerId>,
    links: &[(CustomerId, CustomerId)],
) -> BTreeMap<CustomerId, CustomerId> {
    let mut lowest: BTreeMap<CustomerId, CustomerId> = homes.map(|home| (home, home)).collect();
    loop {
        let mut settled = true;
        for (left, right) in links {
            let (Some(one), Some(other)) = (lowest.get(left).copied(), lowest.get(right).copied()) else { continue };
            if one != other {
                settled = false;
                lowest.insert(*left, one.min(other));
                lowest.insert(*right, one.min(other));
            }
        }
        if settled {
            return lowest;
        }
    }
}

async fn move_home(
    transaction: &Transaction,
    tenant: TenantId,
    home: CustomerId,
    from: CustomerId,
    to: CustomerId,
) -> Result<(), StoreError> {
    let merged_into = (home != to).then(|| to.as_i64());
    customer::Entity::update_many()
        .col_expr(customer::Column::MergedInto, Expr::value(merged_into))
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(customer::Column::CustomerId.eq(home.as_i64()))
        .exec(transaction)
        .await?;
    subject::Entity::update_many()
        .col_expr(subject::Column::CustomerId, Expr::value(to.as_i64()))
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(subject::Column::CustomerId.eq(from.as_i64()))
        .filter(subject::Column::HomeId.eq(home.as_i64()))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Takes away every link of a customer's homes, who is being erased.
pub async fn forget(transaction: &Transaction, tenant: TenantId, customer: &StoredCustomer) -> Result<u64, StoreError> {
    let homes = || customer.records().iter().map(|record| record.home.as_i64());
    let of_homes = Condition::any()
        .add(customer_merge::Column::LeftId.is_in(homes()))
        .add(customer_merge::Column::RightId.is_in(homes()));
    let deleted = customer_merge::Entity::delete_many()
        .filter(customer_merge::Column::TenantId.eq(tenant.0))
        .filter(of_homes)
        .exec(transaction)
        .await?;
    Ok(deleted.rows_affected)
}

/// The customer that a home belongs to.
pub async fn survivor(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    home: CustomerId,
) -> Result<CustomerId, StoreError> {
    let row = customer::Entity::find_by_id((tenant.0, home.as_i64())).one(connection).await?;
    row.and_then(|row| row.merged_into).map_or(Ok(home), number)
}

/// One merge.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    pair: Pair,
) -> Result<Option<customer_merge::Model>, StoreError> {
    let key = (tenant.0, pair.left.as_i64(), pair.right.as_i64());
    Ok(customer_merge::Entity::find_by_id(key).one(connection).await?)
}

/// Up to `limit` merges behind a pair of numbers.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    (left, right): (i64, i64),
    limit: u64,
) -> Result<Vec<customer_merge::Model>, StoreError> {
    use customer_merge::Column::{LeftId, RightId};
    let values: [Value; 2] = [left.into(), right.into()];
    let later = Expr::tuple([LeftId, RightId].map(Expr::col)).gt(Expr::tuple(values.map(Expr::val)));
    let query = customer_merge::Entity::find().filter(customer_merge::Column::TenantId.eq(tenant.0)).filter(later);
    Ok(query.order_by_asc(LeftId).order_by_asc(RightId).limit(limit).all(connection).await?)
}

fn number(id: i64) -> Result<CustomerId, StoreError> {
    CustomerId::try_from(id).map_err(|_| StoreError::Sealed("customer id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(links: &[(u32, u32)]) -> Vec<(CustomerId, CustomerId)> {
        links.iter().map(|(left, right)| (CustomerId(*left), CustomerId(*right))).collect()
    }

    #[test]
    fn a_chain_of_links_is_one_customer_and_without_a_link_two() {
        let homes = || (1..=5).map(CustomerId);
        let whole = components(homes(), &ids(&[(4, 5), (2, 4), (1, 2)]));
        assert_eq!(whole.values().map(|id| id.0).collect::<Vec<_>>(), [1, 1, 3, 1, 1]);
        let parted = components(homes(), &ids(&[(4, 5), (1, 2)]));
        assert_eq!(parted.values().map(|id| id.0).collect::<Vec<_>>(), [1, 1, 3, 4, 4]);
    }

    proptest! {
        #[test]
        fn neither_the_order_of_links_nor_their_repetition_shows(
            links in prop::collection::vec((1..8_u32, 1..8_u32), 0..10), turn in 0..10_usize,
        ) {
            let links: Vec<_> = links.into_iter().filter(|(left, right)| left < right).collect();
            let mut others = links.clone();
            others.extend(links.iter().copied().take(2));
            let turn = turn % others.len().max(1);
            others.rotate_left(turn);
            let homes = || (1..8).map(CustomerId);
            prop_assert_eq!(components(homes(), &ids(&links)), components(homes(), &ids(&others)));
        }
    }
}
