//! The revocations of all tenants, ready to be met by a token with every call.

use crate::convert;
use crate::token::Claims;
use quintile_domain::time::{Instant, MAX_INSTANT};
use quintile_proto::access::Revocation;
use quintile_proto::access::revocation::Target;
use std::collections::{HashMap, HashSet};

/// Revocations by tenant.
#[derive(Debug, Default)]
pub struct Revocations(HashMap<String, OfTenant>);

#[derive(Debug, Default)]
struct OfTenant {
    tokens: HashSet<String>,
    /// The instant up to which tokens of a subject are revoked.
    subjects: HashMap<String, Instant>,
    /// The instant before which all tokens are revoked.
    issued_before: Option<Instant>,
}

impl Revocations {
    /// The revocations of messages. What does not say what it revokes revokes nothing.
    pub fn of(messages: &[Revocation]) -> Self {
        let mut tenants: HashMap<String, OfTenant> = HashMap::new();
        for message in messages {
            let Some(target) = &message.target else { continue };
            let id = message.tenant.strip_prefix("tenants/").unwrap_or_default();
            let tenant = tenants.entry(id.to_owned()).or_default();
            match target {
                Target::TokenId(id) => drop(tenant.tokens.insert(id.clone())),
                Target::Subject(subject) => {
                    // One that does not say when is of every token there is: closed rather than open.
                    let revoked = convert::instant(message.revoke_time.as_ref()).unwrap_or(MAX_INSTANT);
                    let latest = tenant.subjects.entry(subject.clone()).or_insert(revoked);
                    *latest = revoked.max(*latest);
                }
                Target::IssuedBefore(instant) => {
                    let instant = convert::sent_instant(Some(instant));
                    tenant.issued_before = tenant.issued_before.max(instant);
                }
            }
        }
        Self(tenants)
    }

    /// Whether a token is revoked. `exempt` ones are exempt from what is revoked of a whole tenant.
    pub fn revoke(&self, claims: &Claims, exempt: bool) -> bool {
        let Some(tenant) = self.0.get(&claims.tenant) else { return false };
        // Tokens know whole seconds, rounded down: within the second of a revocation, they are taken for older.
        let issued = Instant::from_micros(claims.iat.saturating_mul(1_000_000));
        tenant.tokens.contains(&claims.jti)
            || tenant.subjects.get(&claims.sub).is_some_and(|revoked| issued <= *revoked)
            || (!exempt && tenant.issued_before.is_some_and(|before| issued < before))
    }
}
