//! The two clocks. Business time is what facts, windows, scores, stages and segments are about; machine time is what
//! tokens, leases, deadlines and logs are about. They are different types, so that they can't be confused.

use crate::time::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A source of the present instant. The binary alone reads the system's.
pub type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Machine time: tokens, TLS, leases, audit.
#[derive(Clone)]
pub struct MachineClock(Now);

impl MachineClock {
    /// A clock that asks `now`.
    pub fn new(now: Now) -> Self {
        Self(now)
    }

    /// The present instant of the machine.
    pub fn now(&self) -> Instant {
        (self.0)()
    }
}

/// Business time: live, or frozen until it is moved forward.
#[derive(Clone)]
pub enum BusinessClock {
    /// The present instant, whatever it is.
    Live(Now),
    /// An instant that stands still until [`BusinessClock::advance_to`].
    Frozen(Arc<AtomicI64>),
}

impl BusinessClock {
    /// A clock that stands still at `as_of`.
    pub fn frozen_at(as_of: Instant) -> Self {
        Self::Frozen(Arc::new(AtomicI64::new(as_of.micros())))
    }

    /// The present instant of the business.
    pub fn now(&self) -> Instant {
        match self {
            Self::Live(now) => now(),
            Self::Frozen(at) => Instant::from_micros(at.load(Ordering::Acquire)),
        }
    }

    /// Whether it stands still.
    pub fn is_frozen(&self) -> bool {
        matches!(self, Self::Frozen(_))
    }

    /// Moves a frozen clock forward to `as_of`; never back. Returns whether the clock is frozen and `as_of` was not before it.
    pub fn advance_to(&self, as_of: Instant) -> bool {
        match self {
            Self::Live(_) => false,
            Self::Frozen(at) => at.fetch_max(as_of.micros(), Ordering::AcqRel) <= as_of.micros(),
        }
    }
}
