//! The stream of enters and exits.

use super::{may_read_classes, members, population};
use crate::engine::Bitmap;
use crate::population::Population;
use crate::store::log_retention;
use crate::store::memberships::{self, Logged, MEMBERSHIPS};
use crate::{SERVICE, Service};
use futures::SinkExt;
use futures::channel::mpsc;
use quintile_chain::progress::Watermark;
use quintile_chain::store_error;
use quintile_chain::vitals::{self, Reading};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::masking::Masked;
use quintile_proto::segmentation::{WatchMembershipsRequest, WatchMembershipsResponse};
use quintile_proto::types::ErrorReason;
use quintile_rpc::telemetry::traces::TracedStep;
use quintile_rpc::{AnswerStream, ApiError, Caller};
use quintile_store::history::Position;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use tonic::Status;

/// Changes of one response.
const PAGE: u64 = 1_000;
/// Pages without anything for the caller after which it is told the cursor alone.
const SILENT_PAGES: usize = 20;
/// The most segments and labels that a watch may name.
const MAX_PARENTS: usize = 100;
/// How often a reader looks by itself, where nobody in this process would wake it.
const SLOW_POLL: Duration = Duration::from_millis(250);

/// Starts a watch.
pub async fn watch(
    service: Service,
    caller: Caller,
    request: WatchMembershipsRequest,
) -> Result<AnswerStream<WatchMembershipsResponse>, ApiError> {
    if request.parents.len() > MAX_PARENTS {
        return Err(ApiError::invalid_field("parents", format!("must have at most {MAX_PARENTS} names")));
    }
    let loaded = population(&service, &caller)?;
    for (index, parent) in request.parents.iter().enumerate() {
        members::check_parent(&caller, &loaded.population.read(), &format!("parents[{index}]"), parent)?;
    }
    let tenant = caller.tenant().id;
    let position = open_cursor(&service, tenant, &request.cursor).await?;
    let parents = request.parents.into_iter().collect();
    let (mut sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let consumer = vitals::consumer(&caller);
        let reading = service.runtime.vitals.read(MEMBERSHIPS, consumer, caller.tenant(), position.seq);
        let sent = Bitmap::new();
        let mut reader = Reader { service, caller, tenant, position, parents, told: None, sent, reading };
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(status)) = reader.send_news(&mut sender).await {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Box::pin(receiver))
}

async fn open_cursor(service: &Service, tenant: TenantId, cursor: &str) -> Result<Position, ApiError> {
    let database = service.runtime.database.reader();
    let end = memberships::end(database, tenant).await.map_err(|error| store_error(&error))?;
    if cursor.is_empty() {
        return Ok(end);
    }
    let refused = || ApiError::invalid_token("cursor");
    let value = service.runtime.sealer.open(tenant, b"WatchMemberships", cursor).map_err(|_| refused())?;
    let position = Position::from_bytes(&value).ok_or_else(refused)?;
    if position.seq > end.seq {
        return Err(ApiError::out_of_range("the cursor is beyond the log's end"));
    }
    let floor = log_retention::floor(database, tenant).await.map_err(|error| store_error(&error))?;
    if position < floor {
        let message =
            "the log has forgotten what was behind the cursor: list the members, and watch anew without a cursor";
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
    }
    Ok(position)
}

struct Reader {
    service: Service,
    caller: Caller,
    tenant: TenantId,
    position: Position,
    parents: HashSet<String>,
    told: Option<Watermark>,
    /// Whom the stream has told a caller with a row scope of.
    sent: Bitmap,
    /// For whoever looks at how far readers are.
    reading: Reading,
}

type Sender = mpsc::Sender<Result<Masked<WatchMembershipsResponse>, Status>>;

impl Reader {
    /// Sends what is new, for ever. Ends with the status to tell, or `None` when nobody listens any more.
    async fn send_news(&mut self, sender: &mut Sender) -> Result<(), Option<Status>> {
        let mut changes = self.service.runtime.progress.of(self.tenant).subscribe();
        loop {
            // Read before the log: what it covers is then certainly read.
            let watermark = *changes.borrow_and_update();
            while let Some(response) = self.next_page().await.map_err(Some)? {
                sender.send(Ok(self.masked(response))).await.map_err(|_| None)?;
                self.reading.is_at(self.position.seq);
            }
            if self.told != Some(watermark) {
                self.told = Some(watermark);
                let response = WatchMembershipsResponse {
                    cursor: self.cursor(),
                    watermark: Some(watermark.to_message()),
                    ..WatchMembershipsResponse::default()
                };
                sender.send(Ok(self.masked(response))).await.map_err(|_| None)?;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(SLOW_POLL) => if sender.is_closed() { return Err(None) },
            }
        }
    }

    async fn next_page(&mut self) -> Result<Option<WatchMembershipsResponse>, Status> {
        let database = self.service.runtime.database.clone();
        // Where nothing is for the caller, the cursor goes on all the same, and whoever has gone away is noticed.
        for _ in 0..SILENT_PAGES {
            let page = memberships::after(database.reader(), self.tenant, self.position, PAGE).await;
            let page = page.map_err(|error| store_error(&error))?;
            let Some(read_to) = page.next.or_else(|| page.changes.last().map(|last| last.position)) else {
                return Ok(None);
            };
            self.position = read_to;
            let loaded = population(&self.service, &self.caller)?;
            let population = loaded.population.read();
            let (mut changes, mut commits) = (Vec::with_capacity(page.changes.len()), BTreeSet::new());
            for logged in page.changes {
                if self.is_for_the_caller(&logged, &population) {
                    commits.insert(logged.position.seq);
                    changes.push(logged.change);
                }
            }
            drop(population);
            if !changes.is_empty() {
                let trace_parents = self.tell(&loaded.traces.of(commits), changes.len());
                let cursor = self.cursor();
                return Ok(Some(WatchMembershipsResponse { changes, cursor, watermark: None, trace_parents }));
            }
        }
        Ok(Some(WatchMembershipsResponse { cursor: self.cursor(), ..WatchMembershipsResponse::default() }))
    }

    /// Notes in their traces that changes are told, and returns what the caller may go on with: not where it reaches some customers alone, as they may be
    /// traces of others.
    fn tell(&self, traces: &[String], changes: usize) -> Vec<String> {
        let step = TracedStep::begin("tell memberships", SERVICE, &self.caller.tenant().name, traces);
        step.count("quintile.changes", changes);
        let told = if self.caller.scope().is_none() { step.traces() } else { Vec::new() };
        step.done();
        told
    }

    /// Whether the caller hears of a change: of a segment or label that it follows and may know, and of a customer that it reaches, or
    /// was told of and reaches no more.
    fn is_for_the_caller(&mut self, logged: &Logged, population: &Population) -> bool {
        let change = &logged.change;
        // Without a parent: a customer was erased, which is for everybody who was told of it.
        let followed = change.parent.is_empty() || self.parents.is_empty() || self.parents.contains(&change.parent);
        if !followed || !may_read_classes(&self.caller, logged.classes) {
            return false;
        }
        let Some(scope) = self.caller.scope() else { return true };
        let Some(customer) = CustomerId::from_name(&change.customer, None) else { return false };
        if !change.parent.is_empty() && population.reaches(Some(scope), customer.0) {
            self.sent.set(customer.0);
            return true;
        }
        !change.entered && self.sent.contains(customer.0)
    }

    /// What changes say of customers is nothing that is masked, and those that the caller does not reach are left out before.
    fn masked(&self, response: WatchMembershipsResponse) -> Masked<WatchMembershipsResponse> {
        self.caller.view_of_reached([]).mask(response)
    }

    fn cursor(&self) -> String {
        self.service.runtime.sealer.seal(self.tenant, b"WatchMemberships", &self.position.to_bytes())
    }
}
