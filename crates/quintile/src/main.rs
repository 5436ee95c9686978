//! `quintile`: the five services in one binary, and the operator's commands, which speak the public RPCs alone.
//!
//! The only crate that knows all services, reads the clock and draws randomness from the operating system.

// First: its macro is known to what stands behind it.
#[macro_use]
mod output;

mod access;
mod audit;
mod backup;
mod churn;
mod churn_drift;
mod churn_in_force;
mod churn_labels;
mod churn_trainings;
mod clock;
mod clusters;
mod commands;
mod config;
mod data_dir;
mod deliveries;
mod demo;
mod doctor;
mod endpoints;
mod export;
mod feedback;
mod fictitious;
mod generate;
mod health;
mod import;
mod key_file;
mod keys;
mod labels;
mod offers;
mod parquet_file;
mod playbook_texts;
mod playbooks;
mod privacy;
mod profile;
mod progress;
mod rejects;
mod remote;
mod retention;
mod score_texts;
mod scores;
mod segments;
mod serving_flags;
mod stages;
mod suite;
mod tasks;
mod telemetry;
mod tiers;
mod warnings;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _failpoints = quintile_store::failpoint::from_environment();
    let command = commands::Cli::parse();
    // One provider of cryptography for everything; nobody else has installed one before the first line of main.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime does not start: {error}");
            return ExitCode::from(commands::EXIT_FAILURE);
        }
    };
    match runtime.block_on(commands::run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", commands::explain(&error));
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
