//! P3: all customers under a new version of the RFM model, in memory, beside `DuckDB` over the same three columns: by fixed cut-offs, and by
//! quintiles, their finding included. What it takes to have the running suite write and publish them is apart: see [`published`].

use crate::peers;
use crate::report::{Measurement, Report, Target};
use crate::server::{Server, authorised};
use crate::stage::Stage;
use anyhow::Context;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant as BusinessTime, TimeZone};
use quintile_proto::longrunning::WaitOperationRequest;
use quintile_proto::longrunning::operations_client::OperationsClient;
use quintile_proto::scoring::score_model_service_client::ScoreModelServiceClient;
use quintile_proto::scoring::{CreateScoreModelVersionRequest, PublishScoreModelVersionRequest};
use quintile_scoring::models::cut_offs::{Method, TieRule};
use quintile_scoring::models::feature::{Conventions, Feature, Value};
use quintile_scoring::models::{At, Definition, Scale, presets};
use quintile_scoring::population::dry_run::{Scores, count, find_cut_offs};
use quintile_scoring::population::{Column, Population};
use serde::Deserialize;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ID: &str = "P3";
const ROUNDS: u32 = 5;

/// What the comparison measured, in seconds, and how many customers it gave each score.
#[derive(Deserialize)]
struct Theirs {
    fixed: f64,
    quantile: f64,
    counts: [Vec<i64>; 3],
}

/// What is scored: days since the last order, orders, and revenue in cents.
struct Customers {
    days: Vec<i32>,
    orders: Vec<i32>,
    revenue: Vec<i64>,
}

impl Customers {
    /// Skewed, as customers are: a few buy hundreds of times. They follow from the number alone (`SplitMix64`).
    fn new(count: u32) -> Self {
        let mut customers = Self { days: Vec::new(), orders: Vec::new(), revenue: Vec::new() };
        for number in 0..u64::from(count) {
            let mut mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            let (days, share) = ((mixed % 730) as i32, (mixed >> 12) as f64 / (1_u64 << 52) as f64);
            let orders = (1.0 / (1.0 - share)).powf(1.2).min(900.0) as i32;
            customers.days.push(days);
            customers.orders.push(orders);
            customers.revenue.push(i64::from(orders) * (500 + (mixed >> 40) as i64 % 9_500));
        }
        customers
    }

    fn population(&self, at: &At<'_>) -> anyhow::Result<Population> {
        let mut columns: HashMap<Feature, Column> = HashMap::new();
        for (place, name) in ["days_since(last_order_at)", "orders", "revenue"].iter().enumerate() {
            let feature = Feature::from_name(name).ok().context("a feature")?;
            let column = columns.entry(feature).or_default();
            for index in 0..self.days.len() {
                let value = match place {
                    0 => Value::Day(at.day - i64::from(self.days[index])),
                    1 => Value::Number(self.orders[index].into()),
                    _ => Value::Number(self.revenue[index]),
                };
                column.set(index + 1, value);
            }
        }
        Ok(Population::of_columns(columns, self.days.len()))
    }
}

/// Measures the row.
pub fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let (currency, zone) = (Currency::from_code("USD").context("a currency")?, TimeZone::UTC);
    let at = At::new(BusinessTime::from_micros(1_700_000_000_000_000), Conventions { currency, zone: &zone });
    let customers = Customers::new(stage.scale.customers);
    let folder = stage.path("p3");
    std::fs::create_dir_all(&folder)?;
    peers::write(&folder.join("days.i32"), customers.days.iter().map(|days| days.to_le_bytes()))?;
    peers::write(&folder.join("orders.i32"), customers.orders.iter().map(|orders| orders.to_le_bytes()))?;
    peers::write(&folder.join("revenue.i64"), customers.revenue.iter().map(|revenue| revenue.to_le_bytes()))?;
    let population = customers.population(&at)?;
    let threads = std::thread::available_parallelism()?.to_string();
    let arguments = [folder.to_string_lossy().into_owned(), threads];
    let theirs: Option<Theirs> =
        peers::run(stage.peers(), "duckdb_scores.py", &arguments.each_ref().map(String::as_str))?;
    let fixed = presets::retail(2);
    let scores = Scores::new(&fixed, &population, &at);
    let counted = count((&fixed, &scores), None, &population, &at);
    if let Some(theirs) = &theirs {
        let ours = counted.dimensions.iter().map(|dimension| &dimension.customers[1..]);
        let ours: Vec<_> = ours.collect();
        anyhow::ensure!(ours == theirs.counts, "the two do not score alike: {ours:?} and {:?}", theirs.counts);
    }
    let rescored = best(|| Scores::new(&fixed, &population, &at));
    let what = "everybody by fixed cut-offs, in memory";
    report.add(milliseconds(stage, what, rescored, theirs.as_ref().map(|theirs| theirs.fixed), Some(0.5)))?;
    let quintiles = by_quintiles(fixed.clone());
    let found = best(|| {
        let mut quintiles = quintiles.clone();
        find_cut_offs(&mut quintiles, &population, &at);
        Scores::new(&quintiles, &population, &at)
    });
    let what = "everybody by quintiles, found anew, in memory";
    report.add(milliseconds(stage, what, found, theirs.as_ref().map(|theirs| theirs.quantile), Some(0.15)))?;
    let dry_run = best(|| count((&fixed, &scores), Some((&fixed, &scores)), &population, &at));
    report.add(milliseconds(stage, "counting a dry run: cells, revenue, who moves", dry_run, None, None))?;
    Ok(std::fs::remove_dir_all(folder)?)
}

fn by_quintiles(mut definition: Definition) -> Definition {
    for dimension in &mut definition.dimensions {
        if let Scale::Numbers(cut_offs) = &mut dimension.scale {
            cut_offs.method = Method::Quantile(TieRule::Value);
            cut_offs.edges.clear();
        }
    }
    definition
}

fn best<T>(work: impl Fn() -> T) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        black_box(work());
        begun.elapsed()
    });
    rounds.min().unwrap_or_default()
}

fn milliseconds(stage: &Stage, what: &str, ours: Duration, theirs: Option<f64>, most: Option<f64>) -> Measurement {
    Measurement {
        id: ID,
        what: what.to_owned(),
        ours: ours.as_secs_f64() * 1e3,
        theirs: theirs.map(|seconds| seconds * 1e3),
        unit: "ms",
        scale: stage.scale,
        target: most.map(Target::RatioAtMost),
    }
}

/// Publishes another version of the RFM model in a running suite, and waits until everybody is scored by it and published.
pub async fn published(stage: &Stage, server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let channel = server.connect("scoring").await?;
    let mut models = ScoreModelServiceClient::new(channel.clone());
    let request = CreateScoreModelVersionRequest {
        parent: "scoreModels/rfm".to_owned(),
        preset: "luxury".to_owned(),
        ..CreateScoreModelVersionRequest::default()
    };
    let made = models.create_score_model_version(authorised(request, Some(&server.service))).await?.into_inner();
    let request = PublishScoreModelVersionRequest { name: made.name, etag: String::new() };
    let begun = Instant::now();
    let publishing = models.publish_score_model_version(authorised(request, Some(&server.service))).await?.into_inner();
    let mut operations = OperationsClient::new(channel);
    loop {
        let request = WaitOperationRequest { name: publishing.name.clone(), timeout: None };
        let operation = operations.wait_operation(authorised(request, Some(&server.service))).await?.into_inner();
        if operation.done {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let what = "everybody under another version, written and published".to_owned();
    report.add(Measurement { id: ID, what, ours: seconds, theirs: None, unit: "s", scale: stage.scale, target: None })
}
