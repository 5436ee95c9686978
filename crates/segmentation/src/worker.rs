//! The end of the chain: follows lifecycle, keeps every record and every membership, and logs each enter and exit.

mod keeping;
mod loading;

use crate::Service;
use crate::fields::Classes;
use crate::history::History;
use crate::own_fields;
use crate::population::blocks::layout;
use crate::population::{Change, Entry, LoadedPopulation, PopulationError};
use crate::store::{self, column_blocks, evaluation, lists, log_retention, memberships, snapshots};
use crate::vitals;
use keeping::Keeping;
use prost::Message;
use quintile_chain::context::{Runtime, WorkError};
use quintile_chain::feed::Removed;
use quintile_chain::follow::{Step, Worker, follow};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::WatchStagesRequest;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::segmentation::MembershipCause;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_store::follower;
use quintile_store::records::{self, Record};
use quintile_store::{StoreError, Transaction, failpoint};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::Instant as MachineInstant;

/// The name of this worker's place.
pub const RECORDS: &str = "records";
/// The largest message of the feed.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Of fewer customers any answer is fast.
const MIN_BALANCED: u64 = 10_000;

/// Loads a tenant's population and keeps it true, without end.
pub async fn run(service: Service, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    let runtime = service.runtime.clone();
    let loading = service.populations.begin(tenant.id);
    let place = follower::place(runtime.database.reader(), tenant.id, RECORDS).await?;
    // Loaded anew after every failure: what was half done in memory is forgotten.
    let written = evaluation::as_of(runtime.database.reader(), tenant.id).await?;
    let (population, keeping) = loading::load(&runtime, &tenant, &place, written).await?;
    let balanced_at = population.engine().population();
    let population = service.populations.put(tenant.id, population);
    drop(loading);
    runtime.resume(&tenant, &place);
    let connect = |cursor: String| {
        let (service, tenant) = (service.clone(), tenant.clone());
        async move {
            let request = service.credentials.request(&tenant.name, WatchStagesRequest { cursor }).await?;
            let client = StageServiceClient::new(service.lifecycle.clone());
            Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).watch_stages(request).await?.into_inner())
        }
    };
    let day = snapshots::last_day(runtime.database.reader(), tenant.id).await?;
    let mut keeper = Keeper {
        runtime: runtime.clone(),
        tenant: tenant.clone(),
        history: service.history,
        population,
        day,
        // What is kept may be less than it was.
        forgetting: true,
        written,
        keeping,
        compressing: None,
        balancing: None,
        balanced_at,
    };
    follow(&runtime, &tenant, RECORDS, connect, place, &mut keeper).await
}

fn refused(error: &PopulationError) -> WorkError {
    tracing::error!(%error, "the engine refuses what came");
    WorkError::Malformed
}

struct Keeper {
    runtime: Runtime,
    tenant: Arc<Tenant>,
    history: History,
    population: LoadedPopulation,
    /// The last local day whose beginning is written down.
    day: Option<i32>,
    /// Whether there may be something that is older than it is kept.
    forgetting: bool,
    /// The instant that was written down last as the one evaluated at.
    written: Instant,
    keeping: Keeping,
    /// Blocks that are being compressed.
    compressing: Option<JoinHandle<std::io::Result<keeping::Blocks>>>,
    /// The next column that is to be fitted to its values. `None`: they all are.
    balancing: Option<usize>,
    /// How many customers there were when that was last begun.
    balanced_at: u64,
}

impl Keeper {
    fn compare(&self, records: Vec<CustomerRecord>, step: &mut Step<'_>) -> Vec<(Entry, Vec<Change>)> {
        let mut population = self.population.population.write();
        let entries: Vec<Entry> = records.into_iter().map(|record| population.entry(record)).collect();
        if step.reached() == Instant::default() {
            // Nothing was ever evaluated: the first records say which time it is.
            let first = entries.iter().map(Entry::computed_at).max().unwrap_or_default().max(population.as_of());
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
        let found = own_fields::unknown(&records, self.population.population.read().own_fields());
        if !found.is_empty() {
            self.population.population.write().know(found.clone()).map_err(|error| refused(&error))?;
        }
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
        let touched = self.keeping.touch(rows.iter().map(|row| row.customer.0), MachineInstant::now());
        // Whose processing is restricted, or who was erased, has nothing that is kept.
        let forgotten = self.keeping.forget(removed.iter().map(|removed| removed.customer.0));
        let transaction = step.begin().await?;
        records::write(&transaction, self.tenant.id, rows).await?;
        store::own_fields::write(&transaction, self.tenant.id, &found).await?;
        memberships::erase(&transaction, self.tenant.id, &erased).await?;
        lists::erase(&transaction, self.tenant.id, &erased).await?;
        snapshots::erase(&transaction, self.tenant.id, &erased).await?;
        if let Some((number, customers)) = touched {
            column_blocks::touch(&transaction, self.tenant.id, number, &customers).await?;
        }
        column_blocks::forget(&transaction, self.tenant.id, &forgotten).await?;
        self.write_instant(&transaction).await?;
        if let Some(seq) = memberships::append(&transaction, self.tenant.id, &changes, &[]).await? {
            // Before anybody can read it: should the commit fail, everything is loaded anew, without them.
            self.population.traces.remember(seq, step.traces());
        }
        failpoint::reach(RECORDS, "before_commit").await;
        // Memory follows the database, never the other way round.
        step.commit(transaction).await?;
        vitals::count_changes(&self.tenant, &changes, &[]);
        failpoint::reach(RECORDS, "after_commit").await;
        let mut population = self.population.population.write();
        for (entry, changes) in &compared {
            population.take(entry, changes).map_err(|error| refused(&error))?;
        }
        for (removed, changes) in &leaving {
            population.remove_customer(removed.customer.0, changes).map_err(|error| refused(&error))?;
        }
        population.take_off_lists(&erased);
        Ok(())
    }

    async fn tick(&mut self, to: Instant, step: &mut Step<'_>) -> Result<bool, WorkError> {
        let changing = self.population.changing.clone();
        let _changing = changing.lock().await;
        let movements = self.population.population.read().changes_by_time(to);
        if !movements.is_empty() {
            // The time that is reached moves with what it changed: the log can't tell it twice.
            let transaction = step.begin().await?;
            evaluation::write(&transaction, self.tenant.id, to).await?;
            memberships::append(&transaction, self.tenant.id, &[], &movements).await?;
            step.commit(transaction).await?;
            vitals::count_changes(&self.tenant, &[], &movements);
            self.written = to;
        }
        self.population.population.write().pass_time(to, &movements);
        self.keep_days(to, step).await?;
        Ok(false)
    }

    async fn go_through(&mut self, _runtime: &Runtime, step: &mut Step<'_>) -> Result<bool, WorkError> {
        if self.forgetting {
            let today = self.tenant.zone.local_day(self.population.population.read().as_of());
            self.forgetting = self.forget(today, step).await?;
        }
        self.balance();
        self.keep_columns(step).await?;
        Ok(self.forgetting || self.balancing.is_some())
    }
}

impl Keeper {
    /// Fits one column to the values that are there, where there have come to be twice as many customers. Nobody waits for that but this worker.
    fn balance(&mut self) {
        let population = self.population.population.read();
        let (customers, columns) = (population.engine().population(), population.engine().column_count());
        if self.balancing.is_none() && customers >= MIN_BALANCED.max(2 * self.balanced_at) {
            (self.balancing, self.balanced_at) = (Some(0), customers);
        }
        let Some(column) = self.balancing else { return };
        let balance = population.engine().balance(column);
        drop(population);
        if let Some(balance) = balance {
            self.population.population.write().put_balance(column, balance);
        }
        self.balancing = Some(column + 1).filter(|next| *next < columns);
    }

    /// Keeps blocks of columns that have changed: compressed while the worker goes on, and then written.
    async fn keep_columns(&mut self, step: &Step<'_>) -> Result<(), WorkError> {
        if let Some(compressed) = self.compressing.take_if(|compressing| compressing.is_finished()) {
            let compressed = compressed.await.map_err(|_| WorkError::Panicked)?;
            let blocks = self.keeping.ready(compressed.map_err(|_| StoreError::Sealed("block of columns"))?);
            let transaction = step.begin().await?;
            column_blocks::keep(&transaction, self.tenant.id, &layout(&self.tenant), blocks).await?;
            column_blocks::forget_touched(&transaction, self.tenant.id, self.keeping.needed_from()).await?;
            step.commit_part(transaction).await?;
            self.keeping.end();
        }
        if self.compressing.is_none() {
            let population = self.population.population.read();
            let due =
                self.keeping.due(population.blocks(), |block| population.customers_of(block), MachineInstant::now());
            if !due.is_empty() {
                self.keeping.begin(&due);
                let blocks = due.into_iter().map(|block| (block, population.kept(block).encode_to_vec())).collect();
                self.compressing = Some(tokio::task::spawn_blocking(|| keeping::compressed(blocks)));
            }
        }
        Ok(())
    }
}

impl Keeper {
    /// Writes down what instant records are compared at, where it is another than was written down.
    async fn write_instant(&mut self, transaction: &Transaction) -> Result<(), StoreError> {
        let as_of = self.population.population.read().as_of();
        if as_of > self.written {
            evaluation::write(transaction, self.tenant.id, as_of).await?;
            // Should the transaction fail, everything is loaded anew.
            self.written = as_of;
        }
        Ok(())
    }

    /// Writes down how a day began, once.
    async fn keep_days(&mut self, to: Instant, step: &Step<'_>) -> Result<(), WorkError> {
        let today = self.tenant.zone.local_day(to);
        if self.day.is_none_or(|day| day < today) {
            let (sizes, labels) = {
                let population = self.population.population.read();
                (population.sizes(), population.labelled())
            };
            let transaction = step.begin().await?;
            snapshots::write_sizes(&transaction, self.tenant.id, today, to, sizes).await?;
            for (key, labelled, classes) in labels {
                let day = (today, to, classes);
                snapshots::write_labels(&transaction, self.tenant.id, &key, day, &labelled).await?;
            }
            step.commit_part(transaction).await?;
            (self.day, self.forgetting) = (Some(today), true);
        }
        Ok(())
    }

    /// Lets go of a part of what is older than it is kept. Whether there may be more.
    async fn forget(&self, today: i32, step: &Step<'_>) -> Result<bool, WorkError> {
        let (reader, tenant) = (self.runtime.database.reader(), self.tenant.id);
        let horizon = self.tenant.zone.start_of_day(today - self.history.membership_days);
        let log = log_retention::forgettable(reader, tenant, horizon).await?;
        let sizes = snapshots::first_day(reader, tenant).await?.filter(|day| *day < today - self.history.size_days);
        let labels = snapshots::days_before(reader, tenant, today - self.history.label_days).await?;
        let labels = labels.into_iter().find(|day| !self.history.keeps_labels(*day, today));
        if log.is_none() && sizes.is_none() && labels.is_none() {
            return Ok(false);
        }
        let transaction = step.begin().await?;
        if let Some(end) = log {
            log_retention::forget(&transaction, tenant, end).await?;
        }
        if let Some(day) = sizes {
            snapshots::forget_sizes(&transaction, tenant, day).await?;
        }
        if let Some(day) = labels {
            snapshots::forget_labels(&transaction, tenant, day).await?;
        }
        step.commit_part(transaction).await?;
        Ok(true)
    }
}
