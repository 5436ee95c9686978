//! Taking in: what the group commit does with the batches that came together, in one transaction.

mod batch;
mod events;
mod gathering;
mod seen;
mod taking;
mod tally;

pub use batch::{Batch, BatchId, Outcome};

use super::customers::{self, StoredCustomer};
use super::identities::{self, Owner};
use super::keys::TenantKeys;
use super::merges::{self, Pair};
use super::privacy::{self, Hold};
use super::rates;
use super::{conflicts, referrals, retention, streams};
use crate::intake::custom::{MAX_CUSTOM_ATTRIBUTES, too_many};
use crate::intake::{CustomerPatch, Fact, Identity};
use crate::retention::Horizons;
use crate::{FACTS, SERVICE};
use events::Writer;
use gathering::{Gathering, Joining};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{ConflictReason, MergeCause};
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::traces::{TracedStep, merge};
use quintile_store::feed::{self, News};
use quintile_store::{Database, StoreError, Transaction, failpoint};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use taking::Begun;

/// The most rows of a batch that is live. Larger ones are of somebody who brings many, and whose customers may wait for all of them.
const LARGEST_LIVE_BATCH: usize = 500;

/// Takes batches in, in order: all of them, or none if the database fails.
pub async fn take_in(
    database: &Database,
    tenant: &Tenant,
    keys: &TenantKeys,
    batches: Vec<Batch>,
    now: Instant,
) -> Result<Vec<Outcome>, StoreError> {
    if batches.len() > 1 && batches.iter().any(sees_those_before_it) {
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            outcomes.extend(Box::pin(take_in(database, tenant, keys, vec![batch], now)).await?);
        }
        return Ok(outcomes);
    }
    let traced = traced(tenant, &batches);
    let mut transaction = Arc::new(database.begin().await?);
    privacy::hold(&transaction, tenant.id, Hold::WithOthers).await?;
    let mut intake = Intake::new(&transaction, tenant, keys, now);
    intake.resolve(&batches).await?;
    if intake.names_several_customers(&batches) {
        // Whoever merges customers does so alone.
        drop(intake);
        owned(transaction)?.rollback().await?;
        transaction = Arc::new(database.begin().await?);
        privacy::hold(&transaction, tenant.id, Hold::Alone).await?;
        intake = Intake::new(&transaction, tenant, keys, now);
        intake.resolve(&batches).await?;
        intake.join_anonymous(&batches).await?;
    }
    let mut begun = Vec::with_capacity(batches.len());
    for batch in batches {
        begun.push(intake.begin(batch).await?);
    }
    intake.register_unknown(&begun).await?;
    // While facts of one batch are written, those of the next are made ready, and behind the last of them customers are sealed.
    let mut taken = Vec::with_capacity(begun.len());
    for begun in begun {
        taken.push(intake.take(begun).await?);
    }
    let named = intake.write_customers().await?;
    let mut outcomes = Vec::with_capacity(taken.len());
    for taken in taken {
        outcomes.push(intake.end(taken).await?);
    }
    let position = intake.finish(named, traced.each_ref().map(TracedStep::traces)).await?;
    failpoint::reach("intake", "before_commit").await;
    owned(transaction)?.commit().await?;
    traced.into_iter().for_each(TracedStep::done);
    failpoint::reach("intake", "before_answers").await;
    for outcome in &mut outcomes {
        if let Outcome::Acknowledged(response) = outcome {
            response.facts_position = position;
        }
    }
    Ok(outcomes)
}

/// The step in the traces of those who bring batches: of live ones, and of those in bulk.
fn traced(tenant: &Tenant, batches: &[Batch]) -> [TracedStep; 2] {
    let mut traces = [Vec::new(), Vec::new()];
    for batch in batches {
        merge(&mut traces[usize::from(batch.size() > LARGEST_LIVE_BATCH)], batch.trace.clone());
    }
    traces.map(|traces| TracedStep::begin("commit facts", SERVICE, &tenant.name, &traces))
}

/// Whether what becomes of a batch depends on what those before it have made. Who is one person with whom must not depend on what came together;
/// and a reject that is seen to is gone for whoever sees to it next.
fn sees_those_before_it(batch: &Batch) -> bool {
    let names_several = |(_, fact): &(usize, Fact)| matches!(fact, Fact::Customer(patch) if patch.identities.len() > 1);
    matches!(batch.id, BatchId::Reject { .. }) || batch.facts.iter().any(names_several)
}

/// A transaction that nothing writes in any more.
fn owned(transaction: Arc<Transaction>) -> Result<Transaction, StoreError> {
    Arc::into_inner(transaction).ok_or(StoreError::Panicked)
}

struct Intake<'a> {
    transaction: &'a Transaction,
    writer: Writer,
    tenant: &'a Tenant,
    keys: &'a TenantKeys,
    now: Instant,
    /// What is older is not taken in.
    horizons: Horizons,
    owners: HashMap<Identity, Owner>,
    /// Customers that are new or changed.
    customers: BTreeMap<CustomerId, StoredCustomer>,
    touched: RoaringBitmap,
    /// Whom facts of large batches are about.
    in_bulk: RoaringBitmap,
    /// Whom facts of other batches are about.
    live: RoaringBitmap,
    /// Customers who were made, got an identity or were joined, and of whom no row has been counted for it.
    registered: RoaringBitmap,
    /// Whom new orders are about, and when these were.
    bought: Vec<(u32, Instant)>,
    /// Currencies and days whose rates are new or different.
    changed_rates: HashSet<(i32, i32)>,
    /// Customers that rows say are one person, and that are not.
    conflicts: BTreeMap<Pair, ConflictReason>,
    /// The next offsets of the streams of these batches.
    streams: HashMap<String, i64>,
}

impl<'a> Intake<'a> {
    fn new(transaction: &'a Arc<Transaction>, tenant: &'a Tenant, keys: &'a TenantKeys, now: Instant) -> Self {
        Self {
            transaction,
            writer: Writer::new(transaction.clone(), tenant.id, keys.clone()),
            tenant,
            keys,
            now,
            horizons: Horizons::default(),
            owners: HashMap::new(),
            customers: BTreeMap::new(),
            touched: RoaringBitmap::new(),
            in_bulk: RoaringBitmap::new(),
            live: RoaringBitmap::new(),
            registered: RoaringBitmap::new(),
            bought: Vec::new(),
            changed_rates: HashSet::new(),
            conflicts: BTreeMap::new(),
            streams: HashMap::new(),
        }
    }

    /// Finds everybody the batches speak of, in a few queries for all.
    async fn resolve(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        // Behind the hold: whoever moves a horizon holds alone, so none moves before this is committed.
        self.horizons = retention::get(self.transaction, self.tenant.id).await?.horizons;
        let mut identities: Vec<&Identity> = Vec::new();
        for (_, fact) in batches.iter().flat_map(|batch| &batch.facts) {
            match fact {
                Fact::Customer(patch) => identities.extend(&patch.identities),
                fact => identities.extend(fact.identity()),
            }
        }
        identities.sort_unstable();
        identities.dedup();
        self.owners = identities::resolve(self.transaction, self.tenant.id, self.keys, &identities).await?;
        let named = customer_rows(batches).flat_map(|patch| &patch.identities);
        let mut known: Vec<CustomerId> =
            named.filter_map(|identity| self.owners.get(identity)).map(|owner| owner.customer).collect();
        known.sort_unstable();
        known.dedup();
        let mut known = customers::load_to_change(self.transaction, self.tenant.id, self.keys, &known).await?;
        // What leaves with the change has no place among those that a customer may have.
        customers::forget_undeclared(self.transaction, self.tenant.id, &mut known).await?;
        self.customers = known.into_iter().map(|customer| (customer.id, customer)).collect();
        Ok(())
    }

    /// Where those go whom a batch of so many rows names.
    fn named_by(&mut self, rows: usize) -> &mut RoaringBitmap {
        if rows > LARGEST_LIVE_BATCH { &mut self.in_bulk } else { &mut self.live }
    }

    fn owner(&self, identity: &Identity) -> Result<Owner, StoreError> {
        self.owners.get(identity).copied().ok_or(StoreError::Sealed("an identity was registered and is gone"))
    }

    /// The owners that the identities of a customer row have already, one of each customer.
    fn owners_of(&self, patch: &CustomerPatch) -> Vec<Owner> {
        let mut owners: Vec<Owner> = Vec::new();
        for owner in patch.identities.iter().filter_map(|identity| self.owners.get(identity)) {
            if owners.iter().all(|other| other.customer != owner.customer) {
                owners.push(*owner);
            }
        }
        owners
    }

    /// Whether a customer row names identities of several customers.
    fn names_several_customers(&self, batches: &[Batch]) -> bool {
        customer_rows(batches).any(|patch| self.owners_of(patch).len() > 1)
    }

    /// Has those customers of whom nothing but facts is known join the one that a row names beside them.
    async fn join_anonymous(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let (tenant, keys) = (self.tenant.id, self.keys);
        let is_known = |customer: &StoredCustomer| customer.records().iter().any(|record| !record.is_anonymous());
        let known = self.customers.values().filter(|customer| is_known(customer)).map(|customer| customer.id);
        let mut joining = Joining::new(known);
        for patch in customer_rows(batches) {
            let pairs = joining.pairs_of(&self.owners_of(patch));
            if !conflicts::any_kept_apart(self.transaction, tenant, &pairs).await? {
                joining.join(pairs);
            }
        }
        if joining.pairs.is_empty() {
            return Ok(());
        }
        let cause = MergeCause::BecameKnown;
        let joined = merges::link(self.transaction, tenant, keys, &joining.pairs, cause, self.now).await?;
        // All of them leave and come together.
        let rows = batches.iter().map(Batch::size).max().unwrap_or_default();
        *self.named_by(rows) |= &joined.linked;
        self.registered |= &joined.linked;
        self.touched |= joined.linked | joined.referrers;
        self.resolve(batches).await
    }

    /// Gives identities that nobody knows yet to the customers that rows name them with, or makes customers of them.
    async fn register_unknown(&mut self, begun: &[Begun]) -> Result<(), StoreError> {
        let mut newcomers = Gathering::default();
        for facts in begun.iter().map(Begun::facts) {
            // Customers first: they say which identities belong together.
            for (_, fact) in facts {
                if let Fact::Customer(patch) = fact {
                    let owners = self.owners_of(patch);
                    let unknown = patch.identities.iter().filter(|identity| !self.owners.contains_key(*identity));
                    newcomers.gather(&unknown.collect::<Vec<_>>(), &owners);
                }
            }
            for (_, fact) in facts.iter().filter(|(_, fact)| !matches!(fact, Fact::Customer(_))) {
                let unknown = fact.identity().into_iter().filter(|identity| !self.owners.contains_key(*identity));
                newcomers.gather(&unknown.collect::<Vec<_>>(), &[]);
            }
        }
        let registered = identities::register(self.transaction, self.tenant.id, self.keys, &newcomers.groups).await?;
        for group in newcomers.groups {
            let Some(owner) = registered.get(&group.identities[0]) else {
                return Err(StoreError::Sealed("an identity was registered and is gone"));
            };
            self.touched.insert(owner.customer.0);
            self.registered.insert(owner.customer.0);
            if group.join.is_some() {
                // Whatever becomes of the row: what is registered stands in the record, by which it is shown and erased.
                let customer = self.customers.get_mut(&owner.customer);
                let customer = customer.ok_or(StoreError::Sealed("a customer was named and is gone"))?;
                customer.join(&group.identities, owner.home, self.now);
            } else {
                let customer =
                    StoredCustomer::new(self.tenant.id, self.keys, owner.customer, group.identities, self.now);
                self.customers.insert(owner.customer, customer);
            }
        }
        self.owners.extend(registered);
        Ok(())
    }

    /// Takes over a customer. Returns whether anything is different now. What is said blindly leaves the same traces whether it was known.
    fn take_customer(&mut self, patch: &CustomerPatch, blind: bool) -> Result<bool, ApiError> {
        let conflict = || {
            let problem = "the identities belong to different customers: merge these, and replay the row";
            ApiError::failed_precondition(ErrorReason::BodyConflict, problem).within("customer.identities")
        };
        let owners = self.owners_of(patch);
        let owner = *owners.first().ok_or_else(conflict)?;
        let everybody_is_known = patch.identities.iter().all(|identity| self.owners.contains_key(identity));
        if owners.len() > 1 || !everybody_is_known {
            let others = owners.iter().filter_map(|other| Pair::of(owner.customer, other.customer));
            self.conflicts.extend(others.map(|pair| (pair, ConflictReason::Identities)));
            return Err(conflict());
        }
        let fresh = self.registered.remove(owner.customer.0);
        let customer = self.customers.get_mut(&owner.customer).ok_or_else(conflict)?;
        let added = patch.person.custom.keys().filter(|key| !customer.person.custom.contains_key(*key)).count();
        if added > 0 && customer.person.custom.len() + added > MAX_CUSTOM_ATTRIBUTES {
            return Err(too_many().within("customer"));
        }
        let changed = customer.merge(patch, owner.home, self.now);
        if !changed && blind {
            customer.touch(owner.home, self.now);
        }
        customer.is_made_so();
        if changed || fresh || blind {
            self.touched.insert(owner.customer.0);
        }
        Ok(changed || fresh || blind)
    }

    /// Writes the customers that are new or changed. Returns whose referrers are others now, as [`customers::write`] does.
    async fn write_customers(&mut self) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let customers = std::mem::take(&mut self.customers).into_values();
        let mut customers: Vec<_> = customers.filter(|customer| self.touched.contains(customer.id.0)).collect();
        customers::write(self.transaction, self.tenant.id, self.keys, &mut customers).await
    }

    /// Writes streams and publishes what was touched, with the traces of live batches and of those in bulk. Returns the position of the facts.
    async fn finish(mut self, named: Vec<(i64, Vec<u8>)>, traces: [Vec<String>; 2]) -> Result<i64, StoreError> {
        let tenant = self.tenant.id;
        conflicts::note(self.transaction, tenant, &self.conflicts, self.now).await?;
        let position = if self.touched.is_empty() && self.changed_rates.is_empty() {
            feed::head(self.transaction, tenant, FACTS).await?
        } else {
            let mut seq = feed::next_seq(self.transaction, tenant, FACTS).await?;
            // Asked for under the lock of the head: facts that another replica commits are either seen here, or see the rate. So with referrers.
            for rate in self.changed_rates {
                self.touched |= rates::customers_of(self.transaction, tenant, rate, &self.tenant.zone).await?;
            }
            let mut referrers = referrals::of_buyers(self.transaction, tenant, named).await?;
            referrers |= referrals::of_first_orders(self.transaction, tenant, &self.bought).await?;
            if self.live.is_empty() {
                self.in_bulk |= &referrers;
            }
            self.touched |= referrers;
            // What came live does not wait for what came in bulk, though both are committed together.
            let in_bulk = &self.touched & (self.in_bulk - self.live);
            let live = self.touched - &in_bulk;
            if in_bulk.is_empty() || !live.is_empty() {
                let news = News { customers: &live, in_bulk: false, traces: &traces[0] };
                feed::tell(self.transaction, tenant, FACTS, seq, news).await?;
            }
            if !in_bulk.is_empty() {
                if !live.is_empty() {
                    seq = feed::next_seq(self.transaction, tenant, FACTS).await?;
                }
                let news = News { customers: &in_bulk, in_bulk: true, traces: &traces[1] };
                feed::tell(self.transaction, tenant, FACTS, seq, news).await?;
            }
            seq
        };
        for (stream_id, next_offset) in self.streams {
            // A stream begins with its first batch: a refused one leaves nothing behind.
            if next_offset > 0 {
                streams::write(self.transaction, tenant, stream_id, next_offset, position).await?;
            }
        }
        Ok(position)
    }
}

/// The customers among the rows of batches.
fn customer_rows(batches: &[Batch]) -> impl Iterator<Item = &CustomerPatch> {
    batches.iter().flat_map(|batch| &batch.facts).filter_map(|(_, fact)| match fact {
        Fact::Customer(patch) => Some(patch.as_ref()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
