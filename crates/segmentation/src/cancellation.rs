//! Whether anybody still waits for an answer that takes long.

use std::sync::atomic::{AtomicBool, Ordering};

/// Says that nobody waits for an answer any longer.
#[derive(Debug, Default)]
pub struct Cancellation(AtomicBool);

impl Cancellation {
    /// Says so.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has been said.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
