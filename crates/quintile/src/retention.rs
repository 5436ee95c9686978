//! How customers stay, for people.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, thousands};
use crate::remote::{Session, connect};
use clap::Subcommand;
use prost::Message;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::retention_service_client::RetentionServiceClient;
use quintile_proto::lifecycle::{
    Cohort, CohortRetention, DurationSpread, GetCohortRetentionRequest, GetStageFlowRequest, GetStageTimesRequest,
    GetSurvivalRequest, StageFlow, StageTimes, Survival,
};
use quintile_proto::types::Stage;
use quintile_rpc::client::Channel;
use quintile_rpc::convert;

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Tells by month of the first order how many bought in each month after it: the last 24 months
    Cohorts {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells how long customers stay
    Survival {
        /// Days between the points
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        step: i32,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells how customers moved between stages
    Flow {
        /// From when, such as 1998-07-01T00:00:00Z
        #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
        since: Instant,
        /// Until when [default: now]
        #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
        until: Option<Instant>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells how long customers are in each stage
    Times {
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// A command's connection.
struct Asker<'a> {
    client: RetentionServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: RetentionServiceClient::new(connect(&config, Role::Lifecycle)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }
}

/// Runs a command.
pub async fn run(command: RetentionCommand) -> anyhow::Result<()> {
    match command {
        RetentionCommand::Cohorts { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetCohortRetentionRequest::default());
            let answer = asker.client.get_cohort_retention(request).await?.into_inner();
            asker.show(&answer, "CohortRetention", show_cohorts)
        }
        RetentionCommand::Survival { step, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetSurvivalRequest { step_days: step });
            let answer = asker.client.get_survival(request).await?.into_inner();
            asker.show(&answer, "Survival", show_survival)
        }
        RetentionCommand::Flow { since, until, caller } => {
            let (start_time, end_time) = (Some(convert::timestamp(since)), until.map(convert::timestamp));
            let request = GetStageFlowRequest { start_time, end_time };
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.client.get_stage_flow(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "StageFlow", show_flow)
        }
        RetentionCommand::Times { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetStageTimesRequest {});
            let answer = asker.client.get_stage_times(request).await?.into_inner();
            asker.show(&answer, "StageTimes", show_times)
        }
    }
}

/// Months since the first order that a table has columns for.
const COLUMNS: usize = 12;

fn show_cohorts(retention: &CohortRetention) {
    let share = |cohort: &Cohort, since: usize| {
        cohort.cells.get(since).map_or_else(String::new, |cell| format!("{:.0} %", cell.share * 100.0))
    };
    let rows = retention.cohorts.iter().filter(|cohort| cohort.customers > 0).map(|cohort| {
        let month = cohort.month.map(|month| format!("{}-{:02}", month.year, month.month)).unwrap_or_default();
        let shares = (1..=COLUMNS).map(|since| share(cohort, since));
        [month, thousands(cohort.customers.unsigned_abs())].into_iter().chain(shares).collect()
    });
    let since: Vec<String> = (1..=COLUMNS).map(|since| format!("+{since}")).collect();
    let header: Vec<&str> = ["month", "customers"].into_iter().chain(since.iter().map(String::as_str)).collect();
    say!("{}", output::table(&header, true, rows.collect()));
}

fn show_survival(survival: &Survival) {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let rows = survival.points.iter().map(|point| {
        let interval = format!("{} to {}", percent(point.low), percent(point.high));
        vec![point.days.to_string(), percent(point.survival), interval]
    });
    say!("{}", output::table(&["days", "still there", "95 %"], true, rows.collect()));
    let (customers, churned) = (survival.customers.unsigned_abs(), survival.churned.unsigned_abs());
    let median = survival.median_days.map_or_else(|| "not seen yet".to_owned(), |days| format!("{days} days"));
    say!("{} customers, {} of them churned; half are gone after: {median}", thousands(customers), thousands(churned));
}

fn stage(number: i32) -> String {
    let name = Stage::try_from(number).map_or("", |stage| stage.as_str_name());
    name.trim_start_matches("STAGE_").to_lowercase()
}

fn show_flow(flow: &StageFlow) {
    let moving = flow.customers.iter().filter(|count| count.from != count.to);
    let rows = moving.map(|count| vec![stage(count.from), stage(count.to), thousands(count.count.unsigned_abs())]);
    say!("{}", output::table(&["from", "to", "customers"], true, rows.collect()));
    let staying = flow.customers.iter().filter(|count| count.from == count.to).map(|count| count.count).sum::<i64>();
    let moves = flow.moves.iter().map(|count| count.count).sum::<i64>();
    say!("{} stayed; {} moves in all", thousands(staying.unsigned_abs()), thousands(moves.unsigned_abs()));
}

fn show_times(times: &StageTimes) {
    let spread = |spread: Option<&DurationSpread>| match spread {
        Some(spread) => {
            let count = thousands(spread.count.unsigned_abs());
            [count, format!("{:.0}", spread.mean_days), spread.median_days.to_string(), spread.p90_days.to_string()]
        }
        None => ["0".to_owned(), String::new(), String::new(), String::new()],
    };
    let rows = times.stages.iter().map(|time| {
        let both = spread(time.completed.as_ref()).into_iter().chain(spread(time.running.as_ref()));
        std::iter::once(stage(time.stage)).chain(both).collect()
    });
    let header = ["stage", "over", "mean days", "median", "p90", "going on", "mean days", "median", "p90"];
    say!("{}", output::table(&header, true, rows.collect()));
}
