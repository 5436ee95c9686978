//! Issuers that are not ours: what they say is believed within one tenant, and never that somebody is one of the suite's services.

use super::{Reader, VerifyError, VerifyingKey, refused, verify_signature};
use crate::convert;
use crate::token::{AUDIENCE, Claims, MAX_LIFETIME_SECONDS, Parts, SERVICE};
use quintile_domain::time::Instant;
use quintile_proto::access::{Issuer, RoleMapping};
use serde_json::Value;
use std::collections::HashMap;

/// How long keys that could not be fetched again are believed.
const MAX_KEY_AGE_MICROS: i64 = 24 * 3600 * 1_000_000;
/// The claim that names the roles where an issuer says nothing else.
const DEFAULT_ROLE_CLAIM: &str = "roles";

/// An external issuer.
#[derive(Debug)]
pub struct ExternalIssuer {
    /// The last part of its name.
    id: String,
    issuer: String,
    audience: String,
    algorithms: Vec<String>,
    tenant: String,
    role_claim: String,
    roles: Vec<RoleMapping>,
    keys: HashMap<String, VerifyingKey>,
    fetched: Option<Instant>,
}

impl ExternalIssuer {
    /// The issuer of a message, with those of its keys that are any.
    pub fn from_message(message: &Issuer) -> Self {
        let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let keys = message.keys.iter().filter_map(|jwk| Some((jwk.kid.clone(), VerifyingKey::from_jwk(jwk).ok()?)));
        Self {
            id: message.name.strip_prefix("issuers/").unwrap_or_default().to_owned(),
            issuer: message.issuer.clone(),
            audience: or(&message.audience, AUDIENCE),
            algorithms: message.algorithms.clone(),
            tenant: message.tenant.strip_prefix("tenants/").unwrap_or_default().to_owned(),
            role_claim: or(&message.role_claim, DEFAULT_ROLE_CLAIM),
            roles: message.roles.iter().filter(|mapping| mapping.role != SERVICE).cloned().collect(),
            keys: keys.collect(),
            fetched: convert::sent_instant(message.fetch_time.as_ref()),
        }
    }

    /// Whether its keys were fetched lately enough to be believed.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.fetched.is_some_and(|fetched| now.micros().saturating_sub(fetched.micros()) <= MAX_KEY_AGE_MICROS)
    }

    /// Verifies a token that names it, but for time and revocations.
    pub fn verify(&self, parts: &Parts<'_>, now: Instant) -> Result<Claims, VerifyError> {
        if !self.algorithms.contains(&parts.algorithm) {
            return Err(refused("the token's algorithm is not accepted of its issuer"));
        }
        let Some(key) = self.keys.get(&parts.kid) else {
            return Err(VerifyError::UnknownKey {
                issuer: format!("issuers/{}", self.id),
                tenant: self.tenant.clone(),
            });
        };
        if !self.is_fresh(now) {
            return Err(refused("the keys of the token's issuer are too old"));
        }
        verify_signature(parts, key)?;
        if !parts.claims.get("aud").and_then(texts).is_some_and(|audiences| audiences.contains(&self.audience.as_str()))
        {
            return Err(refused("the token is for another audience"));
        }
        let read = Reader(&parts.claims);
        let issued = read.seconds("iat")?;
        Ok(Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: format!("{}:{}", self.id, read.text("sub")?),
            iat: issued,
            nbf: read.seconds("nbf")?,
            // What is valid for longer would outlive its revocation.
            exp: read.seconds("exp")?.min(issued.saturating_add(MAX_LIFETIME_SECONDS)),
            jti: read.optional_text("jti")?,
            tenant: self.tenant.clone(),
            role: self.role(parts)?,
            department: String::new(),
            region: String::new(),
        })
    }

    fn role(&self, parts: &Parts<'_>) -> Result<String, VerifyError> {
        let values = parts.claims.get(&self.role_claim).and_then(texts).unwrap_or_default();
        let mapping = self.roles.iter().find(|mapping| values.contains(&mapping.value.as_str()));
        mapping.map(|mapping| mapping.role.clone()).ok_or_else(|| refused("the token's roles mean nothing here"))
    }
}

/// The texts of a claim that is one, or a list of nothing else.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
