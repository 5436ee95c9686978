//! Group commit: work that arrives while a transaction runs goes together into the next one.

use crate::{Result, StoreError};
use futures::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use tokio::sync::{mpsc, oneshot};

/// Work that waits for its commit. Beyond it, those who bring more wait.
const QUEUE: usize = 64;

/// The one writer of a tenant in this process.
pub struct Committer<Work, Outcome> {
    queue: mpsc::Sender<Submission<Work, Outcome>>,
}

struct Submission<Work, Outcome> {
    work: Work,
    done: oneshot::Sender<Result<Outcome>>,
}

/// The outcome of work that is on its way.
pub struct Pending<Outcome>(oneshot::Receiver<Result<Outcome>>);

impl<Work: Send + 'static, Outcome: Send + 'static> Committer<Work, Outcome> {
    /// Starts the writer. It calls `commit` with up to `max_rows` rows of work (more if one piece alone is larger), and `commit`
    /// answers with one outcome per piece, in order, or with the error that all of them get.
    pub fn start<F, Fut>(max_rows: usize, rows: fn(&Work) -> usize, commit: F) -> Self
    where
        F: Fn(Vec<Work>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Outcome>>> + Send,
    {
        let (queue, mut arrivals) = mpsc::channel::<Submission<Work, Outcome>>(QUEUE);
        tokio::spawn(async move {
            let mut held: Option<Submission<Work, Outcome>> = None;
            loop {
                let first = match held.take() {
                    Some(submission) => submission,
                    None => match arrivals.recv().await {
                        Some(submission) => submission,
                        None => return,
                    },
                };
                let mut total = rows(&first.work);
                let mut group = vec![first];
                while let Ok(next) = arrivals.try_recv() {
                    total += rows(&next.work);
                    if total > max_rows {
                        held = Some(next);
                        break;
                    }
                    group.push(next);
                }
                commit_group(&commit, group).await;
            }
        });
        Self { queue }
    }

    /// How much work waits for its commit to begin.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Hands work over, in order; waits while the queue is full. The outcome comes with its commit.
    pub async fn submit(&self, work: Work) -> Result<Pending<Outcome>> {
        let (done, pending) = oneshot::channel();
        self.queue.send(Submission { work, done }).await.map_err(|_| StoreError::Stopped)?;
        Ok(Pending(pending))
    }
}

async fn commit_group<Work, Outcome, F, Fut>(commit: &F, group: Vec<Submission<Work, Outcome>>)
where
    F: Fn(Vec<Work>) -> Fut,
    Fut: Future<Output = Result<Vec<Outcome>>>,
{
    let (work, waiting): (Vec<_>, Vec<_>) =
        group.into_iter().map(|submission| (submission.work, submission.done)).unzip();
    let committed = AssertUnwindSafe(async { commit(work).await }).catch_unwind().await;
    match committed.unwrap_or(Err(StoreError::Panicked)) {
        // Whoever no longer waits for the outcome does not want it.
        Ok(outcomes) => waiting.into_iter().zip(outcomes).for_each(|(done, outcome)| drop(done.send(Ok(outcome)))),
        Err(error) => {
            tracing::error!(%error, "a group commit failed");
            let alone = waiting.len() == 1;
            for done in waiting {
                drop(done.send(Err(told(&error, alone))));
            }
        }
    }
}

/// The error of a commit, as each of those who shared it is told.
fn told(error: &StoreError, alone: bool) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        // Of several that came together nobody knows which made it panic: the others succeed when they come again.
        StoreError::Panicked if alone => StoreError::Panicked,
        other => StoreError::Configuration(other.to_string()),
    }
}

impl<Outcome> Pending<Outcome> {
    /// Waits for the commit.
    pub async fn outcome(self) -> Result<Outcome> {
        self.0.await.map_err(|_| StoreError::Stopped)?
    }
}
