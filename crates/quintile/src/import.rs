//! `quintile import`: a file through the public stream, in batches that the server acknowledges, resumable at any of them.

use crate::commands::readable;
use crate::config::{Config, ConfigFlags, Role};
use crate::remote::{Identity, Session, connect};
use anyhow::{Context, bail};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::google_type::Date;
use quintile_proto::ingestion::ingest_service_client::IngestServiceClient;
use quintile_proto::ingestion::{
    Customer, GetIngestStreamRequest, IngestRequest, Order, OrderLine, Row, SourceIdentity, row,
};
use quintile_proto::types::{CustomerAttributes, CustomerKind, ErrorReason};
use quintile_rpc::convert;
use sha2::{Digest, Sha256};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant as Stopwatch};
use tonic::Code;

/// Rows of a batch: small enough that an interruption costs little, large enough that the server has no need to hurry.
const ROWS_PER_BATCH: usize = 1_000;
/// Batches that are sent ahead of their acknowledgements.
const BATCHES_AHEAD: usize = 8;
/// Rejects that are shown; the rest are counted.
const SHOWN_REJECTS: usize = 10;
/// How often progress is told where there is no terminal.
const PLAIN_PROGRESS: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFlags,
    /// How the file is read
    #[arg(long, value_enum)]
    mapping: Mapping,
    /// The tenant's id
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The name of the stream, by which an interrupted import is known again [default: made of the file's content]
    #[arg(long)]
    stream_id: Option<String>,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mapping {
    /// The CDNOW purchase log: customer, date as yyyymmdd, number of CDs, dollars, apart by blanks, below one header line
    Cdnow,
}

/// What an import has done.
#[derive(Debug, Default)]
pub struct Imported {
    /// Rows of the file.
    pub rows: usize,
    /// Rows that were new.
    pub applied: i64,
    /// Rows that were there already.
    pub duplicates: i64,
    /// Rows that were refused.
    pub rejected: usize,
    /// The position of the last facts.
    pub facts_position: i64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Imported {
    /// Rows that were sent and acknowledged in a second.
    pub fn rows_per_second(&self) -> u64 {
        let seen = self.applied + self.duplicates + self.rejected as i64;
        (seen as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)) as u64
    }
}

/// Imports a file by command.
pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let content = readable(&args.file)?;
    let rows = read(args.mapping, &content, false)?;
    let stream_id = args.stream_id.unwrap_or_else(|| stream_id(&content));
    let identity = Identity { tenant: args.tenant, ..Identity::of_role("service") };
    let session = Session::begin(&config, &identity).await?;
    let imported = send(&config, &session, &stream_id, rows).await?;
    say!(
        "{} rows: {} applied, {} there already, {} rejected; {} rows/s; facts position {}",
        imported.rows,
        imported.applied,
        imported.duplicates,
        imported.rejected,
        imported.rows_per_second(),
        imported.facts_position
    );
    Ok(())
}

/// The name of the stream of a file: the same content is the same stream.
pub fn stream_id(content: &[u8]) -> String {
    let first_bytes = Sha256::digest(content).into_iter().take(8);
    format!("import-{:016x}", first_bytes.fold(0_u64, |number, byte| number << 8 | u64::from(byte)))
}

/// The rows of a file, sorted by customer. `with_contacts` adds made-up contact details, so that masking has something to mask.
pub fn read(mapping: Mapping, content: &[u8], with_contacts: bool) -> anyhow::Result<Vec<Row>> {
    match mapping {
        Mapping::Cdnow => read_cdnow(content, with_contacts),
    }
}

fn read_cdnow(content: &[u8], with_contacts: bool) -> anyhow::Result<Vec<Row>> {
    let dollars = Currency::from_code("USD")?;
    let text = std::str::from_utf8(content).context("the file is not text")?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [customer, date, discs, amount] = fields.as_slice() else {
            if fields.is_empty() {
                continue;
            }
            bail!("line {}: not four fields", number + 1);
        };
        let at = cdnow_date(date).with_context(|| format!("line {}: not a date", number + 1))?;
        let minor =
            dollars.minor_from_decimal(amount).with_context(|| format!("line {}: not an amount", number + 1))?;
        let quantity = discs.parse().with_context(|| format!("line {}: not a number of CDs", number + 1))?;
        // A line is a purchase of its own, also where two lines are alike: its number is its id.
        lines.push(((*customer).to_owned(), number + 1, at, quantity, minor));
    }
    lines.sort();
    let mut rows = Vec::with_capacity(lines.len());
    let mut last_customer = String::new();
    for (customer, number, at, quantity, minor) in lines {
        if with_contacts && customer != last_customer {
            rows.push(Row { fact: Some(row::Fact::Customer(made_up_customer(&customer))) });
        }
        let amount = convert::money(dollars, minor);
        let line = OrderLine {
            product: "CD".to_owned(),
            category: "music".to_owned(),
            quantity,
            amount: Some(amount.clone()),
            ..OrderLine::default()
        };
        let order = Order {
            customer: Some(identity(&customer)),
            event_id: format!("line-{number}"),
            order_time: Some(convert::timestamp(at)),
            channel: "online".to_owned(),
            amount: Some(amount),
            lines: vec![line],
            ..Order::default()
        };
        rows.push(Row { fact: Some(row::Fact::Order(order)) });
        last_customer = customer;
    }
    Ok(rows)
}

fn identity(customer: &str) -> SourceIdentity {
    SourceIdentity { source: "cdnow".to_owned(), id: Some(customer.to_owned()) }
}

fn cdnow_date(text: &str) -> anyhow::Result<Instant> {
    let well_formed = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    anyhow::ensure!(well_formed, "must be yyyymmdd");
    Ok(Instant::parse(&format!("{}-{}-{}T00:00:00Z", &text[..4], &text[4..6], &text[6..]))?)
}

/// A customer who does not exist, always the same for the same id.
fn made_up_customer(id: &str) -> Customer {
    const GIVEN: [&str; 8] = ["Alice", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Goran", "Hana"];
    const FAMILY: [&str; 8] = ["Abbott", "Berger", "Costa", "Duarte", "Eriksen", "Fischer", "Gupta", "Haddad"];
    const STREET: [&str; 4] = ["Harbour Street", "Mill Lane", "Station Road", "Church Hill"];
    let hash = Sha256::digest(id.as_bytes());
    let pick = |index: usize, count: usize| usize::from(hash[index]) % count;
    let (given, family) = (GIVEN[pick(0, 8)], FAMILY[pick(1, 8)]);
    let number: u32 = id.parse().unwrap_or_default();
    Customer {
        identities: vec![identity(id)],
        display_name: Some(format!("{given} {family}")),
        phone: Some(format!("+86138{:08}", number % 100_000_000)),
        email: Some(format!("{}.{}.{number}@example.com", given.to_lowercase(), family.to_lowercase())),
        address: Some(format!("{}, {} {}, London", number, STREET[pick(2, 4)], pick(3, 200) + 1)),
        birth_date: Some(Date {
            year: 1940 + pick(4, 40) as i32,
            month: 1 + pick(5, 12) as i32,
            day: 1 + pick(6, 28) as i32,
        }),
        attributes: Some(CustomerAttributes {
            kind: CustomerKind::Customer.into(),
            region: Some(["north", "south", "east", "west"][pick(7, 4)].to_owned()),
            language: "en".to_owned(),
            acquisition_channel: ["search", "friends", "press"][pick(8, 3)].to_owned(),
            ..CustomerAttributes::default()
        }),
        ..Customer::default()
    }
}

/// Sends rows through the stream, from where it stands.
pub async fn send(config: &Config, session: &Session, stream_id: &str, rows: Vec<Row>) -> anyhow::Result<Imported> {
    let mut client = IngestServiceClient::new(connect(config, Role::Ingestion)?);
    let name = format!("ingestStreams/{stream_id}");
    let (acked, facts_position) = match client.get_ingest_stream(session.request(GetIngestStreamRequest { name })).await
    {
        Ok(stream) => (stream.get_ref().acked_offset, stream.get_ref().facts_position),
        Err(status) if status.code() == Code::NotFound => (0, 0),
        Err(status) => return Err(status.into()),
    };
    let begun = Stopwatch::now();
    let mut imported = Imported { rows: rows.len(), facts_position, ..Imported::default() };
    let progress = Progress::new(rows.len(), acked as usize * ROWS_PER_BATCH);
    let (mut sender, requests) = mpsc::channel(BATCHES_AHEAD);
    let stream_id = stream_id.to_owned();
    let sending = tokio::spawn(async move {
        for (offset, batch) in rows.chunks(ROWS_PER_BATCH).enumerate().skip(acked as usize) {
            let request = IngestRequest { stream_id: stream_id.clone(), offset: offset as i64, rows: batch.to_vec() };
            // The server has ended the stream: its answer says why.
            if sender.send(request).await.is_err() {
                break;
            }
        }
    });
    let mut answers = client.ingest(session.request(requests)).await?.into_inner();
    while let Some(answer) = answers.next().await {
        let answer = answer.context("the import was interrupted: run it again and it goes on")?;
        imported.applied += answer.applied;
        imported.duplicates += answer.duplicates;
        imported.facts_position = imported.facts_position.max(answer.facts_position);
        for reject in &answer.rejects {
            imported.rejected += 1;
            if imported.rejected <= SHOWN_REJECTS {
                let row = (answer.acked_offset - 1) as usize * ROWS_PER_BATCH + reject.row as usize;
                let reason = ErrorReason::try_from(reject.reason).unwrap_or_default().as_str_name();
                progress.say(&format!("row {row} rejected: {}: {} ({reason})", reject.field, reject.message));
            }
        }
        progress.at(answer.acked_offset as usize * ROWS_PER_BATCH);
    }
    sending.await?;
    imported.elapsed = begun.elapsed();
    progress.finish();
    Ok(imported)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    total: usize,
    told: std::cell::Cell<Stopwatch>,
    terminal: bool,
}

impl Progress {
    fn new(total: usize, done: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let style = "{bar:40} {human_pos}/{human_len} rows, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_position(done.min(total) as u64);
        Self { bar, total, told: std::cell::Cell::new(Stopwatch::now()), terminal }
    }

    fn at(&self, done: usize) {
        let done = done.min(self.total);
        self.bar.set_position(done as u64);
        if !self.terminal && self.told.get().elapsed() >= PLAIN_PROGRESS {
            self.told.set(Stopwatch::now());
            eprintln!("{done} of {} rows", self.total);
        }
    }

    fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    const SAMPLE: &str = " customer_id  date number_of_cds  dollar_value\r\n 00001 19970101  1   11.77\r\n 00002 19970112  5   77.00\r\n 00002 19970112  1   12.00\r\n";

    #[test]
    fn every_line_is_a_purchase_of_its_own() {
        let rows = read(Mapping::Cdnow, SAMPLE.as_bytes(), false).unwrap();
        let orders: Vec<_> = rows
            .iter()
            .map(|row| match &row.fact {
                Some(row::Fact::Order(order)) => (order.event_id.as_str(), order.amount.as_ref().unwrap().units),
                _ => panic!("only orders"),
            })
            .collect();
        assert_eq!(orders, [("line-2", 11), ("line-3", 77), ("line-4", 12)]);
    }

    #[test]
    fn contacts_are_made_up_once_per_customer_and_always_the_same() {
        let rows = read(Mapping::Cdnow, SAMPLE.as_bytes(), true).unwrap();
        assert_eq!(rows.len(), 5);
        assert_eq!(rows, read(Mapping::Cdnow, SAMPLE.as_bytes(), true).unwrap());
        let bytes: usize = rows.iter().map(Message::encoded_len).sum();
        assert!(bytes / rows.len() * ROWS_PER_BATCH < 8 * 1024 * 1024);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = read(Mapping::Cdnow, b"header\n 00001 1997x101 1 1.00\n", false).unwrap_err();
        assert!(format!("{error:#}").starts_with("line 2:"), "{error:#}");
        assert!(read(Mapping::Cdnow, b"header\n 00001 19970101 1\n", false).is_err());
    }
}
