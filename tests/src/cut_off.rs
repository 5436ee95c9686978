//! Work that is dropped half way, as when a client hangs up, a deadline passes or a worker is stopped.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Polls `work` so many times and drops it there. Returns its output, where it had come to its end by then.
pub async fn cut_off_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        left = left.saturating_sub(1);
        match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
