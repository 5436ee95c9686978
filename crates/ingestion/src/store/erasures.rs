//! Erasures: what goes in one transaction, and the rows by which the rest is followed up.

use super::conflicts;
use super::consents;
use super::customers::{self, StoredCustomer};
use super::entities::{consent_event, contact, customer, customer_key, erasure, identity, referral, reject, subject};
use super::facts;
use super::identities;
use super::keys::TenantKeys;
use super::merges;
use super::referrals;
use super::rejects;
use crate::BACKUP_DAYS;
use crate::FACTS;
use crate::intake::{Identity, identities_of, normal_email, normal_phone, referrer_of};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{Erasure, Row, SourceIdentity, row};
use quintile_proto::types::ErasureReceipt;
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed, idempotency};
use roaring::RoaringBitmap;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

/// Rows of one query: under the parameter limits of both databases.
const ROWS_PER_QUERY: usize = 500;
const DAY_MICROS: i64 = 86_400_000_000;

/// An erasure as it is followed up.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredErasure {
    /// Its number.
    pub id: i64,
    /// The customer that was erased.
    pub customer: CustomerId,
    /// When. Machine time.
    pub requested_at: Instant,
    /// Its position in the feed of facts.
    pub facts_position: i64,
    /// When it was complete. Machine time. `None`: not yet.
    pub completed_at: Option<Instant>,
    /// The receipts so far.
    pub receipts: Vec<ErasureReceipt>,
}

impl StoredErasure {
    /// `erasures/{number}`.
    pub fn name(&self) -> String {
        format!("erasures/{}", self.id)
    }

    /// The message.
    pub fn message(&self) -> Erasure {
        let expire = |at: Instant| convert::timestamp(at.plus_micros(BACKUP_DAYS * DAY_MICROS));
        Erasure {
            name: self.name(),
            customer: self.customer.to_string(),
            request_time: Some(convert::timestamp(self.requested_at)),
            complete_time: self.completed_at.map(convert::timestamp),
            receipts: self.receipts.clone(),
            backups_expire_time: self.completed_at.map(expire),
            facts_position: self.facts_position,
        }
    }
}

/// The rejects behind a number that are about a customer, opened, and the number of the last that was looked at.
pub async fn rejects_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
    after: i64,
) -> Result<(Vec<(reject::Model, Row)>, i64), StoreError> {
    rejects_with(connection, tenant, keys, after, |row| is_about(row, customer)).await
}

/// As [`rejects_of`], the numbers of those that go with a customer: also of those that are about somebody whom it has sent.
pub async fn rejects_naming(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
    after: i64,
) -> Result<(Vec<i64>, i64), StoreError> {
    let names = |row: &Row| is_about(row, customer) || is_sent_by(row, customer);
    let (found, last) = rejects_with(connection, tenant, keys, after, names).await?;
    Ok((found.into_iter().map(|(model, _)| model.reject_id).collect(), last))
}

async fn rejects_with(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    after: i64,
    is_wanted: impl Fn(&Row) -> bool,
) -> Result<(Vec<(reject::Model, Row)>, i64), StoreError> {
    let (mut found, mut last) = (Vec::new(), after);
    loop {
        let page = rejects::page(connection, tenant, last, ROWS_PER_QUERY as u64).await?;
        let Some(end) = page.last() else { return Ok((found, last)) };
        last = end.reject_id;
        for model in page {
            let row = rejects::open(tenant, keys, &model)?;
            if is_wanted(&row) {
                found.push((model, row));
            }
        }
    }
}

/// Whether a row that was refused names the customer: by an identity, or by a contact of its own.
fn is_about(row: &Row, customer: &StoredCustomer) -> bool {
    let own = |given: &SourceIdentity| {
        let same = |it: &Identity| it.source == given.source && Some(&it.id) == given.id.as_ref();
        customer.identities.iter().any(same)
    };
    if identities_of(row).iter().any(own) {
        return true;
    }
    let Some(row::Fact::Customer(given)) = &row.fact else { return false };
    let phone = given.phone.as_deref().and_then(|phone| normal_phone(phone, "phone").ok());
    let email = given.email.as_deref().and_then(|email| normal_email(email, "email").ok());
    customer
        .records()
        .iter()
        .map(|record| &record.person)
        .any(|person| (phone.is_some() && phone == person.phone) || (email.is_some() && email == person.email))
}

/// Whether a row that was refused names the customer as who has sent another.
fn is_sent_by(row: &Row, customer: &StoredCustomer) -> bool {
    let Some(row::Fact::Customer(given)) = &row.fact else { return false };
    let own = given.identities.first().map_or("", |identity| identity.source.as_str());
    referrer_of(given, own).is_some_and(|referrer| customer.identities.contains(&referrer))
}

/// Takes everything that is the customer's away, keeps its number from being given again, and notes the erasure. `rejects` were found
/// up to the reject `looked_to`; those that came since are looked through here.
pub async fn erase(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
    (mut rejects, looked_to): (Vec<i64>, i64),
    now: Instant,
) -> Result<StoredErasure, StoreError> {
    rejects.extend(rejects_naming(transaction, tenant, keys, customer, looked_to).await?.0);
    let mut removed = remove_facts(transaction, tenant, keys, customer).await?;
    for chunk in rejects.chunks(ROWS_PER_QUERY) {
        removed += reject::Entity::delete_many()
            .filter(reject::Column::TenantId.eq(tenant.0))
            .filter(reject::Column::RejectId.is_in(chunk.iter().copied()))
            .exec(transaction)
            .await?
            .rows_affected;
    }
    let mut renamed = Vec::new();
    while let Some(some) = forget_referrer(transaction, tenant, keys, customer, now).await? {
        renamed.extend(some);
    }
    removed += merges::forget(transaction, tenant, customer).await?;
    removed += conflicts::forget(transaction, tenant, customer).await?;
    let homes: Vec<CustomerId> = customer.records().iter().map(|record| record.home).collect();
    let named = referrals::forget(transaction, tenant, &homes).await?;
    removed += named.len() as u64;
    for home in &homes {
        removed += remove_person(transaction, tenant, *home, now).await?;
        removed += idempotency::forget(transaction, tenant, &[home.to_string()]).await?;
    }
    let facts_position = feed::next_seq(transaction, tenant, FACTS).await?;
    let erased: RoaringBitmap = homes.iter().map(|home| home.0).collect();
    let referrers = referrals::owners(transaction, tenant, &named).await?;
    let touched = erased | referrers | referrals::of_buyers(transaction, tenant, renamed).await?;
    feed::publish(transaction, tenant, FACTS, facts_position, &touched).await?;
    // The other services know whom this customer was merged with by their own numbers: each has an erasure. Its own comes last.
    let mut asked_for = None;
    for home in homes.into_iter().rev() {
        let rows_removed = if home == customer.id { i64::try_from(removed).unwrap_or(i64::MAX) } else { 0 };
        let receipt = ErasureReceipt { service: crate::SERVICE.to_owned(), rows_removed, ..ErasureReceipt::default() };
        asked_for = Some(begin(transaction, tenant, home, facts_position, receipt, now).await?);
    }
    asked_for.ok_or(StoreError::Sealed("a customer without a record"))
}

/// Takes the customer out of some of those whom it has sent, until there are none. Returns whose referrers are others now, as [`customers::write`] does:
/// what the customer has hidden comes to light.
pub async fn forget_referrer(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
    now: Instant,
) -> Result<Option<Vec<(i64, Vec<u8>)>>, StoreError> {
    let hashes: Vec<_> = customer.identities.iter().map(|identity| keys.identity_hash(identity)).collect();
    let sent = referrals::naming(transaction, tenant, &hashes, ROWS_PER_QUERY as u64).await?;
    let mut sent = customers::load(transaction, tenant, keys, &sent).await?;
    for other in &mut sent {
        other.forget_referrer(&customer.identities, now);
    }
    let renamed = customers::write(transaction, tenant, keys, &mut sent).await?;
    Ok((!sent.is_empty()).then_some(renamed))
}

/// Notes an erasure with its first receipt.
async fn begin(
    transaction: &Transaction,
    tenant: TenantId,
    customer: CustomerId,
    facts_position: i64,
    receipt: ErasureReceipt,
    now: Instant,
) -> Result<StoredErasure, StoreError> {
    let id = identities::reserve(transaction, tenant, "erasure", 1).await?;
    let receipts = vec![receipt];
    let erasure = StoredErasure { id, customer, requested_at: now, facts_position, completed_at: None, receipts };
    let row = erasure::ActiveModel {
        tenant_id: Set(tenant.0),
        erasure_id: Set(id),
        customer_id: Set(customer.as_i64()),
        requested_at: Set(now.micros()),
        facts_position: Set(facts_position),
        completed_at: Set(None),
        receipts: Set(encoded(&erasure.receipts)),
    };
    erasure::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(erasure)
}

/// Facts, consents, identities and subjects.
async fn remove_facts(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    for subjects in consents::subjects(transaction, tenant, customer.id).await?.chunks(ROWS_PER_QUERY) {
        removed += facts::delete(transaction, tenant, subjects).await?;
        removed += consent_event::Entity::delete_many()
            .filter(consent_event::Column::TenantId.eq(tenant.0))
            .filter(consent_event::Column::SubjectId.is_in(subjects.iter().copied()))
            .exec(transaction)
            .await?
            .rows_affected;
    }
    let hashes = customer.identities.iter().map(|identity| keys.identity_hash(identity));
    removed += identity::Entity::delete_many()
        .filter(identity::Column::TenantId.eq(tenant.0))
        .filter(identity::Column::IdentityHmac.is_in(hashes))
        .exec(transaction)
        .await?
        .rows_affected;
    removed += subject::Entity::delete_many()
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(subject::Column::CustomerId.eq(customer.id.as_i64()))
        .exec(transaction)
        .await?
        .rows_affected;
    Ok(removed)
}

/// Contacts, the data key and the ciphertext; the empty row stays.
async fn remove_person(
    transaction: &Transaction,
    tenant: TenantId,
    id: CustomerId,
    now: Instant,
) -> Result<u64, StoreError> {
    let contacts = contact::Entity::delete_many()
        .filter(contact::Column::TenantId.eq(tenant.0))
        .filter(contact::Column::CustomerId.eq(id.as_i64()))
        .exec(transaction)
        .await?;
    let keys = customer_key::Entity::delete_by_id((tenant.0, id.as_i64())).exec(transaction).await?;
    let none: Option<i64> = None;
    customer::Entity::update_many()
        .col_expr(customer::Column::Attributes, Expr::value(Vec::<u8>::new()))
        .col_expr(customer::Column::SealedPerson, Expr::value(Vec::<u8>::new()))
        .col_expr(customer::Column::CreatedAt, Expr::value(0_i64))
        .col_expr(customer::Column::UpdatedAt, Expr::value(0_i64))
        .col_expr(customer::Column::Revision, Expr::value(0_i64))
        .col_expr(customer::Column::SaidAt, Expr::value(Vec::<u8>::new()))
        .col_expr(customer::Column::MergedInto, Expr::value(none))
        .col_expr(customer::Column::RestrictedAt, Expr::value(none))
        .col_expr(customer::Column::ErasedAt, Expr::value(now.micros()))
        .filter(customer::Column::TenantId.eq(tenant.0))
        .filter(customer::Column::CustomerId.eq(id.as_i64()))
        .exec(transaction)
        .await?;
    Ok(contacts.rows_affected + keys.rows_affected)
}

/// How many rows of ingestion's tables are still about a customer who was erased.
pub async fn rows_left(connection: &impl ConnectionTrait, tenant: TenantId, id: CustomerId) -> Result<u64, StoreError> {
    let subjects = subject::Entity::find()
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(subject::Column::CustomerId.eq(id.as_i64()))
        .count(connection)
        .await?;
    let contacts = contact::Entity::find()
        .filter(contact::Column::TenantId.eq(tenant.0))
        .filter(contact::Column::CustomerId.eq(id.as_i64()))
        .count(connection)
        .await?;
    let referrals = referral::Entity::find()
        .filter(referral::Column::TenantId.eq(tenant.0))
        .filter(referral::Column::CustomerId.eq(id.as_i64()))
        .count(connection)
        .await?;
    // The founding subject has the customer's own number.
    let facts = facts::count(connection, tenant, id.as_i64()).await?;
    let key = customer_key::Entity::find_by_id((tenant.0, id.as_i64())).one(connection).await?;
    let row = customer::Entity::find_by_id((tenant.0, id.as_i64())).one(connection).await?;
    let is_full = row.is_some_and(|row| row.erased_at.is_none() || !row.sealed_person.is_empty());
    Ok(subjects + contacts + referrals + facts + u64::from(key.is_some()) + u64::from(is_full))
}

/// What the same request did before, if it bears an id and did something.
pub async fn done_before(
    connection: &impl ConnectionTrait,
    request: idempotency::Request<'_>,
) -> Result<Option<StoredErasure>, StoreError> {
    if request.id.is_empty() {
        return Ok(None);
    }
    let Some(earlier) = idempotency::earlier_result(connection, request).await? else { return Ok(None) };
    let id = erasure_id(&earlier).ok_or(StoreError::Sealed("erasure name"))?;
    get(connection, request.tenant, id).await
}

/// The number of `erasures/{number}`, in its one spelling.
pub fn erasure_id(name: &str) -> Option<i64> {
    let number = name.strip_prefix("erasures/").filter(|number| !number.starts_with(['0', '+', '-']))?;
    number.parse().ok()
}

/// One erasure.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    id: i64,
) -> Result<Option<StoredErasure>, StoreError> {
    erasure::Entity::find_by_id((tenant.0, id)).one(connection).await?.as_ref().map(from_row).transpose()
}

/// Up to `limit` erasures behind `after`, oldest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    after: i64,
    limit: u64,
) -> Result<Vec<StoredErasure>, StoreError> {
    let rows = erasure::Entity::find()
        .filter(erasure::Column::TenantId.eq(tenant.0))
        .filter(erasure::Column::ErasureId.gt(after))
        .order_by_asc(erasure::Column::ErasureId)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// Up to `limit` erasures that are not complete, oldest first.
pub async fn pending(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    limit: u64,
) -> Result<Vec<StoredErasure>, StoreError> {
    let rows = erasure::Entity::find()
        .filter(erasure::Column::TenantId.eq(tenant.0))
        .filter(erasure::Column::CompletedAt.is_null())
        .order_by_asc(erasure::Column::ErasureId)
        .limit(limit)
        .all(connection)
        .await?;
    rows.iter().map(from_row).collect()
}

/// Writes down how far an erasure is.
pub async fn save(transaction: &Transaction, tenant: TenantId, erasure: &StoredErasure) -> Result<(), StoreError> {
    erasure::Entity::update_many()
        .col_expr(erasure::Column::CompletedAt, Expr::value(erasure.completed_at.map(Instant::micros)))
        .col_expr(erasure::Column::Receipts, Expr::value(encoded(&erasure.receipts)))
        .filter(erasure::Column::TenantId.eq(tenant.0))
        .filter(erasure::Column::ErasureId.eq(erasure.id))
        .exec(transaction)
        .await?;
    Ok(())
}

/// The receipts are kept as a message that holds nothing else.
fn encoded(receipts: &[ErasureReceipt]) -> Vec<u8> {
    Erasure { receipts: receipts.to_vec(), ..Erasure::default() }.encode_to_vec()
}

fn from_row(row: &erasure::Model) -> Result<StoredErasure, StoreError> {
    let customer = CustomerId::try_from(row.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let receipts = Erasure::decode(row.receipts.as_slice()).map_err(|_| StoreError::Sealed("receipts"))?.receipts;
    Ok(StoredErasure {
        id: row.erasure_id,
        customer,
        requested_at: Instant::from_micros(row.requested_at),
        facts_position: row.facts_position,
        completed_at: row.completed_at.map(Instant::from_micros),
        receipts,
    })
}
