//! How much products resemble each other.

use super::purchases::{Purchases, Seen};
use super::{MAX_OWN_PRODUCTS, SIMILARITY_ONE};
use std::cmp::Reverse;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most products that are known: those that most customers bought.
const MAX_PRODUCTS: usize = 50_000;
/// The products that are kept beside each: more do not foretell better, on retail and on groceries.
const MAX_NEIGHBOURS: usize = 20;
/// The days after which a purchase counts half: on retail and on groceries, between what is best for each.
const HALF_LIFE_DAYS: f64 = 60.0;
/// The days at the end within which what is bought is popular.
const POPULAR_DAYS: i32 = 91;
/// What a customer's share of 1 is as a whole number.
const SHARE_ONE: f64 = 1e9;
/// Products that a thread takes at once.
const PRODUCTS_AT_ONCE: usize = 64;

/// A product beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The product's number.
    pub product: u32,
    /// How much it is to be recommended to who bought the other: up to [`SIMILARITY_ONE`].
    pub similarity: u64,
    /// Customers who bought both.
    pub customers: u32,
}

/// Which products the same customers bought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoPurchase {
    /// How many bought each product that is known. 0: it is not.
    pub customers: Vec<u32>,
    /// The products that are known: by those who bought them in the last 91 days, by all who did, and by name.
    pub popular: Vec<u32>,
    /// How many bought each product in the last 91 days.
    pub lately: Vec<u32>,
    /// What is recommended to who bought each product, the most similar first, then by name.
    pub neighbours: Vec<Vec<Neighbour>>,
}

/// What each customer bought, and its inverse, each as rows of one list.
struct Rows {
    starts: Vec<usize>,
    values: Vec<u32>,
}

impl Rows {
    fn range(&self, index: usize) -> std::ops::Range<usize> {
        self.starts[index]..self.starts[index + 1]
    }

    fn row(&self, index: usize) -> &[u32] {
        &self.values[self.range(index)]
    }
}

/// What each customer bought, as far as it counts.
struct Baskets {
    rows: Rows,
    /// How much each purchase counts: up to [`SHARE_ONE`].
    shares: Vec<u32>,
}

impl CoPurchase {
    /// Fits to what is seen of purchases, before a day. A product that fewer than `min_customers` bought is not known, and two with fewer in common are no
    /// neighbours.
    pub fn fit(purchases: &Purchases, seen: Seen, before: i32, min_customers: u32) -> Self {
        let (mut customers, mut lately) =
            (vec![0_u32; purchases.products.len()], vec![0_u32; purchases.products.len()]);
        for purchase in &purchases.rows {
            if let Some(last) = purchase.last_day(seen) {
                customers[purchase.product as usize] += 1;
                lately[purchase.product as usize] += u32::from(last >= before - POPULAR_DAYS);
            }
        }
        let mut known: Vec<u32> =
            (0..customers.len() as u32).filter(|product| customers[*product as usize] >= min_customers).collect();
        if known.len() > MAX_PRODUCTS {
            known.sort_unstable_by_key(|product| (Reverse(customers[*product as usize]), *product));
            known.truncate(MAX_PRODUCTS);
        }
        known.sort_unstable_by_key(|product| {
            (Reverse(lately[*product as usize]), Reverse(customers[*product as usize]), *product)
        });
        let mut is_known = vec![false; customers.len()];
        for product in &known {
            is_known[*product as usize] = true;
        }
        for (product, known) in is_known.iter().enumerate() {
            if !known {
                (customers[product], lately[product]) = (0, 0);
            }
        }
        let baskets = Baskets::new(purchases, seen, before, &is_known);
        let buyers = inverse(&baskets.rows, customers.len());
        let neighbours = neighbours(&known, &baskets, &buyers, min_customers);
        Self { customers, popular: known, lately, neighbours }
    }

    /// Products that another one is recommended for.
    pub fn related_products(&self) -> usize {
        self.neighbours.iter().filter(|neighbours| !neighbours.is_empty()).count()
    }
}

impl Baskets {
    /// What each customer bought of what is known: the newest of it.
    fn new(purchases: &Purchases, seen: Seen, before: i32, is_known: &[bool]) -> Self {
        let mut baskets = Self { rows: Rows { starts: vec![0], values: Vec::new() }, shares: Vec::new() };
        let mut basket = Vec::new();
        for bought in purchases.by_customer() {
            basket.clear();
            let known = bought.iter().filter(|purchase| is_known[purchase.product as usize]);
            basket.extend(known.filter_map(|purchase| Some((purchase.last_day(seen)?, purchase.product))));
            if basket.len() > MAX_OWN_PRODUCTS {
                basket.sort_unstable_by_key(|(last, product)| (Reverse(*last), *product));
                basket.truncate(MAX_OWN_PRODUCTS);
            }
            for (last, product) in &basket {
                let half_lives = f64::from(before - last) / HALF_LIFE_DAYS;
                let share = (-half_lives).exp2() / basket.len() as f64;
                baskets.rows.values.push(*product);
                baskets.shares.push((share * SHARE_ONE).round() as u32);
            }
            baskets.rows.starts.push(baskets.rows.values.len());
        }
        baskets
    }
}

/// Who bought each product.
fn inverse(baskets: &Rows, products: usize) -> Rows {
    let mut starts = vec![0; products + 1];
    for product in &baskets.values {
        starts[*product as usize + 1] += 1;
    }
    for product in 0..products {
        starts[product + 1] += starts[product];
    }
    let (mut next, mut values) = (starts.clone(), vec![0; baskets.values.len()]);
    for customer in 0..baskets.starts.len() - 1 {
        for product in baskets.row(customer) {
            let place = &mut next[*product as usize];
            values[*place] = customer as u32;
            *place += 1;
        }
    }
    Rows { starts, values }
}

/// The neighbours of every product: product by product, the customers of it, and what else they bought.
fn neighbours(known: &[u32], baskets: &Baskets, buyers: &Rows, min_customers: u32) -> Vec<Vec<Neighbour>> {
    let products = buyers.starts.len() - 1;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let taken = AtomicUsize::new(0);
    let work = || {
        let mut common = Common { counts: vec![(0, 0); products], touched: Vec::new() };
        let mut found = Vec::new();
        loop {
            let from = taken.fetch_add(PRODUCTS_AT_ONCE, Ordering::Relaxed);
            let Some(part) = known.get(from..known.len().min(from + PRODUCTS_AT_ONCE)).filter(|part| !part.is_empty())
            else {
                return found;
            };
            for product in part {
                common.count(*product, baskets, buyers);
                found.push((*product, common.neighbours(*product, buyers, min_customers)));
            }
        }
    };
    let mut neighbours = vec![Vec::new(); products];
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others.into_iter().flat_map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        for (product, of_product) in others.chain(own) {
            neighbours[product as usize] = of_product;
        }
    });
    neighbours
}

/// How many customers of one product bought each other one, and the sum of their shares of it.
struct Common {
    counts: Vec<(u32, u64)>,
    /// Those that are not 0.
    touched: Vec<u32>,
}

impl Common {
    fn count(&mut self, product: u32, baskets: &Baskets, buyers: &Rows) {
        for customer in buyers.row(product as usize) {
            for place in baskets.rows.range(*customer as usize) {
                let other = baskets.rows.values[place];
                let (customers, shares) = &mut self.counts[other as usize];
                if *customers == 0 {
                    self.touched.push(other);
                }
                *customers += 1;
                *shares += u64::from(baskets.shares[place]);
            }
        }
    }

    /// The most similar ones; counts are 0 again.
    fn neighbours(&mut self, product: u32, buyers: &Rows, min_customers: u32) -> Vec<Neighbour> {
        let bought = |product: u32| buyers.range(product as usize).len() as f64;
        let mut found = Vec::new();
        for other in self.touched.drain(..) {
            let (customers, shares) = std::mem::take(&mut self.counts[other as usize]);
            if other == product || customers < min_customers {
                continue;
            }
            let both = (bought(product) * bought(other)).sqrt();
            let similarity = (shares as f64 * (SIMILARITY_ONE / SHARE_ONE) / both).round() as u64;
            if similarity > 0 {
                found.push(Neighbour { product: other, similarity, customers });
            }
        }
        let key = |one: &Neighbour| (Reverse(one.similarity), one.product);
        if found.len() > MAX_NEIGHBOURS {
            found.select_nth_unstable_by_key(MAX_NEIGHBOURS, key);
            found.truncate(MAX_NEIGHBOURS);
        }
        found.sort_unstable_by_key(key);
        found.shrink_to_fit();
        found
    }
}
