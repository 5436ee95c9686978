//! P2, as far as ingestion goes: files to features, by the importer that sorts by customer, on PostgreSQL; then the feature builder alone,
//! which goes through everybody again. Beside them the most memory that the services, all in one process, have had.

use crate::generator::{Arrival, Orders};
use crate::ingest;
use crate::report::{Measurement, Report, Target};
use crate::server::{Server, authorised};
use crate::stage::{Stage, Store};
use crate::{p3, p4};
use anyhow::Context;
use quintile_proto::ingestion::trait_service_client::TraitServiceClient;
use quintile_proto::ingestion::{CreateTraitRequest, Row, Trait, TraitAggregate, TraitFact, row};
use quintile_proto::longrunning::operations_client::OperationsClient;
use quintile_proto::longrunning::{Operation, WaitOperationRequest};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;

const ID: &str = "P2";
const NAME: &str = "p2";

/// What the database does behind a rescoring and a start, such as vacuuming, is mostly over then.
const SETTLING: Duration = Duration::from_mins(2);

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let files = stage.path("p2-files");
    let (customers, orders) = (stage.scale.customers.to_string(), stage.scale.orders.to_string());
    let out = files.to_string_lossy().into_owned();
    run(stage, &["generate", "--customers", &customers, "--orders", &orders, "--order", "arrival", "--out", &out])
        .await?;
    let server = stage.empty_server(Store::Postgres, NAME).await?;
    let folder = server.folder().to_string_lossy().into_owned();
    let begun = Instant::now();
    run(stage, &["import", &out, "--mapping", "generated", "--data-dir", &folder]).await?;
    let taken_in = begun.elapsed();
    eprintln!("imported in {taken_in:.1?}");
    let last = ingest::encode("last", 1, 1, |_| Row {
        fact: Some(row::Fact::Order(Orders::new(1, 1, Arrival::Random).at(0).1)),
    });
    let position = ingest::send(&server, last, 1).await?.facts_position;
    server.settled(position, stage.scale.customers).await?;
    let what = "files to labels and segments, in the order of arrival";
    report.add(seconds(stage, what, begun.elapsed(), Some(15 * 60)))?;
    report.add(seconds(stage, "of that, until everything is acknowledged", taken_in, None))?;
    let peak = peak_mebibytes(server.id()?)?;
    report.add(memory(stage, "the most memory of all services together", peak, 8_192))?;
    p3::published(stage, &server, report).await?;
    p4::served(stage, &server, report, "right behind a rescoring").await?;
    let server = p4::restarted(stage, (Store::Postgres, NAME), server, report).await?;
    p4::served(stage, &server, report, "after a start").await?;
    tokio::time::sleep(SETTLING).await;
    p4::served(stage, &server, report, p4::SETTLED).await?;
    let server = stage.with_ingestion_alone(Store::Postgres, NAME, server).await?;
    report.add(seconds(
        stage,
        "features of everybody built anew, by ingestion alone",
        rebuilt(&server).await?,
        Some(120),
    ))?;
    let peak = peak_mebibytes(server.id()?)?;
    report.add(memory(stage, "the most memory of ingestion meanwhile", peak, 2_048))?;
    stage.remove(Store::Postgres, NAME, server).await?;
    Ok(std::fs::remove_dir_all(files)?)
}

fn plain(stage: &Stage, what: &str, ours: f64, unit: &'static str) -> Measurement {
    Measurement { id: ID, what: what.to_owned(), ours, theirs: None, unit, scale: stage.scale, target: None }
}

fn seconds(stage: &Stage, what: &str, took: Duration, most: Option<u32>) -> Measurement {
    let target = most.map(|most| Target::AtMost(f64::from(most)));
    Measurement { target, ..plain(stage, what, took.as_secs_f64(), "s") }
}

fn memory(stage: &Stage, what: &str, mebibytes: f64, most: u32) -> Measurement {
    Measurement { target: Some(Target::AtMost(f64::from(most))), ..plain(stage, what, mebibytes, "MiB") }
}

async fn run(stage: &Stage, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(stage.quintile()).args(arguments).output().await?;
    anyhow::ensure!(output.status.success(), "{}: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// How long the feature builder takes for everybody: a new trait has it do so.
async fn rebuilt(server: &Server) -> anyhow::Result<Duration> {
    let channel = server.connect("ingestion").await?;
    let definition = Trait {
        fact: TraitFact::Order.into(),
        aggregate: TraitAggregate::Count.into(),
        window_days: 365,
        ..Trait::default()
    };
    let request = CreateTraitRequest {
        trait_id: "recent-orders".to_owned(),
        r#trait: Some(definition),
        request_id: String::new(),
    };
    let begun = Instant::now();
    let mut traits = TraitServiceClient::new(channel.clone());
    let Operation { name, .. } = traits.create_trait(authorised(request, Some(&server.service))).await?.into_inner();
    let mut operations = OperationsClient::new(channel);
    loop {
        let request = WaitOperationRequest { name: name.clone(), timeout: None };
        let operation = operations.wait_operation(authorised(request, Some(&server.service))).await?.into_inner();
        if operation.done {
            return Ok(begun.elapsed());
        }
    }
}

/// The most memory that a process has had, as the kernel has counted it.
fn peak_mebibytes(process: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel counts no peak")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1_024.0)
}
