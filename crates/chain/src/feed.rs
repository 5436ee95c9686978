//! Publishing: the records of a commit, and the `Watch` RPC that streams them.

use crate::context::Runtime;
use crate::progress::Watermark;
use crate::store_error;
use crate::vitals::{self, Reading};
use futures::SinkExt;
use futures::channel::mpsc;
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::masking::{Masked, Sensitivity};
use quintile_domain::time::Instant;
use quintile_proto::types::{CustomerRecord, ScoreValues, WatchRecordsResponse};
use quintile_rpc::caller::View;
use quintile_rpc::telemetry::traces::merge;
use quintile_rpc::{AnswerStream, ApiError, Caller};
use quintile_store::feed::{self, Cursor, News};
use quintile_store::records::{self, Record};
use quintile_store::{StoreError, Transaction, follower};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::time::Duration;
use tonic::Status;

/// How often a reader looks by itself, where nobody in this process would wake it.
const SLOW_POLL: Duration = Duration::from_millis(250);

/// A record with the instant at which time alone will change it.
pub struct Derived {
    /// The record.
    pub record: CustomerRecord,
    /// When it changes by itself. `None`: never.
    pub next_change: Option<Instant>,
    /// Whether nothing is stored of the customer yet, not even that it is no more.
    pub is_new: bool,
}

/// A customer that has left derived state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The customer.
    pub customer: CustomerId,
    /// Whether it was erased: then everything about it goes, and it never comes back.
    pub erased: bool,
}

impl Removed {
    /// Whether this says something that a stored record does not say yet. Who was never known needs not be removed.
    pub fn is_news(self, known: Option<&Record>) -> bool {
        known.is_some_and(|known| !known.is_tombstone() || (self.erased && !known.erased))
    }
}

/// The numbers of those who were erased, ascending.
pub fn erased(removed: &[Removed]) -> Vec<i64> {
    let erased = removed.iter().filter(|removed| removed.erased).map(|removed| removed.customer.as_i64());
    erased.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What a commit publishes.
#[derive(Default)]
pub struct Changes {
    /// Records that are new or different. No customer may appear twice, here or below.
    pub changed: Vec<Derived>,
    /// Customers that are no more.
    pub removed: Vec<Removed>,
    /// The traces of what led to it.
    pub traces: Vec<String>,
    /// Records that say what they said, of which something else is to be known to whoever writes them. They are written, and not published.
    pub kept: Vec<Kept>,
}

/// A record that is not published.
pub struct Kept {
    /// The record.
    pub derived: Derived,
    /// Where it was published last.
    pub seq: i64,
}

/// Writes records and publishes them in `feed`, as part of a transaction, and tells at which position. `None`: there is nothing to publish.
/// Call it late: it locks the feed's head.
pub async fn publish(
    transaction: &Transaction,
    tenant: TenantId,
    feed: &str,
    changes: &Changes,
) -> Result<Option<i64>, StoreError> {
    let kept = changes.kept.iter().map(|kept| row(&kept.derived, kept.seq)).collect::<Result<Vec<_>, _>>()?;
    if !kept.is_empty() {
        records::write(transaction, tenant, kept).await?;
    }
    if changes.changed.is_empty() && changes.removed.is_empty() {
        return Ok(None);
    }
    let seq = feed::next_seq(transaction, tenant, feed).await?;
    let mut touched = RoaringBitmap::new();
    let (mut new, mut others) = (Vec::new(), Vec::with_capacity(changes.changed.len() + changes.removed.len()));
    for derived in &changes.changed {
        let row = row(derived, seq)?;
        touched.insert(row.customer.0);
        let rows = if derived.is_new { &mut new } else { &mut others };
        rows.push(row);
    }
    for removed in &changes.removed {
        touched.insert(removed.customer.0);
        others.push(Record::tombstone(removed.customer, seq, removed.erased));
    }
    records::insert(transaction, tenant, new).await?;
    records::write(transaction, tenant, others).await?;
    let news = News { customers: &touched, in_bulk: false, traces: &changes.traces };
    feed::tell(transaction, tenant, feed, seq, news).await?;
    Ok(Some(seq))
}

/// A record as it is kept.
fn row(derived: &Derived, seq: i64) -> Result<Record, StoreError> {
    let customer = CustomerId::try_from(derived.record.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
    let (next_change, body) = (derived.next_change, derived.record.encode_to_vec());
    Ok(Record { customer, seq, next_change, body, erased: false })
}

/// Whether a record says something else than the one before it, aside from what says how it came about: the instants that the two were
/// computed for, and the versions of models and policies that gave the same. Of those the record before takes over what the other one says: copying
/// records is what comparing them would cost most.
pub fn is_change(before: &mut CustomerRecord, after: &CustomerRecord) -> bool {
    if let (Some(before), Some(after)) = (&mut before.features, &after.features) {
        before.as_of = after.as_of;
    }
    if let (Some(before), Some(after)) = (&mut before.scores, &after.scores) {
        before.as_of = after.as_of;
        before.model_version.clone_from(&after.model_version);
        // Whoever has nothing by a model hears when there is one, and when there is none any more.
        if !before.value_model.is_empty() && !after.value_model.is_empty() {
            before.value_model.clone_from(&after.value_model);
        }
        for (before, after) in before.models.iter_mut().zip(&after.models) {
            if same_model(&before.model_version, &after.model_version) {
                before.model_version.clone_from(&after.model_version);
            }
        }
    }
    if let (Some(before), Some(after)) = (&mut before.stage, &after.stage) {
        before.as_of = after.as_of;
        before.policy_version.clone_from(&after.policy_version);
    }
    if let (Some(before), Some(after)) = (&mut before.churn, &after.churn) {
        before.as_of = after.as_of;
        before.model.clone_from(&after.model);
    }
    *before != *after
}

/// Whether two versions, `scoreModels/{model}/versions/{number}`, are of one model.
pub fn same_model(version: &str, other: &str) -> bool {
    let model = |version: &str| version.rsplit_once('/').map(|(model, _)| model.to_owned());
    version == other || (model(version).is_some() && model(version) == model(other))
}

/// Streams a service's feed to a caller: everything from the start or from behind the cursor, then every change.
pub async fn watch(
    runtime: Runtime,
    feed_name: &'static str,
    caller: Caller,
    cursor: &str,
) -> Result<AnswerStream<WatchRecordsResponse>, ApiError> {
    let tenant = caller.tenant().id;
    // A caller with a row scope starts anew: whom it heard of before its cursor is not known, and a removal of anybody else would tell
    // that there is somebody.
    let start = if caller.scope().is_none() { cursor } else { "" };
    let start = open_cursor(&runtime, feed_name, tenant, start).await?;
    let (mut sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let reading = runtime.vitals.read(feed_name, vitals::consumer(&caller), caller.tenant(), position(start));
        let sent = RoaringBitmap::new();
        let mut reader = Reader { runtime, feed_name, tenant, cursor: start, told: None, sent, reading };
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(status)) = reader.send_news(&caller, &mut sender).await {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Box::pin(receiver))
}

struct Reader {
    runtime: Runtime,
    feed_name: &'static str,
    tenant: TenantId,
    cursor: Cursor,
    told: Option<Watermark>,
    /// Whom the stream has told a caller with a row scope of.
    sent: RoaringBitmap,
    /// For whoever looks at how far readers are.
    reading: Reading,
}

/// The position behind which a reader has everything, or will have when it is through with its snapshot.
fn position(cursor: Cursor) -> i64 {
    match cursor {
        Cursor::Snapshot { from, .. } => from,
        Cursor::Tail(seq) => seq,
    }
}

/// Takes from scores when they change next, where that would tell the caller the day on which a customer will be worth less, and it does not read
/// everybody's money.
pub fn hide_falls(caller: &Caller, scores: &mut ScoreValues) {
    if scores.lifetime_value.is_some() && !caller.reads_in_clear(Sensitivity::Financial) {
        scores.next_change_time = None;
    }
}

/// The same, of scores of many: whoever does not reach everybody could tell cut-offs from it that were found from everybody.
pub fn hide_changes(caller: &Caller, scores: &mut ScoreValues) {
    hide_falls(caller, scores);
    if caller.scope().is_some() {
        scores.next_change_time = None;
    }
}

/// The caller's view of the customers of records, all of whom it reaches.
pub fn view_of(caller: &Caller, records: &[CustomerRecord]) -> View {
    caller.view_of_reached(
        records
            .iter()
            .filter_map(|record| Some((CustomerId::try_from(record.customer_id).ok()?, record.attributes.as_ref()?))),
    )
}

/// A response as the caller sees it. A customer that it reaches no more is one that was removed; one that it has not been told of is not
/// there, and was not removed either.
fn within_scope(
    caller: &Caller,
    mut response: WatchRecordsResponse,
    sent: &mut RoaringBitmap,
) -> Masked<WatchRecordsResponse> {
    if caller.scope().is_some() {
        // They are traces of others' calls.
        response.trace_parents.clear();
        let WatchRecordsResponse { records, removed_customer_ids, erased_customer_ids, .. } = &mut response;
        let number = |customer_id: i64| u32::try_from(customer_id).unwrap_or_default();
        records.retain_mut(|record| {
            let reached = caller.reaches(record.attributes.get_or_insert_default());
            if !reached {
                removed_customer_ids.push(record.customer_id);
            }
            reached
        });
        removed_customer_ids.retain(|customer_id| sent.remove(number(*customer_id)));
        erased_customer_ids.retain(|customer_id| sent.remove(number(*customer_id)));
        sent.extend(records.iter().map(|record| number(record.customer_id)));
    }
    for scores in response.records.iter_mut().filter_map(|record| record.scores.as_mut()) {
        hide_changes(caller, scores);
    }
    view_of(caller, &response.records).mask(response)
}

type Sender = mpsc::Sender<Result<Masked<WatchRecordsResponse>, Status>>;

impl Reader {
    /// Sends what is new, for ever. Ends with the status to tell, or `None` when nobody listens any more.
    async fn send_news(&mut self, caller: &Caller, sender: &mut Sender) -> Result<(), Option<Status>> {
        let progress = self.runtime.progress.of(self.tenant);
        let mut changes = progress.subscribe();
        loop {
            // Read before the rows: rows that it covers are then certainly read.
            let watermark = *changes.borrow_and_update();
            let mut is_last = false;
            while !is_last {
                let next = self.next_page().await.map_err(|error| Some(store_error(&error).into()))?;
                let Some((mut response, last)) = next else { break };
                is_last = last;
                // With what it covers: whoever follows commits both at once.
                if is_last && self.told != Some(watermark) {
                    self.told = Some(watermark);
                    response.watermark = Some(watermark.to_message());
                }
                sender.send(Ok(within_scope(caller, response, &mut self.sent))).await.map_err(|_| None)?;
                self.reading.is_at(position(self.cursor));
            }
            // Also behind pages that held nothing.
            self.reading.is_at(position(self.cursor));
            if self.told != Some(watermark) {
                self.told = Some(watermark);
                let response = WatchRecordsResponse {
                    cursor: self.sealed_cursor(),
                    watermark: Some(watermark.to_message()),
                    ..WatchRecordsResponse::default()
                };
                sender.send(Ok(within_scope(caller, response, &mut self.sent))).await.map_err(|_| None)?;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(SLOW_POLL) => {
                    // Another replica may be the one that writes.
                    if let Ok(place) = follower::place(self.runtime.database.reader(), self.tenant, self.feed_name).await
                        && Watermark::from_place(&place) != watermark
                    {
                        progress.raise(Watermark::from_place(&place));
                    }
                    if sender.is_closed() {
                        return Err(None);
                    }
                }
            }
        }
    }

    /// The next records, and whether there was nothing behind them. `None`: there is nothing new.
    async fn next_page(&mut self) -> Result<Option<(WatchRecordsResponse, bool)>, StoreError> {
        loop {
            let page = feed::read(&self.runtime.database, self.tenant, self.feed_name, self.cursor).await?;
            if page.cursor == self.cursor {
                return Ok(None);
            }
            self.cursor = page.cursor;
            if page.records.is_empty() {
                if page.is_last {
                    return Ok(None);
                }
                continue;
            }
            let mut traces = Vec::new();
            merge(&mut traces, page.traces);
            let (cursor, trace_parents) = (self.sealed_cursor(), traces);
            let mut response = WatchRecordsResponse { cursor, trace_parents, ..WatchRecordsResponse::default() };
            for record in page.records {
                if record.erased {
                    response.erased_customer_ids.push(record.customer.as_i64());
                } else if record.is_tombstone() {
                    response.removed_customer_ids.push(record.customer.as_i64());
                } else {
                    response.records.push(decode(&record)?);
                }
            }
            return Ok(Some((response, page.is_last)));
        }
    }

    fn sealed_cursor(&self) -> String {
        let value = match self.cursor {
            Cursor::Snapshot { from, after } => format!("snapshot {from} {after}"),
            Cursor::Tail(seq) => format!("tail {seq}"),
        };
        self.runtime.sealer.seal(self.tenant, self.feed_name.as_bytes(), value.as_bytes())
    }
}

/// The message of a stored record.
pub fn decode(record: &Record) -> Result<CustomerRecord, StoreError> {
    CustomerRecord::decode(record.body.as_slice()).map_err(|_| StoreError::Sealed("record"))
}

async fn open_cursor(runtime: &Runtime, feed_name: &str, tenant: TenantId, sealed: &str) -> Result<Cursor, ApiError> {
    let database = &runtime.database;
    if sealed.is_empty() {
        return feed::begin(database, tenant, feed_name).await.map_err(|error| store_error(&error));
    }
    let refused = || ApiError::invalid_token("cursor");
    let value = runtime.sealer.open(tenant, feed_name.as_bytes(), sealed).map_err(|_| refused())?;
    let text = String::from_utf8(value).map_err(|_| refused())?;
    let words: Vec<_> = text.split(' ').collect();
    let number = |text: &str| text.parse::<i64>().map_err(|_| refused());
    let cursor = match words.as_slice() {
        ["snapshot", from, after] => {
            Cursor::Snapshot { from: number(from)?, after: after.parse().map_err(|_| refused())? }
        }
        ["tail", seq] => Cursor::Tail(number(seq)?),
        _ => return Err(refused()),
    };
    let head = feed::head(database.reader(), tenant, feed_name).await.map_err(|error| store_error(&error))?;
    if position(cursor) > head {
        return Err(ApiError::out_of_range("the cursor is beyond the feed's head"));
    }
    Ok(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_news_once_and_an_erasure_once_more() {
        let customer = CustomerId(1);
        let live = Record { body: vec![1], ..Record::tombstone(customer, 1, false) };
        let (removed, erased) = (Record::tombstone(customer, 1, false), Record::tombstone(customer, 1, true));
        let table = [
            (None, false, false),
            (Some(&live), true, true),
            (Some(&removed), false, true),
            (Some(&erased), false, false),
        ];
        for (known, removal_is_news, erasure_is_news) in table {
            assert_eq!(Removed { customer, erased: false }.is_news(known), removal_is_news, "{known:?}");
            assert_eq!(Removed { customer, erased: true }.is_news(known), erasure_is_news, "{known:?}");
        }
    }
}
