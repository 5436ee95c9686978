//! Which customer bought which product, and when last.

use std::cmp::{Reverse, max_by_key};
use std::collections::HashMap;

/// The most purchases that are held: 20 bytes each, and 12 more while a model is fitted to them.
const MAX_PURCHASES: usize = 50_000_000;
/// The most products that are told apart.
const MAX_PRODUCTS: usize = 1_000_000;
/// From how many purchases on those that are there twice are looked for.
const COMPACTED_FROM: usize = 1 << 20;
/// Not bought.
const NEVER: i32 = i32::MIN;

/// That a customer bought a product. Days are since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// The customer's number.
    pub customer: u32,
    /// The product's number.
    pub product: u32,
    /// What the customer's orders call the product's category: of several the last by name. A place in the list of categories.
    category: u32,
    last_day: i32,
    /// Before the days that are held out, or [`NEVER`].
    last_day_before: i32,
}

/// Which purchases are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Those before the days that are held out.
    Before,
    /// All.
    All,
}

impl Purchase {
    /// The day on which it was bought last, of what is seen. `None`: it was not bought.
    pub fn last_day(&self, seen: Seen) -> Option<i32> {
        let day = match seen {
            Seen::Before => self.last_day_before,
            Seen::All => self.last_day,
        };
        (day != NEVER).then_some(day)
    }
}

/// A product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// What sources call it.
    pub name: String,
    /// The category that the orders of most customers tell, of several the first by name. Empty: none do.
    pub category: String,
    /// How many customers' orders tell it.
    pub category_customers: u32,
}

/// There are more purchases or products than are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than 50,000,000 purchases or 1,000,000 products: let fewer days count")]
pub struct TooMany;

/// Purchases that come in, in any order.
pub struct Gathering {
    held_out_from: i32,
    products: Vec<Product>,
    numbers: HashMap<String, u32>,
    /// By place; the first is none.
    categories: Vec<String>,
    places: HashMap<String, u32>,
    rows: Vec<Purchase>,
    /// How many of the rows are there once each.
    compacted: usize,
}

impl Gathering {
    /// None yet; those from a day on will be held out.
    pub fn new(held_out_from: i32) -> Self {
        Self {
            held_out_from,
            products: Vec::new(),
            numbers: HashMap::new(),
            categories: vec![String::new()],
            places: HashMap::from([(String::new(), 0)]),
            rows: Vec::new(),
            compacted: 0,
        }
    }

    /// Takes in that a customer bought a product. A product without a name is none.
    pub fn add(&mut self, customer: u32, product: &str, category: &str, day: i32) -> Result<(), TooMany> {
        if product.is_empty() {
            return Ok(());
        }
        let number = self.number(product);
        let category = self.category(category);
        let last_day_before = if day < self.held_out_from { day } else { NEVER };
        self.rows.push(Purchase { customer, product: number, category, last_day: day, last_day_before });
        if self.rows.len() >= COMPACTED_FROM.max(2 * self.compacted) {
            self.compact();
        }
        let names = self.products.len().max(self.categories.len());
        if self.compacted > MAX_PURCHASES || names > MAX_PRODUCTS { Err(TooMany) } else { Ok(()) }
    }

    fn number(&mut self, product: &str) -> u32 {
        if let Some(number) = self.numbers.get(product) {
            return *number;
        }
        let number = self.products.len() as u32;
        self.numbers.insert(product.to_owned(), number);
        self.products.push(Product { name: product.to_owned(), ..Product::default() });
        number
    }

    fn category(&mut self, category: &str) -> u32 {
        if let Some(place) = self.places.get(category) {
            return *place;
        }
        let place = self.categories.len() as u32;
        self.places.insert(category.to_owned(), place);
        self.categories.push(category.to_owned());
        place
    }

    /// Keeps one row of each customer and product.
    fn compact(&mut self) {
        self.rows.sort_unstable_by_key(|purchase| (purchase.customer, purchase.product));
        let categories = &self.categories;
        self.rows.dedup_by(|next, kept| {
            let same = (next.customer, next.product) == (kept.customer, kept.product);
            if same {
                kept.category = max_by_key(kept.category, next.category, |place| &categories[*place as usize]);
                kept.last_day = kept.last_day.max(next.last_day);
                kept.last_day_before = kept.last_day_before.max(next.last_day_before);
            }
            same
        });
        self.compacted = self.rows.len();
    }

    /// All that came in. Products are numbered by name, so that the order of their coming decides nothing.
    pub fn finish(mut self) -> Purchases {
        let mut order: Vec<u32> = (0..self.products.len() as u32).collect();
        let name = |came: &u32| self.products[*came as usize].name.as_str();
        order.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        let mut numbers = vec![0; order.len()];
        for (number, came) in order.iter().enumerate() {
            numbers[*came as usize] = number as u32;
        }
        for row in &mut self.rows {
            row.product = numbers[row.product as usize];
        }
        self.compact();
        let mut products: Vec<Product> =
            order.iter().map(|came| std::mem::take(&mut self.products[*came as usize])).collect();
        self.tell_categories(&mut products);
        Purchases { products, rows: self.rows }
    }

    /// Tells each product the category that most customers' orders tell: one order alone decides for nobody else.
    fn tell_categories(&self, products: &mut [Product]) {
        let mut told: HashMap<(u32, u32), u32> = HashMap::new();
        for row in self.rows.iter().filter(|row| row.category != 0) {
            *told.entry((row.product, row.category)).or_default() += 1;
        }
        for ((product, category), customers) in told {
            let (product, name) = (&mut products[product as usize], &self.categories[category as usize]);
            let known = (product.category_customers, Reverse(product.category.as_str()));
            if known < (customers, Reverse(name.as_str())) {
                (product.category, product.category_customers) = (name.clone(), customers);
            }
        }
    }
}

/// What everybody bought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purchases {
    /// The products, by name: a product's number is its place.
    pub products: Vec<Product>,
    /// Who bought what: by customer and product, each once.
    pub rows: Vec<Purchase>,
}

impl Purchases {
    /// What each customer bought.
    pub fn by_customer(&self) -> impl Iterator<Item = &[Purchase]> {
        self.rows.chunk_by(|one, other| one.customer == other.customer)
    }

    /// How many customers there are.
    pub fn customers(&self) -> usize {
        self.by_customer().count()
    }

    /// The number of a product.
    pub fn number(&self, name: &str) -> Option<u32> {
        let found = self.products.binary_search_by(|product| product.name.as_str().cmp(name));
        found.ok().map(|place| place as u32)
    }
}
