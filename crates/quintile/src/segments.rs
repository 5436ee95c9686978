//! Segments, for people: tried, saved, changed, listed, and written to files.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::demo;
use crate::export;
use crate::output::{self, Format, money, thousands};
use crate::remote::{Session, connect};
use clap::Subcommand;
use prost::Message;
use quintile_proto::segmentation::expression_service_client::ExpressionServiceClient;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_proto::segmentation::{
    AddMembersRequest, Breakdown, CheckExpressionRequest, CreateSegmentRequest, DeleteSegmentRequest,
    ListFieldsRequest, ListMembersRequest, ListMembersResponse, ListSegmentVersionsRequest, ListSegmentsRequest,
    MembershipMove, PreviewSegmentDraftRequest, PreviewSegmentRequest, PublishSegmentRequest, RemoveMembersRequest,
    Segment, SegmentDraftPreview, SegmentKind, SegmentPreview, UpdateSegmentRequest,
};
use quintile_rpc::client::Channel;
use quintile_rpc::convert::sent_instant;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum SegmentsCommand {
    /// Lists the saved segments
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the fields that rules may name
    Fields {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Writes a rule as everybody would, or says what is wrong with it and where
    Check {
        /// The rule, such as `rfm.r >= 4 && orders >= 3`
        expression: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Counts the customers of an expression exactly, without saving anything
    Preview {
        /// The rule, such as `rfm.r >= 4 && orders >= 3`
        expression: String,
        /// Customers to name
        #[arg(long, default_value_t = 0)]
        sample: i32,
        /// Fields to break the customers down by, apart by commas, such as `channel,orders`
        #[arg(long = "by", value_name = "FIELDS", value_delimiter = ',')]
        by: Vec<String>,
        /// Segments or labels to tell the overlap with, apart by commas
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        overlap: Vec<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Saves a segment of a rule, or a static list
    Create {
        /// The id, such as `vip`
        id: String,
        /// The rule. Of a list: whom it begins with
        #[arg(default_value = "", hide_default_value = true)]
        expression: String,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Keeps it as a draft, which is live only when it is published
        #[arg(long, conflicts_with = "list")]
        draft: bool,
        /// Makes a static list, which members are put on and taken off
        #[arg(long)]
        list: bool,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Prepares another rule for a segment; what is live stays until it is published
    Draft {
        /// `segments/{id}`
        name: String,
        /// The rule
        expression: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells who would enter and leave if the draft of a segment were published
    Diff {
        /// `segments/{id}`
        name: String,
        /// Customers to name of those who would enter, and of those who would leave
        #[arg(long, default_value_t = 0)]
        sample: i32,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts the draft of a segment in force
    Publish {
        /// `segments/{id}`
        name: String,
        /// The etag that `diff` told: refused if the segment is another one now
        etag: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists what was published of a segment
    History {
        /// `segments/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts customers on a static list
    Add {
        /// `segments/{id}`
        name: String,
        /// `customers/{number}`, or numbers
        #[arg(required = true)]
        customers: Vec<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Takes customers off a static list
    Remove {
        /// `segments/{id}`
        name: String,
        /// `customers/{number}`, or numbers
        #[arg(required = true)]
        customers: Vec<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Deletes a segment
    Delete {
        /// `segments/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the members of a segment or label
    Members {
        /// `segments/{id}` or `labelSets/{set}/labels/{label}`
        parent: String,
        /// Members to list at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Writes the members of a segment or label, with what the caller may see of them, to a Parquet or CSV file
    Export {
        /// `segments/{id}` or `labelSets/{set}/labels/{label}`
        parent: String,
        /// The file, ending in .parquet or .csv
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Writes by what advertising and social platforms know those members of a segment or label who consent to being passed on, to a CSV file
    Audience {
        /// `segments/{id}` or `labelSets/{set}/labels/{label}`
        parent: String,
        /// The file, ending in .csv
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Members of a page: the most that there may be.
const MEMBERS_PER_PAGE: u32 = 10_000;

/// A command's connection.
struct Asker<'a> {
    client: SegmentServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: SegmentServiceClient::new(connect(&config, Role::Segmentation)?), session, caller })
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
pub async fn run(command: SegmentsCommand) -> anyhow::Result<()> {
    match command {
        SegmentsCommand::List { caller } => list(&caller).await,
        SegmentsCommand::Fields { caller } => fields(&caller).await,
        SegmentsCommand::Check { expression, caller } => check(expression, &caller).await,
        SegmentsCommand::Preview { expression, sample, by, overlap, caller } => {
            let request = PreviewSegmentRequest {
                expression,
                sample_size: sample,
                breakdown_fields: by,
                overlap_parents: overlap,
            };
            preview(request, &caller).await
        }
        SegmentsCommand::Create { id, expression, description, draft, list, caller } => {
            let kind = if list { SegmentKind::Static } else { SegmentKind::Rule };
            let segment = Segment { expression, description, kind: kind.into(), ..Segment::default() };
            let (segment_id, request_id) = (id, String::new());
            let segment = Some(segment);
            create(CreateSegmentRequest { segment_id, segment, request_id, draft_only: draft }, &caller).await
        }
        SegmentsCommand::Draft { name, expression, caller } => draft(name, expression, &caller).await,
        SegmentsCommand::Diff { name, sample, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = PreviewSegmentDraftRequest { name, sample_size: sample };
            let answer = asker.client.preview_segment_draft(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "SegmentDraftPreview", show_diff)
        }
        SegmentsCommand::Publish { name, etag, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = PublishSegmentRequest { name, etag };
            let answer = asker.client.publish_segment(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "Segment", show_segment)
        }
        SegmentsCommand::History { name, caller } => history(name, &caller).await,
        SegmentsCommand::Add { name, customers, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = AddMembersRequest { parent: name, customers: names(customers) };
            let answer = asker.client.add_members(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "AddMembersResponse", |answer| say!("{} added", answer.added))
        }
        SegmentsCommand::Remove { name, customers, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = RemoveMembersRequest { parent: name, customers: names(customers) };
            let answer = asker.client.remove_members(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "RemoveMembersResponse", |answer| say!("{} removed", answer.removed))
        }
        SegmentsCommand::Delete { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = DeleteSegmentRequest { name: name.clone(), etag: String::new() };
            let answer = asker.client.delete_segment(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "DeleteSegmentResponse", |_| say!("{name} deleted"))
        }
        SegmentsCommand::Members { parent, limit, caller } => members(parent, limit, &caller).await,
        SegmentsCommand::Export { parent, to, caller } => export::members::run(&parent, &to, &caller).await,
        SegmentsCommand::Audience { parent, to, caller } => export::audience::run(&parent, &to, &caller).await,
    }
}

fn names(customers: Vec<String>) -> Vec<String> {
    let name = |customer: String| if customer.contains('/') { customer } else { format!("customers/{customer}") };
    customers.into_iter().map(name).collect()
}

async fn list(caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(ListSegmentsRequest::default());
    let answer = asker.client.list_segments(request).await?.into_inner();
    asker.show(&answer, "ListSegmentsResponse", |answer| {
        let rows = answer.segments.iter().map(|segment| {
            let rule = match (segment.kind(), segment.version) {
                (SegmentKind::Static, _) => "a static list".to_owned(),
                (_, 0) => format!("{} (a draft)", segment.draft_expression),
                _ => segment.expression.clone(),
            };
            vec![segment.name.clone(), thousands(segment.members.unsigned_abs()), rule]
        });
        say!("{}", output::table(&["segment", "members", "expression"], false, rows.collect()));
    })
}

async fn fields(caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ExpressionServiceClient::new(connect(&config, Role::Segmentation)?);
    let answer = client.list_fields(session.request(ListFieldsRequest {})).await?.into_inner();
    if caller.output == Format::Json {
        say!("{}", output::json(&answer, "quintile.segmentation.v1.ListFieldsResponse")?);
        return Ok(());
    }
    let rows = answer.fields.into_iter().filter(|field| field.usable).map(|field| {
        let ty = field.value_type().as_str_name().trim_start_matches("FIELD_TYPE_").to_lowercase();
        vec![field.name, ty, field.description]
    });
    say!("{}", output::table(&["field", "type", "what it says"], false, rows.collect()));
    Ok(())
}

async fn check(expression: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = ExpressionServiceClient::new(connect(&config, Role::Segmentation)?);
    let answer = client.check_expression(session.request(CheckExpressionRequest { expression })).await?.into_inner();
    if caller.output == Format::Json {
        say!("{}", output::json(&answer, "quintile.segmentation.v1.CheckExpressionResponse")?);
        return Ok(());
    }
    if let Some(problem) = answer.problem {
        anyhow::bail!("{}", problem.message);
    }
    say!("{}", answer.formatted);
    Ok(())
}

async fn preview(request: PreviewSegmentRequest, caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let answer = asker.client.preview_segment(asker.session.request(request)).await?.into_inner();
    asker.show(&answer, "SegmentPreview", show_preview)
}

fn show_preview(answer: &SegmentPreview) {
    say!("{}", demo::preview_line(answer));
    answer.sample.iter().for_each(|customer| say!("{customer}"));
    answer.breakdowns.iter().for_each(show_breakdown);
    if !answer.overlaps.is_empty() {
        let rows = answer.overlaps.iter().map(|overlap| {
            let (members, shared) = (overlap.members.unsigned_abs(), overlap.shared.unsigned_abs());
            vec![overlap.parent.clone(), thousands(members), thousands(shared), format!("{:.3}", overlap.jaccard)]
        });
        say!("{}", output::table(&["overlap with", "members", "shared", "Jaccard"], true, rows.collect()));
    }
}

fn show_breakdown(breakdown: &Breakdown) {
    let mut rows: Vec<_> = breakdown
        .groups
        .iter()
        .map(|group| {
            let value = match (group.value.as_str(), group.highest.as_str()) {
                ("", _) => "(missing)".to_owned(),
                (value, "") => value.to_owned(),
                (value, highest) => format!("{value} to {highest}"),
            };
            vec![value, thousands(group.customers.unsigned_abs()), money(group.net_revenue.as_ref())]
        })
        .collect();
    if breakdown.other_customers > 0 {
        let others = thousands(breakdown.other_customers.unsigned_abs());
        rows.push(vec!["(others)".to_owned(), others, "-".to_owned()]);
    }
    say!("{}", output::table(&[&breakdown.field, "customers", "net revenue"], true, rows));
}

async fn create(request: CreateSegmentRequest, caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let answer = asker.client.create_segment(asker.session.request(request)).await?.into_inner();
    asker.show(&answer, "Segment", show_segment)
}

async fn draft(name: String, expression: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let segment = Segment { name, draft_expression: expression, ..Segment::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["draft_expression".to_owned()] });
    let mut asker = Asker::begin(caller).await?;
    let request = UpdateSegmentRequest { segment: Some(segment), update_mask };
    let answer = asker.client.update_segment(asker.session.request(request)).await?.into_inner();
    asker.show(&answer, "Segment", show_segment)
}

fn show_segment(segment: &Segment) {
    let members = thousands(segment.members.unsigned_abs());
    match segment.version {
        0 => say!("{}: a draft, etag {}", segment.name, segment.etag),
        version => say!("{}: version {version}, {members} members, etag {}", segment.name, segment.etag),
    }
    if !segment.draft_expression.is_empty() && segment.version > 0 {
        say!("draft: {}", segment.draft_expression);
    }
}

fn show_diff(preview: &SegmentDraftPreview) {
    let row = |moves: &MembershipMove| {
        vec![
            moves.parent.clone(),
            thousands(moves.entering.unsigned_abs()),
            money(moves.entering_revenue.as_ref()),
            thousands(moves.leaving.unsigned_abs()),
            money(moves.leaving_revenue.as_ref()),
        ]
    };
    let rows = preview.moves.iter().chain(&preview.dependents).map(row).collect();
    let header = ["segment or label", "would enter", "their revenue", "would leave", "their revenue"];
    say!("{}", output::table(&header, true, rows));
    say!("{} would stay; etag {}", thousands(preview.staying.unsigned_abs()), preview.etag);
    preview.entering_sample.iter().for_each(|customer| say!("+ {customer}"));
    preview.leaving_sample.iter().for_each(|customer| say!("- {customer}"));
}

/// Page by page, up to `limit`.
async fn members(parent: String, limit: u32, caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let mut listed = ListMembersResponse::default();
    loop {
        let left = limit.saturating_sub(u32::try_from(listed.customers.len())?);
        let page_size = i32::try_from(left.min(MEMBERS_PER_PAGE))?;
        let request = ListMembersRequest { parent: parent.clone(), page_size, page_token: listed.next_page_token };
        let page = asker.client.list_members(asker.session.request(request)).await?.into_inner();
        listed.customers.extend(page.customers);
        (listed.next_page_token, listed.watermark) = (page.next_page_token, page.watermark);
        if listed.next_page_token.is_empty() || u32::try_from(listed.customers.len())? >= limit {
            break;
        }
    }
    asker.show(&listed, "ListMembersResponse", |listed| {
        listed.customers.iter().for_each(|customer| say!("{customer}"));
    })
}

async fn history(name: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(ListSegmentVersionsRequest { parent: name });
    let answer = asker.client.list_segment_versions(request).await?.into_inner();
    asker.show(&answer, "ListSegmentVersionsResponse", |answer| {
        let rows = answer.versions.iter().map(|version| {
            let published = sent_instant(version.publish_time.as_ref()).map(|at| at.to_string()).unwrap_or_default();
            let (entered, left) = (version.entered.unsigned_abs(), version.left.unsigned_abs());
            let number = version.name.rsplit('/').next().unwrap_or_default().to_owned();
            vec![number, published, thousands(entered), thousands(left), version.expression.clone()]
        });
        let header = ["version", "published", "entered", "left", "expression"];
        say!("{}", output::table(&header, false, rows.collect()));
    })
}
