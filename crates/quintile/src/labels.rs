//! Label sets, for people: listed, shown in their language, made of presets, counted, and put in force.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, money, thousands};
use crate::remote::{Session, connect};
use clap::{Args, Subcommand};
use prost::Message;
use quintile_domain::language;
use quintile_proto::segmentation::label_service_client::LabelServiceClient;
use quintile_proto::segmentation::{
    CreateLabelSetRequest, DeleteLabelSetRequest, GetLabelDistributionRequest, GetLabelSetRequest, ImpactPreview,
    LabelDistribution, LabelSet, LabelTitle, ListLabelSetVersionsRequest, ListLabelSetVersionsResponse,
    ListLabelSetsRequest, PreviewLabelSetDraftRequest, PublishLabelSetRequest,
};
use quintile_rpc::convert::sent_instant;
use tonic::transport::Channel;

#[derive(Debug, Subcommand)]
pub enum LabelsCommand {
    /// Lists the label sets, with their labels and what was proved of them
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells the labels of a set that are in force, with their rules
    Show {
        /// `labelSets/{set}`
        #[arg(default_value = "labelSets/rfm-11")]
        name: String,
        #[command(flatten)]
        reader: ReaderArgs,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Counts the customers and their revenue under each label of a set
    Count {
        /// `labelSets/{set}`
        #[arg(default_value = "labelSets/rfm-11")]
        name: String,
        #[command(flatten)]
        reader: ReaderArgs,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Makes a label set of a preset, live at once
    Create {
        /// The id, such as `value`
        id: String,
        /// rfm-11, rfm-8, rfm-cn-8, frequency-3, value-3, lifecycle or channel
        #[arg(long)]
        preset: String,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells who would get which label if the draft of a set were published
    Diff {
        /// `labelSets/{set}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts the draft of a label set in force
    Publish {
        /// `labelSets/{set}`
        name: String,
        /// The etag that `diff` told: refused if the set is another one now
        etag: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists what was published of a label set
    History {
        /// `labelSets/{set}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Deletes a label set
    Delete {
        /// `labelSets/{set}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Who reads a table.
#[derive(Debug, Default, Args)]
pub struct ReaderArgs {
    /// Titles in this language, such as zh, where labels have them; JSON has all [default: the titles without language]
    #[arg(long, value_name = "BCP47", default_value = "", hide_default_value = true, value_parser = language_tag)]
    language: String,
}

/// Reads a language; empty: none.
fn language_tag(said: &str) -> Result<String, String> {
    // As `zh_CN` they are written, too.
    let is_tag = said.is_empty() || language::is_tag(&said.replace('_', "-"));
    if is_tag { Ok(said.to_owned()) } else { Err("must be a BCP 47 tag, such as zh or zh-Hant".to_owned()) }
}

impl ReaderArgs {
    /// What a label is called for the reader.
    fn title(&self, title: &str, titles: &[LabelTitle]) -> String {
        let found = language::lookup(titles, |title| &title.language, &self.language);
        found.map_or(title, |found| &found.title).to_owned()
    }
}

/// A command's connection.
struct Asker<'a> {
    client: LabelServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: LabelServiceClient::new(connect(&config, Role::Segmentation)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.segmentation.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }
}

/// Runs a command.
pub async fn run(command: LabelsCommand) -> anyhow::Result<()> {
    match command {
        LabelsCommand::List { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ListLabelSetsRequest::default());
            let answer = asker.client.list_label_sets(request).await?.into_inner();
            asker.show(&answer, "ListLabelSetsResponse", |answer| {
                let rows = answer.label_sets.iter().map(row).collect();
                say!("{}", output::table(&["label set", "version", "proved cells", "labels"], false, rows));
            })
        }
        LabelsCommand::Show { name, reader, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetLabelSetRequest { name });
            let answer = asker.client.get_label_set(request).await?.into_inner();
            asker.show(&answer, "LabelSet", |set| show_set(set, &reader))
        }
        LabelsCommand::Count { name, reader, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetLabelDistributionRequest { name });
            let answer = asker.client.get_label_distribution(request).await?.into_inner();
            asker.show(&answer, "LabelDistribution", |distribution| show_distribution(distribution, &reader))
        }
        LabelsCommand::Create { id, preset, description, caller } => {
            let request = CreateLabelSetRequest {
                label_set_id: id,
                label_set: Some(LabelSet { description, ..LabelSet::default() }),
                preset,
                ..CreateLabelSetRequest::default()
            };
            let mut asker = Asker::begin(&caller).await?;
            let answer = asker.client.create_label_set(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "LabelSet", |set| show_set(set, &ReaderArgs::default()))
        }
        LabelsCommand::Diff { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(PreviewLabelSetDraftRequest { name });
            let answer = asker.client.preview_label_set_draft(request).await?.into_inner();
            asker.show(&answer, "ImpactPreview", show_diff)
        }
        LabelsCommand::Publish { name, etag, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(PublishLabelSetRequest { name, etag });
            let answer = asker.client.publish_label_set(request).await?.into_inner();
            asker.show(&answer, "LabelSet", |set| show_set(set, &ReaderArgs::default()))
        }
        LabelsCommand::History { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ListLabelSetVersionsRequest { parent: name });
            let answer = asker.client.list_label_set_versions(request).await?.into_inner();
            asker.show(&answer, "ListLabelSetVersionsResponse", show_history)
        }
        LabelsCommand::Delete { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = DeleteLabelSetRequest { name: name.clone(), etag: String::new() };
            let answer = asker.client.delete_label_set(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "DeleteLabelSetResponse", |_| say!("{name} deleted"))
        }
    }
}

fn row(set: &LabelSet) -> Vec<String> {
    let labels: Vec<_> = set.labels.iter().map(|label| label.title.as_str()).collect();
    vec![set.name.clone(), set.version.to_string(), set.proved_cells.to_string(), labels.join(", ")]
}

fn show_set(set: &LabelSet, reader: &ReaderArgs) {
    let rows = set.labels.iter().enumerate().map(|(place, label)| {
        let rule = match (label.expression.as_str(), place + 1 == set.labels.len()) {
            ("", true) => "everybody else",
            ("", false) => "nearest to the cluster",
            (expression, _) => expression,
        };
        vec![label.name.clone(), reader.title(&label.title, &label.titles), rule.to_owned()]
    });
    say!("{}", output::table(&["label", "title", "rule"], false, rows.collect()));
}

fn show_distribution(distribution: &LabelDistribution, reader: &ReaderArgs) {
    let rows = distribution.labels.iter().map(|label| {
        let title = reader.title(&label.title, &label.titles);
        vec![title, thousands(label.customers.unsigned_abs()), money(label.net_revenue.as_ref())]
    });
    say!("{}", output::table(&["label", "customers", "net revenue"], true, rows.collect()));
}

fn show_diff(preview: &ImpactPreview) {
    let label = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let moving = preview.moves.iter().filter(|moves| moves.from != moves.to);
    let rows = moving.map(|moves| {
        let customers = thousands(moves.customers.unsigned_abs());
        vec![label(&moves.from), label(&moves.to), customers, money(moves.net_revenue.as_ref())]
    });
    say!("{}", output::table(&["from", "to", "customers", "net revenue"], true, rows.collect()));
    let (moving, all) = (preview.moving_customers.unsigned_abs(), preview.population.unsigned_abs());
    say!("{} of {} would get another label; etag {}", thousands(moving), thousands(all), preview.etag);
}

fn show_history(answer: &ListLabelSetVersionsResponse) {
    let rows = answer.versions.iter().map(|version| {
        let published = sent_instant(version.publish_time.as_ref()).map(|at| at.to_string()).unwrap_or_default();
        let number = version.name.rsplit('/').next().unwrap_or_default().to_owned();
        let labels = version.rules.iter().flat_map(|rules| &rules.labels).map(|label| label.title.as_str());
        vec![number, published, thousands(version.moved.unsigned_abs()), labels.collect::<Vec<_>>().join(", ")]
    });
    say!("{}", output::table(&["version", "published", "moved", "labels"], false, rows.collect()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_a_tag_or_none() {
        for tag in ["", "zh", "zh-Hant", "zh_CN"] {
            assert_eq!(language_tag(tag), Ok(tag.to_owned()));
        }
        for wrong in ["xx-!!", "zh-", "-", "Chinese, please"] {
            assert!(language_tag(wrong).is_err(), "{wrong}");
        }
    }
}
