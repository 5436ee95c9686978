//! Features of everybody as of past instants: what models learn from that are judged by what came after.

use super::features::{LONGEST_WINDOWS, past};
use crate::store::customers;
use crate::{Service, feature_records};
use futures::SinkExt;
use futures::channel::mpsc;
use quintile_chain::{feed, page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Masked;
use quintile_domain::seeded::Seeded;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{ReadPastFeaturesRequest, ReadPastFeaturesResponse};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::{AnswerStream, ApiError, Caller, convert};
use quintile_store::StoreError;
use tonic::Status;

/// The most instants.
const MAX_INSTANTS: usize = 4;
/// The largest part of customers that can be left out.
pub const MOST_LEFT_OUT: i32 = 1_000_000;
/// Customers who are computed at once.
const CUSTOMERS_AT_ONCE: usize = 1_000;
/// Numbers that are looked at for them at most.
const NUMBERS_AT_ONCE: u32 = 100_000;

/// Begins to read.
pub async fn start(
    service: Service,
    caller: Caller,
    request: &ReadPastFeaturesRequest,
) -> Result<AnswerStream<ReadPastFeaturesResponse>, ApiError> {
    let tenant = caller.tenant().clone();
    if !(1..=MAX_INSTANTS).contains(&request.as_of.len()) {
        return Err(ApiError::invalid_field("as_of", format!("must have 1 to {MAX_INSTANTS} instants")));
    }
    if !(0..=MOST_LEFT_OUT).contains(&request.one_in) {
        return Err(ApiError::invalid_field("one_in", format!("must be within 0 and {MOST_LEFT_OUT}")));
    }
    let mut instants = Vec::with_capacity(request.as_of.len());
    for (index, as_of) in request.as_of.iter().enumerate() {
        let field = format!("as_of[{index}]");
        let instant = past(&service, &tenant, (&field, as_of), LONGEST_WINDOWS).await?;
        if instants.last().is_some_and(|before| *before >= instant) {
            return Err(ApiError::invalid_field(field, "must be later than the one before it"));
        }
        instants.push(instant);
    }
    let one_in = request.one_in.max(1) as usize;
    let query = format!("ReadPastFeatures {instants:?} {one_in}");
    let behind = page::begin_behind(&service.runtime.sealer, tenant.id, &query, &request.cursor);
    let behind = behind.map_err(|_| ApiError::invalid_token("cursor"))?;
    // Not of records: whoever came in bulk has none yet.
    let customers = customers::last(service.runtime.database.reader(), tenant.id).await;
    let customers = customers.map_err(|error| store_error(&error))?;
    let (sender, receiver) = mpsc::channel(2);
    let mut failed = sender.clone();
    let mut reading = Reading { service, caller, instants, one_in, query, customers, sender };
    tokio::spawn(async move {
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(status)) = reading.send_all(u32::try_from(behind).unwrap_or(u32::MAX)).await {
            let _ = failed.send(Err(status)).await;
        }
    });
    Ok(Box::pin(receiver))
}

/// Up to `at_once` customers of numbers behind one and up to another, one in so many of them, and the number up to which that is all of them.
pub fn choose(one_in: usize, (behind, last): (u32, u32), at_once: usize) -> (Vec<CustomerId>, u32) {
    let to = last.min(behind.saturating_add(NUMBERS_AT_ONCE));
    let mut chosen = Vec::new();
    for number in behind + 1..=to {
        // A number tells when somebody came; the first bits that follow from it tell nothing.
        if Seeded::new(u64::from(number)).below(one_in) == 0 {
            chosen.push(CustomerId(number));
        }
        if chosen.len() == at_once {
            return (chosen, number);
        }
    }
    (chosen, to)
}

struct Reading {
    service: Service,
    caller: Caller,
    /// As of which features are told, rising.
    instants: Vec<Instant>,
    /// One in so many customers is told of.
    one_in: usize,
    /// The query that its cursors belong to.
    query: String,
    /// The highest number of a customer.
    customers: i64,
    sender: mpsc::Sender<Result<Masked<ReadPastFeaturesResponse>, Status>>,
}

/// Why it ends early: with the status to tell, or with `None` when nobody listens any more.
type Stopped = Option<Status>;

impl Reading {
    async fn send_all(&mut self, mut behind: u32) -> Result<(), Stopped> {
        let (first, last) = (behind, u32::try_from(self.customers).unwrap_or(u32::MAX));
        while behind < last {
            let (chosen, to) = choose(self.one_in, (behind, last), CUSTOMERS_AT_ONCE);
            let found = self.compute(&chosen).await.map_err(|error| Some(store_error(&error).into()))?;
            self.check_kept().await.map_err(|error| Some(error.into()))?;
            let tenant = self.caller.tenant().id;
            let sealer = &self.service.runtime.sealer;
            let cursor = page::next_behind(sealer, tenant, &self.query, true, Some(i64::from(to)));
            let response = ReadPastFeaturesResponse {
                records: found,
                cursor,
                complete: false,
                customers_read: i64::from(to - first),
                customers: self.customers,
            };
            self.send(response).await?;
            behind = to;
        }
        let read = i64::from(last.saturating_sub(first));
        let complete = ReadPastFeaturesResponse {
            complete: true,
            customers_read: read,
            customers: self.customers,
            ..Default::default()
        };
        self.send(complete).await
    }

    async fn compute(&self, customers: &[CustomerId]) -> Result<Vec<CustomerRecord>, StoreError> {
        let reader = self.service.runtime.database.reader();
        let tenant = self.caller.tenant();
        let computed = feature_records::compute_at(reader, tenant, &[], customers, &self.instants).await?;
        let mut records: Vec<CustomerRecord> = computed.into_iter().map(|derived| derived.record).collect();
        records.retain_mut(|record| {
            record.features.as_ref().is_some_and(|features| features.orders > 0)
                && self.caller.reaches(record.attributes.get_or_insert_default())
        });
        Ok(records)
    }

    /// Of facts that have been dropped meanwhile nobody knows any more at which of the instants they were there.
    async fn check_kept(&self) -> Result<(), ApiError> {
        let Some(first) = self.instants.first() else { return Ok(()) };
        let as_of = convert::timestamp(*first);
        past(&self.service, self.caller.tenant(), ("as_of[0]", &as_of), LONGEST_WINDOWS).await.map(|_| ())
    }

    async fn send(&mut self, response: ReadPastFeaturesResponse) -> Result<(), Stopped> {
        let masked = feed::view_of(&self.caller, &response.records).mask(response);
        self.sender.send(Ok(masked)).await.map_err(|_| None)
    }
}
