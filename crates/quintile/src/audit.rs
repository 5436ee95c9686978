//! The audit log, for people: what happened, and whether anybody has changed what is written of it.

use crate::commands::CallerArgs;
use crate::config::{Config, Role};
use crate::output::{self, Format};
use crate::remote::{Session, connect};
use crate::serving_flags::chosen_roles;
use clap::Subcommand;
use quintile_audit::verify::{Verified, Verifier};
use quintile_domain::time::Instant;
use quintile_proto::access::ListCheckpointsRequest;
use quintile_proto::access::checkpoint_service_client::CheckpointServiceClient;
use quintile_proto::audit::audit_service_client::AuditServiceClient;
use quintile_proto::audit::{
    AuditEvent, GetAuditHeadRequest, ListAuditCheckpointsRequest, ListAuditEntriesRequest, ListAuditEventsRequest,
    ListAuditEventsResponse,
};
use quintile_rpc::client::Channel;
use quintile_rpc::convert;

/// Entries and checkpoints per page.
const PAGE: i32 = 1_000;
/// Customers that a line names; it counts the others.
const NAMED_CUSTOMERS: usize = 3;

/// What to do with the audit logs.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists what happened, the last first
    List {
        /// The services whose logs to list [default: all]
        #[arg(long = "service", value_enum)]
        services: Vec<Role>,
        /// Not before this instant, such as 2026-07-01T00:00:00Z
        #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
        since: Option<Instant>,
        /// Whose doings, by the subject of the token
        #[arg(long, default_value = "")]
        subject: String,
        /// `customers/{number}`, or the number: events that name this customer
        #[arg(long)]
        customer: Option<String>,
        /// Events to list at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Recomputes every hash and checks every signature; ends with 1 and the first fault if anything was changed
    Verify {
        /// The services whose logs to verify [default: all]
        #[arg(long = "service", value_enum)]
        services: Vec<Role>,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Runs a command.
pub async fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::List { services, since, subject, customer, limit, caller } => {
            let number = customer.as_deref().map(|customer| customer.trim_start_matches("customers/"));
            let question = ListAuditEventsRequest {
                start_time: since.map(convert::timestamp),
                subject,
                customer: number.map(|number| format!("customers/{number}")).unwrap_or_default(),
                newest_first: true,
                page_size: i32::try_from(limit).unwrap_or(i32::MAX),
                ..ListAuditEventsRequest::default()
            };
            list(&chosen_roles(&services), &question, limit, &caller).await
        }
        AuditCommand::Verify { services, caller } => verify(&chosen_roles(&services), &caller).await,
    }
}

async fn list(
    services: &[Role],
    question: &ListAuditEventsRequest,
    limit: usize,
    caller: &CallerArgs,
) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut events = Vec::new();
    for service in services {
        events.extend(events_of(&config, &session, *service, question, limit).await?);
    }
    events.sort_by_key(|event| std::cmp::Reverse((convert::sent_instant(event.time.as_ref()), event.seq)));
    events.truncate(limit);
    if caller.output == Format::Json {
        let answer = ListAuditEventsResponse { events, next_page_token: String::new() };
        say!("{}", output::json(&answer, "quintile.audit.v1.ListAuditEventsResponse")?);
        return Ok(());
    }
    let header = ["time", "service", "seq", "kind", "subject", "role", "method", "customers", "outcome"];
    say!("{}", output::table(&header, false, events.iter().map(line).collect()));
    Ok(())
}

async fn events_of(
    config: &Config,
    session: &Session,
    service: Role,
    question: &ListAuditEventsRequest,
    limit: usize,
) -> anyhow::Result<Vec<AuditEvent>> {
    let mut client = AuditServiceClient::new(connect(config, service)?);
    let (mut events, mut request) = (Vec::new(), question.clone());
    loop {
        let answer = client.list_audit_events(session.request(request.clone())).await?.into_inner();
        events.extend(answer.events);
        if answer.next_page_token.is_empty() || events.len() >= limit {
            return Ok(events);
        }
        request.page_token = answer.next_page_token;
    }
}

fn line(event: &AuditEvent) -> Vec<String> {
    let named = event.customer_ids.iter().take(NAMED_CUSTOMERS).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let more = event.customer_ids.len().saturating_sub(NAMED_CUSTOMERS);
    vec![
        convert::sent_instant(event.time.as_ref()).map_or_else(|| "-".to_owned(), |time| time.to_string()),
        event.service.clone(),
        event.seq.to_string(),
        event.kind().as_str_name().trim_start_matches("AUDIT_KIND_").to_lowercase(),
        event.subject.clone(),
        event.role.clone(),
        event.method.clone(),
        if more > 0 { format!("{named} and {more} more") } else { named },
        event.outcome.clone(),
    ]
}

async fn verify(services: &[Role], caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let witness = connect(&config, Role::AccessControl)?;
    let mut rows = Vec::new();
    for service in services {
        let log = connect(&config, *service)?;
        let verified = verify_log(&session, log, witness.clone(), service.service(), &caller.tenant).await?;
        rows.push(vec![
            service.service().to_owned(),
            output::thousands(verified.events.unsigned_abs()),
            output::thousands(verified.checkpoints),
            "unchanged".to_owned(),
        ]);
    }
    say!("{}", output::table(&["service", "events", "checkpoints", "verdict"], true, rows));
    Ok(())
}

/// Verifies one log, in the order in which a log that grows meanwhile shows no fault.
async fn verify_log(
    session: &Session,
    log: Channel,
    witness: Channel,
    service: &str,
    tenant: &str,
) -> anyhow::Result<Verified> {
    let mut client = AuditServiceClient::new(log);
    let mut verifier = Verifier::new(service, tenant);
    let mut request = ListAuditCheckpointsRequest { page_size: PAGE, page_token: String::new() };
    loop {
        let page = client.list_audit_checkpoints(session.request(request.clone())).await?.into_inner();
        page.checkpoints.into_iter().try_for_each(|checkpoint| verifier.checkpoint(checkpoint))?;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let mut access = CheckpointServiceClient::new(witness);
    let mut request =
        ListCheckpointsRequest { service: service.to_owned(), page_size: PAGE, page_token: String::new() };
    loop {
        let page = access.list_checkpoints(session.request(request.clone())).await?.into_inner();
        page.checkpoints.into_iter().try_for_each(|checkpoint| verifier.witness(checkpoint))?;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let head = client.get_audit_head(session.request(GetAuditHeadRequest {})).await?.into_inner();
    let mut request = ListAuditEntriesRequest { page_size: PAGE, page_token: String::new() };
    while verifier.seq() < head.seq {
        let page = client.list_audit_entries(session.request(request.clone())).await?.into_inner();
        // What came behind the head since it was read is not part of what is verified.
        page.entries.iter().filter(|entry| entry.seq <= head.seq).try_for_each(|entry| verifier.entry(entry))?;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(verifier.finish(&head)?)
}
