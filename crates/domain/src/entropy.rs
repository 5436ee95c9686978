//! Randomness as an argument: keys, nonces and ids ask the source that they are given.

use rand::CryptoRng;
use std::sync::{Arc, Mutex, PoisonError};

/// A shared source of random bytes. The binary seeds it from the operating system; a test from a number.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<dyn CryptoRng + Send>>);

impl Entropy {
    /// A source over `rng`.
    pub fn new(rng: impl CryptoRng + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(rng)))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        // A panic elsewhere while bytes were drawn leaves the generator usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}
