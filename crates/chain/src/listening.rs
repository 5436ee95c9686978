//! Answers that are computed of everybody: they tell how far they are, and at last what was found. Whoever stops reading ends the work.

use futures::SinkExt;
use futures::channel::mpsc;
use opentelemetry::trace::FutureExt;
use quintile_domain::masking::{Maskable, Masked};
use quintile_rpc::{AnswerStream, ApiError, Caller};
use tonic::Status;

/// Why work ends early: with the error to tell, or with `None` when nobody wants it any more.
pub type Stopped = Option<ApiError>;

/// Whoever hears of work that goes on, in answers `M` that tell of progress `P`.
pub struct Listener<M, P> {
    caller: Caller,
    sender: mpsc::Sender<Result<Masked<M>, Status>>,
    progress: fn(P) -> M,
}

/// Begins work whose caller listens; `progress` makes an answer of how far it is.
pub fn stream<M, P, F, Fut>(caller: Caller, progress: fn(P) -> M, work: F) -> AnswerStream<M>
where
    M: Maskable + Send + 'static,
    F: FnOnce(Listener<M, P>) -> Fut,
    Fut: Future<Output = Result<(), Stopped>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(2);
    let mut failed = sender.clone();
    let work = work(Listener { caller, sender, progress });
    let listening = async move {
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(error)) = work.await {
            let _ = failed.send(Err(error.into())).await;
        }
    };
    // What it asks of other services belongs to the call's trace.
    tokio::spawn(listening.with_current_context());
    Box::pin(receiver)
}

impl<M: Maskable, P> Listener<M, P> {
    /// Tells how far it is, to who is ready to hear it. Returns whether anybody still listens.
    pub fn tell(&mut self, progress: P) -> bool {
        // Who is slow to read hears of the next part.
        let _ = self.sender.try_send(Ok(self.caller.mask((self.progress)(progress))));
        !self.sender.is_closed()
    }

    /// An error where nobody listens any more.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.sender.is_closed() { Err(None) } else { Ok(()) }
    }

    /// Tells what was found.
    pub async fn send(&mut self, found: M) -> Result<(), Stopped> {
        self.sender.send(Ok(self.caller.mask(found))).await.map_err(|_| None)
    }
}
