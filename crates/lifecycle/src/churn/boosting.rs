//! Gradient boosting (Friedman 2001): a sum of small trees, each of which lowers what loss the others left.
//!
//! Newton's leaf values and penalised gains are those of Chen and Guestrin 2016 ("`XGBoost`"), values in bins and
//! growth by the best leaf those of Ke et al. 2017 ("`LightGBM`"). Each question learns where missing values belong.

use super::bins::Bins;
use super::encoding::{Cell, Encoding};
use super::error::{ChurnError, check_length, check_outcomes};
use super::explanation::Explanation;
use super::growth::{Grown, Limits, Soil};
use super::histogram::Slope;
use super::logistic::{sigmoid, softplus};
use super::shapley;
use super::table::Table;
use super::tree::Tree;
use super::{MAX_DEPTH, MAX_TREES, parallel};
use quintile_domain::seeded::Seeded;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// The most threads. More would wait for memory.
const MAX_THREADS: usize = 64;
/// The most leaves of a tree: as many as the deepest tree has.
const MAX_LEAVES: usize = 1 << MAX_DEPTH;

/// How trees are boosted. The same settings on the same rows give the same model, on any number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boosting {
    /// How many trees at most: 1 to [`MAX_TREES`].
    pub trees: usize,
    /// The share of its best value that a leaf adds: above 0, at most 1.
    pub shrinkage: f64,
    /// How many questions from the root to a leaf: 1 to [`MAX_DEPTH`].
    pub depth: usize,
    /// How many leaves of a tree: 2 to 256.
    pub leaves: usize,
    /// The fewest rows of a leaf: at least 1.
    pub rows_per_leaf: usize,
    /// What is put on squared leaf values: 0.001 to 1e6.
    pub penalty: f64,
    /// The share of rows that each tree sees: above 0, at most 1.
    pub row_share: f64,
    /// The share of features that each tree asks of: above 0, at most 1. At least one feature.
    pub feature_share: f64,
    /// When to stop before all trees are there. `None`: not.
    pub stopping: Option<Stopping>,
    /// What the choice of rows and features follows from.
    pub seed: u64,
    /// By how many threads: 1 to 64.
    pub threads: NonZeroUsize,
}

/// When more trees do not help: rows are held out, and trees after the one with the lowest log loss on them are
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stopping {
    /// The share of rows that are held out: above 0, at most 0.5.
    pub held_out: f64,
    /// How many trees may bring nothing before no more are tried: 1 to [`MAX_TREES`].
    pub patience: usize,
}

impl Boosting {
    /// Slow and shallow: 200 trees of at most 8 leaves, each seeing seven tenths of the rows and half of the features.
    pub fn new(seed: u64) -> Self {
        Self {
            trees: 200,
            shrinkage: 0.05,
            depth: 4,
            leaves: 8,
            rows_per_leaf: 20,
            penalty: 1.0,
            row_share: 0.7,
            feature_share: 0.5,
            stopping: None,
            seed,
            threads: NonZeroUsize::MIN,
        }
    }

    fn check(&self) -> Result<(), ChurnError> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        let stopping = self.stopping.is_none_or(|stopping| {
            stopping.held_out > 0.0 && stopping.held_out <= 0.5 && (1..=MAX_TREES).contains(&stopping.patience)
        });
        let settings = [
            ("trees", (1..=MAX_TREES).contains(&self.trees)),
            ("shrinkage", share(self.shrinkage)),
            ("depth", (1..=MAX_DEPTH).contains(&self.depth)),
            ("leaves", (2..=MAX_LEAVES).contains(&self.leaves)),
            ("rows_per_leaf", self.rows_per_leaf >= 1),
            ("penalty", (0.001..=1e6).contains(&self.penalty)),
            ("row_share", share(self.row_share)),
            ("feature_share", share(self.feature_share)),
            ("stopping", stopping),
            ("threads", self.threads.get() <= MAX_THREADS),
        ];
        settings.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(name, _)| Err(ChurnError::Setting(name)))
    }

    fn limits(&self) -> Limits {
        Limits {
            depth: self.depth,
            leaves: self.leaves,
            rows_per_leaf: i64::try_from(self.rows_per_leaf).unwrap_or(i64::MAX),
            penalty: self.penalty,
            shrinkage: self.shrinkage,
            threads: self.threads,
        }
    }
}

/// Boosted trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boosted {
    /// What a customer's values are.
    pub encoding: Encoding,
    /// The log-odds without any tree: those of the share who left.
    pub base: f64,
    /// What is added to it.
    pub trees: Vec<Tree>,
}

impl Boosted {
    /// Fits trees to who left.
    pub fn fit(table: &Table, labels: &[bool], boosting: &Boosting) -> Result<Self, ChurnError> {
        boosting.check()?;
        check_length(labels.len(), table.rows())?;
        let churned = check_outcomes(labels, 1)? as f64;
        let encoding = Encoding::learn(table);
        let bins = Bins::all(&encoding, &encoding.reader(table)?, table.rows(), boosting.threads);
        let base = (churned / (labels.len() as f64 - churned)).ln();
        let trees = boost(&bins, labels, base, boosting);
        Ok(Self { encoding, base, trees })
    }

    /// The log-odds of leaving.
    pub(super) fn log_odds(&self, cells: &[Cell]) -> f64 {
        self.base + self.trees.iter().map(|tree| tree.value(cells)).sum::<f64>()
    }

    /// What each feature adds: its Shapley value, and the mean log-odds of the fit as the base (by the rows that each
    /// tree saw).
    pub(super) fn explain(&self, cells: &[Cell]) -> Explanation {
        let mut contributions = vec![0.0; self.encoding.features.len()];
        let mut base = self.base;
        for tree in &self.trees {
            base += tree.mean();
            shapley::add(tree, cells, &mut contributions);
        }
        Explanation::new(base, &self.encoding, contributions)
    }

    pub(super) fn check(&self) -> Result<(), ChurnError> {
        self.encoding.check()?;
        if !self.base.is_finite() || self.trees.len() > MAX_TREES {
            return Err(ChurnError::Malformed("base or number of trees"));
        }
        self.trees.iter().try_for_each(|tree| tree.check(&self.encoding))
    }
}

fn boost(bins: &[Bins], labels: &[bool], base: f64, boosting: &Boosting) -> Vec<Tree> {
    let mut random = Seeded::new(boosting.seed);
    let all: Vec<u32> = (0..labels.len() as u32).collect();
    let features: Vec<u32> = (0..bins.len() as u32).collect();
    let (seen, mut watch) = hold_out(&all, boosting.stopping, &mut random);
    let share = |count: usize, share: f64| ((count as f64 * share).ceil() as usize).max(1);
    let (row_count, feature_count) = (share(seen.len(), boosting.row_share), share(bins.len(), boosting.feature_share));
    let mut states: Vec<(f64, Slope)> = vec![(base, Slope::default()); labels.len()];
    let mut trees = Vec::new();
    while trees.len() < boosting.trees {
        parallel::change(boosting.threads, &mut states, |row, (log_odds, slope)| {
            *slope = Slope::of(sigmoid(*log_odds), labels.get(row).copied().unwrap_or_default());
        });
        let slopes: Vec<Slope> = states.iter().map(|(_, slope)| *slope).collect();
        let mut rows = drawn(&mut random, &seen, row_count);
        let chosen = drawn(&mut random, &features, feature_count);
        let soil = Soil { bins, chosen: &chosen, slopes: &slopes, limits: boosting.limits() };
        let grown = Grown::grow(&soil, &mut rows);
        parallel::change(boosting.threads, &mut states, |row, (log_odds, _)| {
            *log_odds += grown.value(bins, row as u32);
        });
        trees.push(grown.tree);
        if let Some(watch) = &mut watch
            && watch.says_enough(trees.len(), |row| states.get(row).map(|(log_odds, _)| *log_odds), labels)
        {
            break;
        }
    }
    trees.truncate(watch.map_or(usize::MAX, |watch| watch.best));
    trees
}

/// So many of some places, in their order.
fn drawn(random: &mut Seeded, of: &[u32], size: usize) -> Vec<u32> {
    random.sample(of.len(), size).into_iter().filter_map(|place| of.get(place).copied()).collect()
}

/// Rows that trees are grown from, and those that say when it is enough.
fn hold_out(all: &[u32], stopping: Option<Stopping>, random: &mut Seeded) -> (Vec<u32>, Option<Watch>) {
    let Some(stopping) = stopping else {
        return (all.to_vec(), None);
    };
    let held_out = drawn(random, all, (all.len() as f64 * stopping.held_out).ceil() as usize);
    let seen = all.iter().copied().filter(|row| held_out.binary_search(row).is_err()).collect();
    (seen, Some(Watch { held_out, patience: stopping.patience, best: 0, lowest: f64::INFINITY }))
}

/// Rows that are held out, and the number of trees with the lowest loss on them.
struct Watch {
    held_out: Vec<u32>,
    patience: usize,
    best: usize,
    lowest: f64,
}

impl Watch {
    fn says_enough(&mut self, trees: usize, log_odds: impl Fn(usize) -> Option<f64>, labels: &[bool]) -> bool {
        let loss = |row: &u32| match (log_odds(*row as usize), labels.get(*row as usize)) {
            (Some(log_odds), Some(label)) => softplus(if *label { -log_odds } else { log_odds }),
            _ => 0.0,
        };
        let total: f64 = self.held_out.iter().map(loss).sum();
        if total < self.lowest {
            (self.best, self.lowest) = (trees, total);
        }
        trees - self.best >= self.patience
    }
}
