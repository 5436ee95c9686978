//! Everything that was taken in, kind by kind, in the order of keys: for tools of one's own.

use super::audiences;
use super::facts::{place, token};
use crate::Service;
use crate::store::customers::{self, StoredCustomer};
use crate::store::entities::{acquisition_spend, exchange_rate};
use crate::store::facts::{Key, Scan};
use crate::store::keys::TenantKeys;
use crate::store::{rates, spend};
use futures::SinkExt;
use futures::channel::mpsc;
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_domain::masking::Masked;
use quintile_proto::ingestion::export_service_server::ExportService;
use quintile_proto::ingestion::{
    AcquisitionSpend, Customer, CustomerFact, ExchangeRate, ExportAudienceRequest, ExportAudienceResponse, ExportKind,
    ExportRowsRequest, ExportRowsResponse, FactKind,
};
use quintile_proto::types::CustomerAttributes;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller};
use quintile_store::StoreError;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

/// Customers, rates or periods of spend that are read at once.
const ROWS_AT_ONCE: u64 = 500;
/// About how large a page becomes.
const PAGE_BYTES: usize = 1024 * 1024;

/// The handlers.
pub struct Rows {
    pub service: Service,
}

#[tonic::async_trait]
impl ExportService for Rows {
    type ExportRowsStream = AnswerStream<ExportRowsResponse>;

    async fn export_rows(
        &self,
        request: Request<ExportRowsRequest>,
    ) -> Result<Response<Self::ExportRowsStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let kind = ExportKind::try_from(request.kind).unwrap_or_default();
        let first = Place::first(kind).ok_or_else(|| ApiError::invalid_field("kind", "must be one of the kinds"))?;
        caller.is_about(format!("exports/{}", kind.as_str_name()));
        // Pages of other forms must not come to lie behind each other. Quoted: no two callers run together into one text.
        let query =
            format!("ExportRows {kind:?} {:?} {:?} {:?}", caller.subject(), caller.role_name(), caller.purpose());
        let sealer = &self.service.runtime.sealer;
        let behind = page::begin(sealer, caller.tenant().id, &query, &request.cursor, first, place);
        let behind = behind.map_err(|_| ApiError::invalid_token("cursor"))?;
        let keys = self.service.keys.of(caller.tenant().id).await.map_err(|error| store_error(&error))?;
        let (sender, receiver) = mpsc::channel(2);
        let mut failed = sender.clone();
        let mut export = Export { service: self.service.clone(), caller, keys, query, sender };
        tokio::spawn(async move {
            // A reader that went away is no failure; anything else is told and ends the stream.
            if let Err(Some(status)) = export.send_all(behind).await {
                let _ = failed.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(receiver)))
    }

    async fn export_audience(&self, request: Request<ExportAudienceRequest>) -> Answer<ExportAudienceResponse> {
        let caller = Caller::of(&request)?;
        audiences::export(&self.service, &caller, request.get_ref()).await
    }
}

/// What an export goes on behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Place {
    /// A customer's number.
    Customer(i64),
    /// The key of a fact of a kind, by the kind's number.
    Fact(i32, Key),
    /// The source and the event id of spend.
    Spend(String, String),
    /// The number of a currency, and a day.
    Rate(i32, i32),
}

impl Place {
    /// Before all rows of a kind.
    fn first(kind: ExportKind) -> Option<Self> {
        let fact = |kind: FactKind| Some(Self::Fact(kind as i32, Key::default()));
        match kind {
            ExportKind::Unspecified => None,
            ExportKind::Customer => Some(Self::Customer(0)),
            ExportKind::Order => fact(FactKind::Order),
            ExportKind::Refund => fact(FactKind::Refund),
            ExportKind::Interaction => fact(FactKind::Interaction),
            ExportKind::Feedback => fact(FactKind::Feedback),
            ExportKind::AcquisitionSpend => Some(Self::Spend(String::new(), String::new())),
            ExportKind::ExchangeRate => Some(Self::Rate(0, 0)),
        }
    }
}

/// A row of any kind.
enum Row {
    Customer(Box<Customer>),
    Fact(Box<CustomerFact>),
    Spend(AcquisitionSpend),
    Rate(ExchangeRate),
}

impl Row {
    fn encoded_len(&self) -> usize {
        match self {
            Self::Customer(row) => row.encoded_len(),
            Self::Fact(row) => row.encoded_len(),
            Self::Spend(row) => row.encoded_len(),
            Self::Rate(row) => row.encoded_len(),
        }
    }

    fn put_into(self, page: &mut ExportRowsResponse) {
        match self {
            Self::Customer(row) => page.customers.push(*row),
            Self::Fact(row) => page.facts.push(*row),
            Self::Spend(row) => page.acquisition_spend.push(row),
            Self::Rate(row) => page.exchange_rates.push(row),
        }
    }
}

/// Some rows that the caller may have, each with the place to go on behind it.
#[derive(Default)]
struct Chunk {
    rows: Vec<(Place, Row)>,
    /// The customers that the rows are of.
    customers: Vec<StoredCustomer>,
    /// What to go on behind. `None`: these were the last.
    next: Option<Place>,
}

struct Export {
    service: Service,
    caller: Caller,
    keys: TenantKeys,
    /// The query that its cursors belong to.
    query: String,
    sender: mpsc::Sender<Result<Masked<ExportRowsResponse>, Status>>,
}

/// Why an export ends early: with the status to tell, or with `None` when nobody listens any more.
type Stopped = Option<Status>;

impl Export {
    async fn send_all(&mut self, mut behind: Place) -> Result<(), Stopped> {
        loop {
            let mut chunk = self.chunk(&behind).await.map_err(|error| Some(store_error(&error).into()))?;
            let next = chunk.next.take();
            self.send_chunk(chunk).await?;
            let Some(next) = next else { break };
            behind = next;
        }
        self.send(ExportRowsResponse { complete: true, ..ExportRowsResponse::default() }, &[]).await
    }

    /// Sends the rows of a chunk in pages. A cursor is always behind a row that the caller was given: it tells nothing of others.
    async fn send_chunk(&mut self, chunk: Chunk) -> Result<(), Stopped> {
        let (mut page, mut bytes) = (ExportRowsResponse::default(), 0);
        let mut rows = chunk.rows.into_iter().peekable();
        while let Some((place, row)) = rows.next() {
            bytes += row.encoded_len();
            row.put_into(&mut page);
            let is_full = rows.peek().is_none_or(|(_, next)| bytes + next.encoded_len() > PAGE_BYTES);
            if is_full {
                let sealer = &self.service.runtime.sealer;
                page.cursor = token(sealer, self.caller.tenant().id, &self.query, &place);
                self.send(std::mem::take(&mut page), &chunk.customers).await?;
                bytes = 0;
            }
        }
        Ok(())
    }

    async fn send(&mut self, page: ExportRowsResponse, of: &[StoredCustomer]) -> Result<(), Stopped> {
        let view = self.caller.view_of_reached(of.iter().map(|customer| (customer.id, &customer.attributes)));
        self.sender.send(Ok(view.mask(page))).await.map_err(|_| None)
    }

    async fn chunk(&self, behind: &Place) -> Result<Chunk, StoreError> {
        match behind {
            Place::Customer(after) => self.customers(*after).await,
            Place::Fact(kind, key) => self.facts(FactKind::try_from(*kind).unwrap_or_default(), key).await,
            Place::Spend(source, event) => self.spend((source.clone(), event.clone())).await,
            Place::Rate(currency, day) => self.rates((*currency, *day)).await,
        }
    }

    async fn customers(&self, after: i64) -> Result<Chunk, StoreError> {
        let tenant = self.caller.tenant().id;
        let connection = self.service.runtime.database.reader();
        let reaches = |attributes: &CustomerAttributes| self.caller.reaches(attributes);
        let reaches: Option<&(dyn Fn(&CustomerAttributes) -> bool + Sync)> = self.caller.scope().map(|_| &reaches as _);
        let mut listed = customers::page(connection, tenant, &self.keys, after, ROWS_AT_ONCE, reaches).await?;
        listed.customers.retain(|customer| customer.restricted_at.is_none());
        let declared = self.service.declarations.of(tenant).await?;
        let row = |customer: &StoredCustomer| {
            (Place::Customer(customer.id.as_i64()), Row::Customer(Box::new(customer.message(&declared))))
        };
        let rows = listed.customers.iter().map(row).collect();
        Ok(Chunk { rows, customers: listed.customers, next: listed.last.filter(|_| listed.more).map(Place::Customer) })
    }

    async fn facts(&self, kind: FactKind, behind: &Key) -> Result<Chunk, StoreError> {
        let wants =
            |customer: &StoredCustomer| customer.restricted_at.is_none() && self.caller.reaches(&customer.attributes);
        let scan = Scan { tenant: self.caller.tenant(), keys: &self.keys, wants: &wants };
        let chunk = scan.chunk(self.service.runtime.database.reader(), kind, behind).await?;
        let at = |key: Key| Place::Fact(kind as i32, key);
        let rows = chunk.facts.into_iter().map(|(key, fact)| (at(key), Row::Fact(Box::new(fact)))).collect();
        Ok(Chunk { rows, customers: chunk.customers, next: chunk.next.map(at) })
    }

    async fn spend(&self, behind: (String, String)) -> Result<Chunk, StoreError> {
        let tenant = self.caller.tenant();
        let found = spend::page(self.service.runtime.database.reader(), tenant.id, &behind, ROWS_AT_ONCE).await?;
        let row = |row: acquisition_spend::Model| {
            (Place::Spend(row.source.clone(), row.event_id.clone()), Row::Spend(spend::message(row, tenant.currency)))
        };
        Ok(Chunk::of_nobody(found.into_iter().map(row).collect()))
    }

    async fn rates(&self, behind: (i32, i32)) -> Result<Chunk, StoreError> {
        let tenant = self.caller.tenant();
        let found = rates::page(self.service.runtime.database.reader(), tenant.id, behind, ROWS_AT_ONCE).await?;
        let row = |row: exchange_rate::Model| {
            (Place::Rate(row.currency, row.day), Row::Rate(rates::message(&row, tenant.currency)))
        };
        Ok(Chunk::of_nobody(found.into_iter().map(row).collect()))
    }
}

impl Chunk {
    fn of_nobody(rows: Vec<(Place, Row)>) -> Self {
        let next = rows.last().filter(|_| rows.len() as u64 == ROWS_AT_ONCE).map(|(place, _)| place.clone());
        Self { rows, customers: Vec::new(), next }
    }
}
