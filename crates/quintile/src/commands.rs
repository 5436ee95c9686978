//! The operator's commands.

use crate::audit::{self, AuditCommand};
use crate::config::{Config, ConfigFlags, Role, read_secret, reference};
use crate::output::Format;
use crate::remote::{Identity, Session, token};
use crate::serving_flags::{ServingFlags, chosen_roles};
use crate::suite::{self, Suite};
use crate::telemetry::Telemetry;
use crate::{
    access, backup, churn, clusters, deliveries, demo, doctor, export, feedback, generate, health, import, keys,
    labels, offers, playbooks, privacy, profile, rejects, remote, retention, scores, segments, stages, tasks, tiers,
    warnings,
};
use clap::{CommandFactory, Parser, Subcommand};
use quintile_rpc::telemetry::metrics;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tonic::Code;

/// A failure of any other kind.
pub const EXIT_FAILURE: u8 = 1;
/// What was asked is malformed. Clap uses the same code for flags.
const EXIT_USAGE: u8 = 2;
/// What was asked for is not there.
const EXIT_NOT_FOUND: u8 = 3;
/// The caller may not.
const EXIT_DENIED: u8 = 4;
/// The server is not there.
const EXIT_UNAVAILABLE: u8 = 5;

/// Quintile: takes in what customers do, scores and segments them, and shows every team what it may see.
///
/// Exit codes: 0 done, 1 failed, 2 malformed request, 3 not found, 4 not allowed, 5 server not reached.
#[derive(Debug, Parser)]
#[command(name = "quintile", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the services: all five, or those of `--role`
    Serve(ServingFlags),
    /// Brings the database schemas up to date, and ends
    Migrate(MigrateArgs),
    /// Looks at everything that a suite needs, and says what to do; changes nothing
    Doctor(doctor::DoctorArgs),
    /// Tells whether services answer that they serve, for probes
    Health(health::HealthArgs),
    /// Copies the embedded databases, while services run, into a new folder
    Backup(backup::BackupArgs),
    /// Makes a data directory of a backup
    Restore(backup::RestoreArgs),
    /// Prints a token, for `authorization: Bearer ...`
    Token(TokenArgs),
    /// Takes in files through the public stream; run again after an interruption, it goes on
    Import(import::ImportArgs),
    /// Writes everything that was taken in, and what follows from it, to Parquet files, as far as the caller may see it
    Export(export::ExportArgs),
    /// Makes files of customers who do not exist and their orders, to try things on at any size
    Generate(generate::GenerateArgs),
    /// Customers
    #[command(subcommand)]
    Customer(CustomerCommand),
    /// What people may ask of whoever holds their data
    #[command(subcommand)]
    Privacy(PrivacyCommand),
    /// Rows that were refused
    #[command(subcommand)]
    Rejects(rejects::RejectsCommand),
    /// Scores, and the models that give them
    #[command(subcommand)]
    Score(scores::ScoreCommand),
    /// Segments
    #[command(subcommand)]
    Segments(segments::SegmentsCommand),
    /// Label sets
    #[command(subcommand)]
    Labels(labels::LabelsCommand),
    /// How soon feedback is answered, and what is overdue
    #[command(subcommand)]
    Feedback(feedback::FeedbackCommand),
    /// How long customers stay, and how they move between stages
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// What customers are put into stages by
    #[command(subcommand)]
    Stages(stages::StagesCommand),
    /// Early warnings: customers who are about to leave
    #[command(subcommand)]
    Warnings(warnings::WarningsCommand),
    /// Churn models: who is likely to leave, and why
    #[command(subcommand)]
    Churn(churn::ChurnCommand),
    /// Playbooks: what is done by itself when something happens to a customer
    #[command(subcommand)]
    Playbooks(playbooks::PlaybooksCommand),
    /// Tasks: what playbooks give colleagues to do
    #[command(subcommand)]
    Tasks(tasks::TasksCommand),
    /// Deliveries: what playbooks tell other systems, and write to customers
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    /// Offers: what is promised to customers, granted and redeemed
    #[command(subcommand)]
    Offers(offers::OffersCommand),
    /// Loyalty tiers, and who is in which
    #[command(subcommand)]
    Tiers(tiers::TiersCommand),
    /// Clusters: customers who resemble each other
    #[command(subcommand)]
    Clusters(clusters::ClustersCommand),
    /// The master keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Who may see what
    #[command(subcommand)]
    Access(access::AccessCommand),
    /// The audit logs
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Runs the suite in a fresh directory, takes in a purchase log, and shows what comes out
    Demo(demo::DemoArgs),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
struct MigrateArgs {
    #[command(flatten)]
    config: ConfigFlags,
    /// The services whose schemas to bring up to date [default: all]
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
    /// A PostgreSQL URL; without it the data is in the data directory
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    #[command(flatten)]
    config: ConfigFlags,
    /// The role, such as admin or analyst; those of the tenant's own too
    #[arg(long, required_unless_present = "principal", default_value = "", hide_default_value = true)]
    role: String,
    /// A service account, whose secret is in `--secret-file`: its role, department and region are the token's
    #[arg(long, value_name = "ID", requires = "secret_file", conflicts_with_all = ["role", "subject"])]
    principal: Option<String>,
    /// The file that holds the account's secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Who the token speaks for [default: the role's name]
    #[arg(long, default_value = "")]
    subject: String,
    /// The tenant's id
    #[arg(long, default_value = "default")]
    tenant: String,
    /// How long it is valid, in seconds; at most 43200
    #[arg(long, default_value_t = 3600)]
    lifetime: u64,
}

/// As whom a command calls.
#[derive(Debug, clap::Args)]
pub struct CallerArgs {
    #[command(flatten)]
    pub config: ConfigFlags,
    /// The subject to call as, such as the colleague whose own customers a role reaches [default: the role's name]
    #[arg(long, value_name = "SUBJECT", default_value = "", hide_default_value = true)]
    pub as_subject: String,
    /// The role to call as
    #[arg(long = "as", default_value = "admin", value_name = "ROLE")]
    pub role: String,
    /// The tenant's id
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// The form of the output
    #[arg(short = 'o', long, value_enum, default_value_t)]
    pub output: Format,
}

impl CallerArgs {
    /// The configuration, and a session by it.
    pub async fn session(&self) -> anyhow::Result<(Config, Session)> {
        let config = Config::load(&self.config)?;
        let session = Session::begin(&config, &self.identity()).await?;
        Ok((config, session))
    }

    /// Whose token the command asks for.
    pub fn identity(&self) -> Identity {
        Identity { role: self.role.clone(), subject: self.as_subject.clone(), tenant: self.tenant.clone() }
    }
}

#[derive(Debug, Subcommand)]
enum CustomerCommand {
    /// Shows everything that the caller may see of a customer
    Show {
        /// `customers/{number}`, or the number
        customer: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

#[derive(Debug, Subcommand)]
enum PrivacyCommand {
    /// Writes everything that is held about a person to a file, as far as the caller may see it
    Export {
        /// `customers/{number}`, or the number
        customer: String,
        /// The file to write, as JSON. One that is there is replaced
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints the configuration in force, secrets hidden
    Print {
        #[command(flatten)]
        config: ConfigFlags,
    },
    /// Prints the reference of all settings
    Reference,
    /// Prints the reference of all metrics
    Metrics,
}

/// Runs a command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(flags) => serve(&flags).await,
        Command::Migrate(args) => {
            let mut config = Config::load(&args.config)?;
            config.database_url = args.database_url.or(config.database_url);
            suite::migrate(&config, &chosen_roles(&args.roles)).await
        }
        Command::Doctor(args) => doctor::run(args).await,
        Command::Health(args) => health::run(&args).await,
        Command::Backup(args) => backup::run(&args).await,
        Command::Restore(args) => backup::restore(&args).await,
        Command::Token(args) => print_token(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Generate(args) => generate::run(&args),
        Command::Customer(CustomerCommand::Show { customer, caller }) => {
            let (config, session) = caller.session().await?;
            profile::show(&config, &session, &customer, caller.output).await
        }
        Command::Privacy(PrivacyCommand::Export { customer, out, caller }) => {
            let (config, session) = caller.session().await?;
            privacy::export(&config, &session, &customer, &out).await
        }
        Command::Rejects(command) => rejects::run(command).await,
        Command::Score(command) => scores::run(command).await,
        Command::Segments(command) => segments::run(command).await,
        Command::Labels(command) => labels::run(command).await,
        Command::Feedback(command) => feedback::run(command).await,
        Command::Retention(command) => retention::run(command).await,
        Command::Stages(command) => stages::run(command).await,
        Command::Warnings(command) => warnings::run(command).await,
        Command::Churn(command) => churn::run(command).await,
        Command::Playbooks(command) => playbooks::run(command).await,
        Command::Tasks(command) => tasks::run(command).await,
        Command::Deliveries(command) => deliveries::run(command).await,
        Command::Offers(command) => offers::run(command).await,
        Command::Tiers(command) => tiers::run(command).await,
        Command::Clusters(command) => clusters::run(command).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Access(command) => access::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Config(ConfigCommand::Print { config }) => {
            say!("{}", serde_json::to_string_pretty(&Config::load(&config)?.redacted())?);
            Ok(())
        }
        Command::Config(ConfigCommand::Reference) => {
            say!("{}", reference().trim_end());
            Ok(())
        }
        Command::Config(ConfigCommand::Metrics) => {
            say!("{}", metrics::reference().trim_end());
            Ok(())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "quintile", &mut script);
            say!("{}", String::from_utf8(script)?);
            Ok(())
        }
    }
}

async fn print_token(args: TokenArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let lifetime = Some(Duration::from_secs(args.lifetime));
    let printed = if let (Some(principal), Some(file)) = (args.principal, args.secret_file) {
        remote::account_token(&config, &principal, &read_secret(&file)?, &args.tenant, lifetime).await?
    } else {
        let identity = Identity { role: args.role, subject: args.subject, tenant: args.tenant };
        token(&config, &identity, lifetime).await?
    };
    say!("{printed}");
    Ok(())
}

async fn serve(flags: &ServingFlags) -> anyhow::Result<()> {
    let (config, chosen) = flags.load()?;
    start_logging(&config)?;
    let telemetry = Telemetry::start(&config, &chosen).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut suite = tokio::select! {
        suite = Suite::start(&config, &chosen) => suite?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    for (role, endpoint) in &suite.endpoints {
        tracing::info!(role, endpoint, "serving");
    }
    let failure = tokio::select! {
        error = suite.failed() => Some(error),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    tracing::info!("draining");
    let stopped = suite.stop().await;
    telemetry.stop().await;
    stopped?;
    failure.map_or(Ok(()), Err)
}

/// Starts the log on standard error.
pub fn start_logging(config: &Config) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_env_filter(config.log.filter()?).with_writer(std::io::stderr);
    let started = if config.log.json { log.json().try_init() } else { log.try_init() };
    started.map_err(|error| anyhow::anyhow!("the log does not start: {error}"))
}

/// What went wrong, for a person: the words of a refusal, and what to do where nobody answered.
pub fn explain(error: &anyhow::Error) -> String {
    let status = error.chain().find_map(|cause| cause.downcast_ref::<tonic::Status>());
    match status.map(|status| (status.code(), status.message())) {
        // A server of ours says that it can't just now; the transport, that nobody is there.
        Some((Code::Unavailable, message)) if status.is_some_and(|status| !status.details().is_empty()) => {
            format!("{message}: try again")
        }
        Some((Code::Unavailable, _)) => {
            "no server answers: start one with `quintile serve`, or name its --data-dir or --config".to_owned()
        }
        Some((Code::Unauthenticated, _)) => {
            "the server does not know this data directory's secret: name the --data-dir that it serves".to_owned()
        }
        // No server of ours answers so: the connection broke, and the command says what that means.
        Some((Code::Unknown | Code::Internal | Code::Cancelled, _)) => error.to_string(),
        Some((_, message)) => message.to_owned(),
        None => format!("{error:#}"),
    }
}

/// The exit code that tells a program what kind of failure it was.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let status = error.chain().find_map(|cause| cause.downcast_ref::<tonic::Status>());
    match status.map(tonic::Status::code) {
        Some(Code::InvalidArgument | Code::OutOfRange) => EXIT_USAGE,
        Some(Code::NotFound) => EXIT_NOT_FOUND,
        Some(Code::Unauthenticated | Code::PermissionDenied) => EXIT_DENIED,
        Some(Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled) => EXIT_UNAVAILABLE,
        _ => EXIT_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_arguments_of_a_command_are_in_each_others_way() {
        Cli::command().debug_assert();
    }

    fn parsed(arguments: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["quintile"].into_iter().chain(arguments.split(' ')))
    }

    #[test]
    fn whatever_may_be_said_is_named_where_nothing_is() {
        for (arguments, named) in [
            ("labels create value", ["--preset", "--file"]),
            ("labels draft labelSets/value", ["--file", "--give-up"]),
            ("playbooks create win-back", ["--template", "--file"]),
            ("access revoke", ["--token-id", "--subject"]),
        ] {
            let told = parsed(arguments).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(named.iter().all(|name| told.contains(name)), "{arguments}: {told}");
        }
        assert!(parsed("labels create value --preset rfm-8 --file set.json").is_err(), "which of both is meant");
        assert!(parsed("labels create value --preset rfm-8 --draft").is_ok());
    }

    #[test]
    fn a_negative_number_is_for_the_server_to_refuse() {
        for target in ["complaint", "support-ticket", "low-score", "comment"] {
            assert!(parsed(&format!("feedback targets --{target} -1")).is_ok(), "{target}");
        }
    }
}
