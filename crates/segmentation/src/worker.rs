//! The end of the chain: follows lifecycle, keeps every record and every membership, and logs each enter and exit.

use crate::Service;
use crate::fields::Classes;
use crate::population::{Change, Entry, LiveSegment, LoadedPopulation, Population, PopulationError};
use crate::store::{memberships, segments};
use prost::Message;
use quintile_chain::context::{Runtime, WorkError};
use quintile_chain::feed::{self, Removed};
use quintile_chain::follow::{Step, Worker, follow};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_expr::Rule;
use quintile_proto::lifecycle::WatchStagesRequest;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::segmentation::MembershipCause;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_store::records::{self, Record};
use quintile_store::{StoreError, failpoint, follower};
use std::sync::Arc;
use tokio::sync::watch;

/// The name of this worker's place.
pub const RECORDS: &str = "records";
/// The largest message of the feed.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Records that a load reads at once.
const SCAN_RECORDS: u64 = 10_000;

/// Loads a tenant's population and keeps it true, without end.
pub async fn run(service: Service, tenant: Arc<Tenant>, loaded: watch::Sender<bool>) -> Result<(), WorkError> {
    let runtime = service.runtime.clone();
    let place = follower::place(runtime.database.reader(), tenant.id, RECORDS).await?;
    // Loaded anew after every failure: what was half done in memory is forgotten.
    let population = load(&runtime, &tenant, Instant::from_micros(place.time_micros)).await?;
    let population = service.populations.put(tenant.id, population);
    runtime.resume(&tenant, &place);
    loaded.send_replace(true);
    let connect = |cursor: String| {
        let (service, tenant) = (service.clone(), tenant.clone());
        async move {
            let request = service.credentials.request(&tenant.name, WatchStagesRequest { cursor }).await?;
            let client = StageServiceClient::new(service.lifecycle.clone());
            Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).watch_stages(request).await?.into_inner())
        }
    };
    let mut keeper = Keeper { tenant: tenant.clone(), population };
    follow(&runtime, tenant.id, RECORDS, connect, place, &mut keeper).await
}

async fn load(runtime: &Runtime, tenant: &Tenant, as_of: Instant) -> Result<Population, WorkError> {
    let mut population = Population::new(tenant).map_err(|error| refused(&error))?;
    population.begin_at(as_of);
    let mut after = 0;
    loop {
        let page = records::scan(runtime.database.reader(), tenant.id, after, SCAN_RECORDS).await?;
        let Some(last) = page.last() else { break };
        after = last.customer.0;
        population.reserve(after).map_err(|error| refused(&error))?;
        for row in page.iter().filter(|row| !row.is_tombstone()) {
            let entry = population.entry(feed::decode(row)?);
            population.take(&entry, &[]).map_err(|error| refused(&error))?;
        }
    }
    population.rebalance();
    for definition in segments::all(runtime.database.reader(), tenant.id).await? {
        match Rule::parse(&definition.expression, population.schema()) {
            Ok(rule) => population.add(LiveSegment {
                id: definition.id,
                classes: population.classes_read(&rule),
                rule,
                description: definition.description,
                created_at: definition.created_at,
                revision: definition.revision,
                members: crate::engine::Bitmap::new(),
            }),
            Err(error) => {
                tracing::error!(segment = definition.id, %error, "a stored rule no longer parses; the segment is not live");
            }
        }
    }
    Ok(population)
}

fn refused(error: &PopulationError) -> WorkError {
    tracing::error!(%error, "the engine refuses what came");
    WorkError::Malformed
}

struct Keeper {
    tenant: Arc<Tenant>,
    population: LoadedPopulation,
}

impl Keeper {
    fn compare(&self, records: Vec<CustomerRecord>, step: &mut Step<'_>) -> Vec<(Entry, Vec<Change>)> {
        let mut population = self.population.population.write();
        let entries: Vec<Entry> = records.into_iter().map(|record| population.entry(record)).collect();
        if step.reached() == Instant::default() {
            // Nothing was ever evaluated: the first records say which time it is.
            let first = entries.iter().map(Entry::computed_at).max().unwrap_or_default();
            population.begin_at(first);
            step.reach(first);
        }
        entries
            .into_iter()
            .map(|entry| {
                let changes = population.changes(&entry);
                (entry, changes)
            })
            .collect()
    }
}

impl Keeper {
    /// Customers who leave, each with what it leaves.
    fn leaving(&self, removed: &[Removed]) -> Vec<(Removed, Vec<Change>)> {
        let population = self.population.population.read();
        removed.iter().map(|removed| (*removed, population.removal(removed.customer.0))).collect()
    }
}

/// What the log tells of a customer who leaves. Of one who was erased it says that alone, not what it was a member of.
fn told(removed: Removed, changes: &[Change]) -> Vec<Change> {
    if !removed.erased {
        return changes.to_vec();
    }
    let valid_at = changes.first().map(|change| change.valid_at).unwrap_or_default();
    vec![Change {
        parent: String::new(),
        customer_id: removed.customer.0,
        entered: false,
        valid_at,
        cause: MembershipCause::Removal,
        classes: Classes::default(),
    }]
}

impl Worker for Keeper {
    async fn take(
        &mut self,
        records: Vec<CustomerRecord>,
        removed: Vec<Removed>,
        step: &mut Step<'_>,
    ) -> Result<(), WorkError> {
        let changing = self.population.changing.clone();
        let _changing = changing.lock().await;
        let compared = self.compare(records, step);
        let mut rows = Vec::with_capacity(compared.len());
        let mut changes = Vec::new();
        for (entry, of_entry) in &compared {
            let record = entry.record();
            let customer = CustomerId::try_from(record.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
            rows.push(Record { customer, seq: 0, next_change: None, body: record.encode_to_vec(), erased: false });
            changes.extend_from_slice(of_entry);
        }
        let leaving = self.leaving(&removed);
        rows.extend(removed.iter().map(|removed| Record::tombstone(removed.customer, 0, removed.erased)));
        changes.extend(leaving.iter().flat_map(|(removed, of_customer)| told(*removed, of_customer)));
        let erased: Vec<_> = removed.iter().filter(|removed| removed.erased).map(|removed| removed.customer).collect();
        let transaction = step.begin().await?;
        records::write(&transaction, self.tenant.id, rows).await?;
        memberships::erase(&transaction, self.tenant.id, &erased).await?;
        memberships::append(&transaction, self.tenant.id, &changes).await?;
        failpoint::reach(RECORDS, "before_commit").await;
        // Memory follows the database, never the other way round.
        step.commit(transaction).await?;
        failpoint::reach(RECORDS, "after_commit").await;
        let mut population = self.population.population.write();
        for (entry, changes) in &compared {
            population.take(entry, changes).map_err(|error| refused(&error))?;
        }
        for (removed, changes) in &leaving {
            population.remove_customer(removed.customer.0, changes).map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    async fn tick(&mut self, to: Instant, step: &mut Step<'_>) -> Result<bool, WorkError> {
        let changing = self.population.changing.clone();
        let _changing = changing.lock().await;
        let changes = self.population.population.read().changes_by_time(to);
        if !changes.is_empty() {
            // The time that is reached moves with what it changed: the log can't tell it twice.
            let transaction = step.begin().await?;
            memberships::append(&transaction, self.tenant.id, &changes).await?;
            step.commit(transaction).await?;
        }
        self.population.population.write().pass_time(to, &changes);
        Ok(false)
    }
}
