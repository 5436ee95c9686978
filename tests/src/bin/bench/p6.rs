//! P6: point reads, authorised and masked, against a bare echo of the same size; the profile against an echo with the same fan-out.
//!
//! Reads that show something sensitive are audited too: behind the profile, ingestion answers for the customer and for the features when
//! the audit log has the event on disk. The echoes write nothing.

use crate::echo::{self, EchoRequest, EchoServer};
use crate::generator::Arrival;
use crate::ingest;
use crate::load::{Call, Calls};
use crate::report::{Measurement, Report, Target};
use crate::server::Server;
use crate::stage::{Stage, Store};
use bytes::Bytes;
use prost::Message;
use quintile_proto::ingestion::{Row, row};
use std::time::Duration;

const ID: &str = "P6";
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the two sides take turns: a disturbance then hits both.
const ROUNDS: u32 = 3;
/// How long an explanation may take, and a profile, in milliseconds.
const LONGEST_EXPLANATION_MS: f64 = 1.0;
const LONGEST_PROFILE_MS: f64 = 10.0;
const ROWS_PER_BATCH: usize = 10_000;

/// A point read. All of them ask by a resource name in field 1.
struct Read {
    name: &'static str,
    /// What is done with it besides reading.
    passes: &'static str,
    service: &'static str,
    path: &'static str,
    /// What the resource name ends with.
    part: &'static str,
}

/// What shows nothing sensitive leaves nothing in the audit log.
const UNAUDITED: &str = "authorised, masked";
const AUDITED: &str = "authorised, masked, audited";

const SCORE: Read = Read {
    name: "GetScore",
    passes: UNAUDITED,
    service: "scoring",
    path: "/quintile.scoring.v1.ScoreService/GetScore",
    part: "/score",
};
const EXPLANATION: Read = Read {
    name: "ExplainScore",
    passes: AUDITED,
    service: "scoring",
    path: "/quintile.scoring.v1.ScoreService/ExplainScore",
    part: "/score",
};
const STAGE: Read = Read {
    name: "GetStage",
    passes: UNAUDITED,
    service: "lifecycle",
    path: "/quintile.lifecycle.v1.StageService/GetStage",
    part: "/stage",
};
const CUSTOMER: Read = Read {
    name: "GetCustomer",
    passes: AUDITED,
    service: "ingestion",
    path: "/quintile.ingestion.v1.CustomerService/GetCustomer",
    part: "",
};
const FEATURES: Read = Read {
    name: "GetFeatures",
    passes: AUDITED,
    service: "ingestion",
    path: "/quintile.ingestion.v1.FeatureService/GetFeatures",
    part: "/features",
};
const TIER: Read = Read {
    name: "GetCustomerTier",
    passes: UNAUDITED,
    service: "lifecycle",
    path: "/quintile.lifecycle.v1.LoyaltyService/GetCustomerTier",
    part: "/loyaltyTier",
};
const GRANTS: Read = Read {
    name: "ListGrants",
    passes: UNAUDITED,
    service: "lifecycle",
    path: "/quintile.lifecycle.v1.OfferService/ListGrants",
    part: "",
};
const PROFILE: Read = Read {
    name: "GetProfile",
    passes: AUDITED,
    service: "segmentation",
    path: "/quintile.segmentation.v1.ProfileService/GetProfile",
    part: "/profile",
};

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let server = with_orders(stage).await?;
    for read in [&SCORE, &STAGE, &EXPLANATION] {
        compare(stage, &server, read, &[], report).await?;
    }
    compare(stage, &server, &PROFILE, &[&CUSTOMER, &FEATURES, &SCORE, &STAGE, &TIER, &GRANTS], report).await?;
    for (read, longest_ms) in [(&EXPLANATION, LONGEST_EXPLANATION_MS), (&PROFILE, LONGEST_PROFILE_MS)] {
        one_after_the_other(stage, &server, read, longest_ms, report).await?;
    }
    stage.remove(Store::Sqlite, "p6", server).await
}

/// A server with customers and orders that is through with all of them.
async fn with_orders(stage: &Stage) -> anyhow::Result<Server> {
    let orders = stage.orders(Arrival::SortedByCustomer);
    let server = stage.server_with_customers(Store::Sqlite, "p6").await?;
    let batches = ingest::encode("orders", orders.len(), ROWS_PER_BATCH, |place| Row {
        fact: Some(row::Fact::Order(orders.at(place).1)),
    });
    let ingested = ingest::send(&server, batches, 10).await?;
    server.settled(ingested.facts_position, stage.scale.customers).await?;
    Ok(server)
}

async fn compare(
    stage: &Stage,
    server: &Server,
    read: &Read,
    parts: &[&Read],
    report: &mut Report,
) -> anyhow::Result<()> {
    let ours = call(stage, server, read).await?;
    let bytes = ours.repeat(WARM_UP, 0).await?.answer_bytes_on_average();
    let mut part_bytes = Vec::with_capacity(parts.len());
    for part in parts {
        let call = call(stage, server, part).await?;
        part_bytes.push(body_bytes(call.repeat(WARM_UP, 0).await?.answer_bytes_on_average()));
    }
    let echo = EchoServer::start(body_bytes(bytes), &part_bytes).await?;
    let end = read.part;
    let request = move |customer| name_request(customer, end);
    let theirs = Call::new(&echo.url, echo::PATH, None, stage.scale.customers, request).await?;
    theirs.repeat(WARM_UP, 0).await?;
    let (mut our_calls, mut their_calls) = (Calls::new()?, Calls::new()?);
    for round in 1..=ROUNDS {
        let time = stage.call_time / ROUNDS;
        our_calls.add(&ours.repeat(time, u64::from(round)).await?)?;
        their_calls.add(&theirs.repeat(time, u64::from(round)).await?)?;
    }
    eprintln!("{}: {bytes} bytes in an answer, behind it {part_bytes:?}", read.name);
    measurements(stage, read, &our_calls, &their_calls).into_iter().try_for_each(|measured| report.add(measured))
}

/// How long a read takes where nothing else goes on.
async fn one_after_the_other(
    stage: &Stage,
    server: &Server,
    read: &Read,
    longest_ms: f64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let call = call(stage, server, read).await?.by_one();
    call.repeat(WARM_UP, 0).await?;
    let calls = call.repeat(stage.call_time, 1).await?;
    for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
        report.add(Measurement {
            id: ID,
            what: format!("{} ({}), one caller, {name}", read.name, read.passes),
            ours: calls.milliseconds(quantile),
            theirs: None,
            unit: "ms",
            scale: stage.scale,
            target: Some(Target::AtMost(longest_ms)),
        })?;
    }
    Ok(())
}

async fn call(stage: &Stage, server: &Server, read: &Read) -> anyhow::Result<Call> {
    let end = read.part;
    let request = move |customer| name_request(customer, end);
    Call::new(server.url(read.service)?, read.path, Some(&server.analyst), stage.scale.customers, request).await
}

/// The message with a name in field 1, which the requests of all point reads and of the echo are.
fn name_request(customer: u64, part: &str) -> Bytes {
    EchoRequest { name: format!("customers/{customer}{part}") }.encode_to_vec().into()
}

/// The bytes of the one field of an echo's answer that has so many bytes in all.
fn body_bytes(message_bytes: usize) -> usize {
    let header = if message_bytes > 129 { 3 } else { 2 };
    message_bytes.saturating_sub(header)
}

fn measurements(stage: &Stage, read: &Read, ours: &Calls, theirs: &Calls) -> [Measurement; 3] {
    let measurement = |what: &str, of: &dyn Fn(&Calls) -> f64, unit, target| Measurement {
        id: ID,
        what: format!("{} ({}){what}", read.name, read.passes),
        ours: of(ours),
        theirs: Some(of(theirs)),
        unit,
        scale: stage.scale,
        target,
    };
    [
        measurement("", &Calls::per_second, "calls/s", Some(Target::RatioAtLeast(0.5))),
        measurement(", p50", &|calls| calls.milliseconds(0.5), "ms", None),
        measurement(", p99", &|calls| calls.milliseconds(0.99), "ms", None),
    ]
}
