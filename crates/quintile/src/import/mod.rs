//! `quintile import`: files through the public stream, in batches that the server acknowledges, resumable at any of them.

mod printing;
mod sending;

pub use sending::{Sending, Sent, send};

use crate::config::{Config, ConfigFlags};
use crate::output::{Format, thousands};
use crate::progress::Progress;
use crate::remote::{Identity, Session};
use anyhow::{Context, bail};
use quintile_import::reject::RejectFile;
use quintile_import::report::Report;
use quintile_import::{
    Batches, ImportError, Input, Mapping, Place, Prepared, Preparing, Reading, Sorter, bundled, lines_again, prepare,
    stream_id,
};
use sending::Refused;
use std::path::{Path, PathBuf};

/// How much of the facts is sorted in memory, in bytes.
const SORT_MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// How much is remembered in memory of rows that the server refuses, in bytes.
const REFUSED_MEMORY_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file, or the folder that holds the files which the mapping names
    #[arg(required_unless_present = "print_mapping")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFlags,
    /// How lines become facts: cdnow, generated, olist, online-retail, or a TOML file of your own
    #[arg(long, value_name = "NAME_OR_FILE", required_unless_present = "print_mapping")]
    mapping: Option<String>,
    /// Prints a mapping that comes with the binary, to start your own from, and ends
    #[arg(long, value_name = "NAME", exclusive = true)]
    print_mapping: Option<String>,
    /// Reads everything, sends nothing, and prints what the file is like
    #[arg(long)]
    dry_run: bool,
    /// A file for rejected lines, as CSV with the reason; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Ends at the first rejected line
    #[arg(long)]
    strict: bool,
    /// The tenant's id
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The name of the stream, by which an interrupted import is known again [default: made of the content and the mapping]
    #[arg(long)]
    stream_id: Option<String>,
    /// Where to sort what does not fit into memory [default: the system's]
    #[arg(long, value_name = "DIR")]
    temp_dir: Option<PathBuf>,
    /// The form of the output
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Imports a file by command.
pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    if let Some(name) = &args.print_mapping {
        say!("{}", bundled(name).map_err(|names| no_mapping(name, &names))?.trim_end());
        return Ok(());
    }
    let (Some(file), Some(mapping)) = (&args.file, &args.mapping) else { bail!("name a file and a --mapping") };
    let mapping = mapping_of(mapping)?;
    let input = Input::find(file, &mapping)?;
    let files = Files { mapping, input };
    if args.dry_run { dry_run(&args, files).await } else { import(args, files).await }
}

/// What is imported.
struct Files {
    mapping: Mapping,
    input: Input,
}

fn mapping_of(name: &str) -> anyhow::Result<Mapping> {
    let text = match bundled(name) {
        Ok(text) => text.to_owned(),
        Err(_) if Path::new(name).is_file() => {
            std::fs::read_to_string(name).with_context(|| format!("cannot read {name}"))?
        }
        Err(names) => return Err(no_mapping(name, &names)),
    };
    Ok(Mapping::parse(&text)?)
}

fn no_mapping(name: &str, names: &[&str]) -> anyhow::Error {
    anyhow::anyhow!("no mapping {name}: name a TOML file, or one of {}", names.join(", "))
}

async fn dry_run(args: &ImportArgs, files: Files) -> anyhow::Result<()> {
    let (files, Prepared { mut rows, mut report }, mut rejects) = read(args, files, true).await?;
    let rows_of_lines = tokio::task::spawn_blocking(move || {
        let mut refused = Vec::new();
        for row in rows.by_ref() {
            if let (place, Err(problem)) = row? {
                refused.push((place, problem));
            }
        }
        anyhow::Ok((rows, refused))
    });
    let (rows, refused) = rows_of_lines.await??;
    report.facts = rows.into_facts();
    for (place, problem) in &refused {
        let said = format!("{}: rejected: {}: {}", shown(&files.input, *place), problem.field, problem.message);
        if args.strict {
            bail!("{said}");
        }
        eprintln!("{said}");
    }
    if let Some(file) = &mut rejects {
        let mut late = Late::new(args);
        for (place, problem) in refused {
            late.add(place, problem.field, problem.message)?;
        }
        late.write(&files, file)?;
    }
    rejects.map_or(Ok(()), RejectFile::finish)?;
    match args.output {
        Format::Table => printing::print(&report),
        Format::Json => say!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}

async fn import(args: ImportArgs, files: Files) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let identity = Identity { tenant: args.tenant.clone(), ..Identity::of_role("service") };
    // Before anything is read: whoever may not import need not wait to hear of it.
    let session = Session::begin_long(&config, &identity).await?;
    let stream_id = match &args.stream_id {
        Some(given) => given.clone(),
        None => stream_id(&files.input, &files.mapping)?,
    };
    let (files, Prepared { rows, mut report }, mut rejects) = read(&args, files, false).await?;
    let mut late = Late::new(&args);
    let keep = rejects.is_some();
    let (sent, batches) = send(
        &config,
        &session,
        Sending {
            stream_id: &stream_id,
            total: rows.progress().1,
            batches: Batches::new(rows),
            strict: args.strict,
            refused: &mut |Refused { place, field, message }| {
                if keep { late.add(place, &field, &message) } else { Ok(()) }
            },
            show: &|place| shown(&files.input, place),
        },
    )
    .await?;
    if let Some(file) = &mut rejects {
        late.write(&files, file)?;
    }
    rejects.map_or(Ok(()), RejectFile::finish)?;
    report.facts = batches.into_rows().into_facts();
    match args.output {
        Format::Table => print_import(&report, &sent),
        Format::Json => {
            say!("{}", serde_json::to_string_pretty(&serde_json::json!({ "report": report, "sent": sent }))?);
        }
    }
    Ok(())
}

fn print_import(report: &Report, sent: &Sent) {
    printing::print_rejects(report);
    printing::print_remarks(report);
    let lines: u64 = report.tables.iter().map(|table| table.lines).sum();
    let skipped = report.tables.iter().flat_map(|table| &table.skipped).map(|(_, lines)| lines).sum::<u64>();
    let rejected: u64 = report.tables.iter().map(|table| table.rejected).sum();
    say!("{} lines: {} left out, {} rejected", thousands(lines), thousands(skipped), thousands(rejected));
    if sent.batches_before > 0 {
        say!("{} batches were there from an earlier run", thousands(sent.batches_before));
    }
    say!(
        "{} rows: {} applied, {} there already, {} rejected; {} rows/s; facts position {}",
        sent.rows,
        sent.applied,
        sent.duplicates,
        sent.rejected,
        sent.rows_per_second(),
        sent.facts_position
    );
}

fn shown(input: &Input, place: Place) -> String {
    format!("{}, line {}", input.name(place.table), place.line)
}

fn temporary(args: &ImportArgs) -> PathBuf {
    args.temp_dir.clone().unwrap_or_else(std::env::temp_dir)
}

/// Reads the files, apart from the threads that wait for answers.
async fn read(
    args: &ImportArgs,
    files: Files,
    count_repeated: bool,
) -> anyhow::Result<(Files, Prepared, Option<RejectFile>)> {
    let (temporary, strict) = (temporary(args), args.strict);
    let mut rejects = args.rejects.as_deref().map(RejectFile::create).transpose()?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut progress = Progress::new("read");
        let mut told = |reading: Reading| progress.at(reading.done, reading.total, reading.lines);
        let prepared = prepare(
            &files.input,
            &files.mapping,
            Preparing {
                temporary: &temporary,
                memory_bytes: SORT_MEMORY_BYTES,
                count_repeated,
                rejects: rejects.as_mut(),
                strict,
                progress: &mut told,
            },
        );
        progress.finish();
        prepared.map(|prepared| (files, prepared, rejects))
    });
    Ok(reading.await??)
}

/// Rows that turned out to be no good after their lines had gone by; the lines are read again to be written down.
struct Late {
    sorter: Sorter,
}

impl Late {
    fn new(args: &ImportArgs) -> Self {
        Self { sorter: Sorter::new(&temporary(args), REFUSED_MEMORY_BYTES) }
    }

    fn add(&mut self, place: Place, field: &str, message: &str) -> anyhow::Result<()> {
        Ok(self.sorter.push(&place.to_bytes(), format!("{field}\0{message}").as_bytes())?)
    }

    fn write(self, files: &Files, rejects: &mut RejectFile) -> anyhow::Result<()> {
        if self.sorter.is_empty() {
            return Ok(());
        }
        let reasons = std::cell::RefCell::new(std::collections::VecDeque::new());
        let wanted = self.sorter.finish()?.map(|entry| {
            let entry = entry?;
            reasons.borrow_mut().push_back(String::from_utf8_lossy(&entry.value).into_owned());
            let key = entry.key.try_into().map_err(|_| ImportError::Damaged)?;
            Ok(Place::from_bytes(key))
        });
        lines_again(&files.input, &files.mapping, wanted, |place, content| {
            let reason = reasons.borrow_mut().pop_front().unwrap_or_default();
            let (field, message) = reason.split_once('\0').unwrap_or_default();
            rejects.write(&files.input.name(place.table), place.line, field, message, content)
        })?;
        Ok(())
    }
}

/// The rows of the CDNOW purchase log, sorted by customer.
pub fn cdnow(file: &Path) -> anyhow::Result<Prepared> {
    let mapping = mapping_of("cdnow")?;
    let options = Preparing {
        temporary: &std::env::temp_dir(),
        memory_bytes: SORT_MEMORY_BYTES,
        count_repeated: false,
        rejects: None,
        strict: true,
        progress: &mut |_| {},
    };
    Ok(prepare(&Input::find(file, &mapping)?, &mapping, options)?)
}
