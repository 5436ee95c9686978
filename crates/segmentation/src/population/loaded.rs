//! The populations of this process, for those who read and change them.

use super::Population;
use parking_lot::{Mutex, RwLock};
use quintile_domain::ids::TenantId;
use quintile_rpc::telemetry::traces::merge;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The loaded populations. Definitions and records change under `changing`, one after the other; reads only take the inner lock,
/// and never while waiting for a database.
#[derive(Clone, Default)]
pub struct Populations {
    loaded: Arc<Mutex<HashMap<TenantId, LoadedPopulation>>>,
    /// Of whom a load is going on.
    loading: Arc<Mutex<HashSet<TenantId>>>,
}

/// A load that goes on until it is dropped.
pub struct Loading<'a> {
    populations: &'a Populations,
    tenant: TenantId,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.populations.loading.lock().remove(&self.tenant);
    }
}

/// A tenant's population, ready to be read.
#[derive(Clone)]
pub struct LoadedPopulation {
    /// The population.
    pub population: Arc<RwLock<Population>>,
    /// Held by whoever changes it, from reading what to change to having written it down.
    pub changing: Arc<tokio::sync::Mutex<()>>,
    /// What led to the last enters and exits.
    pub traces: Arc<RecentTraces>,
}

/// Commits whose traces are remembered: a watch that is further behind tells none of them.
const RECENT: usize = 1_024;

/// The traces that led to the last enters and exits, by the number of the commit. They are not stored: who watches does so here, where they are written.
#[derive(Default)]
pub struct RecentTraces(Mutex<VecDeque<(i64, Vec<String>)>>);

impl RecentTraces {
    /// Remembers those of a commit.
    pub fn remember(&self, seq: i64, traces: Vec<String>) {
        if traces.is_empty() {
            return;
        }
        let mut recent = self.0.lock();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((seq, traces));
    }

    /// Those of some commits, in order, as far as they are remembered.
    pub fn of(&self, commits: impl IntoIterator<Item = i64>) -> Vec<String> {
        let recent = self.0.lock();
        let mut traces = Vec::new();
        for commit in commits {
            if let Ok(place) = recent.binary_search_by_key(&commit, |(seq, _)| *seq) {
                merge(&mut traces, recent[place].1.clone());
            }
        }
        traces
    }
}

impl Populations {
    /// A tenant's population. `None`: it is not loaded yet.
    pub fn of(&self, tenant: TenantId) -> Option<LoadedPopulation> {
        self.loaded.lock().get(&tenant).cloned()
    }

    /// Whether any tenant's is loaded.
    pub fn is_any(&self) -> bool {
        !self.loaded.lock().is_empty()
    }

    /// Notes that a tenant's is being loaded.
    pub fn begin(&self, tenant: TenantId) -> Loading<'_> {
        self.loading.lock().insert(tenant);
        Loading { populations: self, tenant }
    }

    /// Whether a tenant's is being loaded.
    pub fn is_loading(&self, tenant: TenantId) -> bool {
        self.loading.lock().contains(&tenant)
    }

    /// Puts a loaded population in place.
    pub fn put(&self, tenant: TenantId, population: Population) -> LoadedPopulation {
        let population = Arc::new(RwLock::new(population));
        let loaded = LoadedPopulation { population, changing: Arc::default(), traces: Arc::default() };
        self.loaded.lock().insert(tenant, loaded.clone());
        loaded
    }
}
