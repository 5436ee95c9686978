//! Keyed hashes: one value has one pseudonym within a tenant, and nobody without the key can tell which value it is.

use super::Sensitivity;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a pseudonym: 96 bits, which no two of a hundred million values share by chance.
const PSEUDONYM_BYTES: usize = 12;

/// The key of a tenant's pseudonyms; wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PseudonymKey(Arc<Zeroizing<[u8; 32]>>);

impl PseudonymKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The pseudonym of a value of a class, in hexadecimal. Values of two classes have nothing in common.
    pub fn pseudonym(&self, class: Sensitivity, value: &str) -> String {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_ref().as_ref()).expect("HMAC takes keys of any length");
        mac.update(&[class as u8]);
        mac.update(value.as_bytes());
        let mut text = String::with_capacity(2 * PSEUDONYM_BYTES);
        for byte in &mac.finalize().into_bytes()[..PSEUDONYM_BYTES] {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(<secret>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_beginning_of_the_hmac_of_class_and_value() {
        // Python: hmac.new(bytes(range(32)), b"\x03" + b"+8613800138000", "sha256").hexdigest()[:24]
        let key = PseudonymKey::new(std::array::from_fn(|index| index as u8));
        assert_eq!(key.pseudonym(Sensitivity::Phone, "+8613800138000"), "c7aa5d4af11c9d4092837df8");
        assert_ne!(
            key.pseudonym(Sensitivity::Email, "+8613800138000"),
            key.pseudonym(Sensitivity::Phone, "+8613800138000")
        );
        assert_eq!(format!("{key:?}"), "PseudonymKey(<secret>)");
    }
}
