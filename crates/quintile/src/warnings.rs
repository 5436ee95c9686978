//! Early warnings, for people.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, money, plain};
use crate::remote::{Session, connect};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use prost::Message;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::lifecycle::warning_service_client::WarningServiceClient;
use quintile_proto::lifecycle::{
    AcknowledgeWarningRequest, AssignWarningRequest, GetWarningPolicyRequest, GetWarningRequest, ListWarningsRequest,
    ListWarningsResponse, ResolveWarningRequest, UpdateWarningPolicyRequest, Warning, WarningOrder, WarningPolicy,
    WarningResolution, WarningSeverity, WarningState, WatchWarningsRequest,
};
use quintile_proto::types::WarningKind;
use quintile_rpc::client::Channel;
use quintile_rpc::convert;

/// Warnings that are listed at most.
const LISTED: usize = 100;

#[derive(Debug, Subcommand)]
pub enum WarningsCommand {
    /// Lists warnings that go on, the last raised first: the first 100
    List {
        /// Of one customer, `customers/{number}` [default: everybody's]
        #[arg(long, value_name = "NAME", default_value = "customers/-", hide_default_value = true)]
        customer: String,
        /// Of these kinds [default: all]
        #[arg(long, value_enum)]
        kind: Vec<Kind>,
        /// At least so severe
        #[arg(long, value_enum)]
        severity: Option<Severity>,
        /// Those of somebody, as the subject of a token
        #[arg(long, value_name = "WHO", default_value = "", hide_default_value = true)]
        assignee: String,
        /// Those that have ended too
        #[arg(long)]
        all: bool,
        /// The most valuable first
        #[arg(long)]
        by_value: bool,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells of a warning, and what it was raised upon
    Show {
        /// `customers/{number}/warnings/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Says that it was seen
    Acknowledge {
        /// `customers/{number}/warnings/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Gives it to somebody
    Assign {
        /// `customers/{number}/warnings/{id}`
        name: String,
        /// To whom, as the subject of a token: an empty text for nobody
        who: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Ends it, and says what came of it
    Resolve {
        /// `customers/{number}/warnings/{id}`
        name: String,
        /// What came of it
        #[arg(value_enum)]
        resolution: Resolution,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells of every warning that is raised or changes, from now on
    Watch {
        /// Of these kinds [default: all]
        #[arg(long, value_enum)]
        kind: Vec<Kind>,
        /// At least so severe
        #[arg(long, value_enum)]
        severity: Option<Severity>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells or says from how much at stake a warning is severe
    Policy {
        /// Medium from this amount, in the base currency
        #[arg(long, value_name = "AMOUNT", requires = "high_from")]
        medium_from: Option<String>,
        /// High from this amount
        #[arg(long, value_name = "AMOUNT", requires = "medium_from")]
        high_from: Option<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// What a warning is raised for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// Silent for longer than its rhythm explains
    Silence,
    /// Buys half as often as before
    FewerPurchases,
    /// Gets in touch half as often as before
    FewerInteractions,
    /// A complaint that is not resolved
    Complaint,
    /// Likely to leave by the churn model in force
    ChurnRisk,
    /// A low score within 14 days
    LowScore,
}

impl From<Kind> for i32 {
    fn from(kind: Kind) -> Self {
        let kind = match kind {
            Kind::Silence => WarningKind::Silence,
            Kind::FewerPurchases => WarningKind::FewerPurchases,
            Kind::FewerInteractions => WarningKind::FewerInteractions,
            Kind::Complaint => WarningKind::Complaint,
            Kind::ChurnRisk => WarningKind::ChurnRisk,
            Kind::LowScore => WarningKind::LowScore,
        };
        kind.into()
    }
}

/// How much a warning is about.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Severity {
    /// Little
    Low,
    /// Something
    Medium,
    /// Much
    High,
}

fn severity_number(severity: Option<Severity>) -> i32 {
    let severity = match severity {
        None => WarningSeverity::Unspecified,
        Some(Severity::Low) => WarningSeverity::Low,
        Some(Severity::Medium) => WarningSeverity::Medium,
        Some(Severity::High) => WarningSeverity::High,
    };
    severity.into()
}

/// What came of a warning.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Resolution {
    /// The customer stays
    Retained,
    /// The customer is leaving all the same
    Lost,
    /// The customer was not about to leave
    FalseAlarm,
    /// Nothing can be done, or it is not worth it
    NotPursued,
}

impl From<Resolution> for i32 {
    fn from(resolution: Resolution) -> Self {
        let resolution = match resolution {
            Resolution::Retained => WarningResolution::Retained,
            Resolution::Lost => WarningResolution::Lost,
            Resolution::FalseAlarm => WarningResolution::FalseAlarm,
            Resolution::NotPursued => WarningResolution::NotPursued,
        };
        resolution.into()
    }
}

/// A command's connection.
struct Asker<'a> {
    client: WarningServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: WarningServiceClient::new(connect(&config, Role::Lifecycle)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }

    fn show_warning(&self, warning: &Warning) -> anyhow::Result<()> {
        self.show(warning, "Warning", show_warning)
    }
}

/// Runs a command.
pub async fn run(command: WarningsCommand) -> anyhow::Result<()> {
    match command {
        WarningsCommand::List { customer, kind, severity, assignee, all, by_value, caller } => {
            let ended = [WarningState::Resolved, WarningState::Cleared, WarningState::Expired];
            let every = [WarningState::Open, WarningState::Acknowledged].into_iter().chain(ended).map(i32::from);
            let mut request = ListWarningsRequest {
                parent: customer,
                states: if all { every.collect() } else { Vec::new() },
                kinds: kind.into_iter().map(i32::from).collect(),
                min_severity: severity_number(severity),
                assignee,
                order: if by_value { WarningOrder::Value } else { WarningOrder::Raised }.into(),
                ..ListWarningsRequest::default()
            };
            let mut asker = Asker::begin(&caller).await?;
            let mut whole = ListWarningsResponse::default();
            // Of who does not reach everybody, a page may be short and have more behind it.
            loop {
                request.page_size = (LISTED - whole.warnings.len()) as i32;
                let page = asker.client.list_warnings(asker.session.request(request.clone())).await?.into_inner();
                whole.warnings.extend(page.warnings);
                (whole.next_page_token, whole.watermark) = (page.next_page_token.clone(), page.watermark);
                if whole.next_page_token.is_empty() || whole.warnings.len() >= LISTED {
                    break;
                }
                request.page_token = page.next_page_token;
            }
            asker.show(&whole, "ListWarningsResponse", show_list)
        }
        WarningsCommand::Show { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetWarningRequest { name });
            let answer = asker.client.get_warning(request).await?;
            asker.show_warning(answer.get_ref())
        }
        WarningsCommand::Acknowledge { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(AcknowledgeWarningRequest { name });
            let answer = asker.client.acknowledge_warning(request).await?;
            asker.show_warning(answer.get_ref())
        }
        WarningsCommand::Assign { name, who, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(AssignWarningRequest { name, assignee: who });
            let answer = asker.client.assign_warning(request).await?;
            asker.show_warning(answer.get_ref())
        }
        WarningsCommand::Resolve { name, resolution, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = ResolveWarningRequest { name, resolution: resolution.into() };
            let answer = asker.client.resolve_warning(asker.session.request(request)).await?;
            asker.show_warning(answer.get_ref())
        }
        WarningsCommand::Watch { kind, severity, caller } => watch(&caller, kind, severity).await,
        WarningsCommand::Policy { medium_from, high_from, caller } => policy(&caller, medium_from, high_from).await,
    }
}

async fn watch(caller: &CallerArgs, kinds: Vec<Kind>, severity: Option<Severity>) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let kinds = kinds.into_iter().map(i32::from).collect();
    let request = WatchWarningsRequest { kinds, min_severity: severity_number(severity), ..Default::default() };
    let mut stream = asker.client.watch_warnings(asker.session.request(request)).await?.into_inner();
    while let Some(response) = stream.message().await? {
        for warning in &response.warnings {
            match asker.caller.output {
                Format::Json => asker.show_warning(warning)?,
                Format::Table => say!("{}", row(warning).join("  ")),
            }
        }
        for name in &response.gone {
            say!("{name}  gone");
        }
    }
    Ok(())
}

async fn policy(caller: &CallerArgs, medium_from: Option<String>, high_from: Option<String>) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(GetWarningPolicyRequest {});
    let mut policy = asker.client.get_warning_policy(request).await?.into_inner();
    if let Some((medium, high)) = medium_from.zip(high_from) {
        let code = policy.high_from.as_ref().map(|money| money.currency_code.clone()).unwrap_or_default();
        policy.medium_from = Some(amount(&medium, &code)?);
        policy.high_from = Some(amount(&high, &code)?);
        let request = asker.session.request(UpdateWarningPolicyRequest { policy: Some(policy) });
        policy = asker.client.update_warning_policy(request).await?.into_inner();
    }
    asker.show(&policy, "WarningPolicy", show_policy)
}

fn amount(text: &str, currency: &str) -> anyhow::Result<Money> {
    let currency = Currency::from_code(currency).with_context(|| currency.to_owned())?;
    let minor = currency.minor_from_decimal(text).with_context(|| format!("{text} is no amount"))?;
    Ok(convert::money(currency, minor))
}

fn row(warning: &Warning) -> Vec<String> {
    let raised = convert::sent_instant(warning.raise_time.as_ref()).map(|instant| instant.to_string());
    vec![
        warning.name.clone(),
        plain(warning.kind().as_str_name(), "WARNING_KIND_"),
        plain(warning.severity().as_str_name(), "WARNING_SEVERITY_"),
        money(warning.value_at_stake.as_ref()),
        raised.unwrap_or_default(),
        plain(warning.state().as_str_name(), "WARNING_STATE_"),
        warning.assignee.clone(),
    ]
}

const HEADER: [&str; 7] = ["warning", "sign", "severity", "at stake", "raised", "state", "assignee"];

fn show_list(list: &ListWarningsResponse) {
    say!("{}", output::table(&HEADER, false, list.warnings.iter().map(row).collect()));
    if !list.next_page_token.is_empty() {
        say!("There are more.");
    }
}

fn show_warning(warning: &Warning) {
    say!("{}", output::table(&HEADER, false, vec![row(warning)]));
    let (value, risk) = (money(warning.customer_value.as_ref()), warning.risk);
    let by =
        if warning.value_model.is_empty() { "in a year".to_owned() } else { format!("by {}", warning.value_model) };
    say!("The customer is taken to be worth {value} {by}, and to be lost with a probability of {risk}.");
    let Some(evidence) = &warning.evidence else { return };
    if let Some(percent) = evidence.risk_percent {
        say!("By the churn model: {percent} %.");
    }
    if let Some(stage) = &evidence.stage {
        let (silent, rhythm) = (stage.silent_days.unwrap_or_default(), stage.rhythm_p80_days.unwrap_or_default());
        let name = plain(stage.stage().as_str_name(), "STAGE_");
        say!("It was {name}: {}. Silent for {silent} days, with a rhythm of {rhythm:.0}.", stage.reason);
    }
    say!(
        "Days with a purchase in 90: {}, before: {}. Interactions: {}, before: {}. Open complaints: {}.",
        evidence.purchase_days,
        evidence.previous_purchase_days,
        evidence.interactions,
        evidence.previous_interactions,
        evidence.open_complaints
    );
    if let Some(scored) = convert::sent_instant(evidence.last_low_score_time.as_ref()) {
        say!("Last low score: {scored}.");
    }
    if !warning.acknowledged_by.is_empty() {
        say!("Acknowledged by {}.", warning.acknowledged_by);
    }
    if let Some(ended) = convert::sent_instant(warning.end_time.as_ref()) {
        let resolution = plain(warning.resolution().as_str_name(), "WARNING_RESOLUTION_");
        match warning.resolved_by.as_str() {
            "" => say!("Ended by itself at {ended}."),
            somebody => say!("Ended at {ended} by {somebody}: {resolution}."),
        }
    }
}

fn show_policy(policy: &WarningPolicy) {
    let (medium, high) = (money(policy.medium_from.as_ref()), money(policy.high_from.as_ref()));
    say!("Severity is medium from {medium} at stake, and high from {high}.");
}
