//! Keys that verify, each bound to one algorithm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use quintile_proto::access::Jwk;

/// Shorter RSA keys are refused (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// Longer ones too: they cost more to check than a call may.
const MAX_RSA_BITS: usize = 8192;
/// Bytes of an Ed25519 key, and of a coordinate of P-256.
const POINT_BYTES: usize = 32;
/// The most bytes of an RSA exponent.
const MAX_EXPONENT_BYTES: usize = 4;

/// A key that verifies, bound to one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({})", self.algorithm_name())
    }
}

impl VerifyingKey {
    /// The key of a JWK: Ed25519 for `EdDSA`, P-256 for `ES256`, or RSA of 2,048 to 8,192 bits for `RS256`.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, &'static str> {
        match (jwk.kty.as_str(), jwk.crv.as_str(), jwk.alg.as_str()) {
            ("OKP", "Ed25519", "EdDSA") => {
                let key = DecodingKey::from_ed_der(&point(&jwk.x)?);
                Ok(Self { key, algorithm: Algorithm::EdDSA })
            }
            ("EC", "P-256", "ES256") => {
                point(&jwk.x)?;
                point(&jwk.y)?;
                let key = DecodingKey::from_ec_components(&jwk.x, &jwk.y).map_err(|_| "a key is malformed")?;
                Ok(Self { key, algorithm: Algorithm::ES256 })
            }
            ("RSA", "", "RS256") => {
                let (modulus, exponent) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
                check_rsa(&modulus, &exponent)?;
                Ok(Self { key: DecodingKey::from_rsa_raw_components(&modulus, &exponent), algorithm: Algorithm::RS256 })
            }
            _ => Err("a key is of no kind that is accepted"),
        }
    }

    /// The algorithm, as a token's header names it.
    pub fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::ES256 => "ES256",
            Algorithm::RS256 => "RS256",
            _ => "EdDSA",
        }
    }

    /// Whether it made a signature of a message, by its own algorithm.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm).unwrap_or(false)
    }
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), &'static str> {
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = (modulus.len() * 8).saturating_sub(leading);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) || leading == 8 {
        return Err("an RSA key is too short or too long");
    }
    let value = exponent.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    // With the exponent 1 everything is its own signature.
    if exponent.len() > MAX_EXPONENT_BYTES || value < 3 || value % 2 == 0 {
        return Err("an RSA key's exponent is refused");
    }
    Ok(())
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a key is malformed")
}

fn point(text: &str) -> Result<Vec<u8>, &'static str> {
    bytes(text).and_then(|bytes| if bytes.len() == POINT_BYTES { Ok(bytes) } else { Err("a key is malformed") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Jwk {
        Jwk {
            kty: "RSA".to_owned(),
            alg: "RS256".to_owned(),
            n: URL_SAFE_NO_PAD.encode(modulus),
            e: URL_SAFE_NO_PAD.encode(exponent),
            ..Jwk::default()
        }
    }

    fn modulus(bytes: usize, first: u8) -> Vec<u8> {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        modulus
    }

    #[test]
    fn rsa_keys_have_enough_bits_and_an_exponent_that_is_one() {
        let three = [1, 0, 1];
        for (jwk, good) in [
            (rsa(&modulus(256, 0x80), &three), true),
            (rsa(&modulus(256, 0xff), &[3]), true),
            (rsa(&modulus(1024, 0xff), &three), true),
            (rsa(&modulus(256, 0x7f), &three), false),
            (rsa(&modulus(257, 0), &three), false),
            (rsa(&modulus(128, 0xff), &three), false),
            (rsa(&modulus(1025, 1), &three), false),
            (rsa(&[], &three), false),
            (rsa(&modulus(256, 0xff), &[1]), false),
            (rsa(&modulus(256, 0xff), &[2]), false),
            (rsa(&modulus(256, 0xff), &[]), false),
            (rsa(&modulus(256, 0xff), &[1, 0, 0, 0, 1]), false),
        ] {
            assert_eq!(VerifyingKey::from_jwk(&jwk).is_ok(), good, "{} {}", jwk.n.len(), jwk.e);
        }
    }

    #[test]
    fn a_key_is_of_one_kind_for_one_algorithm() {
        let x = URL_SAFE_NO_PAD.encode([7; POINT_BYTES]);
        for (kty, crv, alg, good) in [
            ("OKP", "Ed25519", "EdDSA", true),
            ("EC", "P-256", "ES256", true),
            ("OKP", "Ed25519", "ES256", false),
            ("OKP", "Ed448", "EdDSA", false),
            ("EC", "P-384", "ES256", false),
            ("EC", "P-256", "RS256", false),
            ("oct", "", "HS256", false),
            ("RSA", "", "PS256", false),
            ("", "", "", false),
        ] {
            let jwk = Jwk {
                kty: kty.to_owned(),
                crv: crv.to_owned(),
                alg: alg.to_owned(),
                x: x.clone(),
                y: x.clone(),
                ..Jwk::default()
            };
            assert_eq!(VerifyingKey::from_jwk(&jwk).is_ok(), good, "{kty} {crv} {alg}");
        }
        let short = Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            x: URL_SAFE_NO_PAD.encode([7; 31]),
            ..Jwk::default()
        };
        assert!(VerifyingKey::from_jwk(&short).is_err());
    }
}
