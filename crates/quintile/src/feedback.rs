//! How soon feedback is answered, for people.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, instant, plain, thousands};
use crate::remote::{Session, connect};
use clap::{Args, Subcommand, ValueEnum};
use prost::Message;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::response_service_client::ResponseServiceClient;
use quintile_proto::ingestion::{
    GetResponseTargetsRequest, GetResponseTimesRequest, ListOverdueFeedbackRequest, ListOverdueFeedbackResponse,
    ResponseKind, ResponseTargets, ResponseTime, ResponseTimes, UpdateResponseTargetsRequest,
};
use quintile_rpc::client::Channel;
use quintile_rpc::convert;

/// Feedback that is listed at most.
const LISTED: i32 = 100;

#[derive(Debug, Subcommand)]
pub enum FeedbackCommand {
    /// Tells how soon feedback was answered, and how much of it in time
    ResponseTimes {
        /// From when, such as 1998-07-01T00:00:00Z [default: 90 days ago]
        #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
        since: Option<Instant>,
        /// Until when [default: now]
        #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
        until: Option<Instant>,
        /// Of feedback by this channel [default: by any]
        #[arg(long, value_name = "CHANNEL", default_value = "", hide_default_value = true)]
        channel: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists feedback that should have been answered by now, the longest overdue first: the first 100
    Overdue {
        /// Of these kinds [default: all]
        #[arg(long, value_enum)]
        kind: Vec<Kind>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells within how many hours feedback is to be answered, or says so
    Targets {
        #[command(flatten)]
        hours: Hours,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// A kind of feedback.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// Complaints
    Complaint,
    /// Support tickets
    SupportTicket,
    /// Low scores
    LowScore,
    /// Comments
    Comment,
}

impl From<Kind> for i32 {
    fn from(kind: Kind) -> Self {
        let kind = match kind {
            Kind::Complaint => ResponseKind::Complaint,
            Kind::SupportTicket => ResponseKind::SupportTicket,
            Kind::LowScore => ResponseKind::LowScore,
            Kind::Comment => ResponseKind::Comment,
        };
        kind.into()
    }
}

/// Hours to set.
#[derive(Clone, Copy, Debug, Args)]
pub struct Hours {
    /// Complaints within so many hours; 0: they need not be answered
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    complaint: Option<i32>,
    /// Support tickets, likewise
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    support_ticket: Option<i32>,
    /// Low scores, likewise
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    low_score: Option<i32>,
    /// Comments, likewise
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    comment: Option<i32>,
}

impl Hours {
    /// These targets with the hours that are said. `None`: none are.
    fn of(self, targets: &ResponseTargets) -> Option<ResponseTargets> {
        let said = [self.complaint, self.support_ticket, self.low_score, self.comment];
        said.into_iter().flatten().next()?;
        Some(ResponseTargets {
            complaint_hours: self.complaint.unwrap_or(targets.complaint_hours),
            support_ticket_hours: self.support_ticket.unwrap_or(targets.support_ticket_hours),
            low_score_hours: self.low_score.unwrap_or(targets.low_score_hours),
            comment_hours: self.comment.unwrap_or(targets.comment_hours),
            ..targets.clone()
        })
    }
}

/// A command's connection.
struct Asker<'a> {
    client: ResponseServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: ResponseServiceClient::new(connect(&config, Role::Ingestion)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.ingestion.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }
}

/// Runs a command.
pub async fn run(command: FeedbackCommand) -> anyhow::Result<()> {
    match command {
        FeedbackCommand::ResponseTimes { since, until, channel, caller } => {
            let [start_time, end_time] = [since, until].map(|instant| instant.map(convert::timestamp));
            let request = GetResponseTimesRequest { start_time, end_time, channel };
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.client.get_response_times(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "ResponseTimes", show_times)
        }
        FeedbackCommand::Overdue { kind, caller } => {
            let kinds = kind.into_iter().map(i32::from).collect();
            let request = ListOverdueFeedbackRequest { kinds, page_size: LISTED, page_token: String::new() };
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.client.list_overdue_feedback(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "ListOverdueFeedbackResponse", show_overdue)
        }
        FeedbackCommand::Targets { hours, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetResponseTargetsRequest {});
            let mut answer = asker.client.get_response_targets(request).await?.into_inner();
            if let Some(targets) = hours.of(&answer) {
                let request = UpdateResponseTargetsRequest { targets: Some(targets) };
                answer = asker.client.update_response_targets(asker.session.request(request)).await?.into_inner();
            }
            asker.show(&answer, "ResponseTargets", show_targets)
        }
    }
}

fn named(kind: ResponseKind) -> String {
    plain(kind.as_str_name(), "RESPONSE_KIND_")
}

/// Hours to answer within.
fn target(hours: i32) -> String {
    if hours == 0 { "-".to_owned() } else { format!("{hours} h") }
}

fn show_times(times: &ResponseTimes) {
    let hours = |hours: Option<f64>| hours.map_or_else(|| "-".to_owned(), |hours| format!("{hours:.1}"));
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let rows = times.kinds.iter().map(|time: &ResponseTime| {
        let counts = [time.feedback, time.in_time, time.late, time.open_in_time, time.overdue];
        let share = time.in_time_share.as_ref();
        let share = share.map(|of| format!("{} ({} to {})", percent(of.share), percent(of.low), percent(of.high)));
        let beginning = [named(time.kind()), target(time.target_hours)];
        let counts = counts.into_iter().map(|count| thousands(count.unsigned_abs()));
        let ending = [share.unwrap_or_else(|| "-".to_owned()), hours(time.median_hours), hours(time.p90_hours)];
        beginning.into_iter().chain(counts).chain(ending).collect()
    });
    let header =
        ["kind", "target", "all", "in time", "late", "open", "overdue", "share in time (95 %)", "median h", "p90 h"];
    say!("{}", output::table(&header, true, rows.collect()));
    let [start, end] = [&times.start_time, &times.end_time].map(|time| instant(time.as_ref()));
    say!("Given from {start} until {end}, as of {}", instant(times.as_of.as_ref()));
}

fn show_overdue(list: &ListOverdueFeedbackResponse) {
    let rows = list.feedback.iter().map(|overdue| {
        let (given, due) = (instant(overdue.feedback_time.as_ref()), instant(overdue.due_time.as_ref()));
        vec![overdue.customer.clone(), named(overdue.kind()), overdue.about.clone(), given, due]
    });
    say!("{}", output::table(&["customer", "kind", "about", "given", "due"], false, rows.collect()));
    if !list.next_page_token.is_empty() {
        say!("There is more");
    }
}

fn show_targets(targets: &ResponseTargets) {
    let rows = [
        (ResponseKind::Complaint, targets.complaint_hours),
        (ResponseKind::SupportTicket, targets.support_ticket_hours),
        (ResponseKind::LowScore, targets.low_score_hours),
        (ResponseKind::Comment, targets.comment_hours),
    ];
    let rows = rows.into_iter().map(|(kind, hours)| vec![named(kind), target(hours)]);
    say!("{}", output::table(&["kind", "answered within"], true, rows.collect()));
}
