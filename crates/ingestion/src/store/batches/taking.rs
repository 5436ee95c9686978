//! What is done with one batch after the other.

use super::Intake;
use super::batch::{Batch, BatchId, Outcome, Seen};
use super::events::{Events, Kept, ORDER};
use super::tally::Tally;
use crate::intake::{self, Fact, RateRow, SpendRow};
use crate::store::{rates, rejects, spend};
use quintile_proto::ingestion::{IngestResponse, Reject, Row};
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use quintile_store::StoreError;
use roaring::RoaringBitmap;
use tokio::task::JoinHandle;

/// A batch of which it was looked whether it came before.
pub(super) enum Begun {
    /// It is not to be taken in.
    Settled(Outcome),
    /// It is, as far as it is fit.
    Fit(Fit),
}

impl Begun {
    /// What is to be taken in.
    pub(super) fn facts(&self) -> &[(usize, Fact)] {
        match self {
            Self::Settled(_) => &[],
            Self::Fit(fit) => &fit.facts,
        }
    }
}

/// What of a batch can be taken in.
pub(super) struct Fit {
    id: BatchId,
    rows: Vec<Row>,
    blind: bool,
    /// Whether it came before.
    repeated: bool,
    facts: Vec<(usize, Fact)>,
    /// What became of its other rows.
    tally: Tally,
}

/// What becomes of a batch, as far as it is known.
pub(super) enum Taken {
    /// All of it.
    Settled(Outcome),
    /// Its facts are on their way into their tables.
    Writing(Writing),
}

/// A batch whose facts are being written.
pub(super) struct Writing {
    id: BatchId,
    rows: Vec<Row>,
    /// Whether it came before.
    repeated: bool,
    /// What became of its other rows.
    tally: Tally,
    facts: JoinHandle<Result<Vec<Kept>, StoreError>>,
}

impl Intake<'_> {
    /// Looks whether a batch came before, and what of it can be taken in.
    pub(super) async fn begin(&mut self, batch: Batch) -> Result<Begun, StoreError> {
        let repeated = match self.seen_before(&batch).await? {
            Seen::Never => false,
            Seen::Before => true,
            Seen::Settled(outcome) => return Ok(Begun::Settled(outcome)),
        };
        let (facts, too_old) = self.parted(batch.facts);
        self.remember(&batch.id).await?;
        let mut tally = Tally { rejects: batch.rejects, ..Tally::default() };
        if repeated {
            // They came before, and may have been taken in: the horizon has moved since.
            tally.duplicates += too_old.len();
        } else {
            tally.rejects.extend(too_old);
        }
        let (id, rows, blind) = (batch.id, batch.rows, batch.blind);
        Ok(Begun::Fit(Fit { id, rows, blind, repeated, facts, tally }))
    }

    /// Takes over the customers of a batch, of which everybody is known, and has its facts written.
    pub(super) async fn take(&mut self, begun: Begun) -> Result<Taken, StoreError> {
        let Fit { id, rows, blind, repeated, facts, mut tally } = match begun {
            Begun::Settled(outcome) => return Ok(Taken::Settled(outcome)),
            Begun::Fit(fit) => fit,
        };
        let owners = facts.iter().filter_map(|(_, fact)| self.owners.get(fact.identity()?));
        let named: RoaringBitmap = owners.map(|owner| owner.customer.0).collect();
        *self.named_by(rows.len()) |= named;
        let (mut events, mut spend, mut rates) = (Events::default(), Vec::new(), Vec::new());
        for (row, fact) in facts {
            match fact {
                Fact::Customer(patch) => match self.take_customer(&patch, blind) {
                    Ok(true) => tally.applied += 1,
                    Ok(false) => tally.duplicates += 1,
                    Err(error) => tally.rejects.push(intake::reject(row, &error)),
                },
                Fact::Order(order) => events.orders.push((row, (self.owner(&order.event.customer)?, order))),
                Fact::Refund(refund) => events.refunds.push((row, (self.owner(&refund.event.customer)?, refund))),
                Fact::Interaction(it) => events.interactions.push((row, (self.owner(&it.event.customer)?, it))),
                Fact::Feedback(it) => events.feedback.push((row, (self.owner(&it.event.customer)?, it))),
                Fact::Spend(it) => spend.push((row, it)),
                Fact::Rate(rate) => rates.push(rate),
            }
        }
        self.take_company(spend, &rates, &mut tally).await?;
        // The last thing of a batch: two who bring the same lock it in one order.
        let facts = self.writer.write(events);
        Ok(Taken::Writing(Writing { id, rows, repeated, tally, facts }))
    }

    /// Waits until a batch is taken in.
    pub(super) async fn end(&mut self, taken: Taken) -> Result<Outcome, StoreError> {
        let Writing { id, rows, repeated, mut tally, facts } = match taken {
            Taken::Settled(outcome) => return Ok(outcome),
            Taken::Writing(writing) => writing,
        };
        for Kept { kind, rows, happened, written } in facts.await.map_err(|_| StoreError::Panicked)?? {
            if written.applied > 0 {
                self.touched.extend(happened.iter().map(|(customer, _)| *customer));
                if kind == ORDER {
                    self.bought.extend(happened);
                }
            }
            tally.add(written, &rows, kind);
        }
        tally.rejects.sort_by_key(|reject| reject.row);
        // What was refused the first time is kept, or was seen to since.
        if !repeated {
            self.note_rejects(&id, &rows, &tally.rejects).await?;
        }
        Ok(Outcome::Acknowledged(IngestResponse {
            acked_offset: id.next_offset(),
            applied: tally.applied as i64,
            duplicates: tally.duplicates as i64,
            rejects: tally.rejects,
            facts_position: 0,
        }))
    }

    /// The facts that can be taken in, and the rejects of those that are too old.
    fn parted(&self, facts: Vec<(usize, Fact)>) -> (Vec<(usize, Fact)>, Vec<Reject>) {
        let mut too_old = Vec::new();
        let mut fit = facts;
        fit.retain(|(row, fact)| {
            let Some(field) = self.horizons.refuse(fact) else { return true };
            let problem = "is older than facts of this kind are kept: see RetentionService";
            let error = ApiError::failed_precondition(ErrorReason::TooOld, problem).within(field);
            too_old.push(intake::reject(*row, &error));
            false
        });
        (fit, too_old)
    }

    async fn note_rejects(&self, id: &BatchId, rows: &[Row], refused: &[Reject]) -> Result<(), StoreError> {
        let (tenant, keys) = (self.tenant.id, self.keys);
        let place = match id {
            BatchId::Stream { stream_id, offset } => (stream_id.as_str(), *offset),
            BatchId::Request { request_id, .. } => (request_id.as_str(), 0),
            BatchId::Reject { reject_id } => {
                return match refused.first().zip(rows.first()) {
                    Some((refused, row)) => {
                        rejects::replace(self.transaction, tenant, keys, *reject_id, row, refused, self.now).await
                    }
                    None => rejects::delete(self.transaction, tenant, *reject_id).await.map(drop),
                };
            }
        };
        rejects::write(self.transaction, tenant, keys, place, rows, refused, self.now).await
    }

    /// Takes in what is of the company and not of a customer.
    async fn take_company(
        &mut self,
        spend: Vec<(usize, SpendRow)>,
        rates: &[RateRow],
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let (rows, spend): (Vec<_>, Vec<_>) = spend.into_iter().unzip();
        tally.add(spend::write(self.transaction, self.tenant.id, &spend).await?, &rows, "acquisition_spend");
        let changed = rates::write(self.transaction, self.tenant.id, rates).await?;
        tally.applied += changed.len();
        tally.duplicates += rates.len() - changed.len();
        self.changed_rates.extend(changed);
        Ok(())
    }
}
