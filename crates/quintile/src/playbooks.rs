//! Playbooks, for people: made, started and stopped, what came of them, and which of them a customer is best put into.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format};
use crate::playbook_texts::{
    show_next, show_outcome, show_playbook, show_policy, show_rows, show_runs, show_templates,
};
use crate::remote::{Session, connect};
use anyhow::ensure;
use clap::{ArgGroup, Subcommand, ValueEnum};
use prost::Message;
use quintile_proto::lifecycle::playbook_service_client::PlaybookServiceClient;
use quintile_proto::lifecycle::step::Action;
use quintile_proto::lifecycle::{
    ContactPolicy, CreatePlaybookRequest, DeletePlaybookRequest, EnrolCustomerRequest, GetContactPolicyRequest,
    GetNextBestActionsRequest, GetPlaybookOutcomeRequest, GetPlaybookRequest, ListPlaybookRunsRequest,
    ListPlaybookRunsResponse, ListPlaybookTemplatesRequest, ListPlaybooksRequest, Playbook, PlaybookState, RunState,
    StartPlaybookRequest, StopPlaybookRequest, UpdateContactPolicyRequest, UpdatePlaybookRequest,
};
use quintile_rpc::client::Channel;
use std::path::{Path, PathBuf};
use tonic::Status;

/// Runs that are listed at most.
const LISTED: usize = 100;
/// The most playbooks that there are, and that a page has.
const PLAYBOOKS: i32 = 200;

#[derive(Debug, Subcommand)]
pub enum PlaybooksCommand {
    /// Lists the playbooks
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells what a playbook does
    Show {
        /// `playbooks/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Makes a playbook, of a template or of a file: a draft
    #[command(group(ArgGroup::new("source").required(true).args(["template", "file"])))]
    Create {
        /// The id, such as `win-back`
        id: String,
        /// `playbookTemplates/{id}`, or the id
        #[arg(long, value_name = "TEMPLATE")]
        template: Option<String>,
        /// The language of the template: en, de or zh
        #[arg(long, value_name = "BCP47", default_value = "", hide_default_value = true, requires = "template")]
        language: String,
        /// A file that holds it as protobuf's JSON, as `show -o json` prints it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Replaces what a playbook is, that does not run
    Update {
        /// `playbooks/{id}`, or the id
        name: String,
        /// A file that holds it as protobuf's JSON, as `show -o json` prints it: refused if it was changed since then
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Starts a playbook: what triggers it from now on begins runs
    Start {
        /// `playbooks/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Stops a playbook at once, and its runs with it
    Stop {
        /// `playbooks/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Deletes a playbook that does not run, and forgets its runs
    Delete {
        /// `playbooks/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the playbooks that come with the product
    Templates {
        /// Prints one of them as protobuf's JSON, to be changed and made a playbook of
        #[arg(long, value_name = "TEMPLATE")]
        show: Option<String>,
        /// In this language: en, de or zh
        #[arg(long, value_name = "BCP47", default_value = "en")]
        language: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists the runs of a playbook or of a customer, the last begun first: the first 100
    Runs {
        /// `playbooks/{id}` or `customers/{number}`
        parent: String,
        /// Of these states [default: all]
        #[arg(long, value_enum)]
        state: Vec<State>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts a customer into a playbook that runs: a run begins for it by hand
    Enrol {
        /// `playbooks/{id}`, or the id
        name: String,
        /// `customers/{number}`, or the number
        customer: String,
        /// A UUID by which the request is known again: repeated, it begins nothing new
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells what a playbook has brought about
    Outcome {
        /// `playbooks/{id}`, or the id
        name: String,
        /// Of this version [default: the last one]
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        version: i64,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells which running playbooks are for a customer now, the best first
    Next {
        /// `customers/{number}`, or the number
        customer: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells or says what holds for all playbooks: the stop switch, the cap of contacts, quiet hours
    Policy {
        #[command(flatten)]
        said: PolicyArgs,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// What has become of a run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum State {
    /// Whether the customer is meant is being found out
    Triggered,
    /// The customer was not meant, or not to be contacted
    Refused,
    /// Held out, to be compared with
    HeldOut,
    /// Under way
    Active,
    /// All steps are gone through
    Finished,
    /// Ended before that
    Stopped,
}

impl From<State> for i32 {
    fn from(state: State) -> Self {
        let state = match state {
            State::Triggered => RunState::Triggered,
            State::Refused => RunState::Refused,
            State::HeldOut => RunState::HeldOut,
            State::Active => RunState::Active,
            State::Finished => RunState::Finished,
            State::Stopped => RunState::Stopped,
        };
        state.into()
    }
}

/// What is to hold for all playbooks; what is not said stays as it is.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// Stands everything still
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Lets everything go on
    #[arg(long)]
    resume: bool,
    /// The most contacts of a customer in any `--cap-days` days; 0 in 0 days: as many as there are
    #[arg(long, value_name = "NUMBER", requires = "cap_days")]
    max_contacts: Option<i32>,
    /// The days of the cap
    #[arg(long, value_name = "DAYS", requires = "max_contacts")]
    cap_days: Option<i32>,
    /// The local hours between which nobody is contacted, such as 21-8
    #[arg(long, value_name = "FROM-TO", value_parser = hours, conflicts_with = "no_quiet")]
    quiet: Option<(i32, i32)>,
    /// Contacts at any hour
    #[arg(long)]
    no_quiet: bool,
}

fn hours(text: &str) -> Result<(i32, i32), String> {
    let hour = |text: &str| text.trim().parse::<i32>().ok();
    let both = text.split_once('-').and_then(|(from, to)| hour(from).zip(hour(to)));
    both.ok_or_else(|| "must be two hours, such as 21-8".to_owned())
}

impl PolicyArgs {
    fn apply(&self, policy: &mut ContactPolicy) {
        policy.paused = (policy.paused || self.pause) && !self.resume;
        if let Some((contacts, days)) = self.max_contacts.zip(self.cap_days) {
            (policy.max_contacts, policy.cap_days) = (contacts, days);
        }
        if self.no_quiet {
            (policy.quiet_from_hour, policy.quiet_to_hour) = (None, None);
        }
        if let Some((from, to)) = self.quiet {
            (policy.quiet_from_hour, policy.quiet_to_hour) = (Some(from), Some(to));
        }
    }
}

/// A command's connection.
struct Asker<'a> {
    client: PlaybookServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: PlaybookServiceClient::new(connect(&config, Role::Lifecycle)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }

    fn show_row(&self, playbook: &Playbook) -> anyhow::Result<()> {
        self.show(playbook, "Playbook", |playbook| show_rows(std::slice::from_ref(playbook)))
    }
}

/// Runs a command.
pub async fn run(command: PlaybooksCommand) -> anyhow::Result<()> {
    match command {
        PlaybooksCommand::List { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = ListPlaybooksRequest { page_size: PLAYBOOKS, ..ListPlaybooksRequest::default() };
            let answer = asker.client.list_playbooks(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "ListPlaybooksResponse", |list| show_rows(&list.playbooks))
        }
        PlaybooksCommand::Show { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetPlaybookRequest { name: playbook_name(name) });
            let answer = asker.client.get_playbook(request).await?.into_inner();
            asker.show(&answer, "Playbook", show_playbook)
        }
        PlaybooksCommand::Create { id, template, language, file, caller } => {
            create(&caller, id, template, language, file).await
        }
        PlaybooksCommand::Update { name, file, caller } => update(&caller, playbook_name(name), &file).await,
        PlaybooksCommand::Start { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = StartPlaybookRequest { name: playbook_name(name), etag: String::new() };
            let answer = asker.client.start_playbook(asker.session.request(request)).await?;
            asker.show_row(answer.get_ref())
        }
        PlaybooksCommand::Stop { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(StopPlaybookRequest { name: playbook_name(name) });
            let answer = asker.client.stop_playbook(request).await?;
            asker.show_row(answer.get_ref())
        }
        PlaybooksCommand::Delete { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let name = playbook_name(name);
            let request = DeletePlaybookRequest { name: name.clone(), etag: String::new() };
            let answer = asker.client.delete_playbook(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "DeletePlaybookResponse", |_| say!("{name} is deleted."))
        }
        PlaybooksCommand::Templates { show, language, caller } => templates(&caller, show, language).await,
        PlaybooksCommand::Runs { parent, state, caller } => runs(&caller, parent, state).await,
        PlaybooksCommand::Enrol { name, customer, request_id, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let (parent, playbook) = (named("customers", customer), playbook_name(name));
            let request = asker.session.request(EnrolCustomerRequest { parent, playbook, request_id });
            let answer = asker.client.enrol_customer(request).await?.into_inner();
            asker.show(&answer, "PlaybookRun", |run| show_runs(std::slice::from_ref(run)))
        }
        PlaybooksCommand::Outcome { name, version, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = GetPlaybookOutcomeRequest { name: playbook_name(name), version };
            let answer = asker.client.get_playbook_outcome(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "PlaybookOutcome", show_outcome)
        }
        PlaybooksCommand::Next { customer, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = GetNextBestActionsRequest { customer: named("customers", customer) };
            let answer = asker.client.get_next_best_actions(asker.session.request(request)).await?.into_inner();
            asker.show(&answer, "NextBestActions", show_next)
        }
        PlaybooksCommand::Policy { said, caller } => policy(&caller, &said).await,
    }
}

/// A name from itself, or from the id in a collection.
fn named(collection: &str, name: String) -> String {
    if name.contains('/') { name } else { format!("{collection}/{name}") }
}

fn playbook_name(name: String) -> String {
    named("playbooks", name)
}

fn read(file: &Path) -> anyhow::Result<Playbook> {
    output::read_json(file, "quintile.lifecycle.v1.Playbook", "a playbook")
}

async fn create(
    caller: &CallerArgs,
    playbook_id: String,
    template: Option<String>,
    language: String,
    file: Option<PathBuf>,
) -> anyhow::Result<()> {
    // What was printed of another one says that one's name and etag.
    let own = |playbook: Playbook| Playbook { name: String::new(), etag: String::new(), ..playbook };
    let playbook = file.map(|file| read(&file)).transpose()?.map(own);
    let template = template.map(|template| named("playbookTemplates", template)).unwrap_or_default();
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(CreatePlaybookRequest { playbook_id, playbook, template, language });
    let answer = asker.client.create_playbook(request).await?;
    asker.show_row(answer.get_ref())
}

async fn update(caller: &CallerArgs, name: String, file: &Path) -> anyhow::Result<()> {
    let read = read(file)?;
    ensure!(read.name.is_empty() || read.name == name, "{} holds {}, and not {name}", file.display(), read.name);
    let mut asker = Asker::begin(caller).await?;
    let request = UpdatePlaybookRequest { playbook: Some(Playbook { name, ..read }) };
    let answer = asker.client.update_playbook(asker.session.request(request)).await?;
    asker.show_row(answer.get_ref())
}

async fn templates(caller: &CallerArgs, one: Option<String>, language: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(ListPlaybookTemplatesRequest { language });
    let answer = asker.client.list_playbook_templates(request).await?.into_inner();
    let Some(one) = one else { return asker.show(&answer, "ListPlaybookTemplatesResponse", show_templates) };
    let name = named("playbookTemplates", one);
    let found = answer.templates.into_iter().find(|template| template.name == name);
    let playbook = found.and_then(|template| template.playbook);
    let playbook = playbook.ok_or_else(|| Status::not_found(format!("{name} is not there")))?;
    say!("{}", output::json(&playbook, "quintile.lifecycle.v1.Playbook")?);
    Ok(())
}

async fn runs(caller: &CallerArgs, parent: String, states: Vec<State>) -> anyhow::Result<()> {
    let states = states.into_iter().map(i32::from).collect();
    let mut request = ListPlaybookRunsRequest { parent, states, ..ListPlaybookRunsRequest::default() };
    let mut asker = Asker::begin(caller).await?;
    let mut whole = ListPlaybookRunsResponse::default();
    // Of who does not reach everybody, a page may be short and have more behind it.
    loop {
        request.page_size = (LISTED - whole.runs.len()) as i32;
        let page = asker.client.list_playbook_runs(asker.session.request(request.clone())).await?.into_inner();
        whole.runs.extend(page.runs);
        whole.next_page_token.clone_from(&page.next_page_token);
        if whole.next_page_token.is_empty() || whole.runs.len() >= LISTED {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let show = |list: &ListPlaybookRunsResponse| {
        show_runs(&list.runs);
        if !list.next_page_token.is_empty() {
            say!("There are more.");
        }
    };
    asker.show(&whole, "ListPlaybookRunsResponse", show)
}

async fn policy(caller: &CallerArgs, said: &PolicyArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(GetContactPolicyRequest {});
    let present = asker.client.get_contact_policy(request).await?.into_inner();
    let mut policy = present.clone();
    said.apply(&mut policy);
    if policy != present {
        // With the etag that was read: what somebody else says meanwhile is not undone.
        let request = asker.session.request(UpdateContactPolicyRequest { policy: Some(policy) });
        policy = asker.client.update_contact_policy(request).await?.into_inner();
    }
    asker.show(&policy, "ContactPolicy", show_policy)
}

/// Says which running playbooks have a step that grants something which was just ended. Says nothing to who may not list playbooks.
pub async fn say_who_grants(channel: Channel, session: &Session, grants: impl Fn(&Action) -> bool) {
    let request = ListPlaybooksRequest { page_size: PLAYBOOKS, ..ListPlaybooksRequest::default() };
    let answer = PlaybookServiceClient::new(channel).list_playbooks(session.request(request)).await;
    let playbooks = answer.map(|answer| answer.into_inner().playbooks).unwrap_or_default();
    for playbook in playbooks.iter().filter(|playbook| playbook.state() == PlaybookState::Running) {
        let steps = playbook.variants.iter().flat_map(|variant| &variant.steps);
        if steps.filter_map(|step| step.action.as_ref()).any(&grants) {
            say!("{} grants it, and runs.", playbook.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Duration;
    use quintile_proto::lifecycle::trigger::Kind;
    use quintile_proto::lifecycle::{End, SegmentTrigger, Step, Trigger, Variant, Wait};

    fn step(id: &str, action: Action) -> Step {
        Step { id: id.to_owned(), action: Some(action) }
    }

    #[test]
    fn what_show_prints_is_what_update_reads() {
        let segment = SegmentTrigger { segment: "segments/warm".to_owned(), leaves: false };
        let wait = Wait { duration: Some(Duration { seconds: 86_400, nanos: 0 }) };
        let steps = vec![step("", Action::Wait(wait)), step("last", Action::End(End {}))];
        let playbook = Playbook {
            name: "playbooks/warm".to_owned(),
            trigger: Some(Trigger { kind: Some(Kind::Segment(segment)) }),
            variants: vec![Variant { id: "only".to_owned(), weight: 1, steps }],
            etag: "an etag".to_owned(),
            ..Playbook::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("playbook.json");
        std::fs::write(&file, output::json(&playbook, "quintile.lifecycle.v1.Playbook").unwrap()).unwrap();
        assert_eq!(read(&file).unwrap(), playbook);
        std::fs::write(&file, r#"{"variant": []}"#).unwrap();
        assert!(read(&file).is_err(), "a word that is not known");
    }

    #[test]
    fn a_resource_is_known_by_its_name_and_by_its_id() {
        assert_eq!(named("customers", "42".to_owned()), "customers/42");
        assert_eq!(named("customers", "customers/42".to_owned()), "customers/42");
    }

    #[test]
    fn quiet_hours_are_two_numbers() {
        assert_eq!(hours("21-8"), Ok((21, 8)));
        for wrong in ["", "21", "21-", "9pm-8am", "21:00-8:00"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
