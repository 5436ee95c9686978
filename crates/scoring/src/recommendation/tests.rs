//! Models against what their definition says, read off all purchases one by one; and reports worked out by hand.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Customer, product and day.
type Bought = (u32, &'static str, i32);

const NAMES: [&str; 7] = ["ale", "bread", "cake", "dates", "eggs", "figs", "gin"];

fn gathered(bought: &[Bought], held_out_from: i32) -> Purchases {
    let mut gathering = Gathering::new(held_out_from);
    for (customer, product, day) in bought {
        gathering.add(*customer, product, "", *day).unwrap();
    }
    gathering.finish()
}

fn all_bought() -> impl Strategy<Value = Vec<Bought>> {
    let one = (1..9_u32, prop::sample::select(NAMES.to_vec()), 0..150_i32);
    prop::collection::vec(one, 1..60)
}

/// {product: {other: (similarity, customers)}} by the definition, with all pairs.
fn by_definition(
    bought: &[Bought],
    before: i32,
    min_customers: u32,
) -> BTreeMap<&'static str, BTreeMap<&'static str, (f64, u32)>> {
    let mut last: BTreeMap<u32, BTreeMap<&str, i32>> = BTreeMap::new();
    for (customer, product, day) in bought.iter().filter(|(_, _, day)| *day < before) {
        let own = last.entry(*customer).or_default();
        own.entry(product).and_modify(|known| *known = (*known).max(*day)).or_insert(*day);
    }
    let all = last.clone();
    let buyers = |product: &str| all.values().filter(|basket| basket.contains_key(product)).count() as u32;
    // What few have bought is not there.
    for basket in last.values_mut() {
        basket.retain(|product, _| buyers(product) >= min_customers);
    }
    let mut found: BTreeMap<_, BTreeMap<_, (f64, u32)>> = BTreeMap::new();
    for basket in last.values() {
        for product in basket.keys() {
            for (other, day) in basket.iter().filter(|(other, _)| *other != product) {
                let share = 0.5_f64.powf(f64::from(before - day) / 60.0) / basket.len() as f64;
                let similarity = share / f64::from(buyers(product) * buyers(other)).sqrt();
                let known = found.entry(*product).or_default().entry(*other).or_default();
                *known = (known.0 + similarity, known.1 + 1);
            }
        }
    }
    found
}

fn neighbours<'a>(purchases: &'a Purchases, fit: &CoPurchase, product: &str) -> Vec<(&'a str, f64, u32)> {
    let Some(number) = purchases.number(product) else { return Vec::new() };
    let of_product = fit.neighbours[number as usize].iter();
    let name = |number: u32| purchases.products[number as usize].name.as_str();
    of_product.map(|other| (name(other.product), other.similarity as f64 / SIMILARITY_ONE, other.customers)).collect()
}

proptest! {
    #[test]
    fn similarities_are_what_the_definition_says(bought in all_bought(), held_out_from in 0..160_i32, min_customers in 2..4_u32) {
        let purchases = gathered(&bought, held_out_from);
        for (seen, before) in [(Seen::Before, held_out_from), (Seen::All, 150)] {
            let (fit, expected) = (CoPurchase::fit(&purchases, seen, before, min_customers), by_definition(&bought, before, min_customers));
            for product in NAMES {
                let found = neighbours(&purchases, &fit, product);
                let wanted: BTreeMap<_, _> = expected.get(product).into_iter().flatten()
                    .filter(|(_, (_, customers))| *customers >= min_customers).collect();
                prop_assert_eq!(found.len(), wanted.len());
                for (other, similarity, customers) in &found {
                    let (expected, count) = wanted[other];
                    prop_assert!((similarity - expected).abs() < 1e-8, "{} {}", similarity, expected);
                    prop_assert_eq!(customers, count);
                }
                prop_assert!(found.is_sorted_by(|one, other| (-one.1, one.0) <= (-other.1, other.0)));
            }
        }
    }

    #[test]
    fn neither_order_nor_repetition_of_what_comes_in_changes_anything(
        (bought, shuffled) in all_bought().prop_flat_map(|bought| (Just(bought.clone()), Just(bought).prop_shuffle())),
    ) {
        let twice: Vec<_> = shuffled.iter().chain(&bought).copied().collect();
        let (one, other) = (gathered(&bought, 100), gathered(&twice, 100));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(foretell(&one, 100, 2, None), foretell(&other, 100, 2, None));
    }

    #[test]
    fn what_is_recommended_was_not_bought_and_is_the_best_of_the_rest(bought in all_bought(), customer in 1..9_u32) {
        let purchases = gathered(&bought, 0);
        let fit = CoPurchase::fit(&purchases, Seen::All, 150, 2);
        let own: BTreeSet<u32> =
            purchases.rows.iter().filter(|row| row.customer == customer).map(|row| row.product).collect();
        let related = |product: &u32| {
            let of_product: Vec<_> = fit.neighbours[*product as usize].iter().map(|one| (one.product, one.similarity)).collect();
            (*product, of_product)
        };
        let wanted = |product: u32| !own.contains(&product);
        let all = recommend(own.iter().map(related), wanted, usize::MAX);
        for recommended in &all {
            prop_assert!(!own.contains(&recommended.product));
            let sum: u64 = own.iter().flat_map(|product| &fit.neighbours[*product as usize])
                .filter(|other| other.product == recommended.product).map(|other| other.similarity).sum();
            prop_assert_eq!(recommended.score, sum);
            prop_assert!(recommended.because_of.iter().all(|reason| own.contains(reason)));
            prop_assert!((1..=3).contains(&recommended.because_of.len()));
        }
        prop_assert!(all.is_sorted_by_key(|one| (Reverse(one.score), one.product)));
        prop_assert_eq!(&recommend(own.iter().map(related), wanted, 2)[..], &all[..all.len().min(2)]);
    }
}

#[test]
fn a_report_counts_what_was_new_to_the_customer_and_known_to_the_model() {
    // Ale and bread go together. Customer 3 had ale, and then buys bread, which was to be foretold, and salt, which nobody could know.
    // Customer 4 buys nothing new; customer 5 had bought nothing before; customer 6 had bread, and buys gin.
    let before = [(1, "ale", 10), (1, "bread", 10), (2, "ale", 10), (2, "bread", 10), (7, "gin", 20), (8, "gin", 20)];
    let customers = [(3, "ale", 90), (4, "ale", 90), (6, "bread", 90)];
    let after = [(3, "bread", 100), (3, "salt", 100), (4, "ale", 101), (5, "bread", 102), (6, "gin", 110)];
    let bought: Vec<Bought> = [&before[..], &customers, &after].concat();
    let purchases = gathered(&bought, 100);
    let foretold = foretell(&purchases, 100, 2, Some(&[])).unwrap();
    assert_eq!(foretold.customers, 2);
    // There are but three products, of which all that a customer has not are recommended.
    assert_eq!(foretold.model, Accuracy { recall: 1.0, hit_rate: 1.0, coverage: 1.0 });
    assert_eq!(foretold.popularity, foretold.model);
    assert_eq!(foretold.in_force, Some(foretold.model));
    assert_eq!(foretell(&gathered(&bought, 10), 10, 2, None), None);
}

#[test]
fn ten_products_are_judged_and_others_fill_the_places_that_purchases_leave() {
    let mut bought: Vec<Bought> = vec![];
    let many = ["p00", "p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p09", "p10", "p11"];
    // Each is bought by one customer more than the one after it; z and y by the same two alone.
    for (place, product) in many.into_iter().enumerate() {
        bought.extend((0..20 - place as u32).map(|customer| (100 + customer, product, 50)));
    }
    bought.extend([(1, "y", 50), (1, "z", 50), (2, "y", 50), (2, "z", 50), (3, "y", 50)]);
    bought.extend([(3, "z", 100), (3, "p08", 100), (3, "p09", 100), (3, "p10", 100)]);
    let foretold = foretell(&gathered(&bought, 100), 100, 2, None).unwrap();
    assert_eq!(foretold.customers, 1);
    // By its purchases z, then the nine most popular: p00 to p08. By popularity the ten most popular: p00 to p09.
    let of_14 = Accuracy { recall: 0.5, hit_rate: 1.0, coverage: 10.0 / 14.0 };
    assert_eq!((foretold.model, foretold.popularity), (of_14, of_14));
}

#[test]
fn what_is_popular_was_bought_lately() {
    let bought: Vec<Bought> = vec![
        (1, "cake", 9),
        (2, "cake", 9),
        (3, "cake", 9),
        (4, "figs", 9),
        (1, "ale", 10),
        (2, "ale", 100),
        (3, "eggs", 10),
        (4, "bread", 10),
    ];
    let purchases = gathered(&bought, i32::MAX);
    let fit = CoPurchase::fit(&purchases, Seen::All, 101, 1);
    let names: Vec<_> = fit.popular.iter().map(|number| purchases.products[*number as usize].name.as_str()).collect();
    // From day 10 on; cake by all customers, then by name.
    assert_eq!(names, ["ale", "bread", "eggs", "cake", "figs"]);
    assert_eq!(fit.lately[purchases.number("ale").unwrap() as usize], 2);
}

#[test]
fn what_few_have_bought_is_not_known() {
    let bought: Vec<Bought> = vec![(1, "ale", 10), (2, "ale", 10), (1, "engraved for Jane", 10), (2, "bread", 10)];
    let purchases = gathered(&bought, i32::MAX);
    let fit = CoPurchase::fit(&purchases, Seen::All, 11, 2);
    let names: Vec<_> = fit.popular.iter().map(|number| purchases.products[*number as usize].name.as_str()).collect();
    assert_eq!((names, fit.customers, fit.lately), (vec!["ale"], vec![2, 0, 0], vec![2, 0, 0]));
}

#[test]
fn a_model_in_force_recommends_of_what_was_known_alone() {
    // It has seen hops, which customers bought in the days that are held out alone.
    let old = (1..9).flat_map(|customer| [(customer, "ale", 10), (customer, "bread", 10)]);
    let new = (1..9).map(|customer| (customer, "hops", 100));
    let late = [(9, "ale", 10), (9, "bread", 100)];
    let bought: Vec<Bought> = old.chain(new).chain(late).collect();
    let purchases = gathered(&bought, 100);
    let in_force = CoPurchase::fit(&purchases, Seen::All, 110, 2);
    let foretold = foretell(&purchases, 100, 2, Some(&in_force.neighbours)).unwrap();
    assert_eq!(foretold.in_force, Some(Accuracy { recall: 1.0, hit_rate: 1.0, coverage: 0.5 }));
}

#[test]
fn a_category_is_the_one_that_most_customers_orders_tell() {
    let tell = |told: &[(u32, &str)]| {
        let mut gathering = Gathering::new(0);
        for (customer, category) in told {
            gathering.add(*customer, "tea", category, 1).unwrap();
        }
        let product = gathering.finish().products.remove(0);
        (product.category, product.category_customers)
    };
    let expected = |category: &str, customers| (category.to_owned(), customers);
    assert_eq!(tell(&[(1, "food"), (2, "drinks"), (3, "drinks"), (4, ""), (5, "")]), expected("drinks", 2));
    // Of as many the first by name; of one customer the last by name, however often it is told.
    assert_eq!(tell(&[(1, "food"), (2, "drinks")]), expected("drinks", 1));
    assert_eq!(tell(&[(1, "zest"), (1, "food"), (1, "food"), (1, ""), (2, "zest"), (3, "food")]), expected("zest", 2));
    assert_eq!(tell(&[(1, "")]), expected("", 0));
}
