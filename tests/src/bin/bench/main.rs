//! `bench`: measures the rows of the performance table against their comparisons, in the same run and on the same disk.
//!
//! It drives the real binary over its public RPCs (P3, P4, P6a, P7 and P11 alone run in this process), reports, and never judges: no timing fails it. What is
//! sent is the same in every run; nothing but the clock differs. To add a row, add a file named after it with a `measure`, and name it in
//! [`Row`].

mod access;
mod codec;
mod echo;
mod generator;
mod ingest;
mod load;
mod p1;
mod p10;
mod p11;
mod p2;
mod p2w;
mod p3;
mod p4;
mod p5;
mod p6;
mod p6a;
mod p7;
mod peer_postgres;
mod peer_sqlite;
mod peers;
mod report;
mod server;
mod stage;

use alloc_counter::AllocCounter;
use anyhow::Context;
use clap::{Parser, Subcommand};
use report::Report;
use stage::{Scale, Stage, Store};
use std::path::PathBuf;
use std::time::Duration;

// The allocator of the server: the echo that it is compared with runs in this binary. Each thread counts for itself, which costs the
// echo a few nanoseconds.
#[global_allocator]
static ALLOCATOR: AllocCounter<mimalloc::MiMalloc> = AllocCounter(mimalloc::MiMalloc);

/// Measures Quintile against its comparisons
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// The binary to measure
    #[arg(long, env = "QUINTILE_BIN", default_value = "target/dist/quintile")]
    quintile: PathBuf,
    /// How much: 60k (60,000 customers, 600,000 orders), 6m, or `customers:orders`
    #[arg(long, env = "SCALE", default_value = "60k")]
    scale: Scale,
    /// The rows to measure [default: all]
    #[arg(long = "row", value_enum)]
    rows: Vec<Row>,
    /// How long each side of a comparison of calls is measured
    #[arg(long, default_value = "9")]
    seconds: u64,
    /// A Python with the packages of `tests/peers/requirements.txt`: without one, their comparisons do not run
    #[arg(long, env = "BENCH_PEERS")]
    peers: Option<PathBuf>,
    /// A PostgreSQL server to measure on, and to make databases on
    #[arg(long, env = "QUINTILE_TEST_POSTGRES_URL")]
    postgres: Option<String>,
    /// Where the report is kept; rows of other scales in it stay
    #[arg(default_value = "target/bench/report.json")]
    report: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Runs the echo that point reads are compared with
    #[command(hide = true)]
    Echo(echo::EchoArguments),
}

/// The rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    P1,
    P1s,
    P2,
    P2w,
    P3,
    P4,
    P5,
    P5m,
    P5s,
    P6,
    P6a,
    P7,
    P10,
    P11,
}

impl Row {
    const ALL: [Self; 14] = [
        Self::P1,
        Self::P1s,
        Self::P2,
        Self::P2w,
        Self::P3,
        Self::P4,
        Self::P5,
        Self::P5m,
        Self::P5s,
        Self::P6,
        Self::P6a,
        Self::P7,
        Self::P10,
        Self::P11,
    ];

    async fn measure(self, stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::P1 => p1::measure(stage, report, Store::Postgres).await,
            Self::P1s => p1::measure(stage, report, Store::Sqlite).await,
            Self::P2 => p2::measure(stage, report).await,
            Self::P2w => p2w::measure(stage, report).await,
            Self::P5 => p5::measure(stage, report, &p5::FEW).await,
            Self::P5m => p5::measure(stage, report, &p5::MANY).await,
            Self::P5s => p5::measure(stage, report, &p5::STAGED).await,
            Self::P6 => p6::measure(stage, report).await,
            Self::P6a => p6a::measure(stage, report),
            Self::P3 => p3::measure(stage, report),
            Self::P4 => p4::measure(stage, report),
            Self::P7 => p7::measure(stage, report),
            Self::P10 => p10::measure(stage, report).await,
            Self::P11 => p11::measure(stage, report),
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Part::Echo(echo)) = arguments.part {
        return echo::run(echo).await;
    }
    let folder = arguments.report.parent().context("the report has no folder")?;
    std::fs::create_dir_all(folder)?;
    // Beside the report: a temporary folder of the system's may be memory, and an acknowledgement is about disks.
    let work = tempfile::tempdir_in(folder)?;
    let call_time = Duration::from_secs(arguments.seconds);
    let stage = Stage::new(arguments.quintile, work.path().to_owned(), arguments.postgres, arguments.scale, call_time);
    let stage = stage.beside(arguments.peers);
    let rows = if arguments.rows.is_empty() { Row::ALL.to_vec() } else { arguments.rows };
    let mut report = Report::new(arguments.report.clone());
    for row in rows {
        row.measure(&stage, &mut report).await.with_context(|| format!("{row:?}"))?;
    }
    println!("{}", report.table());
    println!("{}", arguments.report.display());
    Ok(())
}
