//! Tasks that playbooks give colleagues, for those who do them.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, instant, plain};
use crate::remote::{Session, connect};
use clap::{Subcommand, ValueEnum};
use prost::Message;
use quintile_proto::lifecycle::task_service_client::TaskServiceClient;
use quintile_proto::lifecycle::{
    ClaimTaskRequest, CompleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Task, TaskOutcome,
    TaskState,
};
use quintile_rpc::client::Channel;

/// Tasks that are listed at most.
const LISTED: usize = 100;

#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// Lists tasks that go on, the last made first: the first 100
    List {
        /// Of one customer, `customers/{number}` [default: everybody's]
        #[arg(long, value_name = "NAME", default_value = "customers/-", hide_default_value = true)]
        customer: String,
        /// Those of somebody, as the subject of a token
        #[arg(long, value_name = "WHO", default_value = "", hide_default_value = true)]
        assignee: String,
        /// Those that have ended too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells of a task
    Show {
        /// `customers/{number}/tasks/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Says that the caller does it
    Claim {
        /// `customers/{number}/tasks/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Ends it, and says what came of it
    Complete {
        /// `customers/{number}/tasks/{id}`
        name: String,
        /// What came of it
        #[arg(value_enum)]
        outcome: Outcome,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// What came of a task.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Outcome {
    /// The customer was reached, and is pleased or buys
    Success,
    /// The customer was reached, and that is all
    Reached,
    /// The customer was not reached
    NotReached,
    /// The customer wants nothing of it
    Declined,
    /// It was not done
    Dropped,
}

impl From<Outcome> for i32 {
    fn from(outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Success => TaskOutcome::Success,
            Outcome::Reached => TaskOutcome::Reached,
            Outcome::NotReached => TaskOutcome::NotReached,
            Outcome::Declined => TaskOutcome::Declined,
            Outcome::Dropped => TaskOutcome::Dropped,
        };
        outcome.into()
    }
}

/// A command's connection.
struct Asker<'a> {
    client: TaskServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: TaskServiceClient::new(connect(&config, Role::Lifecycle)?), session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }

    fn show_task(&self, task: &Task) -> anyhow::Result<()> {
        self.show(task, "Task", show_task)
    }
}

/// Runs a command.
pub async fn run(command: TasksCommand) -> anyhow::Result<()> {
    match command {
        TasksCommand::List { customer, assignee, all, caller } => list(&caller, customer, assignee, all).await,
        TasksCommand::Show { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetTaskRequest { name });
            let answer = asker.client.get_task(request).await?;
            asker.show_task(answer.get_ref())
        }
        TasksCommand::Claim { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ClaimTaskRequest { name });
            let answer = asker.client.claim_task(request).await?;
            asker.show_task(answer.get_ref())
        }
        TasksCommand::Complete { name, outcome, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(CompleteTaskRequest { name, outcome: outcome.into() });
            let answer = asker.client.complete_task(request).await?;
            asker.show_task(answer.get_ref())
        }
    }
}

async fn list(caller: &CallerArgs, customer: String, assignee: String, all: bool) -> anyhow::Result<()> {
    let every = [TaskState::Open, TaskState::Claimed, TaskState::Done].map(i32::from);
    let states = if all { every.to_vec() } else { Vec::new() };
    let mut request = ListTasksRequest { parent: customer, states, assignee, ..ListTasksRequest::default() };
    let mut asker = Asker::begin(caller).await?;
    let mut whole = ListTasksResponse::default();
    // Of who does not reach everybody, a page may be short and have more behind it.
    loop {
        request.page_size = (LISTED - whole.tasks.len()) as i32;
        let page = asker.client.list_tasks(asker.session.request(request.clone())).await?.into_inner();
        whole.tasks.extend(page.tasks);
        whole.next_page_token.clone_from(&page.next_page_token);
        if whole.next_page_token.is_empty() || whole.tasks.len() >= LISTED {
            break;
        }
        request.page_token = page.next_page_token;
    }
    asker.show(&whole, "ListTasksResponse", show_list)
}

const HEADER: [&str; 7] = ["task", "what", "title", "due", "state", "assignee", "playbook"];

fn row(task: &Task) -> Vec<String> {
    vec![
        task.name.clone(),
        plain(task.kind().as_str_name(), "TASK_KIND_"),
        task.title.clone(),
        instant(task.due_time.as_ref()),
        plain(task.state().as_str_name(), "TASK_STATE_"),
        task.assignee.clone(),
        task.playbook.clone(),
    ]
}

fn show_list(list: &ListTasksResponse) {
    say!("{}", output::table(&HEADER, false, list.tasks.iter().map(row).collect()));
    if !list.next_page_token.is_empty() {
        say!("There are more.");
    }
}

fn show_task(task: &Task) {
    say!("{}", output::table(&HEADER, false, vec![row(task)]));
    if !task.note.is_empty() {
        say!("{}", task.note);
    }
    say!("Made at {}, of {}.", instant(task.create_time.as_ref()), task.run);
    if task.end_time.is_some() {
        let outcome = plain(task.outcome().as_str_name(), "TASK_OUTCOME_");
        say!("Ended at {} by {}: {outcome}.", instant(task.end_time.as_ref()), task.completed_by);
    }
}
