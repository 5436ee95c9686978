//! Who is let through: token, tenant, role, method, purpose. What was found out about a token is remembered as long as the policy stays.

use crate::caller::{Caller, Standing};
use crate::policy::Policy;
use crate::policy_handle::PolicyHandle;
use crate::scope::CallerAttributes;
use crate::token::{Claims, SERVICE};
use crate::trail::Trail;
use crate::trust::VerifyError;
use crate::{ApiError, client};
use http::HeaderMap;
use parking_lot::Mutex;
use quintile_domain::clock::MachineClock;
use quintile_proto::types::Purpose;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant as Deadline;

/// Verified tokens that are remembered; beyond it, all are forgotten and verified anew.
const CACHED_TOKENS: usize = 10_000;
/// The methods that need no token. They check what they are given themselves.
const OPEN_METHODS: [&str; 2] =
    ["/quintile.access.v1.TokenService/IssueToken", "/quintile.access.v1.TokenService/GetJwks"];
pub(super) const REFLECTION: &str = "/grpc.reflection.";

/// Decides who is let through.
pub(super) struct Gate {
    pub(super) policy: PolicyHandle,
    pub(super) clock: MachineClock,
    pub(super) open_reflection: bool,
    known: Mutex<KnownTokens>,
}

#[derive(Default)]
struct KnownTokens {
    policy_version: i64,
    /// By the token's hash and the purpose of the call.
    standings: HashMap<([u8; 32], i32), Arc<Standing>>,
}

impl Gate {
    pub(super) fn new(policy: PolicyHandle, clock: MachineClock, open_reflection: bool) -> Self {
        Self { policy, clock, open_reflection, known: Mutex::default() }
    }

    /// Who calls, if the call is allowed. `None`: it is allowed and nobody in particular calls.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        path: &str,
        deadline: Option<Deadline>,
        trail: &Trail,
    ) -> Result<Option<Caller>, Box<Refusal>> {
        let reflection = path.starts_with(REFLECTION);
        let open = OPEN_METHODS.contains(&path) || (reflection && self.open_reflection);
        if open && !headers.contains_key(client::AUTHORIZATION) {
            return Ok(None);
        }
        let policy = self.policy.in_force();
        let policy = policy.ok_or_else(|| ApiError::unavailable("no policy, or none that was confirmed lately"))?;
        let purpose = purpose(headers)?;
        let (token, standing) = self.standing(&policy, headers, client::AUTHORIZATION, purpose)?;
        let (token, standing, through) = if headers.contains_key(client::ON_BEHALF_OF) {
            let (user_token, user) = self.standing(&policy, headers, client::ON_BEHALF_OF, purpose)?;
            // Only a service speaks for somebody, and only within its tenant; the somebody's rights then apply.
            if standing.claims.role != SERVICE || standing.tenant.id != user.tenant.id {
                let why = "a token on behalf of another was sent by no service of the tenant";
                return Err(ApiError::unauthenticated(why).into());
            }
            (user_token, user, Some(standing.claims.clone()))
        } else {
            (token, standing, None)
        };
        let caller = Caller { standing, through, token: token.into(), deadline, trail: trail.clone() };
        if open || reflection || may_call(&policy, &caller, path) {
            Ok(Some(caller))
        } else {
            Err(Box::new(Refusal { error: ApiError::method_denied(), caller: Some(caller), unknown_key_of: None }))
        }
    }

    /// Whether a caller that was let through would be let through now: tokens are revoked, and roles change, while streams go on.
    pub(super) fn still_admits(&self, caller: &Caller, path: &str) -> Result<(), ApiError> {
        let policy = self.policy.in_force();
        let policy = policy.ok_or_else(|| ApiError::unavailable("the policy was not confirmed lately"))?;
        let now = self.clock.now();
        for claims in [Some(&caller.standing.claims), caller.through.as_ref()].into_iter().flatten() {
            policy.trust.check(claims, now)?;
        }
        if path.starts_with(REFLECTION) {
            return Ok(());
        }
        let role = policy.role(&caller.tenant().name, caller.role_name()).filter(|role| role.may_call(path));
        let role = role.ok_or_else(ApiError::method_denied)?;
        let Standing { claims, purpose, tenant, rights, .. } = caller.standing.as_ref();
        if role.rights(&attributes_of(claims), *purpose, tenant.pseudonyms.as_ref()) == *rights {
            Ok(())
        } else {
            // Begun again, the stream is as the caller now sees it.
            Err(ApiError::unavailable("what the caller may see has changed"))
        }
    }

    fn standing<'a>(
        &self,
        policy: &Policy,
        headers: &'a HeaderMap,
        header: &str,
        purpose: Purpose,
    ) -> Result<(&'a str, Arc<Standing>), Box<Refusal>> {
        let token = bearer_token(headers, header)?;
        let now = self.clock.now();
        let key = (Sha256::digest(token.as_bytes()).into(), purpose as i32);
        let known = {
            let mut known = self.known.lock();
            if known.policy_version != policy.version || known.standings.len() >= CACHED_TOKENS {
                *known = KnownTokens { policy_version: policy.version, standings: HashMap::new() };
            }
            known.standings.get(&key).cloned()
        };
        // A signature costs some 35 µs to check; expiry and revocation are checked every time.
        if let Some(standing) = known {
            policy.trust.check(&standing.claims, now)?;
            return Ok((token, standing));
        }
        let standing = Arc::new(stand(policy, policy.trust.verify(token, now)?, purpose)?);
        let mut known = self.known.lock();
        // The policy may have changed meanwhile: what holds under its predecessor is not remembered.
        if known.policy_version == policy.version {
            known.standings.insert(key, standing.clone());
        }
        Ok((token, standing))
    }
}

/// Why somebody is not let through.
pub(super) struct Refusal {
    pub(super) error: ApiError,
    /// Who it was, if that is known.
    pub(super) caller: Option<Caller>,
    /// The issuer whose keys may have changed, and its tenant: with new ones the call may be let through.
    pub(super) unknown_key_of: Option<(String, String)>,
}

impl From<VerifyError> for Box<Refusal> {
    fn from(error: VerifyError) -> Self {
        let unknown_key_of = match &error {
            VerifyError::UnknownKey { issuer, tenant } => Some((issuer.clone(), tenant.clone())),
            VerifyError::Refused(_) => None,
        };
        Self::new(Refusal { error: error.into(), caller: None, unknown_key_of })
    }
}

impl From<ApiError> for Box<Refusal> {
    fn from(error: ApiError) -> Self {
        Self::new(Refusal { error, caller: None, unknown_key_of: None })
    }
}

fn stand(policy: &Policy, claims: Claims, purpose: Purpose) -> Result<Standing, ApiError> {
    let unknown = || ApiError::unauthenticated("the token names an unknown tenant or role");
    let tenant = policy.tenants.get(&claims.tenant).cloned().ok_or_else(unknown)?;
    let role = policy.role(&tenant.name, &claims.role).ok_or_else(unknown)?;
    let attributes = attributes_of(&claims);
    let rights = role.rights(&attributes, purpose, tenant.pseudonyms.as_ref());
    let lookups_per_minute = role.lookups_per_minute;
    Ok(Standing { tenant, rights, purpose, lookups_per_minute, claims: Arc::new(claims) })
}

fn attributes_of(claims: &Claims) -> CallerAttributes<'_> {
    CallerAttributes { subject: &claims.sub, department: &claims.department, region: &claims.region }
}

fn may_call(policy: &Policy, caller: &Caller, path: &str) -> bool {
    policy.role(&caller.tenant().name, caller.role_name()).is_some_and(|role| role.may_call(path))
}

/// The purpose that the call states.
fn purpose(headers: &HeaderMap) -> Result<Purpose, ApiError> {
    let mut values = headers.get_all(client::PURPOSE).iter();
    let Some(value) = values.next() else {
        return Ok(Purpose::Unspecified);
    };
    if values.next().is_some() {
        return Err(ApiError::invalid_field(client::PURPOSE, "must be stated once"));
    }
    let purposes = (1..).map_while(|number| Purpose::try_from(number).ok());
    let named = |purpose: &Purpose| client::purpose_name(*purpose).is_some_and(|name| value == name);
    purposes.into_iter().find(named).ok_or_else(|| {
        let problem = "must be marketing, profiling, analytics, support or third_party";
        ApiError::invalid_field(client::PURPOSE, problem)
    })
}

fn bearer_token<'a>(headers: &'a HeaderMap, header: &str) -> Result<&'a str, ApiError> {
    let mut values = headers.get_all(header).iter();
    let value = values.next().ok_or_else(|| ApiError::unauthenticated("no token"))?;
    if values.next().is_some() {
        return Err(ApiError::unauthenticated("two tokens"));
    }
    let text = value.to_str().map_err(|_| ApiError::unauthenticated("the token is not ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(ApiError::unauthenticated("the scheme is not Bearer")),
    }
}
