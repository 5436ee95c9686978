//! Taking in: what the group commit does with the batches that came together, in one transaction.

use super::customers::{self, StoredCustomer};
use super::entities::{ingest_stream, reject};
use super::facts;
use super::identities::{self, Owner};
use super::keys::TenantKeys;
use super::privacy::{self, Hold};
use crate::FACTS;
use crate::intake::custom::{MAX_CUSTOM_ATTRIBUTES, too_many};
use crate::intake::{self, CustomerPatch, Fact, Identity, OrderRow};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{IngestResponse, Reject, Row};
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_store::idempotency::{self, Request};
use quintile_store::{Database, StoreError, feed};
use roaring::RoaringBitmap;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How a batch is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchId {
    /// By its place in a stream.
    Stream {
        /// The client's name for the stream.
        stream_id: String,
        /// The batch's number in it.
        offset: i64,
    },
    /// By a request id.
    Request {
        /// The client's id.
        request_id: String,
        /// The encoded rows.
        body: Vec<u8>,
    },
}

impl BatchId {
    fn stream_and_offset(&self) -> (&str, i64) {
        match self {
            Self::Stream { stream_id, offset } => (stream_id, *offset),
            Self::Request { request_id, .. } => (request_id, 0),
        }
    }
}

/// A checked batch.
pub struct Batch {
    /// How it is known again.
    pub id: BatchId,
    /// The rows that are fit, with their places.
    pub facts: Vec<(usize, Fact)>,
    /// The rows that are not, as they came, with why.
    pub rejects: Vec<(Row, Reject)>,
    /// Whoever brings them does not read in clear what they say of people, and so is not told whether that was known: a batch would else
    /// be a question whether a guess is right.
    pub blind: bool,
}

impl Batch {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.facts.len() + self.rejects.len()
    }
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It is on disk, now or since long.
    Acknowledged(IngestResponse),
    /// It skips ahead in its stream: nothing of it was taken in.
    Gap {
        /// The batch that the stream expects.
        expected: i64,
    },
    /// Its request id came before with another body.
    Conflict,
}

/// Takes batches in, in order: all of them, or none if the database fails.
pub async fn take_in(
    database: &Database,
    tenant: TenantId,
    keys: &TenantKeys,
    batches: Vec<Batch>,
    now: Instant,
) -> Result<Vec<Outcome>, StoreError> {
    let transaction = database.begin().await?;
    privacy::hold(&transaction, tenant, Hold::WithOthers).await?;
    let mut intake = Intake {
        transaction: &transaction,
        tenant,
        keys,
        now,
        owners: HashMap::new(),
        customers: BTreeMap::new(),
        touched: RoaringBitmap::new(),
        streams: HashMap::new(),
    };
    intake.resolve(&batches).await?;
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        outcomes.push(intake.take(batch).await?);
    }
    let position = intake.finish().await?;
    transaction.commit().await?;
    for outcome in &mut outcomes {
        if let Outcome::Acknowledged(response) = outcome {
            response.facts_position = position;
        }
    }
    Ok(outcomes)
}

struct Intake<'a> {
    transaction: &'a DatabaseTransaction,
    tenant: TenantId,
    keys: &'a TenantKeys,
    now: Instant,
    owners: HashMap<Identity, Owner>,
    /// Customers that are new or changed.
    customers: BTreeMap<CustomerId, StoredCustomer>,
    touched: RoaringBitmap,
    /// The next offsets of the streams of these batches.
    streams: HashMap<String, i64>,
}

impl Intake<'_> {
    /// Finds everybody the batches speak of, in a few queries for all.
    async fn resolve(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let mut identities: Vec<&Identity> = Vec::new();
        for (_, fact) in batches.iter().flat_map(|batch| &batch.facts) {
            match fact {
                Fact::Customer(patch) => identities.extend(&patch.identities),
                Fact::Order(order) => identities.push(&order.customer),
            }
        }
        identities.sort_unstable();
        identities.dedup();
        self.owners = identities::resolve(self.transaction, self.tenant, self.keys, &identities).await?;
        let mut known: Vec<CustomerId> = Vec::new();
        for (_, fact) in batches.iter().flat_map(|batch| &batch.facts) {
            if matches!(fact, Fact::Customer(_))
                && let Some(owner) = self.owners.get(fact.identity())
            {
                known.push(owner.customer);
            }
        }
        known.sort_unstable();
        known.dedup();
        let mut known = customers::load(self.transaction, self.tenant, self.keys, &known).await?;
        // What leaves with the change has no place among those that a customer may have.
        customers::forget_undeclared(self.transaction, self.tenant, &mut known).await?;
        self.customers = known.into_iter().map(|customer| (customer.id, customer)).collect();
        Ok(())
    }

    async fn take(&mut self, batch: Batch) -> Result<Outcome, StoreError> {
        if let Some(outcome) = self.seen_before(&batch).await? {
            return Ok(outcome);
        }
        let (stream_id, offset) = batch.id.stream_and_offset();
        let (stream_id, offset) = (stream_id.to_owned(), offset);
        let mut response = IngestResponse { acked_offset: offset + 1, ..IngestResponse::default() };
        let mut rejects = batch.rejects;
        let mut orders: Vec<(usize, (Owner, OrderRow))> = Vec::new();
        self.register_unknown(&batch.facts).await?;
        for (row, fact) in batch.facts {
            match fact {
                Fact::Customer(patch) => match self.take_customer(&patch).map(|changed| changed || batch.blind) {
                    Ok(true) => response.applied += 1,
                    Ok(false) => response.duplicates += 1,
                    Err(error) => rejects.push((Row::default(), intake::reject(row, &error))),
                },
                Fact::Order(order) => match self.owners.get(&order.customer) {
                    Some(owner) => orders.push((row, (*owner, order))),
                    None => return Err(StoreError::Sealed("an identity was registered and is gone")),
                },
            }
        }
        let (rows, orders): (Vec<_>, Vec<_>) = orders.into_iter().unzip();
        let written = facts::write(self.transaction, self.tenant, &orders).await?;
        if written.applied > 0 {
            self.touched.extend(orders.iter().map(|(owner, _)| owner.customer.0));
        }
        response.applied += written.applied as i64;
        response.duplicates += written.duplicates as i64;
        for place in written.conflicts {
            rejects.push((Row::default(), intake::reject(rows[place], &body_conflict())));
        }
        rejects.sort_by_key(|(_, reject)| reject.row);
        self.write_rejects(&stream_id, offset, &rejects).await?;
        response.rejects = rejects.into_iter().map(|(_, reject)| reject).collect();
        self.remember(&batch.id).await?;
        Ok(Outcome::Acknowledged(response))
    }

    /// The outcome of a batch that is not to be taken in now.
    async fn seen_before(&mut self, batch: &Batch) -> Result<Option<Outcome>, StoreError> {
        match &batch.id {
            BatchId::Request { request_id, body } => {
                let request = self.request(request_id, body);
                match idempotency::earlier_result(self.transaction, request).await {
                    // Taking it in again changes nothing, and tells what was a duplicate.
                    Ok(_) => Ok(None),
                    Err(StoreError::RequestConflict) => Ok(Some(Outcome::Conflict)),
                    Err(error) => Err(error),
                }
            }
            BatchId::Stream { stream_id, offset } => {
                let expected = match self.streams.get(stream_id) {
                    Some(expected) => *expected,
                    None => stream(self.transaction, self.tenant, stream_id).await?.map_or(0, |row| row.next_offset),
                };
                self.streams.insert(stream_id.clone(), expected);
                Ok(match offset.cmp(&expected) {
                    std::cmp::Ordering::Equal => None,
                    std::cmp::Ordering::Greater => Some(Outcome::Gap { expected }),
                    std::cmp::Ordering::Less => Some(Outcome::Acknowledged(IngestResponse {
                        acked_offset: expected,
                        ..IngestResponse::default()
                    })),
                })
            }
        }
    }

    fn request<'b>(&self, request_id: &'b str, body: &'b [u8]) -> Request<'b> {
        Request { tenant: self.tenant, method: "IngestBatch", id: request_id, body }
    }

    /// Makes customers of the identities that nobody knows yet.
    async fn register_unknown(&mut self, facts: &[(usize, Fact)]) -> Result<(), StoreError> {
        let mut groups: Vec<Vec<Identity>> = Vec::new();
        let mut grouped: HashSet<&Identity> = HashSet::new();
        for (_, fact) in facts {
            let first = fact.identity();
            if self.owners.contains_key(first) || grouped.contains(first) {
                continue;
            }
            let mut group = vec![first.clone()];
            grouped.insert(first);
            if let Fact::Customer(patch) = fact {
                for identity in &patch.identities[1..] {
                    if !self.owners.contains_key(identity) && grouped.insert(identity) {
                        group.push(identity.clone());
                    }
                }
            }
            groups.push(group);
        }
        let registered = identities::register(self.transaction, self.tenant, self.keys, &groups).await?;
        for group in groups {
            let Some(owner) = registered.get(&group[0]) else {
                return Err(StoreError::Sealed("an identity was registered and is gone"));
            };
            self.touched.insert(owner.customer.0);
            let customer = StoredCustomer::new(self.tenant, self.keys, owner.customer, group, self.now);
            self.customers.insert(owner.customer, customer);
        }
        self.owners.extend(registered);
        Ok(())
    }

    /// Takes over a customer. Returns whether anything is different now.
    fn take_customer(&mut self, patch: &CustomerPatch) -> Result<bool, ApiError> {
        let conflict = || {
            ApiError::failed_precondition(ErrorReason::BodyConflict, "the identities belong to different customers")
                .within("customer.identities")
        };
        let owner = self.owners.get(patch.first_identity()).copied().ok_or_else(conflict)?;
        let same_customer =
            |identity: &Identity| self.owners.get(identity).is_some_and(|it| it.customer == owner.customer);
        if !patch.identities.iter().all(same_customer) {
            return Err(conflict());
        }
        let fresh = self.touched.contains(owner.customer.0);
        let customer = self.customers.get_mut(&owner.customer).ok_or_else(conflict)?;
        let added = patch.person.custom.keys().filter(|key| !customer.person.custom.contains_key(*key)).count();
        if added > 0 && customer.person.custom.len() + added > MAX_CUSTOM_ATTRIBUTES {
            return Err(too_many().within("customer"));
        }
        let changed = customer.merge(patch, self.now);
        if changed && fresh && customer.revision == 2 && customer.created_at == self.now {
            // Made and filled by the same row: its first revision.
            customer.revision = 1;
        }
        if changed || fresh {
            self.touched.insert(owner.customer.0);
        }
        Ok(changed || fresh)
    }

    async fn write_rejects(&self, stream_id: &str, offset: i64, rejects: &[(Row, Reject)]) -> Result<(), StoreError> {
        if rejects.is_empty() {
            return Ok(());
        }
        let first = identities::reserve(self.transaction, self.tenant, "reject", rejects.len() as i64).await?;
        let rows = (first..).zip(rejects).map(|(reject_id, (row, refused))| {
            let place = reject_place(self.tenant, reject_id);
            reject::ActiveModel {
                tenant_id: Set(self.tenant.0),
                reject_id: Set(reject_id),
                stream_id: Set(stream_id.to_owned()),
                batch_offset: Set(offset),
                row_index: Set(refused.row),
                reason: Set(refused.reason),
                field: Set(refused.field.clone()),
                message: Set(refused.message.clone()),
                sealed_row: Set(self.keys.wrapping.seal(&self.keys.entropy, &place, &row.encode_to_vec())),
                recorded_at: Set(self.now.micros()),
            }
        });
        for chunk in rows.collect::<Vec<_>>().chunks(100) {
            reject::Entity::insert_many(chunk.to_vec()).exec_without_returning(self.transaction).await?;
        }
        Ok(())
    }

    async fn remember(&mut self, id: &BatchId) -> Result<(), StoreError> {
        match id {
            BatchId::Stream { stream_id, offset } => {
                self.streams.insert(stream_id.clone(), offset + 1);
                Ok(())
            }
            BatchId::Request { request_id, body } => {
                let request = self.request(request_id, body);
                if idempotency::earlier_result(self.transaction, request).await?.is_none() {
                    idempotency::remember(self.transaction, request, "", self.now).await?;
                }
                Ok(())
            }
        }
    }

    /// Writes customers and streams and publishes what was touched. Returns the position of the facts.
    async fn finish(self) -> Result<i64, StoreError> {
        let mut customers: Vec<_> =
            self.customers.into_values().filter(|customer| self.touched.contains(customer.id.0)).collect();
        customers::write(self.transaction, self.tenant, self.keys, &mut customers).await?;
        let position = if self.touched.is_empty() {
            feed::head(self.transaction, self.tenant, FACTS).await?
        } else {
            let seq = feed::next_seq(self.transaction, self.tenant, FACTS).await?;
            feed::publish(self.transaction, self.tenant, FACTS, seq, &self.touched).await?;
            seq
        };
        for (stream_id, next_offset) in self.streams {
            // A stream begins with its first batch: a refused one leaves nothing behind.
            if next_offset > 0 {
                write_stream(self.transaction, self.tenant, stream_id, next_offset, position).await?;
            }
        }
        Ok(position)
    }
}

fn body_conflict() -> ApiError {
    ApiError::failed_precondition(ErrorReason::BodyConflict, "the event id came before with another body")
        .within("order.event_id")
}

/// The state of a stream. `None`: nothing was taken in through it.
pub async fn stream(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    stream_id: &str,
) -> Result<Option<ingest_stream::Model>, StoreError> {
    Ok(ingest_stream::Entity::find_by_id((tenant.0, stream_id.to_owned())).one(connection).await?)
}

fn reject_place(tenant: TenantId, reject_id: i64) -> Vec<u8> {
    format!("reject {} {reject_id}", tenant.0).into_bytes()
}

/// The row of a reject, as it came. One that was refused for what was there already was not kept, and is empty.
pub fn open_reject(tenant: TenantId, keys: &TenantKeys, reject: &reject::Model) -> Result<Row, StoreError> {
    let opened = keys.wrapping.open(&reject_place(tenant, reject.reject_id), &reject.sealed_row)?;
    Row::decode(opened.as_slice()).map_err(|_| StoreError::Sealed("reject"))
}

/// Up to `limit` rejects behind `after`, oldest first.
pub async fn rejects(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    after: i64,
    limit: u64,
) -> Result<Vec<reject::Model>, StoreError> {
    let query = reject::Entity::find()
        .filter(reject::Column::TenantId.eq(tenant.0))
        .filter(reject::Column::RejectId.gt(after))
        .order_by_asc(reject::Column::RejectId)
        .limit(limit);
    Ok(query.all(connection).await?)
}

async fn write_stream(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    stream_id: String,
    next_offset: i64,
    facts_position: i64,
) -> Result<(), StoreError> {
    let row = ingest_stream::ActiveModel {
        tenant_id: Set(tenant.0),
        stream_id: Set(stream_id),
        next_offset: Set(next_offset),
        facts_position: Set(facts_position),
    };
    let key = [ingest_stream::Column::TenantId, ingest_stream::Column::StreamId];
    let values = [ingest_stream::Column::NextOffset, ingest_stream::Column::FactsPosition];
    ingest_stream::Entity::insert(row)
        .on_conflict(OnConflict::columns(key).update_columns(values).to_owned())
        .exec_without_returning(transaction)
        .await?;
    Ok(())
}
