//! Waiting for a condition, with a bound.

use std::time::Duration;
use tokio::time::Instant;

/// How long anything in a test may take. Nothing comes near it but what hangs.
pub const LIMIT: Duration = Duration::from_mins(1);
/// How long an unmet condition is left alone.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` is met, and fails where it is not within [`LIMIT`].
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let end = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
