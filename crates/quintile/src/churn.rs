//! Churn models, for people: trained, put in force and watched; and how likely customers are to leave by them.

use crate::churn_labels::{LabelArgs, folds, short, who_leaves};
use crate::commands::CallerArgs;
use crate::config::{Config, Role};
use crate::output::{self, Format, date, instant, plain, thousands};
use crate::remote::{Session, connect};
use crate::{churn_drift, churn_in_force, churn_trainings};
use clap::Subcommand;
use prost::Message;
use quintile_proto::lifecycle::churn_model_service_client::ChurnModelServiceClient;
use quintile_proto::lifecycle::churn_service_client::ChurnServiceClient;
use quintile_proto::lifecycle::{
    ChurnBaseline, ChurnCandidate, ChurnDriver, ChurnDriverLevel, ChurnEvaluation, ChurnFactor, ChurnModel,
    ChurnModelState, ChurnPeriod, ChurnRisk, GetChurnModelRequest, GetChurnRiskRequest, ListChurnModelsRequest,
    ListChurnModelsResponse, ListChurnRisksRequest, ListChurnRisksResponse,
};
use quintile_proto::longrunning::operations_client::OperationsClient;
use quintile_rpc::client::Channel;

/// Models of a page: the most that there may be.
const MODELS_PER_PAGE: i32 = 100;
/// Risks of a page: the most that there may be.
const RISKS_PER_PAGE: u32 = 1_000;
/// Drivers that are told of a model.
const DRIVERS: usize = 10;
/// Levels that are told of a driver.
const LEVELS: usize = 3;
/// What stands for a value that is not told.
const UNTOLD: &str = "-";

#[derive(Debug, Subcommand)]
pub enum ChurnCommand {
    /// Trains a model of who will leave on what came after past days, judges it, and keeps it as a draft. Goes on where the command is interrupted
    Train {
        /// Whoever does not order in so many days has left, 7 to 365 [default: 90]
        #[arg(
            long,
            value_name = "DAYS",
            conflicts_with = "label",
            allow_negative_numbers = true,
            value_parser = clap::value_parser!(i32).range(7..=365)
        )]
        horizon_days: Option<i32>,
        #[command(flatten)]
        label: LabelArgs,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Ends a training that waits or goes on: nothing is kept of it
    Cancel {
        /// `operations/{number}`, as an interrupted `train` told
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells when models are trained anew by themselves, and what came of it; or says when
    Schedule {
        /// So many days after the last one was judged or attempted, 1 to 3653, or sooner where its risks have shifted; 0: never
        #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
        every: Option<i32>,
        /// Put in force what is better than all that it is held against
        #[arg(long, requires = "every")]
        publish: bool,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts a draft in force that is better than all that it was held against: risks are by it at once. Waits until records are too
    Publish {
        /// `churnModels/{number}`
        name: String,
        /// The etag that `train` or `show` told: refused if the model has changed since
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Takes the model in force out of it: nobody has a risk until another one is published. Waits until records say so too
    Retire {
        /// `churnModels/{number}`
        name: String,
        /// The etag that `show` told: refused if the model has changed since
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the models, the newest first, with how the risks of each had moved when that was last measured
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells what a model has learnt from, how well it foretells, why customers leave, and whether its risks have shifted
    Show {
        /// `churnModels/{number}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells how likely a customer is to leave, and why
    Risk {
        /// `customers/{number}`, or the number
        customer: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists customers who are likely to leave, by number
    AtRisk {
        /// Those with this risk and above, 0 to 1
        #[arg(long, value_name = "PROBABILITY", default_value_t = 0.5)]
        min_risk: f64,
        /// Customers to list at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Compares everybody's risks now with those that the model in force gave when it was judged. By itself it is measured each week: see `show`
    Drift {
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// A command's connection.
pub struct Asker<'a> {
    pub models: ChurnModelServiceClient<Channel>,
    risks: ChurnServiceClient<Channel>,
    pub operations: OperationsClient<Channel>,
    pub session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    pub async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Self::with(caller, &config, session)
    }

    /// For what goes through everybody, and waits until another training is over.
    pub async fn begin_long(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let config = Config::load(&caller.config)?;
        let session = Session::begin_long(&config, &caller.identity()).await?;
        Self::with(caller, &config, session)
    }

    fn with(caller: &'a CallerArgs, config: &Config, session: Session) -> anyhow::Result<Self> {
        let channel = connect(config, Role::Lifecycle)?;
        let models = ChurnModelServiceClient::new(channel.clone());
        let operations = OperationsClient::new(channel.clone());
        Ok(Self { models, risks: ChurnServiceClient::new(channel), operations, session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    pub fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }
}

/// Runs a command.
pub async fn run(command: ChurnCommand) -> anyhow::Result<()> {
    match command {
        ChurnCommand::Train { horizon_days, label, caller } => {
            churn_trainings::train(&caller, horizon_days.unwrap_or_default(), label.message()).await
        }
        ChurnCommand::Cancel { name, caller } => churn_trainings::cancel(&caller, name).await,
        ChurnCommand::Schedule { every, publish, caller } => churn_trainings::schedule(&caller, every, publish).await,
        ChurnCommand::Publish { name, etag, caller } => churn_in_force::publish(&caller, name, etag).await,
        ChurnCommand::Retire { name, etag, caller } => churn_in_force::retire(&caller, name, etag).await,
        ChurnCommand::List { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = ListChurnModelsRequest { page_size: MODELS_PER_PAGE, ..ListChurnModelsRequest::default() };
            let answer = asker.models.list_churn_models(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "ListChurnModelsResponse", show_list)
        }
        ChurnCommand::Show { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetChurnModelRequest { name });
            let answer = asker.models.get_churn_model(request).await?.into_inner();
            asker.show(&answer, "ChurnModel", show_model)
        }
        ChurnCommand::Risk { customer, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetChurnRiskRequest { name: risk_name(&customer) });
            let answer = asker.risks.get_churn_risk(request).await?.into_inner();
            asker.show(&answer, "ChurnRisk", show_risk)
        }
        ChurnCommand::AtRisk { min_risk, limit, caller } => at_risk(&caller, min_risk, limit).await,
        ChurnCommand::Drift { caller } => churn_drift::drift(&caller).await,
    }
}

/// The name of a customer's risk, from its own, the customer's, or the number.
fn risk_name(customer: &str) -> String {
    let number = customer.trim_start_matches("customers/").trim_end_matches("/churnRisk");
    format!("customers/{number}/churnRisk")
}

/// Page by page, up to `limit`.
async fn at_risk(caller: &CallerArgs, min_risk: f64, limit: u32) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let mut listed = ListChurnRisksResponse::default();
    // A page looks at so many customers, and may be empty with more behind it.
    loop {
        let left = limit.saturating_sub(u32::try_from(listed.risks.len())?);
        let page_size = i32::try_from(left.min(RISKS_PER_PAGE))?;
        let request = ListChurnRisksRequest { min_risk, page_size, page_token: listed.next_page_token };
        let page = asker.risks.list_churn_risks(asker.session.request(request)).await?.into_inner();
        listed.risks.extend(page.risks);
        listed.next_page_token = page.next_page_token;
        if listed.next_page_token.is_empty() || u32::try_from(listed.risks.len())? >= limit {
            break;
        }
    }
    asker.show(&listed, "ListChurnRisksResponse", show_risks)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

const HEADER: [&str; 8] = ["model", "state", "who leaves", "method", "area under curve", "better", "drift", "trained"];

fn row(model: &ChurnModel) -> Vec<String> {
    // Who does not reach everybody is not told the figures.
    let area = model.evaluation.as_ref().map(|evaluation| format!("{:.3}", evaluation.area_under_curve));
    vec![
        model.name.clone(),
        plain(model.state().as_str_name(), "CHURN_MODEL_STATE_"),
        who_leaves(model),
        plain(model.method().as_str_name(), "CHURN_METHOD_"),
        area.unwrap_or("-".to_owned()),
        yes_or_no(model.better),
        churn_drift::last(model),
        instant(model.create_time.as_ref()),
    ]
}

fn show_list(list: &ListChurnModelsResponse) {
    say!("{}", output::table(&HEADER, false, list.models.iter().map(row).collect()));
    for model in list.models.iter().filter(|model| model.drift_alarm_time.is_some()) {
        say!("ALARM: the risks of {} have shifted. Train a new model: quintile churn train", model.name);
    }
    if !list.next_page_token.is_empty() {
        say!("There are more.");
    }
}

/// Prints a model as a person reads it.
pub fn show_model(model: &ChurnModel) {
    say!("{}", output::table(&HEADER, false, vec![row(model)]));
    let periods = [("fitted to", &model.fit), ("calibrated on", &model.calibration), ("judged by", &model.holdout)];
    let rows = periods.into_iter().filter_map(|(what, period)| Some(period_row(what, period.as_ref()?)));
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        say!("{}", output::table(&["it was", "day", "customers", "left", "share"], true, rows));
    }
    if let Some(evaluation) = &model.evaluation {
        if evaluation.folds > 0 {
            say!("{}", folds(evaluation));
        }
        show_figures(&model.name, evaluation, &model.candidates, &model.baselines);
    }
    if !model.drivers.is_empty() {
        show_drivers(&model.drivers);
    }
    if model.sampled_one_in > 1 {
        say!("It has learnt from one in {} customers.", model.sampled_one_in);
    }
    if model.publish_time.is_some() {
        say!("Published at {}.", instant(model.publish_time.as_ref()));
    }
    churn_drift::show(model);
    match model.state() {
        ChurnModelState::Draft if model.better => {
            say!("It is better than all that it was held against. To put it in force:");
            say!("quintile churn publish {} --etag '{}'", model.name, model.etag);
        }
        ChurnModelState::Draft => say!("It is not better than all that it was held against: it can't be put in force."),
        _ => say!("etag {}", model.etag),
    }
}

fn period_row(what: &str, period: &ChurnPeriod) -> Vec<String> {
    let [customers, left] = [period.customers, period.left].map(|count| thousands(count.unsigned_abs()));
    let share = period.left as f64 / period.customers.max(1) as f64;
    vec![what.to_owned(), date(period.date.as_ref()), customers, left, percent(share)]
}

/// How a model foretells, beside the other ways to learn and what it was held against.
fn show_figures(name: &str, evaluation: &ChurnEvaluation, candidates: &[ChurnCandidate], baselines: &[ChurnBaseline]) {
    let figures = |by: &str, evaluation: &ChurnEvaluation| {
        vec![
            by.to_owned(),
            format!("{:.3}", evaluation.area_under_curve),
            format!("{:.3}", evaluation.kolmogorov_smirnov),
            format!("{:.4}", evaluation.brier),
            format!("{:.4}", evaluation.calibration_error),
            format!("{:.2}", evaluation.lift_in_top_tenth),
        ]
    };
    // Of a model of orders `-o json` tells what else was tried.
    let others = candidates.iter().filter_map(|one| Some((one.method(), one.evaluation.as_ref()?)));
    let others = others.filter(|(_, evaluation)| evaluation.folds > 0);
    let others = others.map(|(method, evaluation)| figures(&plain(method.as_str_name(), "CHURN_METHOD_"), evaluation));
    let rows = baselines.iter().filter_map(|baseline| Some((&baseline.baseline, baseline.evaluation.as_ref()?)));
    let rows = others.chain(rows.map(|(by, evaluation)| figures(by, evaluation)));
    let header = ["foretold by", "area under curve", "KS", "Brier", "calibration error", "lift in top tenth"];
    say!("{}", output::table(&header, true, std::iter::once(figures(name, evaluation)).chain(rows).collect()));
    let rows = baselines.iter().map(|baseline| {
        let area = format!("{:+.3}", baseline.area_gained);
        let error = format!("{:.3}", baseline.area_gained_standard_error);
        let brier = format!("{:+.4}", baseline.brier_gained);
        vec![baseline.baseline.clone(), area, error, brier, yes_or_no(baseline.better)]
    });
    let header = ["against", "area gained", "standard error", "Brier change", "better"];
    say!("{}", output::table(&header, true, rows.collect()));
    say!("Brier scores are better the lower they are, areas the larger.");
}

fn show_drivers(drivers: &[ChurnDriver]) {
    let rows = drivers.iter().take(DRIVERS).map(|driver| {
        let direction = driver.direction.map(|direction| format!("{direction:+.2}"));
        let levels: Vec<_> = driver.levels.iter().take(LEVELS).map(level).collect();
        let strength = format!("{:.3}", driver.strength);
        vec![short(&driver.feature).to_owned(), strength, direction.unwrap_or_default(), levels.join(", ")]
    });
    let header = ["why they leave", "strength", "direction", "strongest values"];
    say!("{}", output::table(&header, false, rows.collect()));
    if drivers.len() > DRIVERS {
        say!("There are {} more, that matter less: `-o json` tells all.", drivers.len() - DRIVERS);
    }
}

/// A value of a driver, and what it adds to the log-odds of leaving.
fn level(level: &ChurnDriverLevel) -> String {
    let value = match (level.missing, level.level.as_str()) {
        (true, _) => "(missing)",
        (false, "") => "(others)",
        (false, value) => value,
    };
    format!("{value} {:+.2}", level.mean_contribution)
}

fn show_risk(risk: &ChurnRisk) {
    let rows = risk.factors.iter().map(|factor| {
        let adds = format!("{:+.3}", factor.contribution);
        vec![short(&factor.feature).to_owned(), value(factor), adds]
    });
    let rows: Vec<_> = rows.collect();
    let is_untold = rows.iter().any(|row| row[1] == UNTOLD);
    say!("{}", output::table(&["feature", "is", "adds to log-odds"], true, rows));
    if is_untold {
        say!("{UNTOLD}: nobody knows it, or it is money or tells something about a person, and is told to nobody.");
    }
    let base = risk.base_log_odds;
    say!("Log-odds begin at {base:+.3}, the mean of whom the model was fitted to; what adds makes leaving likelier.");
    let customer = risk.name.trim_end_matches("/churnRisk");
    let (model, as_of) = (&risk.model, instant(risk.as_of.as_ref()));
    let within = if risk.horizon_days > 0 { format!(" within {} days", risk.horizon_days) } else { String::new() };
    let chance = percent(risk.risk);
    say!("{customer} leaves{within} with a probability of {chance}, by {model} as of {as_of}.");
}

/// What a feature is of the customer; [`UNTOLD`] where nobody knows, or it is money or tells something about a person.
fn value(factor: &ChurnFactor) -> String {
    match (factor.number, factor.text.as_str()) {
        (Some(number), _) => ((number * 100.0).round() / 100.0).to_string(),
        (None, "") => UNTOLD.to_owned(),
        (None, text) => text.to_owned(),
    }
}

fn show_risks(list: &ListChurnRisksResponse) {
    let rows = list.risks.iter().map(|risk| {
        let customer = risk.name.trim_end_matches("/churnRisk").to_owned();
        vec![customer, percent(risk.risk), risk.model.clone()]
    });
    say!("{}", output::table(&["customer", "risk", "by"], true, rows.collect()));
    if !list.next_page_token.is_empty() {
        say!("There may be more.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_known_by_each_of_its_names() {
        for customer in ["42", "customers/42", "customers/42/churnRisk"] {
            assert_eq!(risk_name(customer), "customers/42/churnRisk");
        }
    }

    #[test]
    fn what_a_feature_is_reads_as_people_write_it() {
        let factor = |number, text: &str| ChurnFactor { number, text: text.to_owned(), ..ChurnFactor::default() };
        assert_eq!(value(&factor(Some(90.0), "")), "90");
        assert_eq!(value(&factor(Some(1.0 / 3.0), "")), "0.33");
        assert_eq!(value(&factor(None, "online")), "online");
        assert_eq!(value(&factor(None, "")), "-");
    }

    #[test]
    fn values_that_have_no_name_are_told_from_each_other() {
        let named = |name: &str, missing| ChurnDriverLevel {
            level: name.to_owned(),
            missing,
            mean_contribution: 0.25,
            ..ChurnDriverLevel::default()
        };
        assert_eq!(level(&named("online", false)), "online +0.25");
        assert_eq!(level(&named("", false)), "(others) +0.25");
        assert_eq!(level(&named("", true)), "(missing) +0.25");
    }
}
