//! Scores and the models that give them, for people: explained, listed, tried and put in force.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format};
use crate::progress::Progress;
use crate::remote::{connect, waited_for};
use crate::score_texts::{WhatIf, amount, heat_map, rows_of_change, unit_of_amount};
use anyhow::Context;
use clap::Subcommand;
use prost::Message;
use quintile_domain::time::Instant;
use quintile_proto::longrunning::operation::Result as Outcome;
use quintile_proto::scoring::score_model_service_client::ScoreModelServiceClient;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::scoring::{
    ExplainScoreRequest, ListScoreChangesRequest, ListScoreModelsRequest, PreviewScoreModelVersionRequest,
    PublishScoreModelVersionRequest, Rescoring, ScoreExplanation, ScoreModelPreview,
};
use quintile_rpc::convert;

/// The changes that are listed where nobody says, and the most that are.
const LISTED: i32 = 100;
const MAX_LISTED: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum ScoreCommand {
    /// Says why a customer has its scores, and what would raise them
    Explain {
        /// `customers/{number}`, or the number
        customer: String,
        /// The model, or any version of one
        #[arg(long, default_value = "scoreModels/rfm")]
        model: String,
        /// A past instant to explain them for, such as 1998-03-01T00:00:00Z [default: now]
        #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
        as_of: Option<Instant>,
        /// What if a feature had another value, such as orders=5 or revenue=250.00: in the unit that the explanation tells; nothing behind =: none
        #[arg(long = "if", value_name = "FEATURE=VALUE", value_parser = WhatIf::parse)]
        what_if: Vec<WhatIf>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists how a customer's scores have changed and why, the newest first
    History {
        /// `customers/{number}`, or the number
        customer: String,
        /// The most changes to list
        #[arg(long, default_value_t = LISTED, value_parser = clap::value_parser!(i32).range(1..=MAX_LISTED))]
        limit: i32,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the score models
    Models {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Scores everybody by a version, without changing a score: histograms, who would move, and a heat map of its first two dimensions
    Preview {
        /// `scoreModels/{model}/versions/{number}`
        version: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts a draft in force, and waits until everybody is scored by it
    Publish {
        /// `scoreModels/{model}/versions/{number}`
        version: String,
        /// The etag that its preview told: refused if the draft is another one now
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Runs a command.
pub async fn run(command: ScoreCommand) -> anyhow::Result<()> {
    match command {
        ScoreCommand::Explain { customer, model, as_of, what_if, caller } => {
            let request = ExplainScoreRequest {
                name: name_of(&customer),
                model,
                as_of: as_of.map(convert::timestamp),
                hypothetical_inputs: Vec::new(),
            };
            explain(request, &what_if, &caller).await
        }
        ScoreCommand::History { customer, limit, caller } => history(&customer, limit, &caller).await,
        ScoreCommand::Models { caller } => models(&caller).await,
        ScoreCommand::Preview { version, caller } => preview(version, &caller).await,
        ScoreCommand::Publish { version, etag, caller } => publish(version, etag, &caller).await,
    }
}

/// The name of a customer's scores.
fn name_of(customer: &str) -> String {
    format!("customers/{}/score", customer.trim_start_matches("customers/"))
}

async fn explain(request: ExplainScoreRequest, what_if: &[WhatIf], caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ScoreServiceClient::new(connect(&config, Role::Scoring)?);
    let mut answer = client.explain_score(session.request(request.clone())).await?.into_inner();
    if !what_if.is_empty() {
        // What is so tells in which units to say what might be.
        let inputs = what_if.iter().map(|what_if| what_if.input(&answer.dimensions));
        let request = ExplainScoreRequest { hypothetical_inputs: inputs.collect::<Result<_, _>>()?, ..request };
        answer = client.explain_score(session.request(request)).await?.into_inner();
    }
    if caller.output == Format::Json {
        say!("{}", output::json(&answer, "quintile.scoring.v1.ScoreExplanation")?);
        return Ok(());
    }
    show_explanation(&answer);
    Ok(())
}

fn show_explanation(answer: &ScoreExplanation) {
    let rows = answer.dimensions.iter().map(|dimension| {
        let score = if dimension.score == 0 { "-".to_owned() } else { dimension.score.to_string() };
        let number = |number: Option<i64>| amount(number, &dimension.unit);
        let input = dimension.text_input.clone().unwrap_or_else(|| number(dimension.input));
        let (better, worse) = (number(dimension.to_next_better), number(dimension.to_next_worse));
        let unit = unit_of_amount(&dimension.unit);
        vec![dimension.dimension.clone(), score, input, better, worse, unit, dimension.reason.clone()]
    });
    say!("{}", answer.model_version);
    let header = ["dimension", "score", "input", "to better", "to worse", "in", "because"];
    say!("{}", output::table(&header, false, rows.collect()));
    if let Some(grade) = &answer.grade {
        let vip = if grade.vip { ", a VIP" } else { "" };
        say!("grade {} ({}, {} value{vip})", grade.composite, grade.band, grade.tier);
    }
}

async fn history(customer: &str, limit: i32, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ScoreServiceClient::new(connect(&config, Role::Scoring)?);
    let request = ListScoreChangesRequest { parent: name_of(customer), page_size: limit, page_token: String::new() };
    let answer = client.list_score_changes(session.request(request)).await?.into_inner();
    if caller.output == Format::Json {
        say!("{}", output::json(&answer, "quintile.scoring.v1.ListScoreChangesResponse")?);
        return Ok(());
    }
    let rows = answer.changes.iter().flat_map(rows_of_change);
    let header = ["from", "cause", "model", "before", "after"];
    say!("{}", output::table(&header, false, rows.collect()));
    if !answer.next_page_token.is_empty() {
        say!("there are earlier ones: --limit tells more, up to {MAX_LISTED}");
    }
    Ok(())
}

async fn models(caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ScoreModelServiceClient::new(connect(&config, Role::Scoring)?);
    let answer = client.list_score_models(session.request(ListScoreModelsRequest {})).await?.into_inner();
    if caller.output == Format::Json {
        say!("{}", output::json(&answer, "quintile.scoring.v1.ListScoreModelsResponse")?);
        return Ok(());
    }
    let rows = answer.score_models.into_iter().map(|model| {
        let published = model.published.unwrap_or_default();
        let dimensions: Vec<_> = published.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        let name = if published.name.is_empty() { format!("{} (none in force)", model.name) } else { published.name };
        vec![name, model.latest_version.to_string(), dimensions.join(", "), published.description]
    });
    let header = ["in force", "newest", "dimensions", "description"];
    say!("{}", output::table(&header, false, rows.collect()));
    Ok(())
}

async fn preview(version: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ScoreModelServiceClient::new(connect(&config, Role::Scoring)?);
    let request = PreviewScoreModelVersionRequest { name: version, ..Default::default() };
    let mut answers = client.preview_score_model_version(session.request(request)).await?.into_inner();
    let mut progress = Progress::new("customers");
    let mut found = None;
    while let Some(answer) = answers.message().await? {
        if let Some(told) = answer.progress {
            let read = told.customers_read.unsigned_abs();
            progress.at(read, told.customers.unsigned_abs(), read);
        }
        found = answer.preview.or(found);
    }
    let found = found.context("the preview ended before it had told anything")?;
    if caller.output == Format::Json {
        say!("{}", output::json(&found, "quintile.scoring.v1.ScoreModelPreview")?);
        return Ok(());
    }
    show_preview(&found);
    Ok(())
}

fn show_preview(found: &ScoreModelPreview) {
    let bins = found.dimensions.iter().map(|dimension| dimension.customers.len()).max().unwrap_or_default();
    let mut header = vec!["dimension".to_owned(), "none".to_owned()];
    header.extend((1..bins).map(|score| score.to_string()));
    header.extend(["moving".to_owned(), "drift".to_owned()]);
    let rows = found.dimensions.iter().map(|dimension| {
        let count = |customers: i64| output::thousands(customers.unsigned_abs());
        let mut row = vec![dimension.dimension.clone()];
        row.extend(dimension.customers.iter().map(|customers| count(*customers)));
        row.resize(bins + 1, String::new());
        row.push(count(dimension.moves.iter().map(|moved| moved.customers).sum()));
        row.push(dimension.stability_index.map_or("-".to_owned(), |index| format!("{index:.3}")));
        row
    });
    let header: Vec<_> = header.iter().map(String::as_str).collect();
    say!("{}", output::table(&header, true, rows.collect()));
    if let Some((heading, header, rows)) = heat_map(found) {
        say!("{heading}");
        let header: Vec<_> = header.iter().map(String::as_str).collect();
        say!("{}", output::table(&header, true, rows));
    }
    let version = found.version.clone().unwrap_or_default();
    let summary = version.preview.unwrap_or_default();
    if summary.customers > 0 {
        let count = |customers: i64| output::thousands(customers.unsigned_abs());
        say!("{} of {} customers would change", count(summary.changed_customers), count(summary.customers));
    }
    say!("etag {}", version.etag);
}

async fn publish(version: String, etag: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ScoreModelServiceClient::new(connect(&config, Role::Scoring)?);
    let request = PublishScoreModelVersionRequest { name: version, etag };
    let begun = client.publish_score_model_version(session.request(request)).await?.into_inner();
    let ended = waited_for(connect(&config, Role::Scoring)?, &session, begun).await?;
    if caller.output == Format::Json {
        say!("{}", output::json(&ended, "google.longrunning.Operation")?);
        return Ok(());
    }
    let Some(Outcome::Response(response)) = ended.result else { anyhow::bail!("the operation has no result") };
    let done = Rescoring::decode(response.value.as_slice())?;
    let changed = output::thousands(done.changed_customers.unsigned_abs());
    say!("{} is in force: {changed} customers changed", done.version);
    Ok(())
}
