//! How an answer that goes on ends: at its last moment, when its caller would not be let through any more, or with the process.

use super::admission::Gate;
use crate::caller::Caller;
use crate::server::wait_for_true;
use crate::{ApiError, token};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Frame;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant as Deadline;
use tonic::Status;
use tonic::body::Body;

/// How often a caller is looked at again while the policy stays as it is: the policy may grow too old meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What ends an answer that goes on.
pub(super) struct Ending {
    pub(super) gate: Arc<Gate>,
    pub(super) caller: Option<Caller>,
    pub(super) path: String,
    pub(super) deadline: Option<Deadline>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Ending {
    /// Ends with why the answer ends.
    async fn comes(mut self) -> ApiError {
        let (last_moment, why) = self.last_moment();
        let over = async {
            match last_moment {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let refused = refused(&self.gate, self.caller.as_ref(), &self.path);
        tokio::select! {
            () = over => why,
            error = refused => error,
            () = wait_for_true(&mut self.stop) => ApiError::unavailable("the process is stopping"),
        }
    }

    /// How long the answer may last: until the deadline or the token's end, whichever is first.
    fn last_moment(&self) -> (Option<Deadline>, ApiError) {
        let expires = self.caller.as_ref().map(|caller| {
            // The same leeway as for new calls: a stream is not worse off than they are.
            let end_seconds = caller.standing.claims.exp.saturating_add(token::LEEWAY_SECONDS);
            let left = end_seconds.saturating_mul(1_000_000).saturating_sub(self.gate.clock.now().micros());
            Deadline::now() + Duration::from_micros(u64::try_from(left).unwrap_or(0))
        });
        match (self.deadline, expires) {
            (Some(deadline), Some(expires)) if expires < deadline => {
                (Some(expires), ApiError::unauthenticated("expired"))
            }
            (Some(deadline), _) => (Some(deadline), ApiError::deadline_exceeded()),
            (None, expires) => (expires, ApiError::unauthenticated("the token expired during the stream")),
        }
    }
}

/// Ends when the caller would not be let through any more, with why.
async fn refused(gate: &Gate, caller: Option<&Caller>, path: &str) -> ApiError {
    let Some(caller) = caller else { return std::future::pending().await };
    let mut versions = gate.policy.versions();
    loop {
        versions.borrow_and_update();
        if let Err(error) = gate.still_admits(caller, path) {
            return error;
        }
        tokio::select! {
            _ = versions.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// A body that ends with a status when its end comes before it has ended by itself.
pub(super) struct EndingBody {
    inner: Body,
    // `None`: it has come.
    end: Option<BoxFuture<'static, ApiError>>,
}

impl EndingBody {
    pub(super) fn new(inner: Body, end: Ending) -> Self {
        Self { inner, end: Some(Box::pin(end.comes())) }
    }
}

impl http_body::Body for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(mut end) = self.end.take() else {
            return Poll::Ready(None);
        };
        // First the end: a stream that always has more to say would outlive its token.
        let Poll::Ready(why) = end.as_mut().poll(context) else {
            self.end = Some(end);
            return Pin::new(&mut self.inner).poll_frame(context);
        };
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(match Status::from(why).add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(status),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.inner.is_end_stream()
    }
}
