//! P4 and P8: exact counts of segments of three conditions by the column engine, beside `DuckDB` over the same columns in memory, and what the
//! engine's columns take. What a count takes over gRPC, and a cold start until one is answered (P9), are measured with row P2: see [`served`] and
//! [`restarted`].

use crate::peers;
use crate::report::{Measurement, Report, Target};
use crate::server::{Server, authorised};
use crate::stage::{Stage, Store};
use hdrhistogram::Histogram;
use quintile_domain::seeded::Seeded;
use quintile_expr::{Now, Row, Rule, ValueRef};
use quintile_proto::segmentation::PreviewSegmentRequest;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_segmentation::cancellation::Cancellation;
use quintile_segmentation::clusters::{Feature, KMeans, Search, Table};
use quintile_segmentation::engine::{Customer, Engine};
use quintile_segmentation::fields::{self, FieldId};
use serde::Deserialize;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ID: &str = "P4";
/// Random queries of each kind.
const QUERIES: u64 = 40;
/// Customers that clusters are found in.
const CLUSTERED: usize = 200_000;
/// Counts over gRPC.
const CALLS: u64 = 1_000;
/// When the target of a count over gRPC is meant: nothing else goes on.
pub const SETTLED: &str = "at rest";
/// 2023-11-14, in microseconds.
const NOW: i64 = 1_700_000_000_000_000;
const DAY: i64 = 86_400_000_000;
const CHANNELS: [&str; 6] = ["online", "store", "phone", "app", "partner", "fair"];
const STAGES: [&str; 8] = ["lead", "new", "active", "loyal", "at_risk", "dormant", "churned", "reactivated"];
const REGIONS: [&str; 16] =
    ["n1", "n2", "n3", "n4", "s1", "s2", "s3", "s4", "w1", "w2", "w3", "w4", "e1", "e2", "e3", "e4"];

/// What the comparison measured: mean seconds of a query of each kind, and what it counted.
#[derive(Deserialize)]
struct Theirs {
    seconds: [f64; 2],
    counts: [Vec<u64>; 2],
}

/// Numbers that follow from a number alone (`SplitMix64`).
const fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// What the conditions are about, of one customer.
struct Asked {
    scores: [u8; 3],
    channel: u8,
    revenue: i64,
    last_order_at: i64,
}

impl Asked {
    fn of(number: u32) -> Self {
        let random = mixed(number.into());
        let share = (random >> 12) as f64 / (1_u64 << 52) as f64;
        let orders = (1.0 / (1.0 - share)).powf(1.2).min(900.0) as i64;
        let score = |shift: u32| (random >> shift & 0xff) as u8 % 5 + 1;
        Self {
            scores: [score(0), score(8), score(16)],
            channel: (random >> 24) as u8 % CHANNELS.len() as u8,
            revenue: orders * (500 + (mixed(random) % 9_500) as i64),
            last_order_at: NOW - (mixed(random ^ 1) % (730 * DAY as u64)) as i64,
        }
    }

    /// With all built-in fields, as a customer has them.
    fn customer(&self, number: u32) -> Customer<'static> {
        let random = mixed(u64::from(number) ^ 0x5eed);
        let part = |shift: u32, of: u64| (random >> shift) % of;
        Customer {
            recency: Some(self.scores[0]),
            frequency: Some(self.scores[1]),
            monetary: Some(self.scores[2]),
            label: STAGES[part(0, 8) as usize],
            stage: STAGES[part(3, 8) as usize],
            kind: "customer",
            region: REGIONS[part(6, 16) as usize],
            language: CHANNELS[part(10, 6) as usize],
            acquisition_channel: CHANNELS[part(13, 6) as usize],
            channel: CHANNELS[usize::from(self.channel)],
            country: REGIONS[part(16, 16) as usize],
            currency: "USD",
            top_category: REGIONS[part(20, 16) as usize],
            grade_value: Some(part(24, 101) as u8),
            grade_band: CHANNELS[part(31, 4) as usize],
            grade_tier: CHANNELS[part(33, 3) as usize],
            grade_vip: CHANNELS[part(35, 2) as usize],
            alive_percent: Some(5 * part(26, 21) as u8),
            churn_risk_percent: Some(5 * part(28, 21) as u8),
            lifetime_value_minor: Some([1, 2, 3, 5, 7][part(27, 5) as usize] * 10_i64.pow(2 + part(30, 4) as u32)),
            warnings: std::array::from_fn(|kind| ["yes", "no"][part(20 + kind as u32, 2) as usize]),
            first_order_at: Some(self.last_order_at - part(37, 500) as i64 * DAY),
            last_order_at: Some(self.last_order_at),
            last_interaction_at: Some(self.last_order_at + part(5, 1_000) as i64),
            acquired_at: Some(NOW - part(9, 900) as i64 * DAY),
            orders: part(40, 30) as i64,
            purchase_days: part(41, 30) as i64,
            net_revenue_minor: self.revenue - part(3, 100) as i64,
            revenue_minor: self.revenue,
            average_order_value_minor: Some(self.revenue / 3),
            orders_30: part(42, 3) as i64,
            orders_90: part(43, 9) as i64,
            orders_365: part(44, 30) as i64,
            previous_orders_90: part(45, 9) as i64,
            revenue_30_minor: self.revenue / 20,
            revenue_90_minor: self.revenue / 10,
            revenue_365_minor: self.revenue / 2,
            interactions: part(46, 90) as i64,
            interactions_90: part(47, 20) as i64,
            previous_interactions_90: part(48, 20) as i64,
            last_nps: Some(part(49, 11) as i64),
            last_low_score_time: Some(self.last_order_at + part(52, 1_000) as i64),
            open_complaints: part(50, 2) as i64,
            open_tickets: part(51, 2) as i64,
            referrals: part(52, 4) as i64,
            consents: ["given", "objected", "given", "", ""],
            ..Customer::default()
        }
    }
}

/// A rule of the language, and the same condition in SQL.
struct Query {
    rule: String,
    sql: String,
}

/// Of fields with a bitmap for each value, and of one score, one amount and one instant.
fn queries(kind: u64) -> Vec<Query> {
    let query = |number: u64| {
        let random = mixed(number * 2 + kind + 1_000_000_007);
        let (r, f, channel) = (random % 5 + 1, random >> 8 & 3, (random >> 16) % CHANNELS.len() as u64);
        if kind == 0 {
            let name = CHANNELS[channel as usize];
            return Query {
                rule: format!("rfm.r >= {r} && rfm.f <= {} && channel == {name:?}", f + 1),
                sql: format!("r >= {r} AND f <= {} AND channel = {channel}", f + 1),
            };
        }
        let (cents, days) = (random >> 20 & 0x7fff, (random >> 40) % 700);
        let instant = quintile_domain::time::Instant::from_micros(NOW - days as i64 * DAY);
        Query {
            rule: format!(
                "rfm.r >= {r} && revenue > {}.{:02} && last_order_at < timestamp(\"{instant}\")",
                cents / 100,
                cents % 100
            ),
            sql: format!("r >= {r} AND revenue > {cents} AND last_order < {}", instant.micros()),
        }
    };
    (0..QUERIES).map(query).collect()
}

/// Measures the rows.
pub fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let count = stage.scale.customers;
    let mut engine = Engine::new();
    engine.reserve(count)?;
    let begun = Instant::now();
    for number in 1..=count {
        engine.apply(number, Some(&Asked::of(number).customer(number)))?;
    }
    engine.rebalance();
    let took = begun.elapsed();
    let kinds = [queries(0), queries(1)];
    let theirs = theirs(stage, &kinds)?;
    let schema = fields::schema(2)?;
    let utc_day = |micros: i64| micros.div_euclid(DAY) as i32;
    let (now, never) = (Now::new(NOW, &utc_day), Cancellation::default());
    let names = ["a count by three fields with bitmaps", "a count by a score, an amount and an instant"];
    for (kind, (queries, target)) in kinds.iter().zip([0.05, 0.2]).enumerate() {
        let rules = queries.iter().map(|query| Rule::parse(&query.rule, &schema)).collect::<Result<Vec<_>, _>>()?;
        let counts: Vec<u64> = rules.iter().map(|rule| engine.count(rule, &now, &|_| None, &never)).collect();
        if let Some(theirs) = &theirs {
            anyhow::ensure!(counts == theirs.counts[kind], "the two do not count alike: {counts:?}");
        }
        let begun = Instant::now();
        for rule in &rules {
            black_box(engine.count(rule, &now, &|_| None, &never));
        }
        let ours = begun.elapsed().as_secs_f64() / rules.len() as f64;
        let theirs = theirs.as_ref().map(|theirs| theirs.seconds[kind] * 1e3);
        let (what, target) = (names[kind].to_owned(), Some(Target::RatioAtMost(target)));
        report.add(Measurement { id: ID, what, ours: ours * 1e3, theirs, unit: "ms", scale: stage.scale, target })?;
    }
    let bytes = engine.memory_bytes() as f64 / f64::from(count);
    let target = Some(Target::AtMost(250.0));
    let alone = |what: &str, ours, unit, target| Measurement {
        id: "P8",
        what: what.to_owned(),
        ours,
        theirs: None,
        unit,
        scale: stage.scale,
        target,
    };
    report.add(alone("memory of the built-in fields, for each customer", bytes, "bytes", target))?;
    let nanos = took.as_nanos() as f64 / f64::from(count);
    report.add(alone("taking a customer in, columns fitted to values", nanos, "ns", None))?;
    cluster(stage, &engine, report)
}

/// Finds clusters as `FitClusters` does, and assigns everybody to them as publishing does, but on one processor.
fn cluster(stage: &Stage, engine: &Engine, report: &mut Report) -> anyhow::Result<()> {
    let fields = [
        FieldId::Orders,
        FieldId::NetRevenue,
        FieldId::AverageOrderValue,
        FieldId::LastOrderAt,
        FieldId::FirstOrderAt,
        FieldId::Interactions,
    ];
    let row = |customer: u32| {
        let row = engine.row(customer, &|_| None)?;
        Some(fields.map(|field| match row.value(field.id()) {
            Some(ValueRef::Int(number)) => Some(number as f64),
            Some(ValueRef::Instant(at)) => Some(NOW.saturating_sub(at).div_euclid(DAY) as f64),
            _ => None,
        }))
    };
    let feature = |field: FieldId| Feature {
        name: field.name().to_owned(),
        logarithmic: true,
        high: String::new(),
        low: String::new(),
    };
    let rows = stage.scale.customers as usize;
    let chosen = Seeded::new(7).sample(rows, CLUSTERED).into_iter().filter_map(|place| row(place as u32 + 1));
    let mut table = Table::new(fields.map(feature).to_vec())?;
    for row in chosen {
        table.push(&row)?;
    }
    let begun = Instant::now();
    let model = KMeans::fit(&table.prepare()?, 8, &Search::new(7), None)?;
    let fitted = begun.elapsed();
    let begun = Instant::now();
    for row in (1..=stage.scale.customers).filter_map(row) {
        black_box(model.assign(&row)?);
    }
    let assigned = begun.elapsed().as_nanos() as f64 / rows as f64;
    let alone = |what: &str, ours, unit| Measurement {
        id: "P4",
        what: what.to_owned(),
        ours,
        theirs: None,
        unit,
        scale: stage.scale,
        target: None,
    };
    let what = "8 clusters of up to 200,000 customers by 6 fields, best of 20 searches";
    report.add(alone(what, fitted.as_secs_f64(), "s"))?;
    report.add(alone("assigning a customer to one of 8 clusters", assigned, "ns"))
}

/// The same columns and queries for the comparison.
fn theirs(stage: &Stage, kinds: &[Vec<Query>; 2]) -> anyhow::Result<Option<Theirs>> {
    let folder = stage.path("p4");
    std::fs::create_dir_all(&folder)?;
    let customers = || (1..=stage.scale.customers).map(Asked::of);
    peers::write(&folder.join("r.i8"), customers().map(|customer| [customer.scores[0]]))?;
    peers::write(&folder.join("f.i8"), customers().map(|customer| [customer.scores[1]]))?;
    peers::write(&folder.join("channel.i8"), customers().map(|customer| [customer.channel]))?;
    peers::write(&folder.join("revenue.i64"), customers().map(|customer| customer.revenue.to_le_bytes()))?;
    peers::write(&folder.join("last_order.i64"), customers().map(|customer| customer.last_order_at.to_le_bytes()))?;
    let conditions = kinds.each_ref().map(|queries| queries.iter().map(|query| &query.sql).collect::<Vec<_>>());
    std::fs::write(folder.join("conditions.json"), serde_json::to_vec(&conditions)?)?;
    let threads = std::thread::available_parallelism()?.to_string();
    let arguments = [folder.to_string_lossy().into_owned(), threads];
    let theirs = peers::run(stage.peers(), "duckdb_counts.py", &arguments.each_ref().map(String::as_str))?;
    std::fs::remove_dir_all(folder)?;
    Ok(theirs)
}

/// Counts over gRPC, one after the other, each of another rule. `when` says what else is going on.
pub async fn served(stage: &Stage, server: &Server, report: &mut Report, when: &str) -> anyhow::Result<()> {
    let mut segments = SegmentServiceClient::new(server.connect("segmentation").await?);
    let mut taken = Histogram::<u64>::new(3)?;
    for number in 0..CALLS {
        let random = mixed(number + 77);
        let (r, cents, days) = (random % 5 + 1, random >> 20 & 0x7fff, (random >> 40) % 700);
        let expression = format!("rfm.r >= {r} && revenue > {cents} && days_since(last_order_at) < {days}");
        let request = PreviewSegmentRequest { expression, ..PreviewSegmentRequest::default() };
        let begun = Instant::now();
        segments.preview_segment(authorised(request, Some(&server.service))).await?;
        taken.record(u64::try_from(begun.elapsed().as_micros())?)?;
    }
    let target = (when == SETTLED).then_some(Target::AtMost(5.0));
    for (what, quantile, target) in [("p50", 0.5, None), ("p99", 0.99, target)] {
        let ours = taken.value_at_quantile(quantile) as f64 / 1e3;
        let what = format!("a count with revenue over gRPC, {when}, {what}");
        report.add(Measurement { id: ID, what, ours, theirs: None, unit: "ms", scale: stage.scale, target })?;
    }
    Ok(())
}

/// P9: from the start of all services to a first exact count.
pub async fn restarted(
    stage: &Stage,
    (store, name): (Store, &str),
    server: Server,
    report: &mut Report,
) -> anyhow::Result<Server> {
    let begun = Instant::now();
    let server = stage.started_again(store, name, server).await?;
    let started = begun.elapsed();
    let mut segments = SegmentServiceClient::new(server.connect("segmentation").await?);
    let request = PreviewSegmentRequest { expression: "orders >= 1".to_owned(), ..PreviewSegmentRequest::default() };
    while segments.preview_segment(authorised(request.clone(), Some(&server.service))).await.is_err() {
        anyhow::ensure!(begun.elapsed() < Duration::from_mins(10), "segmentation does not serve");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let measurement = |what: &str, ours: Duration, target| Measurement {
        id: "P9",
        what: what.to_owned(),
        ours: ours.as_secs_f64(),
        theirs: None,
        unit: "s",
        scale: stage.scale,
        target,
    };
    report.add(measurement("stopped, and all services started again", started, None))?;
    let what = "that, and segmentation answers a count";
    report.add(measurement(what, begun.elapsed(), Some(Target::AtMost(30.0))))?;
    Ok(server)
}
