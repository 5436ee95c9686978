//! How a tree grows: the leaf whose best question lowers the loss most is split next.

use super::bins::Bins;
use super::histogram::{Histogram, Slope, Sums};
use super::tree::{Node, Tree};
use std::num::NonZeroUsize;
use std::ops::Range;

/// Gains below this are rounding.
const LEAST_GAIN: f64 = 1e-6;

/// What bounds a tree.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) depth: usize,
    pub(super) leaves: usize,
    pub(super) rows_per_leaf: i64,
    pub(super) penalty: f64,
    pub(super) shrinkage: f64,
    pub(super) threads: NonZeroUsize,
}

/// A tree, and the same by bins.
pub(super) struct Grown {
    pub(super) tree: Tree,
    /// For each node of the tree the bin of its question.
    by: Vec<u8>,
}

/// What a tree grows from.
pub(super) struct Soil<'s> {
    /// All features.
    pub(super) bins: &'s [Bins],
    /// The places of those that are looked at.
    pub(super) chosen: &'s [u32],
    /// For each row of the table its slope.
    pub(super) slopes: &'s [Slope],
    pub(super) limits: Limits,
}

/// The best question of a leaf.
#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    /// The place among the features that are looked at.
    place: usize,
    by: u8,
    missing: bool,
    yes: Sums,
}

/// A leaf that may be split.
struct Open {
    node: usize,
    rows: Range<usize>,
    depth: usize,
    sums: Sums,
    histogram: Histogram,
    split: Option<Split>,
}

impl Grown {
    /// Grows a tree from some rows, whose order is changed.
    pub(super) fn grow(soil: &Soil<'_>, rows: &mut [u32]) -> Self {
        let sums = Sums::of(rows.iter().filter_map(|row| soil.slopes.get(*row as usize)));
        let mut grown = Self { tree: Tree::default(), by: Vec::new() };
        grown.plant(soil, sums);
        let histogram = soil.histogram(rows);
        let mut open = vec![soil.open(0, 0..rows.len(), 0, sums, histogram)];
        let mut leaves = 1;
        while leaves < soil.limits.leaves {
            let gain = |leaf: &Open| leaf.split.map_or(0.0, |split| split.gain);
            // Of equal gains the earliest node.
            let best = (0..open.len()).rev().max_by(|one, other| gain(&open[*one]).total_cmp(&gain(&open[*other])));
            let Some(leaf) = best.filter(|place| gain(&open[*place]) > LEAST_GAIN).map(|place| open.remove(place))
            else {
                break;
            };
            if let Some(split) = leaf.split {
                open.extend(grown.split(soil, leaf, split, rows));
                leaves += 1;
            }
        }
        grown
    }

    /// Adds a leaf.
    fn plant(&mut self, soil: &Soil<'_>, sums: Sums) -> usize {
        let value = sums.best_value(soil.limits.penalty) * soil.limits.shrinkage;
        self.tree.nodes.push(Node::Leaf { value, rows: sums.rows() as u32 });
        self.by.push(0);
        self.tree.nodes.len() - 1
    }

    fn split(&mut self, soil: &Soil<'_>, leaf: Open, split: Split, rows: &mut [u32]) -> Vec<Open> {
        let Some((feature, bins)) = soil.feature(split.place) else {
            return Vec::new();
        };
        let no_sums = leaf.sums - split.yes;
        let (yes, no) = (self.plant(soil, split.yes), self.plant(soil, no_sums));
        if let (Some(node), Some(by)) = (self.tree.nodes.get_mut(leaf.node), self.by.get_mut(leaf.node)) {
            *node = Node::Split {
                feature,
                question: bins.question(split.by),
                missing: split.missing,
                yes: yes as u32,
                no: no as u32,
                rows: leaf.sums.rows() as u32,
            };
            *by = split.by;
        }
        let own = rows.get_mut(leaf.rows.clone()).unwrap_or_default();
        let middle = leaf.rows.start + part(own, |row| bins.answer(row, split.by, split.missing));
        let (yes_rows, no_rows) = (leaf.rows.start..middle, middle..leaf.rows.end);
        let depth = leaf.depth + 1;
        if depth >= soil.limits.depth {
            return Vec::new();
        }
        // Only the smaller part is added up.
        let smaller = if yes_rows.len() <= no_rows.len() { &yes_rows } else { &no_rows };
        let of_smaller = soil.histogram(rows.get(smaller.clone()).unwrap_or_default());
        let of_larger = leaf.histogram.without(&of_smaller);
        let (of_yes, of_no) = if *smaller == yes_rows { (of_smaller, of_larger) } else { (of_larger, of_smaller) };
        let yes = soil.open(yes, yes_rows, depth, split.yes, of_yes);
        vec![yes, soil.open(no, no_rows, depth, no_sums, of_no)]
    }

    /// What the tree adds to the log-odds of a row of the fit.
    pub(super) fn value(&self, bins: &[Bins], row: u32) -> f64 {
        let mut place = 0;
        loop {
            match (self.tree.nodes.get(place), self.by.get(place)) {
                (Some(Node::Split { feature, missing, yes, no, .. }), Some(by)) => {
                    let answer = bins.get(*feature as usize).is_some_and(|bins| bins.answer(row, *by, *missing));
                    place = if answer { *yes } else { *no } as usize;
                }
                (Some(Node::Leaf { value, .. }), _) => return *value,
                _ => return 0.0,
            }
        }
    }
}

impl Soil<'_> {
    fn feature(&self, place: usize) -> Option<(u32, &Bins)> {
        let feature = *self.chosen.get(place)?;
        Some((feature, self.bins.get(feature as usize)?))
    }

    fn histogram(&self, rows: &[u32]) -> Histogram {
        // Together once, rather than from all over for each feature.
        let slopes: Vec<Slope> =
            rows.iter().map(|row| self.slopes.get(*row as usize).copied().unwrap_or_default()).collect();
        let features: Vec<&Bins> = self.chosen.iter().filter_map(|feature| self.bins.get(*feature as usize)).collect();
        Histogram::of(&features, rows, &slopes, self.limits.threads)
    }

    fn open(&self, node: usize, rows: Range<usize>, depth: usize, sums: Sums, histogram: Histogram) -> Open {
        let mut best = None;
        for (place, of_bins) in histogram.features.iter().enumerate() {
            if let Some((_, bins)) = self.feature(place) {
                self.look(place, bins, of_bins, sums, &mut best);
            }
        }
        Open { node, rows, depth, sums, histogram, split: best }
    }

    /// Looks whether a feature has a better question than the best so far.
    fn look(&self, place: usize, bins: &Bins, of_bins: &[Sums], all: Sums, best: &mut Option<Split>) {
        let Limits { penalty, rows_per_leaf, .. } = self.limits;
        let missing = of_bins.get(bins.missing()).copied().unwrap_or_default();
        let before = all.gain(penalty);
        let mut yes = Sums::default();
        for (by, sums) in of_bins.iter().take(bins.known()).enumerate() {
            if bins.are_levels() {
                yes = *sums;
            } else {
                yes += *sums;
            }
            let mut consider = |yes: Sums, missing: bool| {
                let no = all - yes;
                if yes.rows() < rows_per_leaf || no.rows() < rows_per_leaf {
                    return;
                }
                let gain = yes.gain(penalty) + no.gain(penalty) - before;
                if best.is_none_or(|best| gain > best.gain) {
                    *best = Some(Split { gain, place, by: by as u8, missing, yes });
                }
            };
            if missing.rows() == 0 {
                // Nobody says which side is theirs: it is where most are.
                consider(yes, yes.rows() * 2 > all.rows());
            } else {
                consider(yes, false);
                let mut with_missing = yes;
                with_missing += missing;
                consider(with_missing, true);
            }
        }
    }
}

/// Puts rows with a yes before the others, each in their order. Gives how many they are.
fn part(rows: &mut [u32], answer: impl Fn(u32) -> bool) -> usize {
    let (yes, no): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| answer(**row));
    let middle = yes.len();
    for (place, row) in rows.iter_mut().zip(yes.into_iter().chain(no)) {
        *place = row;
    }
    middle
}
