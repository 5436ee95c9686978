//! What is sent: made from a seed, the same in every run. A few customers buy hundreds of times, most a few times.

use prost::Message;
use quintile_proto::google_type::{Date, Money};
use quintile_proto::ingestion::{Customer, Order, OrderLine, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};
use sha2::{Digest, Sha256};

/// The business time of every measurement.
pub const AS_OF: &str = "2026-01-01T00:00:00Z";
/// The same, in seconds.
pub const AS_OF_SECONDS: i64 = 1_767_225_600;
const TWO_YEARS_SECONDS: u64 = 2 * 365 * 86_400;
const SEED: u64 = 20_260_101;
/// The source that all customers come from.
pub const SOURCE: &str = "shop";
/// The exponent of the Pareto distribution of orders per customer.
const ALPHA: f64 = 1.16;
/// How often the best customer buys, in orders of the rarest; some 90 times the mean.
const MOST: f64 = 400.0;

/// The channels of orders.
pub const CHANNELS: [&str; 4] = ["online", "store", "social", "phone"];
/// The regions of customers.
pub const REGIONS: [&str; 4] = ["north", "south", "east", "west"];

/// `SplitMix64` (Steele, Lea and Flood 2014): small, and the same on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a number.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The order in which orders are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// As they happen: any customer after any other.
    Random,
    /// All orders of a customer together.
    SortedByCustomer,
}

/// The orders of a run: which customer each of them is of.
pub struct Orders {
    /// The customer of each order, by the order's number.
    customers: Vec<u32>,
    /// The numbers of the orders, as they are sent.
    arrival: Vec<u32>,
}

impl Orders {
    /// `orders` orders of `customers` customers.
    pub fn new(customers: u32, orders: u32, arrival: Arrival) -> Self {
        let mut random = Random::new(SEED);
        let weights: Vec<f64> = (0..customers).map(|_| (1.0 - random.unit()).powf(-1.0 / ALPHA).min(MOST)).collect();
        let total: f64 = weights.iter().sum();
        let mut of_orders = Vec::with_capacity(orders as usize);
        let mut reached = 0.0;
        for (customer, weight) in (0..).zip(weights) {
            reached += weight;
            let until = (reached / total * f64::from(orders)).round() as usize;
            of_orders.resize(until.min(orders as usize).max(of_orders.len()), customer);
        }
        of_orders.resize(orders as usize, customers - 1);
        let mut numbers: Vec<u32> = (0..orders).collect();
        if arrival == Arrival::Random {
            for last in (1..numbers.len()).rev() {
                numbers.swap(last, random.below(last as u64 + 1) as usize);
            }
        }
        Self { customers: of_orders, arrival: numbers }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.arrival.len()
    }

    /// The order at a place of the arrival, with the index of its customer.
    pub fn at(&self, place: usize) -> (u32, Order) {
        let number = self.arrival[place];
        let customer = self.customers[number as usize];
        (customer, order(customer, number))
    }
}

/// An order as the service keeps it: in the base currency, with no profit said.
pub struct StoredOrder {
    /// The subject.
    pub subject_id: i64,
    /// The id in its source.
    pub event_id: String,
    /// The hash of its body.
    pub body_hash: Vec<u8>,
    /// When, in microseconds.
    pub occurred_at: i64,
    /// The channel.
    pub channel: String,
    /// What it cost, in cents.
    pub amount_minor: i64,
    /// The encoded lines.
    pub lines: Vec<u8>,
}

impl StoredOrder {
    /// The order at a place of the arrival.
    pub fn new(orders: &Orders, place: usize) -> Self {
        let (customer, order) = orders.at(place);
        Self {
            // Customers came one identity each, in this order, so this is what the service gave them.
            subject_id: i64::from(customer) + 1,
            body_hash: Sha256::digest(order.encode_to_vec())[..16].to_vec(),
            occurred_at: occurred_at(&order),
            amount_minor: amount_minor(&order),
            lines: stored_lines(&order),
            event_id: order.event_id,
            channel: order.channel,
        }
    }
}

/// The order of a number, of the customer of an index.
pub fn order(customer: u32, number: u32) -> Order {
    let mut random = Random::new(SEED ^ (u64::from(number) << 20));
    let seconds = AS_OF_SECONDS - 1 - random.below(TWO_YEARS_SECONDS) as i64;
    let pieces = 1 + random.below(3) as i64;
    let amount = Money {
        currency_code: "USD".to_owned(),
        units: 5 + random.below(195) as i64,
        nanos: random.below(100) as i32 * 10_000_000,
    };
    let line = OrderLine {
        product: format!("sku-{:05}", random.below(20_000)),
        category: "music".to_owned(),
        quantity: pieces,
        amount: Some(amount.clone()),
        ..OrderLine::default()
    };
    Order {
        customer: Some(identity(customer)),
        event_id: format!("order-{number:09}"),
        order_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        channel: CHANNELS[random.below(4) as usize].to_owned(),
        amount: Some(amount),
        lines: vec![line],
        ..Order::default()
    }
}

/// When an order happened, in microseconds.
fn occurred_at(order: &Order) -> i64 {
    order.order_time.as_ref().map_or(0, |time| time.seconds * 1_000_000)
}

/// What an order cost, in cents.
fn amount_minor(order: &Order) -> i64 {
    order.amount.as_ref().map_or(0, |money| money.units * 100 + i64::from(money.nanos / 10_000_000))
}

/// The lines as they are stored.
fn stored_lines(order: &Order) -> Vec<u8> {
    order.lines.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn identity(customer: u32) -> SourceIdentity {
    SourceIdentity { source: SOURCE.to_owned(), id: Some(format!("customer-{customer:08}")) }
}

/// A customer who does not exist, with everything that a form asks for.
pub fn customer(index: u32) -> Customer {
    let mut random = Random::new(SEED ^ (u64::from(index) << 24));
    Customer {
        identities: vec![identity(index)],
        display_name: Some(format!("Customer Number {index}")),
        phone: Some(format!("+86138{index:08}")),
        email: Some(format!("customer.{index}@example.com")),
        address: Some(format!("{}, Harbour Street, London", index % 500 + 1)),
        birth_date: Some(Date {
            year: 1940 + random.below(60) as i32,
            month: 1 + random.below(12) as i32,
            day: 1 + random.below(28) as i32,
        }),
        attributes: Some(CustomerAttributes {
            kind: CustomerKind::Customer.into(),
            region: Some(REGIONS[random.below(4) as usize].to_owned()),
            language: "en".to_owned(),
            acquisition_channel: "search".to_owned(),
            ..CustomerAttributes::default()
        }),
        ..Customer::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_sends_the_same() {
        let (once, again) = (Orders::new(500, 5_000, Arrival::Random), Orders::new(500, 5_000, Arrival::Random));
        assert!((0..once.len()).all(|place| once.at(place) == again.at(place)));
    }

    #[test]
    fn both_arrivals_send_the_same_orders() {
        let of = |arrival| {
            let orders = Orders::new(500, 5_000, arrival);
            let mut sent: Vec<_> = (0..orders.len()).map(|place| orders.at(place).1.encode_to_vec()).collect();
            sent.sort_unstable();
            sent
        };
        assert_eq!(of(Arrival::Random), of(Arrival::SortedByCustomer));
    }

    #[test]
    fn a_few_customers_buy_hundreds_of_times_and_most_a_few_times() {
        let orders = Orders::new(60_000, 600_000, Arrival::SortedByCustomer);
        let mut counts = vec![0_u32; 60_000];
        orders.customers.iter().for_each(|customer| counts[*customer as usize] += 1);
        counts.sort_unstable();
        assert_eq!(counts.iter().sum::<u32>(), 600_000);
        assert!(counts[30_000] < 6, "the median is {}", counts[30_000]);
        assert!((100..1_000).contains(&counts[59_900]), "number 100 buys {} times", counts[59_900]);
    }
}
