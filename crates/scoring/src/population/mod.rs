//! All customers of a tenant in memory, as columns of the features that models score: for dry runs.
//!
//! Read from the service's own feed when a preview first asks, brought up to date when the next one does, and forgotten when none has for a
//! while. Only the features that were asked for are there.

mod column;
pub mod dry_run;
#[cfg(test)]
mod tests;

pub use column::Column;

use crate::models::feature::{Feature, LIFETIME_VALUE};
use crate::models::{At, Definition};
use crate::value::ValueModel;
use crate::worker::ScoreLink;
use quintile_chain::derive::Link;
use quintile_chain::feed as records;
use quintile_domain::ids::TenantId;
use quintile_proto::types::CustomerRecord;
use quintile_store::feed::{self, Cursor};
use quintile_store::{Database, StoreError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant as MachineInstant;

/// How long columns that nobody asks for are kept.
const IDLE: Duration = Duration::from_mins(10);
/// The columns that are kept beside those of one preview: up to 8 bytes for each customer.
const MAX_COLUMNS: usize = 40;
/// The features that previews count beside scores.
pub const REVENUE: &str = "revenue";

/// The populations of tenants. Previews of one tenant take turns.
#[derive(Clone, Default)]
pub struct Populations {
    of: Arc<parking_lot::Mutex<HashMap<TenantId, Arc<Mutex<Population>>>>>,
}

/// The customers of one tenant.
#[derive(Default)]
pub struct Population {
    columns: HashMap<Feature, Column>,
    /// By what it was told what customers will be worth, and on which day.
    valued: Option<(ValueModel, i64)>,
    /// Whether there is a customer of this number.
    present: Vec<bool>,
    /// Behind what was read. `None`: nothing was.
    cursor: Option<Cursor>,
    used: Option<MachineInstant>,
}

impl Populations {
    /// The population of a tenant, to be locked.
    pub fn of(&self, tenant: TenantId) -> Arc<Mutex<Population>> {
        self.of.lock().entry(tenant).or_default().clone()
    }

    /// Forgets the customers of a tenant, whoever looks at them: they are read anew.
    pub fn forget(&self, tenant: TenantId) {
        self.of.lock().remove(&tenant);
    }

    /// Forgets what nobody has asked for lately, again and again.
    pub async fn forget_idle(self) {
        loop {
            tokio::time::sleep(IDLE / 10).await;
            let idle = |population: &Arc<Mutex<Population>>| {
                // One that somebody waits for is not.
                if Arc::strong_count(population) > 1 {
                    return false;
                }
                let population = population.try_lock();
                population.is_ok_and(|population| population.used.is_none_or(|used| used.elapsed() >= IDLE))
            };
            self.of.lock().retain(|_, population| !idle(population));
        }
    }
}

/// The features that a dry run reads.
pub fn features_of<'a>(definitions: impl IntoIterator<Item = &'a Definition>) -> HashSet<Feature> {
    let dimensions = definitions.into_iter().flat_map(|definition| &definition.dimensions);
    let features = dimensions.map(|dimension| dimension.feature.clone());
    features.chain([REVENUE, LIFETIME_VALUE].into_iter().filter_map(|name| Feature::from_name(name).ok())).collect()
}

impl Population {
    /// Reads what has changed, up to now, and everybody anew where a feature is not there yet or values are by something else. Returns the position
    /// of the feed that it has reached. Tells how many customers have been read; `None` when nobody wants to hear more of it: the next time it goes
    /// on where it was.
    pub async fn update(
        &mut self,
        database: &Database,
        tenant: TenantId,
        features: &HashSet<Feature>,
        at: &At<'_>,
        mut tell: impl FnMut(u64) -> bool,
    ) -> Result<Option<i64>, StoreError> {
        self.used = Some(MachineInstant::now());
        let valued = at.valuing.map(|model| (*model, at.day));
        let complete = features.iter().all(|feature| self.columns.contains_key(feature));
        let mixed = self.columns.values().any(Column::is_mixed);
        if !complete || mixed || self.valued != valued || self.cursor.is_none() {
            // What others have asked for stays with it, as long as it is not too much.
            let mut wanted: HashSet<Feature> = self.columns.keys().chain(features).cloned().collect();
            if wanted.len() > MAX_COLUMNS {
                wanted.clone_from(features);
            }
            let columns = wanted.into_iter().map(|feature| (feature, Column::default())).collect();
            *self = Self { columns, valued, ..Self::default() };
            self.cursor = Some(feed::begin(database, tenant, ScoreLink::FEED).await?);
        }
        let head = feed::head(database.reader(), tenant, ScoreLink::FEED).await?;
        let mut read = 0;
        loop {
            match self.cursor {
                Some(Cursor::Tail(seq)) if seq >= head => break,
                Some(cursor) => {
                    let page = feed::read(database, tenant, ScoreLink::FEED, cursor).await?;
                    read += page.records.len() as u64;
                    self.take(&page.records, at)?;
                    self.cursor = Some(page.cursor);
                    if !tell(read) {
                        return Ok(None);
                    }
                }
                None => break,
            }
        }
        self.used = Some(MachineInstant::now());
        match self.cursor {
            Some(Cursor::Tail(seq)) => Ok(Some(seq)),
            _ => Ok(Some(head)),
        }
    }

    fn take(&mut self, rows: &[quintile_store::records::Record], at: &At<'_>) -> Result<(), StoreError> {
        for row in rows {
            let customer = row.customer.0 as usize;
            if self.present.len() <= customer {
                self.present.resize(customer + 1, false);
            }
            self.present[customer] = !row.is_tombstone();
            // Of who is no more there is a record without values.
            let record = if row.is_tombstone() { CustomerRecord::default() } else { records::decode(row)? };
            for (feature, column) in &mut self.columns {
                column.set(customer, feature.value(&record, at));
            }
        }
        Ok(())
    }

    /// The values of a feature. `None`: it was not asked for.
    pub fn column(&self, feature: &Feature) -> Option<&Column> {
        self.columns.get(feature)
    }

    /// Whether there is a customer of each number, from 0 on.
    pub fn present(&self) -> &[bool] {
        &self.present
    }

    /// A population of these columns, which all of its customers have.
    pub fn of_columns(columns: HashMap<Feature, Column>, customers: usize) -> Self {
        let mut present = vec![true; customers + 1];
        present[0] = false;
        Self { columns, present, ..Self::default() }
    }
}
