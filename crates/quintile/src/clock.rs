//! The system's clock and randomness: the one place where they are read.

use quintile_domain::clock::{BusinessClock, MachineClock};
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "the binary is where time comes from")]
fn system_now() -> Instant {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::from_micros(since_1970.as_micros() as i64)
}

/// Machine time.
pub fn machine() -> MachineClock {
    MachineClock::new(Arc::new(system_now))
}

/// Business time: live, or frozen at an instant. Each call gives a clock of its own.
pub fn business(as_of: Option<Instant>) -> BusinessClock {
    match as_of {
        Some(as_of) => BusinessClock::frozen_at(as_of),
        None => BusinessClock::Live(Arc::new(system_now)),
    }
}

/// A generator seeded by the operating system.
pub fn entropy() -> anyhow::Result<Entropy> {
    let generator = StdRng::try_from_rng(&mut SysRng).map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    Ok(Entropy::new(generator))
}
