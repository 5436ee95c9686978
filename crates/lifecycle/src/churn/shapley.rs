//! Shapley values of trees: what each feature adds to a customer's log-odds, on average over all orders in which
//! features can become known. While a feature is not known, a question about it is answered both ways, weighted by the
//! rows of the fit (Lundberg, Erion and Lee 2018, "Consistent individualized feature attribution for tree ensembles",
//! algorithm 2). A category is one feature here, however many of its levels are asked for, which sums over one-hot
//! columns are not.

use super::MAX_DEPTH;
use super::encoding::Cell;
use super::tree::{Node, Tree};

/// A feature on the way to a node.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    feature: u32,
    /// The share of rows that go this way while it is not known.
    unknown: f64,
    /// 1 where the customer goes this way, else 0.
    known: f64,
    /// The weight of orders in which as many features are known as there are steps before.
    weight: f64,
}

/// Steps to a node, each of another feature. The first is of none.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    steps: [Step; MAX_DEPTH + 2],
    length: usize,
}

/// Adds what each feature adds by a tree.
pub(super) fn add(tree: &Tree, cells: &[Cell], contributions: &mut [f64]) {
    let first = Step { feature: u32::MAX, unknown: 1.0, known: 1.0, weight: 0.0 };
    descend(tree, 0, cells, Path::default(), first, contributions);
}

fn descend(tree: &Tree, place: usize, cells: &[Cell], mut path: Path, step: Step, contributions: &mut [f64]) {
    path.extend(step);
    match tree.nodes.get(place) {
        Some(Node::Leaf { value, .. }) => {
            for (place, step) in path.steps.iter().enumerate().take(path.length).skip(1) {
                if let Some(contribution) = contributions.get_mut(step.feature as usize) {
                    *contribution += path.weight_without(place) * (step.known - step.unknown) * value;
                }
            }
        }
        Some(node @ Node::Split { feature, question, missing, yes, no, .. }) => {
            let cell = cells.get(*feature as usize).copied().unwrap_or(Cell::Missing);
            let answer = question.answer(cell, *missing);
            // A feature that has been asked about before is one step.
            let before = path.take(*feature);
            for (next, goes) in [(*yes as usize, answer), (*no as usize, !answer)] {
                let rows = tree.nodes.get(next).map_or(0.0, Node::rows);
                let unknown = before.unknown * rows / node.rows().max(1.0);
                let known = if goes { before.known } else { 0.0 };
                if next > place {
                    let step = Step { feature: *feature, unknown, known, weight: 0.0 };
                    descend(tree, next, cells, path, step, contributions);
                }
            }
        }
        None => {}
    }
}

impl Path {
    fn extend(&mut self, step: Step) {
        let length = self.length;
        if let Some(last) = self.steps.get_mut(length) {
            *last = Step { weight: f64::from(u8::from(length == 0)), ..step };
            self.length += 1;
        }
        let total = self.length as f64;
        for place in (0..length).rev() {
            let weight = self.steps[place].weight;
            self.steps[place + 1].weight += step.known * weight * (place + 1) as f64 / total;
            self.steps[place].weight = step.unknown * weight * (length - place) as f64 / total;
        }
    }

    /// Takes the step of a feature out. What it was; without one it is as if every row went this way.
    fn take(&mut self, feature: u32) -> Step {
        let found = self.steps.iter().take(self.length).skip(1).position(|step| step.feature == feature);
        let Some(place) = found.map(|place| place + 1) else {
            return Step { feature, unknown: 1.0, known: 1.0, weight: 0.0 };
        };
        let taken = self.steps[place];
        let weights = self.weights_without(place);
        self.length -= 1;
        self.steps.copy_within(place + 1..=self.length, place);
        self.steps.iter_mut().zip(weights).take(self.length).for_each(|(step, weight)| step.weight = weight);
        taken
    }

    /// The sum of weights if a step had never been taken.
    fn weight_without(&self, place: usize) -> f64 {
        self.weights_without(place).iter().take(self.length - 1).sum()
    }

    fn weights_without(&self, place: usize) -> [f64; MAX_DEPTH + 2] {
        let Step { known, unknown, .. } = self.steps[place];
        let (mut weights, total, last) = ([0.0; MAX_DEPTH + 2], self.length as f64, self.length - 1);
        let mut next = self.steps[last].weight;
        for place in (0..last).rev() {
            let weight = self.steps[place].weight;
            if known > 0.0 {
                weights[place] = next * total / ((place + 1) as f64 * known);
                next = weight - weights[place] * unknown * (last - place) as f64 / total;
            } else {
                weights[place] = weight * total / (unknown * (last - place) as f64);
            }
        }
        weights
    }
}
