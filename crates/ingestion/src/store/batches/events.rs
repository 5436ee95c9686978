//! Facts of customers on their way into their tables, while what comes behind them is made ready.

use crate::intake::{FeedbackRow, InteractionRow, OrderRow, RefundRow};
use crate::store::facts::{Ready, StoredEvent, Written};
use crate::store::identities::Owner;
use crate::store::keys::TenantKeys;
use crate::store::rates;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::{StoreError, Transaction};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What an order is called among the fields of a row.
pub const ORDER: &str = "order";

/// Facts of one kind, each with its row and whose it is.
type OfKind<E> = Vec<(usize, (Owner, E))>;

/// The facts of a batch that are of customers, by kind.
#[derive(Default)]
pub struct Events {
    /// The orders.
    pub orders: OfKind<OrderRow>,
    /// The refunds.
    pub refunds: OfKind<RefundRow>,
    /// The interactions.
    pub interactions: OfKind<InteractionRow>,
    /// The feedback.
    pub feedback: OfKind<FeedbackRow>,
}

/// What became of facts of one kind.
pub struct Kept {
    /// What a fact of this kind is called among the fields of a row.
    pub kind: &'static str,
    /// The rows that they came in.
    pub rows: Vec<usize>,
    /// Of each the customer, and when it was.
    pub happened: Vec<(u32, Instant)>,
    /// How many are new, and which were refused.
    pub written: Written,
}

/// The writing of one batch after the other, in one transaction.
pub struct Writer {
    transaction: Arc<Transaction>,
    tenant: TenantId,
    keys: TenantKeys,
    /// Ends when all that came before is written.
    last: Option<oneshot::Receiver<()>>,
}

impl Writer {
    /// Nothing yet.
    pub fn new(transaction: Arc<Transaction>, tenant: TenantId, keys: TenantKeys) -> Self {
        Self { transaction, tenant, keys, last: None }
    }

    /// Has the facts of the next batch written, behind those of the batches before it. Whoever gives up leaves them be: the transaction is
    /// rolled back when they are through.
    pub fn write(&mut self, events: Events) -> JoinHandle<Result<Vec<Kept>, StoreError>> {
        let (written, last) = oneshot::channel();
        let before = self.last.replace(last);
        let (transaction, tenant, keys) = (self.transaction.clone(), self.tenant, self.keys.clone());
        tokio::spawn(async move {
            // What is to be kept of a fact that comes twice is what came first. The columns are made while that is written.
            let orders = Unwritten::new(ORDER, tenant, &keys, events.orders);
            let refunds = Unwritten::new("refund", tenant, &keys, events.refunds);
            let interactions = Unwritten::new("interaction", tenant, &keys, events.interactions);
            let feedback = Unwritten::new("feedback", tenant, &keys, events.feedback);
            if let Some(before) = before {
                // What went wrong there is told by itself.
                let _ = before.await;
            }
            let kept = [
                orders.write(&transaction, tenant).await?,
                refunds.write(&transaction, tenant).await?,
                interactions.write(&transaction, tenant).await?,
                feedback.write(&transaction, tenant).await?,
            ];
            let _ = written.send(());
            Ok(kept.into_iter().flatten().collect())
        })
    }
}

/// Facts of one kind that are ready to be written.
struct Unwritten<E> {
    kind: &'static str,
    rows: Vec<usize>,
    ready: Ready<E>,
}

impl<E: StoredEvent + Sync> Unwritten<E> {
    fn new(kind: &'static str, tenant: TenantId, keys: &TenantKeys, events: OfKind<E>) -> Self {
        let (rows, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        Self { kind, rows, ready: Ready::new(tenant, keys, events) }
    }

    async fn write(self, transaction: &Transaction, tenant: TenantId) -> Result<Option<Kept>, StoreError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let (events, written) = self.ready.write(transaction, tenant).await?;
        let taken_in = events.iter().enumerate().filter(|(place, _)| !written.conflicts.contains(place));
        let foreign = taken_in.filter_map(|(_, (owner, event))| event.foreign(owner)).collect();
        rates::note(transaction, tenant, foreign).await?;
        let happened = events.iter().map(|(owner, event)| (owner.customer.0, event.event().at)).collect();
        Ok(Some(Kept { kind: self.kind, rows: self.rows, happened, written }))
    }
}
