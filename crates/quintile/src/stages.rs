//! Stage policies, for people.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, money, thousands};
use crate::progress::Progress;
use crate::remote::{Session, connect, waited_for};
use anyhow::{Context, bail};
use clap::Subcommand;
use prost::Message;
use quintile_proto::lifecycle::stage_policy_service_client::StagePolicyServiceClient;
use quintile_proto::lifecycle::{
    CreateStagePolicyVersionRequest, DeleteStagePolicyVersionRequest, GetStagePolicyRequest, ListStageFieldsRequest,
    ListStageFieldsResponse, ListStagePolicyVersionsRequest, ListStagePolicyVersionsResponse,
    PreviewStagePolicyVersionRequest, PublishStagePolicyVersionRequest, Restaging, StageParameters, StagePolicy,
    StagePolicyPreview, StagePolicyVersion, StageRule,
};
use quintile_proto::longrunning::operation::Result as Outcome;
use quintile_proto::types::{Stage, WarningKind};
use quintile_rpc::client::Channel;
use quintile_rpc::convert;

/// The tenant's policy.
const POLICY: &str = "stagePolicies/default";

#[derive(Debug, Subcommand)]
pub enum StagesCommand {
    /// Tells what stages go by now
    Show {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the fields that conditions of rules may name
    Fields {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the versions of the policy, the newest first
    History {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Makes a draft: what is not said is as it is now
    Draft {
        #[command(flatten)]
        parameters: ParameterArgs,
        /// A rule of one's own, asked before the parameters and behind those said before it, such as `dormant=rhythms_silent >= 3`
        #[arg(long = "rule", value_name = "STAGE=CONDITION", value_parser = rule, conflicts_with = "no_rules")]
        rules: Vec<StageRule>,
        /// Without rules of one's own
        #[arg(long)]
        no_rules: bool,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tries a version on everybody, without changing a stage
    Preview {
        /// `stagePolicies/default/versions/{number}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts a draft in force, and waits until everybody's stage is by it
    Publish {
        /// `stagePolicies/default/versions/{number}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Deletes a draft
    Delete {
        /// `stagePolicies/default/versions/{number}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// What the rules go by.
#[derive(Debug, clap::Args)]
pub struct ParameterArgs {
    /// The 0.8 quantile of the days between purchases of the whole population
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    population_p80_days: Option<i32>,
    /// New: the first order less than so many days ago
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    new_days: Option<i32>,
    /// New: fewer orders than this
    #[arg(long, value_name = "ORDERS", allow_negative_numbers = true)]
    new_orders: Option<i32>,
    /// Loyal: so many orders or more
    #[arg(long, value_name = "ORDERS", allow_negative_numbers = true)]
    loyal_orders: Option<i32>,
    /// Dormant: silent for more than so many times the rhythm
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true)]
    dormant_factor: Option<i32>,
    /// Churned: silent for more than so many times the rhythm
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true)]
    churned_factor: Option<i32>,
    /// Reactivated: the last order less than so many days ago
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    reactivated_days: Option<i32>,
    /// Declines are of at least so many
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    decline_min_count: Option<i32>,
    /// A sign of leaving: a risk of so many hundredths or more
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    risk_warning_percent: Option<i32>,
    /// Churned: less likely than so many hundredths to buy still; 0: never
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    churned_below_alive_percent: Option<i32>,
    /// Dormant: less likely than so many hundredths to buy still; 0: never
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    dormant_below_alive_percent: Option<i32>,
    /// At risk: less likely than so many hundredths to buy still; 0: never
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    at_risk_below_alive_percent: Option<i32>,
}

impl From<ParameterArgs> for StageParameters {
    fn from(said: ParameterArgs) -> Self {
        Self {
            population_p80_days: said.population_p80_days,
            new_days: said.new_days,
            new_orders: said.new_orders,
            loyal_orders: said.loyal_orders,
            dormant_factor: said.dormant_factor,
            churned_factor: said.churned_factor,
            reactivated_days: said.reactivated_days,
            decline_min_count: said.decline_min_count,
            risk_warning_percent: said.risk_warning_percent,
            churned_below_alive_percent: said.churned_below_alive_percent,
            dormant_below_alive_percent: said.dormant_below_alive_percent,
            at_risk_below_alive_percent: said.at_risk_below_alive_percent,
        }
    }
}

/// Reads `STAGE=CONDITION`.
fn rule(said: &str) -> Result<StageRule, String> {
    let (name, condition) = said.split_once('=').ok_or("must be STAGE=CONDITION")?;
    let name = name.trim().to_uppercase().replace(['-', ' '], "_");
    let stage = Stage::from_str_name(&format!("STAGE_{name}"));
    let stage = stage.ok_or("must begin with a stage, such as dormant or at-risk")?;
    Ok(StageRule { stage: stage.into(), condition: condition.trim().to_owned() })
}

/// A command's connection.
struct Asker<'a> {
    channel: Channel,
    client: StagePolicyServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        let channel = connect(&config, Role::Lifecycle)?;
        Ok(Self { client: StagePolicyServiceClient::new(channel.clone()), channel, session, caller })
    }

    async fn in_force(&mut self) -> anyhow::Result<StagePolicy> {
        let request = self.session.request(GetStagePolicyRequest { name: POLICY.to_owned() });
        Ok(self.client.get_stage_policy(request).await?.into_inner())
    }

    /// The rules of one's own that a draft keeps.
    async fn rules_in_force(&mut self) -> anyhow::Result<Vec<StageRule>> {
        Ok(self.in_force().await?.published.unwrap_or_default().rules)
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
pub async fn run(command: StagesCommand) -> anyhow::Result<()> {
    match command {
        StagesCommand::Show { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.in_force().await?;
            asker.show(&answer, "StagePolicy", show_policy)
        }
        StagesCommand::Fields { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ListStageFieldsRequest {});
            let answer = asker.client.list_stage_fields(request).await?.into_inner();
            asker.show(&answer, "ListStageFieldsResponse", show_fields)
        }
        StagesCommand::History { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request =
                ListStagePolicyVersionsRequest { parent: POLICY.to_owned(), page_size: 100, ..Default::default() };
            let answer = asker.client.list_stage_policy_versions(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "ListStagePolicyVersionsResponse", show_history)
        }
        StagesCommand::Draft { parameters, rules, no_rules, description, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let rules = if rules.is_empty() && !no_rules { asker.rules_in_force().await? } else { rules };
            let parameters = Some(parameters.into());
            let version = Some(StagePolicyVersion { description, parameters, rules, ..Default::default() });
            let request = CreateStagePolicyVersionRequest { parent: POLICY.to_owned(), version, ..Default::default() };
            let answer = asker.client.create_stage_policy_version(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "StagePolicyVersion", |version| say!("{}", version.name))
        }
        StagesCommand::Preview { name, caller } => preview(&caller, name).await,
        StagesCommand::Publish { name, caller } => publish(&caller, name).await,
        StagesCommand::Delete { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = DeleteStagePolicyVersionRequest { name: name.clone(), etag: String::new() };
            asker.client.delete_stage_policy_version(asker.session.request(request)).await?;
            say!("{name} is deleted.");
            Ok(())
        }
    }
}

async fn preview(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(PreviewStagePolicyVersionRequest { name });
    let mut stream = asker.client.preview_stage_policy_version(request).await?.into_inner();
    let mut progress = Progress::new("customers");
    while let Some(response) = stream.message().await? {
        if let Some(told) = response.progress {
            let (read, total) = (told.customers_read.unsigned_abs(), told.customers.unsigned_abs());
            progress.at(read, total, read);
        }
        if let Some(preview) = response.preview {
            progress.finish();
            return asker.show(&preview, "StagePolicyPreview", show_preview);
        }
    }
    bail!("the preview ended before it was whole")
}

async fn publish(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(PublishStagePolicyVersionRequest { name, etag: String::new() });
    let operation = asker.client.publish_stage_policy_version(request).await?.into_inner();
    let ended = waited_for(asker.channel.clone(), &asker.session, operation).await?;
    let Some(Outcome::Response(response)) = ended.result else { bail!("the operation has no result") };
    let restaging = Restaging::decode(response.value.as_slice()).context("the operation's response")?;
    asker.show(&restaging, "Restaging", |restaging| {
        let changed = thousands(restaging.changed_customers.unsigned_abs());
        say!("{} is in force; it has changed {changed} customers.", restaging.version);
    })
}

fn stage(number: i32) -> String {
    let name = Stage::try_from(number).map_or("", |stage| stage.as_str_name());
    name.trim_start_matches("STAGE_").to_lowercase().replace('_', " ")
}

fn state(version: &StagePolicyVersion) -> String {
    version.state().as_str_name().trim_start_matches("STAGE_POLICY_STATE_").to_lowercase()
}

fn show_policy(policy: &StagePolicy) {
    let Some(version) = &policy.published else { return };
    say!("{} is in force.", version.name);
    let said = version.parameters.unwrap_or_default();
    let rows = [
        ("population_p80_days", said.population_p80_days),
        ("new_days", said.new_days),
        ("new_orders", said.new_orders),
        ("loyal_orders", said.loyal_orders),
        ("dormant_factor", said.dormant_factor),
        ("churned_factor", said.churned_factor),
        ("reactivated_days", said.reactivated_days),
        ("decline_min_count", said.decline_min_count),
        ("risk_warning_percent", said.risk_warning_percent),
        ("churned_below_alive_percent", said.churned_below_alive_percent),
        ("dormant_below_alive_percent", said.dormant_below_alive_percent),
        ("at_risk_below_alive_percent", said.at_risk_below_alive_percent),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value.unwrap_or_default().to_string()]);
    say!("{}", output::table(&["parameter", "value"], true, rows.into()));
    show_rules(&version.rules);
}

/// The rules that are asked before the parameters, if there are any.
fn show_rules(rules: &[StageRule]) {
    if rules.is_empty() {
        return;
    }
    let rows = rules
        .iter()
        .enumerate()
        .map(|(place, rule)| vec![(place + 1).to_string(), stage(rule.stage), rule.condition.clone()]);
    say!("{}", output::table(&["rule", "stage", "condition"], false, rows.collect()));
}

fn show_fields(list: &ListStageFieldsResponse) {
    let rows = list.fields.iter().map(|field| {
        let ty = field.value_type().as_str_name().trim_start_matches("STAGE_FIELD_TYPE_").to_lowercase();
        vec![field.name.clone(), ty, field.description.clone()]
    });
    say!("{}", output::table(&["field", "type", "what it says"], false, rows.collect()));
}

fn show_history(list: &ListStagePolicyVersionsResponse) {
    let rows = list.versions.iter().map(|version| {
        let published = convert::sent_instant(version.publish_time.as_ref()).map(|instant| instant.to_string());
        vec![version.name.clone(), state(version), published.unwrap_or_default(), version.description.clone()]
    });
    say!("{}", output::table(&["version", "state", "published", "for"], false, rows.collect()));
}

fn show_preview(preview: &StagePolicyPreview) {
    if let Some(version) = &preview.version {
        show_rules(&version.rules);
    }
    let moving = preview.moves.iter().filter(|moved| moved.from != moved.to);
    let rows = moving.map(|moved| {
        let customers = thousands(moved.customers.unsigned_abs());
        vec![stage(moved.from), stage(moved.to), customers, money(moved.revenue.as_ref())]
    });
    say!("{}", output::table(&["from", "to", "customers", "revenue"], true, rows.collect()));
    let rows = preview.warnings.iter().map(|count| {
        let kind = WarningKind::try_from(count.kind).map_or("", |kind| kind.as_str_name());
        let kind = kind.trim_start_matches("WARNING_KIND_").to_lowercase().replace('_', " ");
        let [now, then] = [count.customers_in_force, count.customers].map(|count| thousands(count.unsigned_abs()));
        vec![kind, now, then]
    });
    say!("{}", output::table(&["sign", "now", "then"], true, rows.collect()));
    let [changed, all] = [preview.changed_customers, preview.customers].map(|count| thousands(count.unsigned_abs()));
    say!("{changed} of {all} customers would be in another stage.");
    if let Some(days) = preview.population_p80_days {
        say!("The population's rhythm is {days} days now.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_known_as_people_write_it() {
        for said in ["at_risk=orders == 1", "at-risk = orders == 1", "At risk=orders == 1"] {
            let read = rule(said).unwrap();
            assert_eq!((read.stage(), read.condition.as_str()), (Stage::AtRisk, "orders == 1"), "{said}");
        }
        for wrong in ["at-risk", "gone=orders == 1", "=orders == 1", "unspecified orders"] {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
    }
}
