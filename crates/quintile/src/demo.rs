//! `quintile demo`: the main job from end to end, through the public RPCs.

use crate::commands::start_logging;
use crate::config::{Config, ConfigFlags, Role};
use crate::fictitious;
use crate::import::{self, Sending, Sent};
use crate::output::{money, table, thousands};
use crate::profile;
use crate::remote::{Identity, Session, connect};
use crate::suite::Suite;
use anyhow::{Context, bail};
use quintile_import::{Batch, Place, ROWS_PER_BATCH};
use quintile_proto::ingestion::{Row, row};
use quintile_proto::lifecycle::GetFunnelRequest;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::segmentation::label_service_client::LabelServiceClient;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_proto::segmentation::{
    GetLabelDistributionRequest, LabelDistribution, PreviewSegmentRequest, SegmentPreview,
};
use quintile_proto::types::Watermark;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Stopwatch};

/// The instant that the demonstration stands at: the day after the log ends.
const AS_OF: &str = "1998-07-01T00:00:00Z";
/// The label set that is shown.
const LABEL_SET: &str = "labelSets/rfm-11";
/// The segment that is counted.
const EXPRESSION: &str = "rfm.r >= 4 && rfm.f >= 3 && net_revenue >= 200";
/// The stream that carries it, into an empty store.
const STREAM_ID: &str = "demo";
/// How long to wait for the chain of services to catch up.
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The CDNOW purchase log
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Runs the demonstration; its data stays, for `quintile serve`.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let mut config = Config::load(&args.config)?;
    let fresh = !config.data_dir.join("ingestion.sqlite").exists();
    anyhow::ensure!(fresh, "{} holds data already: choose another --data-dir", config.data_dir.display());
    anyhow::ensure!(
        config.database_url.is_none(),
        "the demonstration keeps its data in --data-dir: unset database_url"
    );
    config.as_of = Some(AS_OF.to_owned());
    config.set_port_base(0)?;
    "warn".clone_into(&mut config.log.filter);
    start_logging(&config)?;
    let batches = batches(&args.file)?;
    say!("Starting ingestion, scoring, lifecycle, segmentation and access-control in {}.", config.data_dir.display());
    let suite = Suite::start(&config, &Role::ALL).await?;
    let shown = show(&config, batches).await;
    suite.stop().await?;
    shown?;
    print_next_steps(&config);
    Ok(())
}

async fn show(config: &Config, batches: Vec<Batch>) -> anyhow::Result<()> {
    let service = Session::begin(config, &Identity::of_role("service")).await?;
    let sending = Sending {
        stream_id: STREAM_ID,
        total: batches.last().map_or(0, |batch| batch.done),
        batches: batches.into_iter().map(Ok),
        strict: false,
        refused: &mut |_| Ok(()),
        show: &|place| format!("line {}", place.line),
    };
    let (imported, _) = import::send(config, &service, sending).await?;
    print_import(&imported);
    let analyst = Session::begin(config, &Identity::of_role("analyst")).await?;
    let waited = Stopwatch::now();
    let labels = wait_for(config, &analyst, imported.facts_position).await?;
    say!("Scored, staged and labelled {:.1} s after the last acknowledgement.\n", waited.elapsed().as_secs_f64());
    print_labels(&labels);
    print_funnel(config, &analyst).await?;
    let support = Session::begin(config, &Identity::of_role("support")).await?;
    print_profiles(config, &support, &analyst).await?;
    let mut client = SegmentServiceClient::new(connect(config, Role::Segmentation)?);
    let request = PreviewSegmentRequest { expression: EXPRESSION.to_owned(), ..PreviewSegmentRequest::default() };
    let preview = client.preview_segment(analyst.request(request)).await?.into_inner();
    say!("{EXPRESSION}\n  {}\n", preview_line(&preview));
    Ok(())
}

/// The purchases of the log in batches, each customer's behind a customer who is made up, and in one batch.
fn batches(file: &Path) -> anyhow::Result<Vec<Batch>> {
    let (mut batches, mut batch, mut last_customer) = (Vec::new(), Batch::default(), None);
    for row in import::cdnow(file)?.rows {
        let (place, Ok(row)) = row? else { bail!("{} is not the CDNOW purchase log", file.display()) };
        let customer = match &row.fact {
            Some(row::Fact::Order(order)) => order.customer.as_ref().and_then(|customer| customer.id.clone()),
            _ => None,
        };
        if let (Some(id), true) = (&customer, customer != last_customer) {
            if batch.rows.len() >= ROWS_PER_BATCH {
                let next = Batch { offset: batch.offset + 1, done: batch.done, ..Batch::default() };
                batches.push(std::mem::replace(&mut batch, next));
            }
            let customer = fictitious::customer("cdnow", id);
            add(&mut batch, place, Row { fact: Some(row::Fact::Customer(customer)) });
        }
        last_customer = customer;
        add(&mut batch, place, row);
    }
    batches.push(batch);
    Ok(batches)
}

fn add(batch: &mut Batch, place: Place, row: Row) {
    batch.rows.push(row);
    batch.places.push(place);
    batch.done += 1;
}

fn print_import(imported: &Sent) {
    say!(
        "Took in {} rows (customers and purchases) in {:.1} s: {} rows/s, every one on disk before it was acknowledged; {} rejected.",
        thousands(imported.rows),
        imported.elapsed.as_secs_f64(),
        thousands(imported.rows_per_second()),
        imported.rejected
    );
}

/// Waits until the labels cover the facts up to a position and the demonstration's instant.
async fn wait_for(config: &Config, session: &Session, facts_position: i64) -> anyhow::Result<LabelDistribution> {
    let mut client = LabelServiceClient::new(connect(config, Role::Segmentation)?);
    let reached = |watermark: Option<&Watermark>| {
        watermark.is_some_and(|watermark| watermark.facts_position >= facts_position && watermark.time.is_some())
    };
    let waiting = async {
        loop {
            let request = session.request(GetLabelDistributionRequest { name: LABEL_SET.to_owned() });
            let distribution = client.get_label_distribution(request).await?.into_inner();
            if reached(distribution.watermark.as_ref()) {
                return anyhow::Ok(distribution);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.context("the services did not catch up")?
}

fn print_labels(distribution: &LabelDistribution) {
    let population = distribution.population.max(1) as f64;
    let rows = distribution.labels.iter().map(|label| {
        vec![
            label.title.clone(),
            thousands(label.customers.unsigned_abs()),
            format!("{:.1} %", label.customers as f64 * 100.0 / population),
            money(label.net_revenue.as_ref()),
        ]
    });
    say!("{}\n", table(&["label", "customers", "share", "revenue"], true, rows.collect()));
}

async fn print_funnel(config: &Config, session: &Session) -> anyhow::Result<()> {
    let mut client = StageServiceClient::new(connect(config, Role::Lifecycle)?);
    let funnel = client.get_funnel(session.request(GetFunnelRequest {})).await?.into_inner();
    let rows = funnel.stages.iter().map(|count| {
        let name = count.stage().as_str_name().trim_start_matches("STAGE_").to_lowercase().replace('_', " ");
        vec![name, thousands(count.customers.unsigned_abs())]
    });
    say!("{}\n", table(&["stage", "customers"], true, rows.collect()));
    Ok(())
}

async fn print_profiles(config: &Config, support: &Session, analyst: &Session) -> anyhow::Result<()> {
    let seen_by_support = profile::lines(&profile::get(config, support, "1").await?);
    let seen_by_analyst = profile::lines(&profile::get(config, analyst, "1").await?);
    let rows = seen_by_support
        .into_iter()
        .zip(seen_by_analyst)
        .map(|((field, support), (_, analyst))| vec![field.to_owned(), support, analyst]);
    say!("{}\n", table(&["one customer", "as support sees it", "as an analyst sees it"], false, rows.collect()));
    Ok(())
}

/// What a preview says, on one line.
pub fn preview_line(preview: &SegmentPreview) -> String {
    let time = preview.evaluation_time.as_ref();
    let micros = time.map_or(0.0, |time| time.seconds as f64 * 1e6 + f64::from(time.nanos) / 1e3);
    format!(
        "{} of {} customers, {}; counted exactly in {:.2} ms",
        thousands(preview.customers.unsigned_abs()),
        thousands(preview.population.unsigned_abs()),
        money(preview.net_revenue.as_ref()),
        micros / 1e3
    )
}

fn print_next_steps(config: &Config) {
    let data_dir = config.data_dir.display();
    let program = std::env::args().next().unwrap_or_else(|| "quintile".to_owned());
    let defaults = Config::default().listen;
    say!(
        "The data stays in {data_dir}. To go on, in one terminal:\n\n  \
         make run                      # or: {program} serve --data-dir {data_dir} --as-of {AS_OF}\n\n\
         and in another:\n\n  \
         {program} customer show 1 --as support --data-dir {data_dir}\n  \
         {program} segments preview '{EXPRESSION}' --data-dir {data_dir}\n\n  \
         TOKEN=$({program} token --role analyst --data-dir {data_dir})\n  \
         grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" -d '{{\"name\": \"customers/1/profile\"}}' \\\n    \
         {host}:{segmentation} quintile.segmentation.v1.ProfileService/GetProfile\n  \
         buf curl --protocol grpc --http2-prior-knowledge --reflect-header \"authorization: Bearer $TOKEN\" \\\n    \
         -H \"authorization: Bearer $TOKEN\" -d '{{\"name\": \"customers/1/score\"}}' \\\n    \
         http://{host}:{scoring}/quintile.scoring.v1.ScoreService/ExplainScore",
        host = defaults.host,
        segmentation = defaults.segmentation,
        scoring = defaults.scoring,
    );
}
