//! Label sets, for people: listed, made of presets, and counted.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, money, thousands};
use crate::remote::connect;
use clap::Subcommand;
use quintile_proto::segmentation::label_service_client::LabelServiceClient;
use quintile_proto::segmentation::{
    CreateLabelSetRequest, GetLabelDistributionRequest, LabelSet, ListLabelSetsRequest,
};

#[derive(Debug, Subcommand)]
pub enum LabelsCommand {
    /// Lists the label sets, with their labels and what was proved of them
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Counts the customers and their revenue under each label of a set
    Count {
        /// `labelSets/{set}`
        #[arg(default_value = "labelSets/rfm-11")]
        name: String,
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
}

/// Runs a command.
pub async fn run(command: LabelsCommand) -> anyhow::Result<()> {
    match command {
        LabelsCommand::List { caller } => {
            let (config, session) = caller.session().await?;
            let mut client = LabelServiceClient::new(connect(&config, Role::Segmentation)?);
            let request = session.request(ListLabelSetsRequest::default());
            let answer = client.list_label_sets(request).await?.into_inner();
            if caller.output == Format::Json {
                say!("{}", output::json(&answer, "quintile.segmentation.v1.ListLabelSetsResponse")?);
                return Ok(());
            }
            let rows = answer.label_sets.iter().map(row).collect();
            say!("{}", output::table(&["label set", "version", "proved cells", "labels"], false, rows));
            Ok(())
        }
        LabelsCommand::Count { name, caller } => count(name, &caller).await,
        LabelsCommand::Create { id, preset, description, caller } => {
            let (config, session) = caller.session().await?;
            let mut client = LabelServiceClient::new(connect(&config, Role::Segmentation)?);
            let request = CreateLabelSetRequest {
                label_set_id: id,
                label_set: Some(LabelSet { description, ..LabelSet::default() }),
                preset,
                ..CreateLabelSetRequest::default()
            };
            let answer = client.create_label_set(session.request(request)).await?.into_inner();
            if caller.output == Format::Json {
                say!("{}", output::json(&answer, "quintile.segmentation.v1.LabelSet")?);
                return Ok(());
            }
            let rows = answer.labels.iter().map(|label| {
                let rule = if label.expression.is_empty() { "everybody else" } else { &label.expression };
                vec![label.name.clone(), label.title.clone(), rule.to_owned()]
            });
            say!("{}", output::table(&["label", "title", "rule"], false, rows.collect()));
            Ok(())
        }
    }
}

fn row(set: &LabelSet) -> Vec<String> {
    let labels: Vec<_> = set.labels.iter().map(|label| label.title.as_str()).collect();
    vec![set.name.clone(), set.version.to_string(), set.proved_cells.to_string(), labels.join(", ")]
}

async fn count(name: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = LabelServiceClient::new(connect(&config, Role::Segmentation)?);
    let request = session.request(GetLabelDistributionRequest { name });
    let answer = client.get_label_distribution(request).await?.into_inner();
    if caller.output == Format::Json {
        say!("{}", output::json(&answer, "quintile.segmentation.v1.LabelDistribution")?);
        return Ok(());
    }
    let rows = answer.labels.iter().map(|label| {
        vec![label.title.clone(), thousands(label.customers.unsigned_abs()), money(label.net_revenue.as_ref())]
    });
    say!("{}", output::table(&["label", "customers", "net revenue"], true, rows.collect()));
    Ok(())
}
