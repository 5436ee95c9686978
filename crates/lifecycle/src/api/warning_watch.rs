//! The stream of warnings.

use super::reached::Reached;
use super::warnings::check_kinds;
use crate::store::warning_lists::{self, ReadTo};
use crate::store::warnings::Stored;
use futures::SinkExt;
use futures::channel::mpsc;
use quintile_chain::context::Runtime;
use quintile_chain::progress::Watermark;
use quintile_chain::store_error;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::Masked;
use quintile_proto::lifecycle::{WatchWarningsRequest, WatchWarningsResponse};
use quintile_rpc::{AnswerStream, ApiError, Caller};
use roaring::RoaringBitmap;
use std::time::Duration;
use tonic::Status;

/// Warnings of one response.
const PAGE: u64 = 1_000;
/// Pages without anything for the caller after which it is told the cursor alone.
const SILENT_PAGES: usize = 20;
/// How often a reader looks by itself, where nobody in this process would wake it.
const SLOW_POLL: Duration = Duration::from_millis(250);
/// What cursors are sealed for.
const CURSOR: &[u8] = b"WatchWarnings";

/// Starts a watch.
pub async fn watch(
    runtime: Runtime,
    caller: Caller,
    request: WatchWarningsRequest,
) -> Result<AnswerStream<WatchWarningsResponse>, ApiError> {
    check_kinds(&request.kinds, request.min_severity)?;
    let tenant = caller.tenant().id;
    let read_to = open_cursor(&runtime, tenant, &request.cursor).await?;
    let (mut sender, receiver) = mpsc::channel(2);
    let WatchWarningsRequest { kinds, min_severity, .. } = request;
    tokio::spawn(async move {
        let mut reader =
            Reader { runtime, caller, tenant, read_to, kinds, min_severity, told: None, sent: RoaringBitmap::new() };
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(status)) = reader.send_news(&mut sender).await {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Box::pin(receiver))
}

async fn open_cursor(runtime: &Runtime, tenant: TenantId, cursor: &str) -> Result<ReadTo, ApiError> {
    let now = ReadTo::now(runtime.database.reader(), tenant).await.map_err(|error| store_error(&error))?;
    if cursor.is_empty() {
        return Ok(now);
    }
    let refused = || ApiError::invalid_token("cursor");
    let value = runtime.sealer.open(tenant, CURSOR, cursor).map_err(|_| refused())?;
    let read_to = ReadTo::from_bytes(&value).ok_or_else(refused)?;
    if read_to.changed > now.changed {
        return Err(ApiError::out_of_range("the cursor is beyond the last change"));
    }
    Ok(read_to)
}

struct Reader {
    runtime: Runtime,
    caller: Caller,
    tenant: TenantId,
    read_to: ReadTo,
    kinds: Vec<i32>,
    min_severity: i32,
    told: Option<Watermark>,
    /// Whom the stream has told a caller with a row scope of.
    sent: RoaringBitmap,
}

type Sender = mpsc::Sender<Result<Masked<WatchWarningsResponse>, Status>>;

impl Reader {
    /// Sends what is new, for ever. Ends with the status to tell, or `None` when nobody listens any more.
    async fn send_news(&mut self, sender: &mut Sender) -> Result<(), Option<Status>> {
        let mut changes = self.runtime.progress.of(self.tenant).subscribe();
        loop {
            // Read before the warnings: what it covers is then certainly read.
            let watermark = *changes.borrow_and_update();
            while let Some(response) = self.next_page().await.map_err(|error| Some(error.into()))? {
                sender.send(Ok(response)).await.map_err(|_| None)?;
            }
            if self.told != Some(watermark) {
                self.told = Some(watermark);
                let watermark = Some(watermark.to_message());
                let response = WatchWarningsResponse { cursor: self.cursor(), watermark, ..Default::default() };
                let response = self.caller.view_of_reached([]).mask(response);
                sender.send(Ok(response)).await.map_err(|_| None)?;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(SLOW_POLL) => if sender.is_closed() { return Err(None) },
            }
        }
    }

    /// The next page with anything for the caller. Where there is none for long, the cursor goes on all the same, and whoever has gone away is noticed.
    async fn next_page(&mut self) -> Result<Option<Masked<WatchWarningsResponse>>, ApiError> {
        for _ in 0..SILENT_PAGES {
            let read = warning_lists::changed(self.runtime.database.reader(), self.tenant, self.read_to, PAGE).await;
            let (mut stored, last) = read.map_err(|error| store_error(&error))?;
            let Some(last) = last else { return Ok(None) };
            self.read_to = last;
            stored.retain(|stored| self.is_wanted(stored));
            let reached = Reached::of(&self.runtime, &self.caller, &stored).await?;
            let (warnings, gone): (Vec<_>, Vec<_>) =
                stored.into_iter().partition(|stored| reached.has(stored.customer));
            let gone: Vec<_> = gone.into_iter().filter(|stored| self.was_told(stored)).collect();
            if warnings.is_empty() && gone.is_empty() {
                continue;
            }
            if self.caller.scope().is_some() {
                self.sent.extend(warnings.iter().map(|stored| stored.customer.0));
            }
            let response = WatchWarningsResponse {
                warnings: warnings.into_iter().map(Stored::named).collect(),
                cursor: self.cursor(),
                watermark: None,
                gone: gone.into_iter().map(|stored| stored.named().name).collect(),
            };
            return Ok(Some(reached.view(&self.caller).mask(response)));
        }
        let response = WatchWarningsResponse { cursor: self.cursor(), ..WatchWarningsResponse::default() };
        Ok(Some(self.caller.view_of_reached([]).mask(response)))
    }

    /// Whether the caller may know of a warning that is not there for it any more: everybody's, or that of a customer whom it was told of.
    fn was_told(&self, stored: &Stored) -> bool {
        self.caller.scope().is_none() || self.sent.contains(stored.customer.0)
    }

    fn is_wanted(&self, stored: &Stored) -> bool {
        let warning = &stored.warning;
        (self.kinds.is_empty() || self.kinds.contains(&warning.kind)) && warning.severity >= self.min_severity
    }

    fn cursor(&self) -> String {
        self.runtime.sealer.seal(self.tenant, CURSOR, &self.read_to.to_bytes())
    }
}
