//! Label sets, for people: listed, shown in their language, made of presets and files, drafted, counted, and put in force.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, money, thousands};
use crate::remote::{Session, connect};
use anyhow::ensure;
use clap::{ArgGroup, Args, Subcommand};
use prost::Message;
use quintile_domain::language;
use quintile_proto::segmentation::label_service_client::LabelServiceClient;
use quintile_proto::segmentation::{
    CreateLabelSetRequest, DeleteLabelSetRequest, GetLabelDistributionRequest, GetLabelSetRequest, ImpactPreview,
    Label, LabelDistribution, LabelRules, LabelSet, LabelTitle, ListLabelSetVersionsRequest,
    ListLabelSetVersionsResponse, ListLabelSetsRequest, PreviewLabelSetDraftRequest, PublishLabelSetRequest,
    UpdateLabelSetRequest,
};
use quintile_rpc::client::Channel;
use quintile_rpc::convert::sent_instant;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum LabelsCommand {
    /// Lists the label sets, with their labels and what was proved of them
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells the labels of a set that are in force, and those of its draft, with their rules
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
    /// Makes a label set of a preset or of a file, live at once
    #[command(group(ArgGroup::new("source").required(true).args(["preset", "file"])))]
    Create {
        /// The id, such as `value`
        id: String,
        /// rfm-11, rfm-8, rfm-cn-8, frequency-3, value-3, lifecycle or channel
        #[arg(long)]
        preset: Option<String>,
        /// A file that holds it as protobuf's JSON, as `show -o json` prints it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// What it is for [default: what the file says]
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Keeps it as a draft, which is live only when it is published
        #[arg(long)]
        draft: bool,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Prepares other labels for a set, or other titles for clusters; what is live stays until they are published
    #[command(group(ArgGroup::new("change").required(true).args(["file", "give_up"])))]
    Draft {
        /// `labelSets/{set}`
        name: String,
        /// A file that holds the labels as protobuf's JSON, as `show -o json` prints a set
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Gives the draft up that there is
        #[arg(long)]
        give_up: bool,
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
        LabelsCommand::Create { id, preset, file, description, draft, caller } => {
            let given = file.map(|file| read(&file, &format!("labelSets/{id}"))).transpose()?.unwrap_or_default();
            let (LabelRules { labels, overlaps_allowed }, of_file) = given;
            let description = if description.is_empty() { of_file } else { description };
            let request = CreateLabelSetRequest {
                label_set_id: id,
                label_set: Some(LabelSet { labels, overlaps_allowed, description, ..LabelSet::default() }),
                preset: preset.unwrap_or_default(),
                draft_only: draft,
                ..CreateLabelSetRequest::default()
            };
            create(request, &caller).await
        }
        LabelsCommand::Draft { name, file, give_up: _, caller } => {
            let draft = file.map(|file| read(&file, &name)).transpose()?.map(|(rules, _)| rules);
            prepare(LabelSet { name, draft, ..LabelSet::default() }, &caller).await
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

async fn create(request: CreateLabelSetRequest, caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let answer = asker.client.create_label_set(asker.session.request(request)).await?.into_inner();
    asker.show(&answer, "LabelSet", |set| show_set(set, &ReaderArgs::default()))
}

/// Gives a set the draft that it has here, or takes away the one that it has.
async fn prepare(set: LabelSet, caller: &CallerArgs) -> anyhow::Result<()> {
    let update_mask = Some(prost_types::FieldMask { paths: vec!["draft".to_owned()] });
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(UpdateLabelSetRequest { label_set: Some(set), update_mask });
    let answer = asker.client.update_label_set(request).await?.into_inner();
    asker.show(&answer, "LabelSet", |set| show_set(set, &ReaderArgs::default()))
}

/// The labels that a file holds, for the set of that name: those in force or those of a draft; and what the file's set is for.
fn read(file: &Path, name: &str) -> anyhow::Result<(LabelRules, String)> {
    let form = "a label set: {\"labels\": [{\"name\": ..., \"title\": ..., \"expression\": ...}]}";
    let set: LabelSet = output::read_json(file, "quintile.segmentation.v1.LabelSet", form)?;
    let LabelSet { labels, overlaps_allowed, draft, description, .. } = set;
    let is_clear = labels.is_empty() || draft.is_none();
    ensure!(is_clear, "{} holds `labels` and a `draft`: leave those that are meant", file.display());
    Ok((own(name, draft.unwrap_or(LabelRules { labels, overlaps_allowed })), description))
}

/// What was printed of a set, or of another one, as it can be given: under the set's own name, and without the cells that were proved.
fn own(name: &str, rules: LabelRules) -> LabelRules {
    let last = rules.labels.len().saturating_sub(1);
    let own = |(place, label): (usize, Label)| {
        let id = label.name.rsplit('/').next().unwrap_or_default();
        let is_given_by_cells = label.expression.is_empty() && place != last;
        let cells = if is_given_by_cells { label.cells } else { Vec::new() };
        Label { name: format!("{name}/labels/{id}"), cells, ..label }
    };
    LabelRules { labels: rules.labels.into_iter().enumerate().map(own).collect(), ..rules }
}

fn row(set: &LabelSet) -> Vec<String> {
    let labels: Vec<_> = set.labels.iter().map(|label| label.title.as_str()).collect();
    vec![set.name.clone(), set.version.to_string(), set.proved_cells.to_string(), labels.join(", ")]
}

fn show_set(set: &LabelSet, reader: &ReaderArgs) {
    if set.version > 0 {
        show_labels(&set.labels, reader);
    }
    if let Some(draft) = &set.draft {
        say!("{}: a draft, etag {}", set.name, set.etag);
        show_labels(&draft.labels, reader);
    }
}

fn show_labels(labels: &[Label], reader: &ReaderArgs) {
    let rows = labels.iter().enumerate().map(|(place, label)| {
        let rule = match (label.expression.as_str(), place + 1 == labels.len()) {
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
    fn what_was_printed_of_a_set_can_be_given_to_another() {
        let label = |name: &str, expression: &str, cells: &[&str]| Label {
            name: name.to_owned(),
            expression: expression.to_owned(),
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
            ..Label::default()
        };
        let printed = vec![
            label("labelSets/old/labels/often", "rfm.f >= 4", &["545", "555"]),
            label("best", "", &["555"]),
            label("labelSets/old/labels/rest", "", &["111"]),
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("set.json");
        let set = LabelSet {
            labels: printed,
            version: 3,
            overlaps_allowed: true,
            description: "by habit".to_owned(),
            ..LabelSet::default()
        };
        std::fs::write(&file, output::json(&set, "quintile.segmentation.v1.LabelSet").unwrap()).unwrap();
        let given = vec![
            label("labelSets/new/labels/often", "rfm.f >= 4", &[]),
            label("labelSets/new/labels/best", "", &["555"]),
            label("labelSets/new/labels/rest", "", &[]),
        ];
        let given = LabelRules { labels: given, overlaps_allowed: true };
        assert_eq!(read(&file, "labelSets/new").unwrap(), (given.clone(), "by habit".to_owned()));
        let write =
            |set: &LabelSet| std::fs::write(&file, output::json(set, "quintile.segmentation.v1.LabelSet").unwrap());
        write(&LabelSet { draft: Some(given.clone()), ..LabelSet::default() }).unwrap();
        assert_eq!(read(&file, "labelSets/new").unwrap().0, given);
        write(&LabelSet { draft: Some(given), ..set }).unwrap();
        assert!(read(&file, "labelSets/new").is_err(), "which of both is meant");
    }

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
