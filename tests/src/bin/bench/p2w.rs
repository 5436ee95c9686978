//! P2w: how late scores are because somebody buys who has bought a hundred thousand times, on PostgreSQL.

use crate::generator::{Arrival, Orders};
use crate::ingest;
use crate::report::{Measurement, Report};
use crate::server::{Server, authorised};
use crate::stage::{Stage, Store};
use anyhow::Context;
use prost_types::Timestamp;
use quintile_proto::ingestion::{Order, Row, row};
use quintile_proto::scoring::WatchScoresRequest;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::types::WatchRecordsResponse;
use std::time::Instant;
use tonic::Streaming;

const NAME: &str = "p2w";
/// The orders of the one customer.
const LARGE: usize = 100_000;
const ROWS_PER_BATCH: usize = 10_000;
/// Orders whose way is timed.
const TIMED: usize = 50;
const LARGE_ID: &str = "large";
const OTHER_ID: &str = "other";
/// Customers are numbered as they come.
const OTHER: i64 = 2;

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let server = stage.empty_server(Store::Postgres, NAME).await?;
    let history = ingest::encode("history", LARGE + 1, ROWS_PER_BATCH, |number| {
        bought(if number < LARGE { LARGE_ID } else { OTHER_ID }, number)
    });
    let position = ingest::send(&server, history, 2).await?.facts_position;
    server.settled(position, 2).await?;
    let mut watch = Watch::begin(&server).await?;
    let alone = median(&server, &mut watch, &[OTHER_ID]).await?;
    let beside = median(&server, &mut watch, &[LARGE_ID, OTHER_ID]).await?;
    stage.remove(Store::Postgres, NAME, server).await?;
    report.add(Measurement {
        id: "P2w",
        what: "an order to its score, while a customer of 100,000 orders buys; beside: while nobody does".to_owned(),
        ours: beside,
        theirs: Some(alone),
        unit: "ms",
        scale: stage.scale,
        target: None,
    })
}

/// An order of a customer, ten minutes before the one with the number before it.
fn bought(customer: &str, number: usize) -> Row {
    let mut order: Order = Orders::new(1, 1, Arrival::Random).at(0).1;
    if let Some(identity) = &mut order.customer {
        identity.id = Some(customer.to_owned());
    }
    order.event_id = format!("{customer}-{number}");
    let seconds = order.order_time.map_or(0, |time| time.seconds) - 600 * (number % LARGE) as i64;
    order.order_time = Some(Timestamp { seconds, nanos: 0 });
    Row { fact: Some(row::Fact::Order(order)) }
}

/// A watch of scores.
struct Watch {
    responses: Streaming<WatchRecordsResponse>,
    /// The orders of the other customer.
    orders: i64,
}

impl Watch {
    async fn begin(server: &Server) -> anyhow::Result<Self> {
        let mut scores = ScoreServiceClient::new(server.connect("scoring").await?);
        let request = authorised(WatchScoresRequest::default(), Some(&server.service));
        Ok(Self { responses: scores.watch_scores(request).await?.into_inner(), orders: 1 })
    }

    /// Waits for the score that the other customer has with one order more.
    async fn one_more(&mut self) -> anyhow::Result<()> {
        self.orders += 1;
        loop {
            let response = self.responses.message().await?.context("the watch ended")?;
            let features = response.records.iter().filter(|record| record.customer_id == OTHER);
            if features.filter_map(|record| record.features.as_ref()).any(|features| features.orders == self.orders) {
                return Ok(());
            }
        }
    }
}

/// The median of the milliseconds from sending an order of each of these customers until the score of the other one includes its own.
async fn median(server: &Server, watch: &mut Watch, customers: &[&str]) -> anyhow::Result<f64> {
    let mut taken = Vec::with_capacity(TIMED);
    for timed in 0..TIMED {
        let stream = format!("{} {timed}", customers.join(" "));
        let orders = ingest::encode(&stream, customers.len(), ROWS_PER_BATCH, |place| {
            bought(customers[place], LARGE * (1 + customers.len()) + timed)
        });
        let begun = Instant::now();
        ingest::send(server, orders, 1).await?;
        watch.one_more().await?;
        taken.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    taken.sort_unstable_by(f64::total_cmp);
    Ok(taken[TIMED / 2])
}
