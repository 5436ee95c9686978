//! How well recommendations foretell what customers buy.

use super::co_purchase::{CoPurchase, Neighbour};
use super::purchases::{Purchase, Purchases, Seen};
use super::{MAX_OWN_PRODUCTS, recommend};
use std::cmp::Reverse;
use std::collections::HashSet;

/// The recommendations that are judged.
const AT: usize = 10;
/// The customers whom a report is of: evenly spread where there are more.
const MAX_CUSTOMERS: usize = 100_000;

/// How good ten recommendations to each customer were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// The mean, over customers, of the share of new products that were recommended.
    pub recall: f64,
    /// The share of customers with a hit.
    pub hit_rate: f64,
    /// The share of the products that were recommended to anybody.
    pub coverage: f64,
}

/// A holdout report.
#[derive(Clone, Debug, PartialEq)]
pub struct Foretold {
    /// Customers who had bought before, and bought something after that was new to them and not to the model.
    pub customers: usize,
    /// Of a model that was fitted to what came before.
    pub model: Accuracy,
    /// Of recommending what most customers had bought lately.
    pub popularity: Accuracy,
    /// Of another model, by its neighbours.
    pub in_force: Option<Accuracy>,
}

/// A customer who bought something new.
struct Case {
    /// What it had bought, the newest first.
    own: Vec<u32>,
    /// What it bought after, and not before.
    new: HashSet<u32>,
}

/// Judges a model of what was bought before the days that are held out, which begin with `first_day`, by what was bought in them. `in_force` are the
/// neighbours of each product by another model. `None`: there is nobody to judge by.
pub fn foretell(
    purchases: &Purchases,
    first_day: i32,
    min_customers: u32,
    in_force: Option<&[Vec<Neighbour>]>,
) -> Option<Foretold> {
    let fit = CoPurchase::fit(purchases, Seen::Before, first_day, min_customers);
    let is_case = |bought: &&[Purchase]| {
        let had_bought = bought.iter().any(|purchase| purchase.last_day(Seen::Before).is_some());
        had_bought && bought.iter().any(|purchase| is_new(purchase, &fit))
    };
    let all = purchases.by_customer().filter(is_case).count();
    let every = all.div_ceil(MAX_CUSTOMERS).max(1);
    let cases = purchases.by_customer().filter(is_case).step_by(every);
    let cases: Vec<Case> = cases.map(|bought| case(bought, &fit)).collect();
    if cases.is_empty() {
        return None;
    }
    let by = |neighbours: &[Vec<Neighbour>]| judge(&cases, neighbours, &fit);
    Some(Foretold {
        customers: cases.len(),
        model: by(&fit.neighbours),
        popularity: by(&[]),
        in_force: in_force.map(by),
    })
}

/// Whether a product was new to its customer and known to the model.
fn is_new(purchase: &Purchase, fit: &CoPurchase) -> bool {
    purchase.last_day(Seen::Before).is_none() && fit.customers[purchase.product as usize] > 0
}

fn case(bought: &[Purchase], fit: &CoPurchase) -> Case {
    let own = bought.iter().filter_map(|purchase| Some((Reverse(purchase.last_day(Seen::Before)?), purchase.product)));
    let mut own: Vec<_> = own.collect();
    own.sort_unstable();
    let new = bought.iter().filter(|purchase| is_new(purchase, fit)).map(|purchase| purchase.product);
    Case { own: own.into_iter().map(|(_, product)| product).collect(), new: new.collect() }
}

/// What is recommended to a customer of what was known: by its purchases, then by popularity.
fn recommendations(case: &Case, neighbours: &[Vec<Neighbour>], fit: &CoPurchase) -> Vec<u32> {
    let own: HashSet<u32> = case.own.iter().copied().collect();
    let bought = case.own.iter().take(MAX_OWN_PRODUCTS).map(|product| {
        let related = neighbours.get(*product as usize).map(Vec::as_slice).unwrap_or_default();
        (*product, related.iter().map(|neighbour| (neighbour.product, neighbour.similarity)))
    });
    let wanted = |product: u32| !own.contains(&product) && fit.customers[product as usize] > 0;
    let by_purchases = recommend(bought, wanted, AT);
    let mut products: Vec<u32> = by_purchases.iter().map(|recommended| recommended.product).collect();
    let others = fit.popular.iter().filter(|product| !own.contains(product) && !products.contains(product));
    let others: Vec<u32> = others.take(AT - products.len()).copied().collect();
    products.extend(others);
    products
}

fn judge(cases: &[Case], neighbours: &[Vec<Neighbour>], fit: &CoPurchase) -> Accuracy {
    let (mut recall, mut hit, mut all) = (0.0, 0_usize, HashSet::new());
    for case in cases {
        let products = recommendations(case, neighbours, fit);
        let hits = products.iter().filter(|product| case.new.contains(product)).count();
        recall += hits as f64 / case.new.len() as f64;
        hit += usize::from(hits > 0);
        all.extend(products);
    }
    let (customers, products) = (cases.len() as f64, fit.popular.len() as f64);
    Accuracy { recall: recall / customers, hit_rate: hit as f64 / customers, coverage: all.len() as f64 / products }
}
