//! P5: how long after its acknowledgement an order has moved its customer into a segment, as a watcher hears of it, on PostgreSQL. In between are
//! the commits of features, scores, stages and memberships, each by another service. P5s is the same as far as stages: how long until a watcher has
//! the stage of which the order was a part.
//!
//! Orders come at a rate that waits for no answer. Some of them are probes: each is of another customer, of whom no other order comes, and is
//! later than all orders but probes, so that the customer enters a segment of late buyers by it and by nothing else. The other orders are of
//! other customers, of the frequent ones more.

use crate::generator::{self, AS_OF_SECONDS, Arrival, CHANNELS, Orders, REGIONS, Random};
use crate::ingest::{self, Paced};
use crate::p1;
use crate::report::{Measurement, Report, Target};
use crate::server::{Server, authorised};
use crate::stage::{Stage, Store};
use anyhow::Context;
use futures::future::try_join_all;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use prost_types::Timestamp;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant as BusinessTime;
use quintile_proto::ingestion::{Order, Row, row};
use quintile_proto::lifecycle::WatchStagesRequest;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_proto::segmentation::{CreateSegmentRequest, Segment, WatchMembershipsRequest, WatchMembershipsResponse};
use quintile_proto::types::{CustomerRecord, WatchRecordsResponse};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::Channel;

const NAME: &str = "p5";
const ORDERS_PER_SECOND: usize = 2_000;
const BATCHES_PER_SECOND: usize = 100;
const ROWS_PER_BATCH: usize = ORDERS_PER_SECOND / BATCHES_PER_SECOND;
const BATCH_EVERY: Duration = Duration::from_millis(1_000 / BATCHES_PER_SECOND as u64);
/// Orders that come before anything is measured.
const WARM_UP: usize = 3 * ORDERS_PER_SECOND;
/// Orders that come while it is measured.
const MEASURED: usize = 30 * ORDERS_PER_SECOND;
/// One of so many orders is a probe, where there are customers enough.
const PROBE_EVERY: usize = 4;
const SEED: u64 = 5;
/// How long no event may come before those that are missing are given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// The segment that probes enter.
const PROBED: &str = "late-buyers";
/// When in the last second before the business time probes are bought. All other orders are at its beginning, or earlier.
const PROBE_NANOS: i32 = 500_000_000;
/// Kinds of rules of the other segments.
const KINDS: usize = 10;
const STAGES: [&str; 8] = ["lead", "new", "active", "loyal", "at_risk", "dormant", "churned", "reactivated"];
const LABELS: [&str; 4] = ["champions", "loyal", "about-to-sleep", "lost"];

/// What is waited for, how many segments are live, and what is aimed at then.
pub struct Variant {
    id: &'static str,
    watched: Watched,
    segments: usize,
    /// The most milliseconds, of the median and of the 99th percentile.
    most: [Option<f64>; 2],
}

/// As many segments as a company has.
pub const FEW: Variant =
    Variant { id: "P5", watched: Watched::Memberships, segments: 200, most: [Some(100.0), Some(400.0)] };
/// As many segments as a tenant may have.
pub const MANY: Variant = Variant { id: "P5m", watched: Watched::Memberships, segments: 10_000, most: [None, None] };
/// Stages, with as many segments as a company has.
pub const STAGED: Variant = Variant { id: "P5s", watched: Watched::Stages, segments: 200, most: [None, Some(300.0)] };

/// What a watcher hears of.
#[derive(Clone, Copy)]
enum Watched {
    /// That customers have entered the probed segment.
    Memberships,
    /// The stages of customers.
    Stages,
}

impl Watched {
    fn event(self) -> &'static str {
        match self {
            Self::Memberships => "membership event",
            Self::Stages => "stage",
        }
    }
}

/// Measures the row of a variant.
pub async fn measure(stage: &Stage, report: &mut Report, variant: &Variant) -> anyhow::Result<()> {
    let orders = stage.orders(Arrival::SortedByCustomer);
    let server = with_orders(stage, &orders).await?;
    define(&server, variant.segments).await?;
    let probes = Probes::new(stage.scale.customers);
    let batches = ingest::encode("live", WARM_UP + MEASURED, ROWS_PER_BATCH, |place| probes.row(place, &orders));
    let watch = watch(&server, variant.watched).await?;
    let listening = tokio::spawn(listen(watch, probes.by_name()));
    let paced = ingest::pace(&server, batches, BATCH_EVERY).await?;
    let events = listening.await??;
    stage.remove(Store::Postgres, NAME, server).await?;
    let measurements = measurements(stage, variant, &probes, &paced, &events)?;
    measurements.into_iter().try_for_each(|measured| report.add(measured))
}

/// A server with customers and orders that is through with all of them.
async fn with_orders(stage: &Stage, orders: &Orders) -> anyhow::Result<Server> {
    let server = stage.server_with_customers(Store::Postgres, NAME).await?;
    let ingested = ingest::send(&server, p1::encode(orders), 10).await?;
    server.settled(ingested.facts_position, stage.scale.customers).await?;
    Ok(server)
}

/// Makes so many segments live.
async fn define(server: &Server, segments: usize) -> anyhow::Result<()> {
    let client = SegmentServiceClient::new(server.connect("segmentation").await?);
    let begun = Instant::now();
    let late = BusinessTime::from_micros((AS_OF_SECONDS - 1) * 1_000_000 + i64::from(PROBE_NANOS / 1_000));
    create(&client, server, PROBED.to_owned(), format!("last_order_at >= timestamp(\"{late}\")")).await?;
    let others: Vec<usize> = (0..segments - 1).collect();
    // A round at once: rules refer to segments of earlier rounds alone.
    for round in others.chunks(KINDS) {
        try_join_all(round.iter().map(|number| create(&client, server, segment_id(*number), rule(*number)))).await?;
    }
    eprintln!("{segments} segments made in {:.1?}", begun.elapsed());
    Ok(())
}

async fn create(
    client: &SegmentServiceClient<Channel>,
    server: &Server,
    segment_id: String,
    expression: String,
) -> anyhow::Result<()> {
    let segment = Some(Segment { expression, ..Segment::default() });
    let request = CreateSegmentRequest { segment_id, segment, ..CreateSegmentRequest::default() };
    client.clone().create_segment(authorised(request, Some(&server.service))).await?;
    Ok(())
}

fn segment_id(number: usize) -> String {
    format!("segment-{number}")
}

/// The rule of a segment. Of most kinds a customer is in one segment or two, so that an order moves it into and out of a few, however many
/// there are.
fn rule(number: usize) -> String {
    let step = number / KINDS;
    let range = |field: &str, width: usize, nth: usize| {
        format!("{field} >= {} && {field} < {}", width * nth, width * (nth + 1))
    };
    match number % KINDS {
        0 => format!("orders == {}", step + 1),
        1 => format!(
            "rfm.r == {} && rfm.m == {} && channel == {:?} && orders_365 == {}",
            step % 5 + 1,
            step / 5 % 5 + 1,
            CHANNELS[step / 25 % CHANNELS.len()],
            step / 100
        ),
        2 => {
            format!("{} && region == {:?}", range("revenue", 250, step / REGIONS.len()), REGIONS[step % REGIONS.len()])
        }
        3 => format!("stage == {:?} && orders_90 == {}", STAGES[step % STAGES.len()], step / STAGES.len()),
        4 => range("days_since(last_order_at)", 7, step),
        5 => range("average_order_value", 25, step),
        6 => format!("owner == \"colleague-{step}\" && language == \"en\""),
        7 => {
            format!("label == {:?} && {}", LABELS[step % LABELS.len()], range("revenue_365", 100, step / LABELS.len()))
        }
        8 => format!("top_category == \"music\" && purchase_days >= {}", 5 * (step + 1)),
        _ => {
            let referred = step.checked_sub(1).map_or(PROBED.to_owned(), |earlier| segment_id(earlier * KINDS + 1));
            format!("segment(\"{referred}\") && interactions == 0")
        }
    }
}

/// The probes: whose they are, and where among the orders.
struct Probes {
    /// By probe the index of its customer; an even one.
    customers: Vec<u32>,
    every: usize,
}

impl Probes {
    /// Probes of some of so many customers, whoever they are.
    fn new(customers: u32) -> Self {
        let mut random = Random::new(SEED);
        let mut even: Vec<u32> = (0..customers).step_by(2).collect();
        let count = even.len().min(MEASURED / PROBE_EVERY);
        for place in 0..count {
            let other = place + random.below((even.len() - place) as u64) as usize;
            even.swap(place, other);
        }
        even.truncate(count);
        Self { every: MEASURED / count, customers: even }
    }

    /// The probes by the names of their customers, who are numbered as they came.
    fn by_name(&self) -> HashMap<String, usize> {
        let name = |index: &u32| CustomerId(index + 1).to_string();
        self.customers.iter().map(name).zip(0..).collect()
    }

    /// The place of a probe among all orders.
    fn place(&self, probe: usize) -> usize {
        WARM_UP + probe * self.every
    }

    /// The order at a place.
    fn row(&self, place: usize, orders: &Orders) -> Row {
        let measured = place.checked_sub(WARM_UP).filter(|measured| measured % self.every == 0);
        let probe = measured.and_then(|measured| self.customers.get(measured / self.every));
        let (customer, nanos) = probe.map_or_else(
            || {
                let any = Random::new(place as u64).below(orders.len() as u64) as usize;
                (orders.at(any).0 | 1, 0)
            },
            |customer| (*customer, PROBE_NANOS),
        );
        let order = Order {
            event_id: format!("live-{place:09}"),
            order_time: Some(Timestamp { seconds: AS_OF_SECONDS - 1, nanos }),
            ..generator::order(customer, place as u32)
        };
        Row { fact: Some(row::Fact::Order(order)) }
    }
}

/// The names of customers whose probes a watcher hears of, as it hears of them.
type Heard = BoxStream<'static, Result<Vec<String>, Status>>;

/// A watch from now on.
async fn watch(server: &Server, watched: Watched) -> anyhow::Result<Heard> {
    match watched {
        Watched::Memberships => entered(server).await,
        Watched::Stages => staged(server).await,
    }
}

/// Who enters the probed segment.
async fn entered(server: &Server) -> anyhow::Result<Heard> {
    let mut segments = SegmentServiceClient::new(server.connect("segmentation").await?);
    let request = WatchMembershipsRequest { parents: vec![format!("segments/{PROBED}")], cursor: String::new() };
    let watch = segments.watch_memberships(authorised(request, Some(&server.service))).await?.into_inner();
    let names = |response: WatchMembershipsResponse| response.changes.into_iter().map(|change| change.customer);
    Ok(watch.map_ok(move |response| names(response).collect()).boxed())
}

/// Whose stage is one that the probe is a part of, once everybody's stage from before is known.
async fn staged(server: &Server) -> anyhow::Result<Heard> {
    let mut stages = StageServiceClient::new(server.connect("lifecycle").await?);
    let request = authorised(WatchStagesRequest::default(), Some(&server.service));
    let mut watch = stages.watch_stages(request).await?.into_inner();
    while watch.message().await?.context("the watch ended")?.watermark.is_none() {}
    let probed = Some(Timestamp { seconds: AS_OF_SECONDS - 1, nanos: PROBE_NANOS });
    let is_probed = move |record: &CustomerRecord| {
        record.stage.is_some() && record.features.as_ref().is_some_and(|features| features.last_order_time == probed)
    };
    let name = |record: CustomerRecord| format!("customers/{}", record.customer_id);
    let names = move |response: WatchRecordsResponse| response.records.into_iter().filter(is_probed).map(name);
    Ok(watch.map_ok(move |response| names(response).collect()).boxed())
}

/// When the events came.
struct Events {
    /// By probe. `None`: it did not come.
    came: Vec<Option<Instant>>,
    /// Until when they were waited for.
    ended: Instant,
}

/// Takes note of the events until all have come, or none has for long.
async fn listen(mut heard: Heard, mut probes: HashMap<String, usize>) -> anyhow::Result<Events> {
    let (mut came, mut last) = (vec![None; probes.len()], Instant::now());
    while !probes.is_empty() {
        let Ok(names) = tokio::time::timeout_at((last + PATIENCE).into(), heard.try_next()).await else { break };
        let names = names?.context("the watch ended")?;
        let now = Instant::now();
        for probe in names.iter().filter_map(|name| probes.remove(name)) {
            came[probe] = Some(now);
            last = now;
        }
    }
    Ok(Events { came, ended: Instant::now() })
}

fn measurements(
    stage: &Stage,
    variant: &Variant,
    probes: &Probes,
    paced: &Paced,
    events: &Events,
) -> anyhow::Result<Vec<Measurement>> {
    let mut taken = Histogram::<u64>::new(3)?;
    for (probe, came) in events.came.iter().enumerate() {
        let acknowledged = paced.acknowledged[probes.place(probe) / ROWS_PER_BATCH];
        // One that did not come took as long as it was waited for, at least. One that was faster than its acknowledgement took no time.
        let took = came.unwrap_or(events.ended).saturating_duration_since(acknowledged);
        taken.record(u64::try_from(took.as_micros())?)?;
    }
    let missing = events.came.iter().filter(|came| came.is_none()).count();
    let first = WARM_UP / ROWS_PER_BATCH;
    let last = paced.acknowledged.last().context("nothing was acknowledged")?;
    let rate = MEASURED as f64 / last.saturating_duration_since(paced.sent[first]).as_secs_f64();
    let mut acknowledging = Histogram::<u64>::new(3)?;
    for (sent, acknowledged) in paced.sent.iter().zip(&paced.acknowledged).skip(first) {
        acknowledging.record(u64::try_from(acknowledged.saturating_duration_since(*sent).as_micros())?)?;
    }
    let milliseconds = |micros: u64| micros as f64 / 1e3;
    let quantile = |of: &Histogram<u64>, quantile| milliseconds(of.value_at_quantile(quantile));
    eprintln!(
        "{} probes; a batch was acknowledged in {:.1} ms (p50), {:.1} ms (p99)",
        probes.customers.len(),
        quantile(&acknowledging, 0.5),
        quantile(&acknowledging, 0.99)
    );
    let measurement = |what: &str, ours, unit, most: Option<f64>| Measurement {
        id: variant.id,
        what: format!("{what}, {} live segments, {ORDERS_PER_SECOND} orders/s", variant.segments),
        ours,
        theirs: None,
        unit,
        scale: stage.scale,
        target: most.map(Target::AtMost),
    };
    let ([p50, p99], event) = (variant.most, variant.watched.event());
    let came = |which: &str| format!("acknowledged order to {event}, {which}");
    Ok(vec![
        measurement(&came("p50"), quantile(&taken, 0.5), "ms", p50),
        measurement(&came("p99"), quantile(&taken, 0.99), "ms", p99),
        measurement(&came("longest"), milliseconds(taken.max()), "ms", None),
        measurement(&format!("{event}s that did not come"), missing as f64, "events", Some(0.0)),
        measurement("orders that were acknowledged in a second", rate, "orders/s", None),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_expr::Rule;
    use quintile_segmentation::fields;
    use std::collections::HashSet;

    #[test]
    fn every_segment_has_a_rule_of_its_own() {
        let schema = fields::schema(2).unwrap();
        let mut known = HashSet::new();
        for number in 0..MANY.segments - 1 {
            let rule = rule(number);
            Rule::parse(&rule, &schema).unwrap();
            assert!(known.insert(rule), "{number}");
        }
    }

    #[test]
    fn a_customer_with_a_probe_has_no_other_order() {
        for customers in [1, 600, 60_000] {
            let orders = Orders::new(customers, 10 * customers, Arrival::SortedByCustomer);
            let probes = Probes::new(customers);
            let mut of_customers: HashMap<String, Vec<usize>> = HashMap::new();
            for place in 0..WARM_UP + MEASURED {
                let Some(row::Fact::Order(order)) = probes.row(place, &orders).fact else { unreachable!() };
                let id = order.customer.unwrap().id.unwrap();
                of_customers.entry(id).or_default().push(place);
            }
            for (probe, customer) in probes.customers.iter().enumerate() {
                assert_eq!(of_customers[&format!("customer-{customer:08}")], [probes.place(probe)]);
            }
        }
    }
}
