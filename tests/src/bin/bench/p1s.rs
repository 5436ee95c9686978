//! P1s: durable ingest of orders by the public stream, SQLite, against prepared multi-row inserts of the same rows.

use crate::generator::{Arrival, Orders};
use crate::ingest::{self, Batches, Ingested};
use crate::peer_sqlite;
use crate::report::{Measurement, Report, Target};
use crate::stage::Stage;
use quintile_proto::ingestion::{Row, row};

const ID: &str = "P1s";
const UNIT: &str = "orders/s";
/// The most rows that the server takes in one batch.
const ROWS_PER_BATCH: usize = 10_000;

struct Variant {
    name: &'static str,
    arrival: Arrival,
    /// 2: the next batch travels while one is committed, and none is committed together with another. 10: up to 100,000 rows are there to
    /// be committed at once.
    in_flight: usize,
}

const VARIANTS: [Variant; 4] = [
    Variant { name: "orders, 10k in a batch, random", arrival: Arrival::Random, in_flight: 2 },
    Variant { name: "orders, 10k in a batch, by customer", arrival: Arrival::SortedByCustomer, in_flight: 2 },
    Variant { name: "orders, 100k in flight, random", arrival: Arrival::Random, in_flight: 10 },
    Variant { name: "orders, 100k in flight, by customer", arrival: Arrival::SortedByCustomer, in_flight: 10 },
];

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let customers = stage.customers_ingested().await?.rows_per_second();
    report.add(absolute(stage, "customers with contact details, 10k in a batch", customers, "customers/s"))?;
    for variant in &VARIANTS {
        let orders = stage.orders(variant.arrival);
        let server = stage.server_with_customers("p1s").await?;
        let ours = ingest::send(&server, encode(&orders), variant.in_flight).await?;
        check(&ours, &orders)?;
        let settled = server.settled(ours.facts_position, stage.scale.customers).await?;
        server.remove().await?;
        let file = stage.path("p1s-peer.sqlite");
        let theirs = orders.len() as f64 / peer_sqlite::write(&file, &orders, &ours.commits).await?.as_secs_f64();
        std::fs::remove_file(&file)?;
        eprintln!(
            "{}: {:.0} orders/s, {} rows in a commit; all services had them {settled:.1?} later; inserts {theirs:.0}",
            variant.name,
            ours.rows_per_second(),
            ours.rows_per_commit()
        );
        report.add(Measurement {
            theirs: Some(theirs),
            target: Some(Target::RatioAtLeast(0.5)),
            ..absolute(stage, variant.name, ours.rows_per_second(), UNIT)
        })?;
        if variant.in_flight == 10 {
            let all = orders.len() as f64 / (ours.elapsed + settled).as_secs_f64();
            let what = format!("{}, until all services have them", variant.name);
            report.add(absolute(stage, &what, all, UNIT))?;
        }
    }
    report.add(with_new_customers(stage).await?)
}

/// The orders make the customers that they are of.
async fn with_new_customers(stage: &Stage) -> anyhow::Result<Measurement> {
    let orders = stage.orders(Arrival::Random);
    let server = stage.empty_server("p1s").await?;
    let ours = ingest::send(&server, encode(&orders), 2).await?;
    check(&ours, &orders)?;
    server.remove().await?;
    Ok(absolute(stage, "orders of new customers, 10k in a batch, random", ours.rows_per_second(), UNIT))
}

fn encode(orders: &Orders) -> Batches {
    ingest::encode("orders", orders.len(), ROWS_PER_BATCH, |place| Row {
        fact: Some(row::Fact::Order(orders.at(place).1)),
    })
}

fn check(ours: &Ingested, orders: &Orders) -> anyhow::Result<()> {
    anyhow::ensure!(ours.applied == orders.len() as i64, "{} of {} orders", ours.applied, orders.len());
    Ok(())
}

fn absolute(stage: &Stage, what: &str, ours: f64, unit: &'static str) -> Measurement {
    Measurement { id: ID, what: what.to_owned(), ours, theirs: None, unit, scale: stage.scale, target: None }
}
