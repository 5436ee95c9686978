//! What is signed of a log, and whether a signature is one.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quintile_proto::audit::AuditCheckpoint;
use quintile_rpc::convert;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Leads the signed text: the same key signs tokens, and no token begins so or has a line feed.
const DOMAIN: &str = "quintile.audit.v1.AuditCheckpoint";

/// The text that is signed, as the contract of `AuditCheckpoint` has it.
pub fn signed_text(checkpoint: &AuditCheckpoint) -> String {
    let AuditCheckpoint { service, tenant, seq, hash, .. } = checkpoint;
    let micros = convert::sent_instant(checkpoint.time.as_ref()).unwrap_or_default().micros();
    let hash = hex(hash);
    format!("{DOMAIN}\n{service}\n{tenant}\n{seq}\n{hash}\n{micros}\n")
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The id of an Ed25519 key by its public part: RFC 7638 with the members of RFC 8037.
pub fn thumbprint(public_x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public_x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes()))
}

/// What is wrong with a checkpoint taken by itself; nothing: its key has signed it.
pub fn problem(checkpoint: &AuditCheckpoint) -> Option<&'static str> {
    if checkpoint.kid != thumbprint(&checkpoint.public_x) {
        return Some("the key of its checkpoint is not the one that its id names");
    }
    let Ok(key) = URL_SAFE_NO_PAD.decode(&checkpoint.public_x) else {
        return Some("the key of its checkpoint is malformed");
    };
    let text = signed_text(checkpoint);
    let verified = UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &checkpoint.signature);
    if verified.is_ok() { None } else { Some("the signature of its checkpoint is wrong") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::time::Instant;

    #[test]
    fn the_signed_text_is_what_the_contract_says() {
        let checkpoint = AuditCheckpoint {
            service: "ingestion".to_owned(),
            tenant: "default".to_owned(),
            seq: 7,
            hash: [0xab; 32].to_vec(),
            time: Some(convert::timestamp(Instant::from_micros(1_709_208_000_123_456))),
            ..AuditCheckpoint::default()
        };
        let expected = format!(
            "quintile.audit.v1.AuditCheckpoint\ningestion\ndefault\n7\n{}\n1709208000123456\n",
            "ab".repeat(32)
        );
        assert_eq!(signed_text(&checkpoint), expected);
    }

    #[test]
    fn a_key_has_the_id_that_rfc_8037_gives_it() {
        assert_eq!(
            thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }
}
