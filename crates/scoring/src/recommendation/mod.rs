//! Products for customers, by what other customers bought lately beside what this one did: item-to-item co-purchase (Deshpande and Karypis 2004,
//! "Item-based top-N recommendation algorithms": cosine, each customer's products as one row of unit length), where what was bought long ago counts less.
//!
//! Pure: purchases give a model, a model and what a customer bought give recommendations. Similarities are whole numbers, so that no order of adding
//! decides anything.

mod co_purchase;
mod holdout;
mod purchases;
#[cfg(test)]
mod tests;

pub use co_purchase::{CoPurchase, Neighbour};
pub use holdout::{Accuracy, Foretold, foretell};
pub use purchases::{Gathering, Product, Purchase, Purchases, Seen, TooMany};

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// The products of a customer that recommendations go by: those that it bought last.
pub const MAX_OWN_PRODUCTS: usize = 200;
/// What a similarity of 1 is as a whole number.
pub const SIMILARITY_ONE: f64 = 1e12;
/// The products of a customer that are named as reasons.
const MAX_REASONS: usize = 3;

/// A product for a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommended<K> {
    /// The product.
    pub product: K,
    /// The sum of its similarities to what the customer bought.
    pub score: u64,
    /// What the customer bought that speaks most for it, the strongest first.
    pub because_of: Vec<K>,
}

/// The products that resemble what a customer bought most: up to `count` of those that are wanted, by score and then by product.
pub fn recommend<K, R>(
    bought: impl IntoIterator<Item = (K, R)>,
    wanted: impl Fn(K) -> bool,
    count: usize,
) -> Vec<Recommended<K>>
where
    K: Copy + Ord + Hash,
    R: IntoIterator<Item = (K, u64)>,
{
    let mut reasons: HashMap<K, Vec<(u64, K)>> = HashMap::new();
    for (own, related) in bought {
        for (product, similarity) in related {
            if wanted(product) {
                reasons.entry(product).or_default().push((similarity, own));
            }
        }
    }
    let scored = reasons.into_iter().map(|(product, mut reasons)| {
        reasons.sort_unstable_by_key(|(similarity, own)| (Reverse(*similarity), *own));
        let score = reasons.iter().map(|(similarity, _)| similarity).sum();
        let because_of = reasons.iter().take(MAX_REASONS).map(|(_, own)| *own).collect();
        Recommended { product, score, because_of }
    });
    let mut scored: Vec<_> = scored.collect();
    let key = |one: &Recommended<K>| (Reverse(one.score), one.product);
    if scored.len() > count {
        scored.select_nth_unstable_by_key(count, key);
        scored.truncate(count);
    }
    scored.sort_unstable_by_key(key);
    scored
}
