//! The RPCs that read a log. A call reads a bounded number of entries, however few of them are asked for.

use crate::{page, store_error};
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_domain::time::Instant;
use quintile_proto::audit::audit_service_server::AuditService;
use quintile_proto::audit::{
    AuditCheckpoint, AuditEntry, AuditEvent, AuditHead, AuditKind, GetAuditHeadRequest, ListAuditCheckpointsRequest,
    ListAuditCheckpointsResponse, ListAuditEntriesRequest, ListAuditEntriesResponse, ListAuditEventsRequest,
    ListAuditEventsResponse,
};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::Database;
use quintile_store::audit::{self, Behind, Checkpoint, Entry, Span};
use quintile_store::sealing::TokenSealer;
use tonic::Request;

/// Entries that one call looks at.
const SCANNED_ENTRIES: u64 = 2_000;
/// Entries that are read at once.
const CHUNK_ENTRIES: u64 = 250;
/// Bytes of events from which a page is full: well below what clients take in one message.
const PAGE_BYTES: usize = 1024 * 1024;
/// Entries of a page, where no smaller number is asked for.
const DEFAULT_PAGE: u64 = 100;
/// The most entries of a page.
const LARGEST_PAGE: u64 = 1_000;
const ENTRIES: &str = "ListAuditEntries";
const CHECKPOINTS: &str = "ListAuditCheckpoints";

/// Reads the log of one service.
pub struct AuditApi {
    /// The service's name.
    pub service: &'static str,
    /// The log's own database.
    pub database: Database,
    /// Seals page tokens.
    pub sealer: TokenSealer,
}

#[tonic::async_trait]
impl AuditService for AuditApi {
    async fn list_audit_events(&self, request: Request<ListAuditEventsRequest>) -> Answer<ListAuditEventsResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let tenant = caller.tenant().id;
        let question = Question::of(&request)?;
        let query = question.text();
        let begin =
            page::begin(&self.sealer, tenant, &query, &request.page_token, None, |value| Some(Some(place(&value)?)))?;
        let found = self.find(tenant, &question, begin).await?;
        let next_page_token = found
            .next
            .map(|behind| self.sealer.seal(tenant, query.as_bytes(), &place_bytes(behind)))
            .unwrap_or_default();
        Ok(caller.respond(ListAuditEventsResponse { events: found.events, next_page_token }))
    }

    async fn list_audit_entries(&self, request: Request<ListAuditEntriesRequest>) -> Answer<ListAuditEntriesResponse> {
        let caller = Caller::of(&request)?;
        let request = request.get_ref();
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.page_size, LARGEST_PAGE, LARGEST_PAGE)?;
        let mut after = page::begin_behind(&self.sealer, tenant, ENTRIES, &request.page_token)?;
        let (mut entries, mut bytes, mut more) = (Vec::new(), 0, true);
        while more && (entries.len() as u64) < size && bytes < PAGE_BYTES {
            let limit = CHUNK_ENTRIES.min(size - entries.len() as u64);
            let chunk = audit::page(self.database.reader(), tenant, after, limit).await;
            let chunk = chunk.map_err(|error| store_error(&error))?;
            more = chunk.len() as u64 == limit;
            for Entry { seq, body, hash, .. } in chunk {
                if bytes >= PAGE_BYTES {
                    more = true;
                    break;
                }
                bytes += body.len();
                after = seq;
                entries.push(AuditEntry { seq, event: body, hash });
            }
        }
        let next_page_token = page::next_behind(&self.sealer, tenant, ENTRIES, more, Some(after));
        Ok(caller.respond(ListAuditEntriesResponse { entries, next_page_token }))
    }

    async fn get_audit_head(&self, request: Request<GetAuditHeadRequest>) -> Answer<AuditHead> {
        let caller = Caller::of(&request)?;
        let head =
            audit::head(self.database.reader(), caller.tenant().id).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(AuditHead { service: self.service.to_owned(), seq: head.seq, hash: head.hash }))
    }

    async fn list_audit_checkpoints(
        &self,
        request: Request<ListAuditCheckpointsRequest>,
    ) -> Answer<ListAuditCheckpointsResponse> {
        let caller = Caller::of(&request)?;
        let request = request.get_ref();
        let tenant = caller.tenant();
        let size = convert::page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)?;
        let after = page::begin_behind(&self.sealer, tenant.id, CHECKPOINTS, &request.page_token)?;
        let listed = audit::checkpoints(self.database.reader(), tenant.id, after, size).await;
        let listed = listed.map_err(|error| store_error(&error))?;
        let (full, last) = (listed.len() as u64 == size, listed.last().map(|checkpoint| checkpoint.seq));
        let next_page_token = page::next_behind(&self.sealer, tenant.id, CHECKPOINTS, full, last);
        let message = |kept: Checkpoint| AuditCheckpoint {
            service: self.service.to_owned(),
            tenant: tenant.name.clone(),
            seq: kept.seq,
            hash: kept.hash,
            time: Some(convert::timestamp(kept.at)),
            kid: kept.kid,
            public_x: kept.public_x,
            signature: kept.signature,
        };
        let checkpoints = listed.into_iter().map(message).collect();
        Ok(caller.respond(ListAuditCheckpointsResponse { checkpoints, next_page_token }))
    }
}

/// Events that were found, and behind which entry to go on if there may be more.
struct Found {
    events: Vec<AuditEvent>,
    next: Option<Behind>,
}

impl AuditApi {
    async fn find(&self, tenant: TenantId, question: &Question, begin: Option<Behind>) -> Result<Found, ApiError> {
        let mut found = Found { events: Vec::new(), next: begin };
        let (mut scanned, mut bytes) = (0, 0);
        while scanned < SCANNED_ENTRIES {
            let reader = self.database.reader();
            let chunk = audit::page_by_time(reader, tenant, &question.span, found.next, CHUNK_ENTRIES).await;
            let chunk = chunk.map_err(|error| store_error(&error))?;
            let last = (chunk.len() as u64) < CHUNK_ENTRIES;
            scanned += chunk.len() as u64;
            for entry in chunk {
                if found.events.len() as u64 >= question.size || bytes >= PAGE_BYTES {
                    return Ok(found);
                }
                found.next = Some(Behind { at: entry.at, seq: entry.seq });
                let event = AuditEvent::decode(entry.body.as_slice())
                    .map_err(|_| ApiError::internal(format!("entry {} of the audit log does not decode", entry.seq)))?;
                if question.asks_for(&event) {
                    bytes += entry.body.len();
                    found.events.push(event);
                }
            }
            if last {
                found.next = None;
                break;
            }
        }
        Ok(found)
    }
}

/// Which events are asked for, checked.
struct Question {
    span: Span,
    subject: String,
    customer: Option<i64>,
    kind: AuditKind,
    size: u64,
}

impl Question {
    fn of(request: &ListAuditEventsRequest) -> Result<Self, ApiError> {
        let time = |field: &str, time: Option<&prost_types::Timestamp>| {
            let checked = time.map(|time| convert::instant(Some(time))).transpose();
            checked.map_err(|error| ApiError::invalid_time(field, error))
        };
        let start = time("start_time", request.start_time.as_ref())?;
        let end = time("end_time", request.end_time.as_ref())?;
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            return Err(ApiError::invalid_field("end_time", "must not be before start_time"));
        }
        names::optional_text(&request.subject, MAX_NAME_BYTES)
            .map_err(|error| ApiError::invalid_text("subject", error))?;
        let customer = match request.customer.as_str() {
            "" => None,
            name => Some(convert::customer("customer", name, None)?.as_i64()),
        };
        let kind = AuditKind::try_from(request.kind)
            .map_err(|_| ApiError::invalid_field("kind", "is not a kind of audit events"))?;
        Ok(Self {
            span: Span { start, end, newest_first: request.newest_first },
            subject: request.subject.clone(),
            customer,
            kind,
            size: convert::page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)?,
        })
    }

    /// Every argument but the page, for the page's token. The subject, which may hold anything, stands last.
    fn text(&self) -> String {
        let micros = |instant: Option<Instant>| instant.map_or(-1, Instant::micros);
        format!(
            "ListAuditEvents/{}/{}/{}/{}/{}/{}",
            micros(self.span.start),
            micros(self.span.end),
            self.span.newest_first,
            self.customer.unwrap_or(0),
            self.kind as i32,
            self.subject
        )
    }

    fn asks_for(&self, event: &AuditEvent) -> bool {
        (self.subject.is_empty() || self.subject == event.subject)
            && self.customer.is_none_or(|customer| event.customer_ids.contains(&customer))
            && (self.kind == AuditKind::Unspecified || self.kind as i32 == event.kind)
    }
}

fn place_bytes(behind: Behind) -> Vec<u8> {
    [behind.at.micros().to_be_bytes(), behind.seq.to_be_bytes()].concat()
}

fn place(bytes: &[u8]) -> Option<Behind> {
    let (at, seq) = bytes.split_at_checked(8)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
    Some(Behind { at: Instant::from_micros(number(at)?), seq: number(seq)? })
}
