//! P1 and P1s: durable ingest of orders by the public stream, against the fastest bulk write of the same rows into the same table with the
//! same commits: `COPY` on PostgreSQL, prepared multi-row inserts on SQLite.

use crate::generator::{Arrival, Orders};
use crate::ingest::{self, Batches, Ingested};
use crate::report::{Measurement, Report, Target};
use crate::stage::{Stage, Store};
use crate::{peer_postgres, peer_sqlite};
use quintile_proto::ingestion::{Row, row};
use std::time::Duration;

const UNIT: &str = "orders/s";
/// The most rows that the server takes in one batch.
const ROWS_PER_BATCH: usize = 10_000;
/// The name of the measured server's folder and database.
const NAME: &str = "p1";

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

/// Measures the row of a store.
pub async fn measure(stage: &Stage, report: &mut Report, store: Store) -> anyhow::Result<()> {
    let customers = stage.customers_ingested(store).await?.rows_per_second();
    let what = "customers with contact details, 10k in a batch";
    report.add(absolute(stage, store, what, customers, "customers/s"))?;
    for variant in &VARIANTS {
        let orders = stage.orders(variant.arrival);
        let server = stage.server_with_customers(store, NAME).await?;
        let ours = ingest::send(&server, encode(&orders), variant.in_flight).await?;
        check(&ours, &orders)?;
        let settled = server.settled(ours.facts_position, stage.scale.customers).await?;
        stage.remove(store, NAME, server).await?;
        let theirs = orders.len() as f64 / peer(stage, store, &orders, &ours.commits).await?.as_secs_f64();
        eprintln!(
            "{store:?}, {}: {:.0} orders/s, {} rows in a commit; all services had them {settled:.1?} later; bare writes {theirs:.0}",
            variant.name,
            ours.rows_per_second(),
            ours.rows_per_commit()
        );
        report.add(Measurement {
            theirs: Some(theirs),
            target: Some(Target::RatioAtLeast(0.5)),
            ..absolute(stage, store, variant.name, ours.rows_per_second(), UNIT)
        })?;
        if variant.in_flight == 10 {
            let all = orders.len() as f64 / (ours.elapsed + settled).as_secs_f64();
            let what = format!("{}, until all services have them", variant.name);
            report.add(absolute(stage, store, &what, all, UNIT))?;
        }
    }
    report.add(with_new_customers(stage, store).await?)
}

/// How long the bare writes take.
async fn peer(stage: &Stage, store: Store, orders: &Orders, commits: &[usize]) -> anyhow::Result<Duration> {
    match store {
        Store::Sqlite => {
            let file = stage.path("p1-peer.sqlite");
            let elapsed = peer_sqlite::write(&file, orders, commits).await?;
            std::fs::remove_file(&file)?;
            Ok(elapsed)
        }
        Store::Postgres => {
            stage.administer("CREATE DATABASE p1_peer".to_owned()).await?;
            let elapsed = peer_postgres::write(&stage.database_url("p1_peer")?, orders, commits).await?;
            stage.administer("DROP DATABASE p1_peer WITH (FORCE)".to_owned()).await?;
            Ok(elapsed)
        }
    }
}

/// The orders make the customers that they are of.
async fn with_new_customers(stage: &Stage, store: Store) -> anyhow::Result<Measurement> {
    let orders = stage.orders(Arrival::Random);
    let server = stage.empty_server(store, NAME).await?;
    let ours = ingest::send(&server, encode(&orders), 2).await?;
    check(&ours, &orders)?;
    stage.remove(store, NAME, server).await?;
    let what = "orders of new customers, 10k in a batch, random";
    Ok(absolute(stage, store, what, ours.rows_per_second(), UNIT))
}

/// Orders as batches of a stream.
pub fn encode(orders: &Orders) -> Batches {
    ingest::encode("orders", orders.len(), ROWS_PER_BATCH, |place| Row {
        fact: Some(row::Fact::Order(orders.at(place).1)),
    })
}

fn check(ours: &Ingested, orders: &Orders) -> anyhow::Result<()> {
    anyhow::ensure!(ours.applied == orders.len() as i64, "{} of {} orders", ours.applied, orders.len());
    Ok(())
}

fn absolute(stage: &Stage, store: Store, what: &str, ours: f64, unit: &'static str) -> Measurement {
    let id = if store == Store::Postgres { "P1" } else { "P1s" };
    Measurement { id, what: what.to_owned(), ours, theirs: None, unit, scale: stage.scale, target: None }
}
