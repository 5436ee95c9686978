//! Whose tokens are believed: verified as RFC 8725 asks, with nothing left to the library but the signature itself.
//!
//! A token's `iss` chooses the issuer, to the letter, and from then on only that issuer's keys, algorithms and audience count. Time is
//! checked by our clock, here and again with every call ([`Trust::check`]), and so are revocations.

mod external;
mod keys;
mod revocations;
#[cfg(test)]
mod tests;

use crate::ApiError;
use crate::policy::PolicyError;
use crate::token::{AUDIENCE, Claims, LEEWAY_SECONDS, Parts, SERVICE, SUITE};
use external::ExternalIssuer;
pub use keys::VerifyingKey;
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_domain::time::Instant;
use quintile_proto::access::PolicySnapshot;
use revocations::Revocations;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The last second of the year 9999: a token that is good until later is none of anybody's.
const LAST_SECOND: i64 = 253_402_300_799;

/// Whose tokens are believed, and which of them not any more.
#[derive(Debug)]
pub struct Trust {
    /// The issuer of our own tokens.
    issuer: String,
    keys: HashMap<String, VerifyingKey>,
    /// External issuers by `iss`.
    external: HashMap<String, ExternalIssuer>,
    revocations: Revocations,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// It is refused.
    Refused(ApiError),
    /// It names a key that its issuer is not known to have. The issuer may have a new one: access-control can be asked to look, and
    /// the token be tried again under the policy that comes of it.
    UnknownKey {
        /// The issuer, `issuers/{id}`.
        issuer: String,
        /// The id of the tenant whose issuer it is.
        tenant: String,
    },
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Refused(error) => error,
            VerifyError::UnknownKey { .. } => Self::unauthenticated("the token names an unknown key of its issuer"),
        }
    }
}

fn refused(why: &'static str) -> VerifyError {
    VerifyError::Refused(ApiError::unauthenticated(why))
}

impl Trust {
    /// Whom a snapshot trusts. A key of ours must be one; an external one that is not is left out, and so is an issuer that calls
    /// itself ours.
    pub fn from_snapshot(snapshot: &PolicySnapshot) -> Result<Self, PolicyError> {
        let jwks = snapshot.jwks.as_ref().ok_or_else(|| PolicyError("no keys".to_owned()))?;
        let mut keys = HashMap::new();
        for jwk in &jwks.keys {
            let key = VerifyingKey::from_jwk(jwk).map_err(|problem| PolicyError(problem.to_owned()))?;
            if key.algorithm_name() != "EdDSA" {
                return Err(PolicyError("a key of ours is not Ed25519".to_owned()));
            }
            keys.insert(jwk.kid.clone(), key);
        }
        let external = snapshot
            .issuers
            .iter()
            .filter(|message| message.issuer != jwks.issuer)
            .map(|message| (message.issuer.clone(), ExternalIssuer::from_message(message)))
            .collect();
        let revocations = Revocations::of(&snapshot.revocations);
        Ok(Self { issuer: jwks.issuer.clone(), keys, external, revocations })
    }

    /// Verifies a token at `now` (machine time). The error's internal text says what was wrong; a client only learns that it was.
    pub fn verify(&self, token: &str, now: Instant) -> Result<Claims, VerifyError> {
        let parts = Parts::of(token).map_err(refused)?;
        let iss = parts.claims.get("iss").and_then(Value::as_str).ok_or_else(|| refused("the token has no issuer"))?;
        let claims = if iss == self.issuer {
            self.verify_own(&parts)?
        } else {
            let issuer = self.external.get(iss).ok_or_else(|| refused("the token's issuer is not trusted"))?;
            issuer.verify(&parts, now)?
        };
        self.check(&claims, now).map_err(VerifyError::Refused)?;
        Ok(claims)
    }

    /// Checks a verified token's times and whether it is revoked; a cached token is checked again with every call.
    pub fn check(&self, claims: &Claims, now: Instant) -> Result<(), ApiError> {
        let seconds = now.micros().div_euclid(1_000_000);
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= seconds {
            return Err(ApiError::unauthenticated("the token has expired"));
        }
        if claims.nbf.saturating_sub(LEEWAY_SECONDS) > seconds || claims.iat.saturating_sub(LEEWAY_SECONDS) > seconds {
            return Err(ApiError::unauthenticated("the token is not valid yet"));
        }
        let own = claims.iss == self.issuer;
        if !own && !self.external.get(&claims.iss).is_some_and(|issuer| issuer.is_fresh(now)) {
            return Err(ApiError::unauthenticated("the keys of the token's issuer are not known any more"));
        }
        // The suite's services would get their tokens again at once, and are not what a tenant means.
        let suite = own && claims.role == SERVICE && claims.sub.starts_with(SUITE);
        if self.revocations.revoke(claims, suite) {
            return Err(ApiError::unauthenticated("the token is revoked"));
        }
        Ok(())
    }

    fn verify_own(&self, parts: &Parts<'_>) -> Result<Claims, VerifyError> {
        // A new key is published before it signs: one that is unknown is nobody's.
        let key = self.keys.get(&parts.kid).ok_or_else(|| refused("the token names an unknown key"))?;
        verify_signature(parts, key)?;
        let read = Reader(&parts.claims);
        if read.text("aud")? != AUDIENCE {
            return Err(refused("the token is for another audience"));
        }
        Ok(Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: read.text("sub")?,
            iat: read.seconds("iat")?,
            nbf: read.seconds("nbf")?,
            exp: read.seconds("exp")?,
            jti: read.text("jti")?,
            tenant: read.text("tenant")?,
            role: read.text("role")?,
            department: read.optional_text("department")?,
            region: read.optional_text("region")?,
        })
    }
}

/// Checks that a token's algorithm is its key's, then its signature.
fn verify_signature(parts: &Parts<'_>, key: &VerifyingKey) -> Result<(), VerifyError> {
    if parts.algorithm != key.algorithm_name() {
        return Err(refused("the token's algorithm is not its key's"));
    }
    if key.verifies(parts.message, parts.signature) { Ok(()) } else { Err(refused("the token's signature is wrong")) }
}

/// Reads claims by name.
struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<String, VerifyError> {
        let text = self.0.get(name).and_then(Value::as_str).ok_or_else(|| refused("a claim is missing, or no text"))?;
        names::required_text(text, MAX_NAME_BYTES).map_err(|_| refused("a claim is blank, too long or deceives"))?;
        Ok(text.to_owned())
    }

    fn optional_text(&self, name: &str) -> Result<String, VerifyError> {
        if self.0.contains_key(name) { self.text(name) } else { Ok(String::new()) }
    }

    /// A time in whole seconds since 1970. A text, a fraction, a negative and one beyond all calendars are none.
    fn seconds(&self, name: &str) -> Result<i64, VerifyError> {
        let seconds = self.0.get(name).and_then(Value::as_i64).filter(|seconds| (0..=LAST_SECOND).contains(seconds));
        seconds.ok_or_else(|| refused("a time is missing, or no time"))
    }
}
