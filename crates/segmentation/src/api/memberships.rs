//! The stream of enters and exits.

use super::{members, population};
use crate::Service;
use crate::store::memberships::{self, Position};
use futures::SinkExt;
use futures::channel::mpsc;
use quintile_chain::progress::Watermark;
use quintile_chain::store_error;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::masking::Masked;
use quintile_proto::segmentation::{WatchMembershipsRequest, WatchMembershipsResponse};
use quintile_rpc::{AnswerStream, ApiError, Caller};
use std::collections::HashSet;
use std::time::Duration;
use tonic::Status;

/// Changes of one response.
const PAGE: u64 = 1_000;
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
    for parent in &request.parents {
        members::check_parent(&caller, &loaded.population.read(), parent)?;
    }
    let tenant = caller.tenant().id;
    let position = open_cursor(&service, tenant, &request.cursor).await?;
    let parents = request.parents.into_iter().collect();
    let (mut sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut reader = Reader { service, caller, tenant, position, parents, told: None };
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
    let (seq, place) = value.split_at_checked(8).ok_or_else(refused)?;
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).map_err(|_| refused());
    let position = Position { seq: number(seq)?, place: number(place)? };
    if position.seq > end.seq {
        return Err(ApiError::out_of_range("the cursor is beyond the log's end"));
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
            }
            if self.told != Some(watermark) {
                self.told = Some(watermark);
                let response = WatchMembershipsResponse {
                    changes: Vec::new(),
                    cursor: self.cursor(),
                    watermark: Some(watermark.to_message()),
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
        let database = self.service.runtime.database.reader();
        loop {
            let page = memberships::after(database, self.tenant, self.position, PAGE).await;
            let page = page.map_err(|error| store_error(&error))?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            self.position = *last;
            let loaded = population(&self.service, &self.caller)?;
            let population = loaded.population.read();
            // What the caller may not use is not told; a segment that is gone by now needs no right to hear that it is.
            let wanted = |parent: &str| {
                (self.parents.is_empty() || self.parents.contains(parent))
                    && !matches!(members::check_parent(&self.caller, &population, parent), Err(error) if error.code() == tonic::Code::PermissionDenied)
            };
            let reaches = |customer: &str| {
                let id = CustomerId::from_name(customer, None);
                id.is_some_and(|id| population.reaches(self.caller.scope(), id.0))
            };
            let changes = page.into_iter().map(|(_, change)| change);
            let changes: Vec<_> =
                changes.filter(|change| wanted(&change.parent) && reaches(&change.customer)).collect();
            drop(population);
            if !changes.is_empty() {
                return Ok(Some(WatchMembershipsResponse { changes, cursor: self.cursor(), watermark: None }));
            }
        }
    }

    /// What changes say of customers is nothing that is masked, and those that the caller does not reach are left out before.
    fn masked(&self, response: WatchMembershipsResponse) -> Masked<WatchMembershipsResponse> {
        self.caller.view_of_reached([]).mask(response)
    }

    fn cursor(&self) -> String {
        let value = [self.position.seq.to_be_bytes(), self.position.place.to_be_bytes()].concat();
        self.service.runtime.sealer.seal(self.tenant, b"WatchMemberships", &value)
    }
}
