//! `quintile generate`: the reference load as Parquet, the same bytes for the same arguments.
//!
//! Everything is made of whole numbers, so that it is the same on every machine. Orders are drawn one by one in the order of time,
//! each from a customer with a weight of its own; held in memory are the weights and one row group.

use crate::output::thousands;
use crate::parquet_file::{self, Column, Values, write_group};
use anyhow::{Context, ensure};
use parquet::data_type::ByteArray;
use parquet::file::writer::SerializedFileWriter;
use quintile_domain::time::Instant;
use quintile_import::Sorter;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows of a row group.
const ROWS_PER_GROUP: usize = 100_000;
/// How much is sorted in memory, in bytes.
const SORT_MEMORY_BYTES: usize = 128 * 1024 * 1024;
/// The length of the history.
const TWO_YEARS_MICROS: u64 = 2 * 365 * 86_400_000_000;
/// How often the best customer buys, in orders of the rarest; some 57 times the mean.
const MOST: u64 = 400;
/// A weight of one, in fixed point.
const ONE: u64 = 1 << 20;

const CHANNELS: [&str; 4] = ["online", "store", "social", "phone"];
const REGIONS: [&str; 4] = ["north", "south", "east", "west"];
const ACQUISITION: [&str; 3] = ["search", "friends", "press"];
const CATEGORIES: [&str; 8] = ["music", "books", "garden", "kitchen", "toys", "sports", "clothes", "tools"];
const GIVEN: [&str; 8] = ["Alice", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Goran", "Hana"];
const FAMILY: [&str; 8] = ["Abbott", "Berger", "Costa", "Duarte", "Eriksen", "Fischer", "Gupta", "Haddad"];
const STREET: [&str; 4] = ["Harbour Street", "Mill Lane", "Station Road", "Church Hill"];

const CUSTOMER_SCHEMA: &str = "message customers {
    required binary customer_id (STRING);
    required binary name (STRING);
    required binary phone (STRING);
    required binary email (STRING);
    required binary address (STRING);
    required int32 birth_date (DATE);
    required binary region (STRING);
    required binary acquisition_channel (STRING);
}";
const ORDER_SCHEMA: &str = "message orders {
    required binary customer_id (STRING);
    required binary order_id (STRING);
    required int64 order_time (TIMESTAMP(MICROS, true));
    required binary channel (STRING);
    required int64 amount (DECIMAL(18, 2));
    required binary product (STRING);
    required binary category (STRING);
    required int32 quantity;
}";

#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// Customers; some of them have not bought yet
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    customers: u32,
    /// Orders
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    orders: u64,
    /// The number that everything is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The end of the two years of history
    #[arg(long, value_name = "INSTANT", default_value = "2026-01-01T00:00:00Z", value_parser = Instant::parse)]
    until: Instant,
    /// The order of the orders in their file
    #[arg(long, value_enum, default_value_t = Arrangement::Customer)]
    order: Arrangement,
    /// The folder for customers.parquet and orders.parquet; files of these names are replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The order of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Arrangement {
    /// As they happened.
    Arrival,
    /// All of a customer together, by time.
    Customer,
}

/// What is made, and of what.
#[derive(Clone, Copy, Debug)]
struct Load {
    customers: u32,
    orders: u64,
    seed: u64,
    until: Instant,
}

/// Makes the files by command.
pub fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let until = args.until;
    ensure!(until.micros().unsigned_abs() >= TWO_YEARS_MICROS, "--until must be two years after 1970 at the earliest");
    let load = Load { customers: args.customers, orders: args.orders, seed: args.seed, until };
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    write_customers(&load, &args.out.join("customers.parquet"))?;
    write_orders(&load, args.order, &args.out.join("orders.parquet"))?;
    let (customers, orders) = (thousands(load.customers.into()), thousands(load.orders));
    say!("{customers} customers and {orders} orders in {}; to take them in:", args.out.display());
    say!("  quintile import {} --mapping generated", args.out.display());
    Ok(())
}

/// `SplitMix64` (Steele, Lea and Flood 2014): small, and the same on every machine and in every version.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// The sequence of one thing: the seed, what kind of thing it is, and its number.
    fn of(seed: u64, kind: u64, number: u64) -> Self {
        let mut random = Self(seed ^ (kind << 56));
        random.0 = random.next() ^ number;
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// How often each customer buys, in proportion, added up: a Pareto distribution with exponent 1, cut off.
fn cumulative_weights(load: &Load) -> Vec<u64> {
    let mut reached = 0;
    let weight = |customer: u32| {
        // 1 / u for u uniform in (0, 1], in fixed point.
        let draw = (Random::of(load.seed, 1, customer.into()).next() >> 32) + 1;
        ((u128::from(ONE) << 32) / u128::from(draw)).min(u128::from(MOST * ONE)) as u64
    };
    let add = |customer| {
        reached += weight(customer);
        reached
    };
    (0..load.customers).map(add).collect()
}

/// One order, as far as it is not the same for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    number: u64,
    customer: u32,
    micros: u64,
}

impl Load {
    /// The order of a number. Numbers grow with time.
    fn order(&self, number: u64, weights: &[u64]) -> Order {
        let mut random = Random::of(self.seed, 2, number);
        let total = weights.last().copied().unwrap_or_default();
        let drawn = random.below(total);
        let customer = weights.partition_point(|reached| *reached <= drawn) as u32;
        let at = |number: u64| u128::from(TWO_YEARS_MICROS) * u128::from(number) / u128::from(self.orders);
        let (from, to) = (at(number) as u64, at(number + 1) as u64);
        let start = self.until.micros().unsigned_abs() - TWO_YEARS_MICROS;
        // Whole seconds, as sources have them.
        let micros = (start + from + random.below((to - from).max(1))) / 1_000_000 * 1_000_000;
        Order { number, customer, micros }
    }
}

fn customer_id(customer: u32) -> String {
    format!("customer-{customer:08}")
}

fn writer(file: &Path, schema: &str) -> anyhow::Result<SerializedFileWriter<File>> {
    let opened = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    parquet_file::begin(opened, schema, "quintile generate")
}

fn texts<T>(things: &[T], text: impl Fn(&T) -> String) -> Column {
    Values::Text(things.iter().map(|thing| ByteArray::from(text(thing).into_bytes())).collect()).into()
}

fn write_customers(load: &Load, file: &Path) -> anyhow::Result<()> {
    let mut writer = writer(file, CUSTOMER_SCHEMA)?;
    let random = |customer: &u32, what: u64| Random::of(load.seed, 3 + what, (*customer).into());
    let name = |customer: &u32| {
        let mut random = random(customer, 0);
        (random.pick(&GIVEN), random.pick(&FAMILY))
    };
    // Everybody is of age at the end; in days since 1970, as Parquet has dates.
    let youngest = (load.until.micros() / 86_400_000_000) as i32 - 18 * 366;
    let numbers: Vec<u32> = (0..load.customers).collect();
    for group in numbers.chunks(ROWS_PER_GROUP) {
        let columns = [
            texts(group, |customer| customer_id(*customer)),
            texts(group, |customer| {
                let (given, family) = name(customer);
                format!("{given} {family}")
            }),
            texts(group, |customer| format!("+86138{customer:08}")),
            texts(group, |customer| {
                let (given, family) = name(customer);
                format!("{}.{}.{customer}@example.com", given.to_lowercase(), family.to_lowercase())
            }),
            texts(group, |customer| {
                let mut random = random(customer, 1);
                format!("{}, {} {}, London", random.below(500) + 1, random.pick(&STREET), random.below(200) + 1)
            }),
            Values::Int32(group.iter().map(|customer| youngest - random(customer, 2).below(24_000) as i32).collect())
                .into(),
            texts(group, |customer| random(customer, 3).pick(&REGIONS).to_owned()),
            texts(group, |customer| random(customer, 4).pick(&ACQUISITION).to_owned()),
        ];
        write_group(&mut writer, &columns)?;
    }
    writer.close()?;
    Ok(())
}

fn write_orders(load: &Load, arrangement: Arrangement, file: &Path) -> anyhow::Result<()> {
    let weights = cumulative_weights(load);
    let mut writer = writer(file, ORDER_SCHEMA)?;
    let mut group = Vec::with_capacity(ROWS_PER_GROUP);
    let mut put = |order: Order| {
        group.push(order);
        if group.len() == ROWS_PER_GROUP { write_order_group(load, &mut writer, &mut group) } else { Ok(()) }
    };
    match arrangement {
        Arrangement::Arrival => (0..load.orders).try_for_each(|number| put(load.order(number, &weights)))?,
        Arrangement::Customer => {
            let mut sorter = Sorter::new(&std::env::temp_dir(), SORT_MEMORY_BYTES);
            for number in 0..load.orders {
                let Order { customer, micros, .. } = load.order(number, &weights);
                let key = [customer.to_be_bytes().as_slice(), &number.to_be_bytes()].concat();
                sorter.push(&key, &micros.to_be_bytes())?;
            }
            for entry in sorter.finish()? {
                put(sorted_order(&entry?).context("a temporary file came back otherwise than it was written")?)?;
            }
        }
    }
    write_order_group(load, &mut writer, &mut group)?;
    writer.close()?;
    Ok(())
}

fn sorted_order(entry: &quintile_import::Entry) -> Option<Order> {
    let (customer, number) = entry.key.split_first_chunk()?;
    Some(Order {
        customer: u32::from_be_bytes(*customer),
        number: u64::from_be_bytes(number.try_into().ok()?),
        micros: u64::from_be_bytes(entry.value.as_slice().try_into().ok()?),
    })
}

fn write_order_group(
    load: &Load,
    writer: &mut SerializedFileWriter<File>,
    group: &mut Vec<Order>,
) -> anyhow::Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    let random = |order: &Order, what: u64| Random::of(load.seed, 16 + what, order.number);
    let columns = [
        texts(group, |order| customer_id(order.customer)),
        texts(group, |order| format!("order-{:010}", order.number)),
        Values::Int64(group.iter().map(|order| order.micros as i64).collect()).into(),
        texts(group, |order| random(order, 0).pick(&CHANNELS).to_owned()),
        Values::Int64(group.iter().map(|order| 500 + random(order, 1).below(19_500) as i64).collect()).into(),
        texts(group, |order| format!("sku-{:05}", random(order, 2).below(20_000))),
        // A product is always of the same category.
        texts(group, |order| CATEGORIES[(random(order, 2).below(20_000) % 8) as usize].to_owned()),
        Values::Int32(group.iter().map(|order| 1 + random(order, 3).below(3) as i32).collect()).into(),
    ];
    group.clear();
    write_group(writer, &columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_import::{Input, Mapping, Preparing, bundled, prepare};
    use quintile_proto::ingestion::row::Fact;

    fn load(customers: u32, orders: u64, seed: u64) -> Load {
        Load { customers, orders, seed, until: Instant::parse("2026-01-01T00:00:00Z").unwrap() }
    }

    fn bytes(load: &Load, arrangement: Arrangement) -> [Vec<u8>; 2] {
        let directory = tempfile::tempdir().unwrap();
        let [customers, orders] = ["customers.parquet", "orders.parquet"].map(|name| directory.path().join(name));
        write_customers(load, &customers).unwrap();
        write_orders(load, arrangement, &orders).unwrap();
        [customers, orders].map(|file| std::fs::read(file).unwrap())
    }

    /// All rows as the bundled mapping reads them.
    fn imported(load: &Load, arrangement: Arrangement) -> Vec<Fact> {
        let directory = tempfile::tempdir().unwrap();
        write_customers(load, &directory.path().join("customers.parquet")).unwrap();
        write_orders(load, arrangement, &directory.path().join("orders.parquet")).unwrap();
        let mapping = Mapping::parse(bundled("generated").unwrap()).unwrap();
        let options = Preparing {
            temporary: directory.path(),
            memory_bytes: 64 * 1024,
            count_repeated: false,
            rejects: None,
            strict: true,
            progress: &mut |_| {},
        };
        let prepared = prepare(&Input::find(directory.path(), &mapping).unwrap(), &mapping, options).unwrap();
        prepared.rows.map(|row| row.unwrap().1.unwrap().fact.unwrap()).collect()
    }

    #[test]
    fn the_same_arguments_make_the_same_bytes_and_another_seed_makes_others() {
        for arrangement in [Arrangement::Arrival, Arrangement::Customer] {
            let once = bytes(&load(500, 5_000, 7), arrangement);
            assert_eq!(once, bytes(&load(500, 5_000, 7), arrangement));
            assert_ne!(once, bytes(&load(500, 5_000, 8), arrangement));
        }
    }

    #[test]
    fn both_arrangements_hold_the_same_orders_and_the_bundled_mapping_reads_all_of_them() {
        let load = load(200, 3_000, 1);
        let (mut arrival, mut customer) =
            (imported(&load, Arrangement::Arrival), imported(&load, Arrangement::Customer));
        let orders = arrival.iter().filter(|fact| matches!(fact, Fact::Order(_))).count();
        assert_eq!((arrival.len(), orders), (3_200, 3_000));
        let id = |fact: &Fact| match fact {
            Fact::Order(order) => order.event_id.clone(),
            Fact::Customer(customer) => customer.identities[0].id.clone().unwrap(),
            _ => panic!("only customers and orders"),
        };
        arrival.sort_by_key(id);
        customer.sort_by_key(id);
        assert_eq!(arrival, customer);
    }

    #[test]
    fn orders_lie_within_the_two_years_in_the_order_of_time() {
        let load = load(50, 1_000, 3);
        let weights = cumulative_weights(&load);
        let times: Vec<_> = (0..1_000).map(|number| load.order(number, &weights).micros).collect();
        assert!(times.is_sorted());
        let end = load.until.micros().unsigned_abs();
        assert!(times[0] >= end - TWO_YEARS_MICROS && times[999] < end);
    }

    #[test]
    fn a_few_customers_buy_hundreds_of_times_and_most_a_few_times() {
        let load = load(60_000, 600_000, 1);
        let weights = cumulative_weights(&load);
        let mut counts = vec![0_u32; 60_000];
        (0..600_000).for_each(|number| counts[load.order(number, &weights).customer as usize] += 1);
        counts.sort_unstable();
        assert!(counts[30_000] < 6, "the median is {}", counts[30_000]);
        assert!((100..1_000).contains(&counts[59_900]), "number 100 buys {} times", counts[59_900]);
    }
}
