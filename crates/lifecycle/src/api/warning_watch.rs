//! The stream of warnings.

use super::warnings::{check_kinds, reached};
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
use std::time::Duration;
use tonic::Status;

/// Warnings of one response.
const PAGE: u64 = 1_000;
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
        let mut reader = Reader { runtime, caller, tenant, read_to, kinds, min_severity, told: None };
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
                let response = WatchWarningsResponse { warnings: Vec::new(), cursor: self.cursor(), watermark };
                let response = self.caller.view_of_reached([]).mask(response);
                sender.send(Ok(response)).await.map_err(|_| None)?;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(SLOW_POLL) => if sender.is_closed() { return Err(None) },
            }
        }
    }

    /// The next page. Where nothing on it is for the caller, the cursor goes on all the same, and whoever has gone away is noticed.
    async fn next_page(&mut self) -> Result<Option<Masked<WatchWarningsResponse>>, ApiError> {
        let read = warning_lists::changed(self.runtime.database.reader(), self.tenant, self.read_to, PAGE).await;
        let (mut stored, last) = read.map_err(|error| store_error(&error))?;
        let Some(last) = last else { return Ok(None) };
        self.read_to = last;
        stored.retain(|stored| self.is_wanted(stored));
        let (warnings, view) = reached(&self.runtime, &self.caller, stored).await?;
        let cursor = self.cursor();
        Ok(Some(view.mask(WatchWarningsResponse { warnings, cursor, watermark: None })))
    }

    fn is_wanted(&self, stored: &Stored) -> bool {
        let warning = &stored.warning;
        (self.kinds.is_empty() || self.kinds.contains(&warning.kind)) && warning.severity >= self.min_severity
    }

    fn cursor(&self) -> String {
        self.runtime.sealer.seal(self.tenant, CURSOR, &self.read_to.to_bytes())
    }
}
