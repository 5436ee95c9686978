//! Batches that came before.

use super::Intake;
use super::batch::{Batch, BatchId, Outcome, Seen};
use crate::store::{rejects, streams};
use quintile_proto::ingestion::IngestResponse;
use quintile_store::StoreError;
use quintile_store::idempotency::{self, Request};

impl Intake<'_> {
    /// What is known of a batch from before.
    pub(super) async fn seen_before(&mut self, batch: &Batch) -> Result<Seen, StoreError> {
        match &batch.id {
            BatchId::Request { request_id, body } => {
                let request = self.request(request_id, body);
                match idempotency::earlier_result(self.transaction, request).await {
                    // Taking it in again changes nothing, and tells what was a duplicate.
                    Ok(earlier) => Ok(if earlier.is_some() { Seen::Before } else { Seen::Never }),
                    Err(StoreError::RequestConflict) => Ok(Seen::Settled(Outcome::Conflict)),
                    Err(error) => Err(error),
                }
            }
            BatchId::Reject { reject_id } => {
                let there = rejects::get(self.transaction, self.tenant.id, *reject_id).await?.is_some();
                Ok(if there { Seen::Never } else { Seen::Settled(Outcome::Gone) })
            }
            BatchId::Stream { stream_id, offset } => {
                let expected = if let Some(expected) = self.streams.get(stream_id) {
                    *expected
                } else {
                    let stream = streams::get(self.transaction, self.tenant.id, stream_id).await?;
                    stream.map_or(0, |row| row.next_offset)
                };
                self.streams.insert(stream_id.clone(), expected);
                Ok(match offset.cmp(&expected) {
                    std::cmp::Ordering::Equal => Seen::Never,
                    std::cmp::Ordering::Greater => Seen::Settled(Outcome::Gap { expected }),
                    std::cmp::Ordering::Less => Seen::Settled(Outcome::Acknowledged(IngestResponse {
                        acked_offset: expected,
                        ..IngestResponse::default()
                    })),
                })
            }
        }
    }

    fn request<'b>(&self, request_id: &'b str, body: &'b [u8]) -> Request<'b> {
        Request { tenant: self.tenant.id, method: "IngestBatch", id: request_id, body }
    }

    /// Remembers that a batch came.
    pub(super) async fn remember(&mut self, id: &BatchId) -> Result<(), StoreError> {
        match id {
            BatchId::Stream { stream_id, offset } => {
                self.streams.insert(stream_id.clone(), offset + 1);
                Ok(())
            }
            BatchId::Reject { .. } => Ok(()),
            BatchId::Request { request_id, body } => {
                let request = self.request(request_id, body);
                if idempotency::earlier_result(self.transaction, request).await?.is_none() {
                    idempotency::remember(self.transaction, request, "", self.now).await?;
                }
                Ok(())
            }
        }
    }
}
