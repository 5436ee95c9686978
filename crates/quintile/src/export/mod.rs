//! `quintile export`: everything of a tenant as Parquet files, one per kind of rows, as far as the caller may see it.
//!
//! A file is written under another name until it is whole. An interrupted export goes on with the first file that is not; within one
//! run it goes on where it was, whatever became of the connection. Held in memory are a page and a row group.
//!
//! To add a file, add it to [`FileKind`], and its rows to a step.

pub mod audience;
mod csv_file;
pub mod members;
mod note;
mod records;
mod rows;
mod server;
mod steps;
mod table;

use crate::clock;
use crate::commands::CallerArgs;
use crate::config::Config;
use crate::output::{Format, thousands};
use clap::ValueEnum;
use note::Folder;
use server::Server;
use std::path::PathBuf;
use steps::{STEPS, is};
use tonic::Code;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The folder for the files. Run again after an interruption, the same command goes on; run again after that, it replaces its files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The files to write, apart by commas [default: all that the role may have]
    #[arg(long, value_name = "FILES", value_enum, value_delimiter = ',')]
    only: Vec<FileKind>,
    /// Begins anew, and replaces files that are there whoever made them
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    caller: CallerArgs,
}

/// A file of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum FileKind {
    /// Who the customers are
    Customers,
    /// What they bought
    Orders,
    /// The lines of what they bought
    OrderLines,
    /// What was given back to them
    Refunds,
    /// What else they did
    Interactions,
    /// What they said
    Feedback,
    /// What was spent to win customers
    AcquisitionSpend,
    /// Exchange rates
    ExchangeRates,
    /// Features, scores and the stage of each customer
    Records,
    /// Members of segments and labels
    Memberships,
}

impl FileKind {
    /// The file's name.
    fn name(self) -> String {
        let word = self.to_possible_value();
        format!("{}.parquet", word.map(|word| word.get_name().to_owned()).unwrap_or_default())
    }
}

/// Exports by command.
pub async fn run(args: ExportArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.caller.config)?;
    // Before anything is written: whoever may not call need not wait to hear of it.
    let mut server = Server::begin(config, args.caller.identity()).await?;
    let wanted = |file: &FileKind| args.only.is_empty() || args.only.contains(file);
    let files: Vec<_> = FileKind::value_variants().iter().filter(|file| wanted(file)).map(|file| file.name()).collect();
    let clock = clock::machine();
    let mut folder = Folder::begin(&args.out, server.identity(), &files, args.force, clock.now())?;
    if folder.goes_on {
        eprintln!("going on with the export of {}, which was interrupted; --force begins anew", folder.note.begun());
    }
    let (mut made, mut denied) = (Vec::new(), None);
    for step in STEPS {
        let files: Vec<FileKind> = step.files().into_iter().filter(|file| wanted(file)).collect();
        let told = |file: &FileKind| Some((file.name(), folder.rows_of(&file.name())?));
        if let Some(whole) = files.iter().map(told).collect::<Option<Vec<_>>>() {
            for (name, rows) in &whole {
                eprintln!("{name}: {} rows, from before", thousands(*rows));
            }
            made.extend(whole);
            continue;
        }
        match step.write(&mut server, &folder, &files).await {
            Ok(written) => {
                folder.finished(&written)?;
                made.extend(written);
            }
            // What was asked for by name is missed; of everything, a role has what it may have.
            Err(error) if args.only.is_empty() && is(&error, Code::PermissionDenied) => {
                for file in files {
                    eprintln!("{}: not for {}", file.name(), server.identity().role);
                }
                denied = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = denied.filter(|_| made.is_empty()) {
        return Err(error);
    }
    folder.end(clock.now())?;
    match args.caller.output {
        Format::Json => say!("{}", serde_json::to_string_pretty(&folder.note)?),
        // Not before: whoever reads no further ends the command with the first line.
        Format::Table => {
            for (name, rows) in &made {
                say!("{name}: {} rows", thousands(*rows));
            }
            say!("{} files in {}", made.len(), args.out.display());
        }
    }
    Ok(())
}
