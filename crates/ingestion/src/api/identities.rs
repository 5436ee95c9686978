//! Merging customers, taking it back, and what people have to decide.

use super::facts::{place, token};
use crate::Service;
use crate::store::conflicts;
use crate::store::entities::{customer_merge, identity_conflict};
use crate::store::keys::TenantKeys;
use crate::store::merges::{self, Pair, Regrouped};
use crate::store::privacy::{self, Hold};
use quintile_chain::{page, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::identity_service_server::IdentityService;
use quintile_proto::ingestion::{
    ConflictReason, ConflictState, IdentityConflict, ListIdentityConflictsRequest, ListIdentityConflictsResponse,
    ListMergesRequest, ListMergesResponse, Merge, MergeCause, MergeCustomersRequest, ResolveIdentityConflictRequest,
    UnmergeCustomersRequest, UnmergeCustomersResponse,
};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction, feed};
use tonic::Request;

/// The query that page tokens of merges belong to.
const LIST_MERGES: &str = "ListMerges";

/// The handlers.
pub struct Identities {
    pub service: Service,
}

impl Identities {
    /// A transaction in which nobody else changes customers, and the tenant's keys.
    async fn alone(&self, tenant: TenantId) -> Result<(Transaction, TenantKeys), StoreError> {
        let keys = self.service.keys.of(tenant).await?;
        let transaction = self.service.runtime.database.begin().await?;
        privacy::hold(&transaction, tenant, Hold::Alone).await?;
        Ok((transaction, keys))
    }

    /// Publishes who was touched, and commits. Returns the position.
    async fn publish(&self, transaction: Transaction, tenant: TenantId, touched: Regrouped) -> Result<i64, StoreError> {
        let touched = touched.linked | touched.referrers;
        let position = if touched.is_empty() {
            feed::head(&transaction, tenant, crate::FACTS).await?
        } else {
            let seq = feed::next_seq(&transaction, tenant, crate::FACTS).await?;
            feed::publish(&transaction, tenant, crate::FACTS, seq, &touched).await?;
            seq
        };
        transaction.commit().await?;
        self.service.wake.notify_one();
        Ok(position)
    }

    /// Merges a pair. `None`: one of them is not there.
    async fn merge(&self, tenant: TenantId, pair: Pair) -> Result<Option<Merge>, StoreError> {
        let (transaction, keys) = self.alone(tenant).await?;
        let now = self.service.clock.now();
        for home in [pair.left, pair.right] {
            if !conflicts::is_there(&transaction, tenant, home).await? {
                return Ok(None);
            }
        }
        let touched = merges::link(&transaction, tenant, &keys, &[pair], MergeCause::Asked, now).await?;
        conflicts::decide(&transaction, tenant, pair, ConflictState::Merged, now).await?;
        let merge = merges::get(&transaction, tenant, pair).await?.ok_or(StoreError::Sealed("a merge is gone"))?;
        let survivor = merges::survivor(&transaction, tenant, pair.left).await?;
        let facts_position = self.publish(transaction, tenant, touched).await?;
        Ok(Some(Merge { facts_position, ..message(&merge, survivor) }))
    }

    async fn unmerge(&self, tenant: TenantId, pair: Pair) -> Result<Option<i64>, StoreError> {
        let (transaction, keys) = self.alone(tenant).await?;
        let now = self.service.clock.now();
        let Some(touched) = merges::unlink(&transaction, tenant, &keys, pair, now).await? else { return Ok(None) };
        // Noted also where nobody had asked: a row that names both must not merge them again.
        conflicts::note(&transaction, tenant, &[(pair, ConflictReason::Identities)].into(), now).await?;
        conflicts::decide(&transaction, tenant, pair, ConflictState::KeptApart, now).await?;
        self.publish(transaction, tenant, touched).await.map(Some)
    }

    /// Decides a conflict. `None`: there is no such one.
    async fn decide(
        &self,
        tenant: TenantId,
        pair: Pair,
        state: ConflictState,
    ) -> Result<Option<identity_conflict::Model>, StoreError> {
        if conflicts::get(self.service.runtime.database.reader(), tenant, pair).await?.is_none() {
            return Ok(None);
        }
        if state == ConflictState::Merged {
            if self.merge(tenant, pair).await?.is_none() {
                return Ok(None);
            }
        } else if self.unmerge(tenant, pair).await?.is_none() {
            let (transaction, _) = self.alone(tenant).await?;
            conflicts::decide(&transaction, tenant, pair, state, self.service.clock.now()).await?;
            transaction.commit().await?;
        }
        conflicts::get(self.service.runtime.database.reader(), tenant, pair).await
    }
}

/// The pair that a name names: `{collection}/{lower number}-{higher number}`.
fn pair(name: &str, collection: &str) -> Result<Pair, ApiError> {
    let number = |text: &str| CustomerId::from_name(&format!("customers/{text}"), None);
    let found = name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| {
        let (left, right) = rest.split_once('-')?;
        Pair::of(number(left)?, number(right)?).filter(|pair| number(left) == Some(pair.left))
    });
    let form = format!("must be {collection}/{{lower number}}-{{higher number}}");
    found.ok_or_else(|| ApiError::invalid_field("name", form))
}

fn message(merge: &customer_merge::Model, survivor: CustomerId) -> Merge {
    Merge {
        name: format!("merges/{}-{}", merge.left_id, merge.right_id),
        customer: survivor.to_string(),
        cause: merge.cause,
        create_time: Some(convert::timestamp(Instant::from_micros(merge.created_at))),
        facts_position: 0,
    }
}

fn conflict_message(conflict: &identity_conflict::Model) -> IdentityConflict {
    let time = |micros| convert::timestamp(Instant::from_micros(micros));
    IdentityConflict {
        name: format!("identityConflicts/{}-{}", conflict.left_id, conflict.right_id),
        customers: [conflict.left_id, conflict.right_id].map(|id| format!("customers/{id}")).to_vec(),
        reason: conflict.reason,
        state: conflict.state,
        create_time: Some(time(conflict.created_at)),
        decide_time: conflict.decided_at.map(time),
    }
}

#[tonic::async_trait]
impl IdentityService for Identities {
    async fn merge_customers(&self, request: Request<MergeCustomersRequest>) -> Answer<Merge> {
        let caller = Caller::of(&request)?;
        let one = convert::customer("customer", &request.get_ref().customer, None)?;
        let other = convert::customer("other", &request.get_ref().other, None)?;
        let pair = Pair::of(one, other).ok_or_else(|| ApiError::invalid_field("other", "must be another customer"))?;
        caller.is_about(pair.left.to_string());
        let merge = self.merge(caller.tenant().id, pair).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(merge.ok_or_else(ApiError::not_found)?))
    }

    async fn unmerge_customers(&self, request: Request<UnmergeCustomersRequest>) -> Answer<UnmergeCustomersResponse> {
        let caller = Caller::of(&request)?;
        let pair = pair(&request.get_ref().name, "merges")?;
        caller.is_about(pair.left.to_string());
        let position = self.unmerge(caller.tenant().id, pair).await.map_err(|error| store_error(&error))?;
        let facts_position = position.ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(UnmergeCustomersResponse { facts_position }))
    }

    async fn list_merges(&self, request: Request<ListMergesRequest>) -> Answer<ListMergesResponse> {
        let caller = Caller::of(&request)?;
        let (sealer, tenant) = (&self.service.runtime.sealer, caller.tenant().id);
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let behind = page::begin(sealer, tenant, LIST_MERGES, &request.get_ref().page_token, (0, 0), place)?;
        let connection = self.service.runtime.database.reader();
        let read = async {
            let rows = merges::page(connection, tenant, behind, size).await?;
            let mut listed = Vec::with_capacity(rows.len());
            for row in &rows {
                let left = CustomerId::try_from(row.left_id).map_err(|_| StoreError::Sealed("customer id"))?;
                listed.push(message(row, merges::survivor(connection, tenant, left).await?));
            }
            Ok::<_, StoreError>((rows, listed))
        };
        let (rows, merges) = read.await.map_err(|error| store_error(&error))?;
        let last = rows.last().filter(|_| rows.len() as u64 == size);
        let next_page_token = last.map(|row| token(sealer, tenant, LIST_MERGES, &(row.left_id, row.right_id)));
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(caller.respond(ListMergesResponse { merges, next_page_token }))
    }

    async fn list_identity_conflicts(
        &self,
        request: Request<ListIdentityConflictsRequest>,
    ) -> Answer<ListIdentityConflictsResponse> {
        let caller = Caller::of(&request)?;
        let state = ConflictState::try_from(request.get_ref().state);
        let state = state.map_err(|_| ApiError::invalid_field("state", "must be one of the states, or unset"))?;
        let (sealer, tenant) = (&self.service.runtime.sealer, caller.tenant().id);
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let query = format!("ListIdentityConflicts {}", state as i32);
        let behind = page::begin(sealer, tenant, &query, &request.get_ref().page_token, (0, 0), place)?;
        let rows = conflicts::page(self.service.runtime.database.reader(), tenant, state, behind, size).await;
        let rows = rows.map_err(|error| store_error(&error))?;
        let last = rows.last().filter(|_| rows.len() as u64 == size);
        let next_page_token = last.map(|row| token(sealer, tenant, &query, &(row.left_id, row.right_id)));
        let conflicts = rows.iter().map(conflict_message).collect();
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(caller.respond(ListIdentityConflictsResponse { conflicts, next_page_token }))
    }

    async fn resolve_identity_conflict(
        &self,
        request: Request<ResolveIdentityConflictRequest>,
    ) -> Answer<IdentityConflict> {
        let caller = Caller::of(&request)?;
        let pair = pair(&request.get_ref().name, "identityConflicts")?;
        let state = ConflictState::try_from(request.get_ref().state).ok();
        let state = state.filter(|state| matches!(state, ConflictState::Merged | ConflictState::KeptApart));
        let state = state.ok_or_else(|| ApiError::invalid_field("state", "must be merged or kept apart"))?;
        caller.is_about(pair.left.to_string());
        let decided = self.decide(caller.tenant().id, pair, state).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(conflict_message(&decided.ok_or_else(ApiError::not_found)?)))
    }
}
