//! What a token states, and for how long it may.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_rpc::token::{AUDIENCE, Claims, MAX_LIFETIME_SECONDS};
use thiserror::Error;

/// How long a token is valid where nothing else is asked for.
const DEFAULT_SECONDS: i64 = 3600;
/// Bytes of a token's id.
const ID_BYTES: usize = 16;

/// How long a token is valid, in whole seconds, as its claims have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(i64);

/// A lifetime is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be more than 0 and at most 12 hours")]
pub struct LifetimeError;

impl Default for Lifetime {
    fn default() -> Self {
        Self(DEFAULT_SECONDS)
    }
}

impl Lifetime {
    /// The lifetime of a protobuf duration's parts, rounded up to whole seconds.
    pub fn from_parts(seconds: i64, nanos: i32) -> Result<Self, LifetimeError> {
        if !(0..1_000_000_000).contains(&nanos) {
            return Err(LifetimeError);
        }
        let rounded = seconds.saturating_add(i64::from(nanos > 0));
        if seconds >= 0 && (1..=MAX_LIFETIME_SECONDS).contains(&rounded) {
            Ok(Self(rounded))
        } else {
            Err(LifetimeError)
        }
    }
}

/// Whom a token is for.
pub struct Grant<'a> {
    /// Who issues it.
    pub issuer: &'a str,
    /// Who it speaks for. Empty: the role's name.
    pub subject: &'a str,
    /// The tenant's id.
    pub tenant: &'a str,
    /// The role.
    pub role: &'a str,
    /// The department that row scopes compare with. Empty: none.
    pub department: &'a str,
    /// The region that row scopes compare with. Empty: none.
    pub region: &'a str,
    /// For how long.
    pub lifetime: Lifetime,
}

/// The claims of a token that is issued at `now` (machine time).
pub fn claims(grant: &Grant<'_>, now: Instant, entropy: &Entropy) -> Claims {
    let issued = now.micros().div_euclid(1_000_000);
    Claims {
        iss: grant.issuer.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: if grant.subject.is_empty() { grant.role } else { grant.subject }.to_owned(),
        iat: issued,
        nbf: issued,
        exp: issued + grant.lifetime.0,
        jti: URL_SAFE_NO_PAD.encode(entropy.bytes::<ID_BYTES>()),
        tenant: grant.tenant.to_owned(),
        role: grant.role.to_owned(),
        department: grant.department.to_owned(),
        region: grant.region.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_lifetime_is_more_than_nothing_and_at_most_twelve_hours() {
        for (seconds, nanos, expected) in [
            (1, 0, Ok(Lifetime(1))),
            (0, 1, Ok(Lifetime(1))),
            (59, 999_999_999, Ok(Lifetime(60))),
            (43_200, 0, Ok(Lifetime(43_200))),
            (0, 0, Err(LifetimeError)),
            (-1, 0, Err(LifetimeError)),
            (-1, 1, Err(LifetimeError)),
            (0, -1, Err(LifetimeError)),
            (1, -1, Err(LifetimeError)),
            (1, 1_000_000_000, Err(LifetimeError)),
            (43_200, 1, Err(LifetimeError)),
            (i64::MAX, 999_999_999, Err(LifetimeError)),
            (i64::MIN, 0, Err(LifetimeError)),
        ] {
            assert_eq!(Lifetime::from_parts(seconds, nanos), expected, "{seconds} s {nanos} ns");
        }
    }

    #[test]
    fn a_token_speaks_for_its_role_where_no_subject_is_named_and_no_two_have_one_id() {
        let entropy = Entropy::new(StdRng::seed_from_u64(7));
        let now = Instant::parse("2024-02-29T12:00:00.9Z").unwrap();
        let grant = Grant {
            issuer: "https://access",
            subject: "",
            tenant: "default",
            role: "admin",
            department: "",
            region: "",
            lifetime: Lifetime(60),
        };
        let first = claims(&grant, now, &entropy);
        assert_eq!((first.sub.as_str(), first.aud.as_str()), ("admin", "quintile"));
        assert_eq!((first.iat, first.nbf, first.exp), (1_709_208_000, 1_709_208_000, 1_709_208_060));
        let second = claims(&Grant { subject: "ann", ..grant }, now, &entropy);
        assert_eq!(second.sub, "ann");
        assert_ne!(first.jti, second.jti);
    }
}
