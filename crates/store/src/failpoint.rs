//! Failpoints: places at which a test has a task stand still, to kill or to stop the process there, or has it panic.
//!
//! They are there with the feature `failpoints` alone, which nothing that is released has. The variable `FAILPOINTS` says what
//! happens where, as the crate `fail` reads it: with `intake::before_commit=1*return` the first task that reaches that place
//! stands still for ever, with `return(500)` for so many milliseconds, and with `panic` it panics. `3*off->1*return` leaves the first
//! three alone.

/// A place that a failpoint may be set at.
#[cfg(feature = "failpoints")]
pub async fn reach(owner: &str, place: &str) {
    let name = format!("{owner}::{place}");
    let Some(millis) = standstill(&name) else { return };
    // Tests wait for this line. The task stands still and not its thread, which others need.
    tracing::warn!("failpoint {name} reached");
    match millis.parse() {
        Ok(millis) => tokio::time::sleep(std::time::Duration::from_millis(millis)).await,
        Err(_) => std::future::pending().await,
    }
}

#[cfg(feature = "failpoints")]
fn standstill(name: &str) -> Option<String> {
    fail::fail_point!(name, |millis| Some(millis.unwrap_or_default()));
    None
}

/// A place that a failpoint may be set at, in a build for tests of faults.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unused_async, reason = "with the feature it waits")]
pub async fn reach(_owner: &str, _place: &str) {}

/// Sets what the variable `FAILPOINTS` says, for as long as the answer lives.
#[cfg(feature = "failpoints")]
pub fn from_environment() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}
