//! Tokens: issued for the bootstrap secret, to an administrator or for a service account's secret, and the keys that verify them.
//!
//! The edge lets calls without a token through to both methods. Nobody in particular may be calling then, so that answers are
//! masked for nobody.

use super::{in_force_error, knows_role, store_error};
use crate::issuing::{self, Grant, Lifetime};
use crate::policy::in_force::InForce;
use aws_lc_rs::constant_time;
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::{FieldForms, Masked, Shown};
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_domain::time::Instant;
use quintile_proto::access::token_service_server::TokenService;
use quintile_proto::access::{GetJwksRequest, IssueTokenRequest, IssueTokenResponse, Jwks, Principal, PrincipalKind};
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::DEFAULT_TENANT;
use quintile_rpc::token::{Claims, SERVICE, SUITE};
use quintile_rpc::trail::Trail;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tonic::{Request, Response};

/// Who acts by the bootstrap secret, in the audit log.
const BOOTSTRAP: &str = "bootstrap";
/// The role that may issue tokens by its own.
const ADMIN: &str = "admin";
/// A number that no tenant has.
const NO_TENANT: TenantId = TenantId(0);

/// Issues tokens.
pub struct TokenApi {
    /// The policy, which knows the roles, the tenants and the keys.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
    /// Where the tokens' ids come from.
    pub entropy: Entropy,
    /// What a token can be had for without another one.
    pub bootstrap_secret: Arc<str>,
    /// Who issues.
    pub issuer: String,
}

/// Whom a token is for.
#[derive(Default)]
struct Identity {
    subject: String,
    role: String,
    department: String,
    region: String,
}

#[tonic::async_trait]
impl TokenService for TokenApi {
    async fn issue_token(&self, request: Request<IssueTokenRequest>) -> Answer<IssueTokenResponse> {
        let caller = Caller::in_extensions(request.extensions());
        let trail = Trail::of(request.extensions());
        let message = request.into_inner();
        // Before anything is looked up: a revocation that comes meanwhile is then of this token too.
        let now = self.clock.now();
        let tenant = if message.tenant.is_empty() { DEFAULT_TENANT } else { &message.tenant };
        let by_account = !message.client_secret.is_empty() || !message.principal.is_empty();
        let identity = if by_account {
            check_exchange(&message)?;
            self.account(&message, tenant, now).await?
        } else {
            let by_secret = self.authorise(caller.as_ref(), &message.bootstrap_secret, tenant)?;
            self.ordered(&message, tenant, by_secret, now).await?
        };
        let lifetime = match &message.lifetime {
            None => Lifetime::default(),
            Some(asked) => Lifetime::from_parts(asked.seconds, asked.nanos)
                .map_err(|error| ApiError::invalid_field("lifetime", error.to_string()))?,
        };
        let grant = Grant {
            issuer: &self.issuer,
            subject: &identity.subject,
            tenant,
            role: &identity.role,
            department: &identity.department,
            region: &identity.region,
            lifetime,
        };
        let claims = issuing::claims(&grant, now, &self.entropy);
        if let Some(number) = self.tenant(tenant) {
            let actor = if by_account { format!("principals/{}", message.principal) } else { BOOTSTRAP.to_owned() };
            trail.is_by(number, actor);
        }
        trail.is_about(format!("subjects/{}/roles/{}/tokens/{}", claims.sub, claims.role, claims.jti));
        self.sign(&claims)
    }

    async fn get_jwks(&self, _request: Request<GetJwksRequest>) -> Answer<Jwks> {
        Ok(for_nobody(self.in_force.snapshot().jwks.clone().unwrap_or_default()))
    }
}

impl TokenApi {
    fn sign(&self, claims: &Claims) -> Answer<IssueTokenResponse> {
        let key =
            self.in_force.signing_key(self.clock.now()).ok_or_else(|| ApiError::internal("there is no signing key"))?;
        let token = key.sign(claims)?;
        // The subject may be a person's name, and stays out of the logs.
        tracing::info!(
            id = claims.jti,
            role = claims.role,
            tenant = claims.tenant,
            expires = claims.exp,
            "token issued"
        );
        let expires = Instant::from_micros(claims.exp.saturating_mul(1_000_000));
        Ok(for_nobody(IssueTokenResponse { token, expire_time: Some(convert::timestamp(expires)) }))
    }

    /// Whoever knows the secret may have any token; an administrator, those of its own tenant. Returns whether it is by the secret.
    fn authorise(&self, caller: Option<&Caller>, secret: &str, tenant: &str) -> Result<bool, ApiError> {
        if !secret.is_empty() {
            return if is_same(secret, &self.bootstrap_secret) {
                Ok(true)
            } else {
                Err(ApiError::unauthenticated("a wrong bootstrap secret"))
            };
        }
        let caller = caller.ok_or_else(|| ApiError::unauthenticated("neither a bootstrap secret nor a token"))?;
        // Before anything is looked up: an administrator learns nothing of other tenants.
        if caller.role_name() == ADMIN && caller.tenant().name == tenant {
            Ok(false)
        } else {
            Err(ApiError::method_denied())
        }
    }

    /// Whom somebody who may have a token asks it for.
    async fn ordered(
        &self,
        message: &IssueTokenRequest,
        tenant: &str,
        by_secret: bool,
        now: Instant,
    ) -> Result<Identity, ApiError> {
        let subject = &message.subject;
        if !subject.is_empty() {
            names::required_text(subject, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("subject", error))?;
            let suite = by_secret && message.role == SERVICE && subject.starts_with(SUITE);
            if subject.contains(':') && !suite {
                return Err(ApiError::invalid_field("subject", "must not hold ':', as subjects of other issuers do"));
            }
        }
        if self.tenant(tenant).is_none() {
            // Another process may just have made it.
            self.in_force.refresh().await.map_err(in_force_error)?;
        }
        let number =
            self.tenant(tenant).ok_or_else(|| ApiError::invalid_field("tenant", "is not the id of a tenant"))?;
        let principal = if names::resource_id(subject).is_ok() {
            self.in_force.store().principal(number, subject, now).await.map_err(store_error)?
        } else {
            None
        };
        // The suite's services have names of their own, whatever principals are called.
        let identity = match principal {
            Some(principal) if !by_secret => of_principal(principal, &message.role)?,
            Some(principal) => Identity {
                role: message.role.clone(),
                subject: subject.clone(),
                department: principal.department,
                region: principal.region,
            },
            None => Identity { role: message.role.clone(), subject: subject.clone(), ..Identity::default() },
        };
        if knows_role(&self.in_force.snapshot(), tenant, &identity.role) {
            Ok(identity)
        } else {
            Err(ApiError::invalid_field("role", "is not a role of the policy"))
        }
    }

    /// Whom a service account's secret is a token for. Whatever is wrong, the answer is one, after the same work.
    async fn account(&self, message: &IssueTokenRequest, tenant: &str, now: Instant) -> Result<Identity, ApiError> {
        let number = self.tenant(tenant).unwrap_or(NO_TENANT);
        let id = if names::resource_id(&message.principal).is_ok() { message.principal.as_str() } else { "" };
        let account = self.in_force.store().account(number, id, now).await.map_err(store_error)?;
        let given = Sha256::digest(message.client_secret.as_bytes());
        let mut known = false;
        for place in 0..crate::store::principals::MAX_SECRETS {
            // What stands in for a secret that is not there is no hash of anything that anybody knows.
            let hash = account.hashes.get(place).map_or(&[0_u8; 32][..], Vec::as_slice);
            known |= constant_time::verify_slices_are_equal(&given, hash).is_ok();
        }
        let principal = account.principal.unwrap_or_default();
        let good = known
            && principal.kind() == PrincipalKind::ServiceAccount
            && !principal.disabled
            && knows_role(&self.in_force.snapshot(), tenant, &principal.role);
        if !good {
            return Err(ApiError::unauthenticated("no such account, not its secret, or shut out"));
        }
        Ok(Identity {
            subject: id.to_owned(),
            role: principal.role,
            department: principal.department,
            region: principal.region,
        })
    }

    fn tenant(&self, id: &str) -> Option<TenantId> {
        let snapshot = self.in_force.snapshot();
        let found = snapshot.tenants.iter().find(|known| known.name.strip_prefix("tenants/") == Some(id));
        found.map(|tenant| TenantId(tenant.number))
    }
}

/// An exchange of a secret asks for what the account is, and for nothing besides.
fn check_exchange(message: &IssueTokenRequest) -> Result<(), ApiError> {
    for (field, text) in [("principal", &message.principal), ("client_secret", &message.client_secret)] {
        if text.is_empty() {
            return Err(ApiError::invalid_field(field, "principal and client_secret go together"));
        }
    }
    for (field, text) in
        [("bootstrap_secret", &message.bootstrap_secret), ("role", &message.role), ("subject", &message.subject)]
    {
        if !text.is_empty() {
            return Err(ApiError::invalid_field(field, "must be empty where a service account asks"));
        }
    }
    Ok(())
}

/// A principal as an administrator may have a token for it: as it is.
fn of_principal(principal: Principal, role: &str) -> Result<Identity, ApiError> {
    if principal.disabled {
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, "the principal is disabled"));
    }
    if !role.is_empty() && role != principal.role {
        return Err(ApiError::invalid_field("role", "is not the role of the principal"));
    }
    Ok(Identity {
        subject: principal.name.trim_start_matches("principals/").to_owned(),
        role: principal.role,
        department: principal.department,
        region: principal.region,
    })
}

/// Whether two secrets are the same, in a time that tells neither where they differ nor how long they are.
fn is_same(given: &str, expected: &str) -> bool {
    let digest = |secret: &str| Sha256::digest(secret.as_bytes());
    constant_time::verify_slices_are_equal(&digest(given), &digest(expected)).is_ok()
}

fn for_nobody<T: quintile_domain::masking::Maskable>(message: T) -> Response<Masked<T>> {
    Response::new(Masked::new(message, &FieldForms::nothing(), &mut Shown::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_the_same_only_when_every_byte_is() {
        assert!(is_same("a secret", "a secret"));
        for wrong in ["", "a secre", "a secret ", "A secret"] {
            assert!(!is_same(wrong, "a secret"), "{wrong:?}");
        }
    }
}
