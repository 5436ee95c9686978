//! What playbooks tell other systems and write to customers, for those who look after it.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, instant, plain};
use crate::remote::{Session, connect};
use clap::{Subcommand, ValueEnum};
use prost::Message;
use quintile_proto::lifecycle::delivery_service_client::DeliveryServiceClient;
use quintile_proto::lifecycle::{
    Delivery, DeliveryState, ListDeliveriesRequest, ListDeliveriesResponse, ReplayDeliveryRequest,
};
use quintile_rpc::client::Channel;

/// Deliveries that are listed at most.
const LISTED: usize = 100;

#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// Lists deliveries, the last made first: the first 100
    List {
        /// Of one customer, `customers/{number}` [default: everybody's]
        #[arg(long, value_name = "NAME", default_value = "customers/-", hide_default_value = true)]
        customer: String,
        /// Of these states [default: all]
        #[arg(long, value_enum)]
        state: Vec<State>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Sends one again that has failed, or for which there was no address
    Replay {
        /// `customers/{number}/deliveries/{id}`
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum State {
    /// It is being sent, or tried again later
    Waiting,
    /// The receiver, or the server of e-mails, has it
    Delivered,
    /// It could not be delivered
    Failed,
    /// It was not sent: it was not to be any more
    Cancelled,
    /// It was not sent: the customer has no e-mail address, or none that can be written to
    NoAddress,
}

impl From<State> for i32 {
    fn from(state: State) -> Self {
        let state = match state {
            State::Waiting => DeliveryState::Waiting,
            State::Delivered => DeliveryState::Delivered,
            State::Failed => DeliveryState::Failed,
            State::Cancelled => DeliveryState::Cancelled,
            State::NoAddress => DeliveryState::NoAddress,
        };
        state.into()
    }
}

/// A command's connection.
struct Asker<'a> {
    client: DeliveryServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        Ok(Self { client: DeliveryServiceClient::new(connect(&config, Role::Lifecycle)?), session, caller })
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
pub async fn run(command: DeliveriesCommand) -> anyhow::Result<()> {
    match command {
        DeliveriesCommand::List { customer, state, caller } => list(&caller, customer, state).await,
        DeliveriesCommand::Replay { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ReplayDeliveryRequest { name });
            let answer = asker.client.replay_delivery(request).await?.into_inner();
            asker.show(&answer, "Delivery", |delivery| show_rows(std::slice::from_ref(delivery)))
        }
    }
}

async fn list(caller: &CallerArgs, customer: String, states: Vec<State>) -> anyhow::Result<()> {
    let states = states.into_iter().map(i32::from).collect();
    let mut request = ListDeliveriesRequest { parent: customer, states, ..ListDeliveriesRequest::default() };
    let mut asker = Asker::begin(caller).await?;
    let mut whole = ListDeliveriesResponse::default();
    // Of who does not reach everybody, a page may be short and have more behind it.
    loop {
        request.page_size = (LISTED - whole.deliveries.len()) as i32;
        let page = asker.client.list_deliveries(asker.session.request(request.clone())).await?.into_inner();
        whole.deliveries.extend(page.deliveries);
        whole.next_page_token.clone_from(&page.next_page_token);
        if whole.next_page_token.is_empty() || whole.deliveries.len() >= LISTED {
            break;
        }
        request.page_token = page.next_page_token;
    }
    asker.show(&whole, "ListDeliveriesResponse", show_list)
}

fn show_list(list: &ListDeliveriesResponse) {
    show_rows(&list.deliveries);
    if !list.next_page_token.is_empty() {
        say!("There are more.");
    }
}

fn show_rows(deliveries: &[Delivery]) {
    let rows = deliveries.iter().map(|delivery| {
        let answer = match delivery.last_status {
            0 => "-".to_owned(),
            status => status.to_string(),
        };
        vec![
            delivery.name.clone(),
            delivery.playbook.clone(),
            plain(delivery.kind().as_str_name(), "DELIVERY_KIND_"),
            delivery.endpoint.clone(),
            delivery.message.clone(),
            instant(delivery.create_time.as_ref()),
            plain(delivery.state().as_str_name(), "DELIVERY_STATE_"),
            delivery.attempts.to_string(),
            answer,
            instant(delivery.next_attempt_time.as_ref()),
        ]
    });
    let header = [
        "delivery",
        "playbook",
        "kind",
        "endpoint",
        "message",
        "made",
        "state",
        "attempts",
        "last answer",
        "next attempt",
    ];
    say!("{}", output::table(&header, false, rows.collect()));
}
