//! Tokens: issued for the bootstrap secret or to an administrator, and the keys that verify them.
//!
//! The edge lets calls without a token through to both methods. Nobody in particular may be calling then, so that answers are
//! masked for nobody.

use super::in_force_error;
use crate::issuing::{self, Grant, Lifetime};
use crate::policy::in_force::InForce;
use crate::signing::SigningKey;
use crate::store::DEFAULT_TENANT;
use aws_lc_rs::constant_time;
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::masking::{FieldForms, Masked, Shown};
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_domain::time::Instant;
use quintile_proto::access::token_service_server::TokenService;
use quintile_proto::access::{GetJwksRequest, IssueTokenRequest, IssueTokenResponse, Jwks};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tonic::{Request, Response};

/// The role that may issue tokens by its own.
const ADMIN: &str = "admin";

/// Issues tokens.
pub struct TokenApi {
    /// The policy, which knows the roles and the tenants.
    pub in_force: Arc<InForce>,
    /// The key that signs.
    pub signing_key: SigningKey,
    /// Machine time.
    pub clock: MachineClock,
    /// Where the tokens' ids come from.
    pub entropy: Entropy,
    /// What a token can be had for without another one.
    pub bootstrap_secret: Arc<str>,
    /// Who issues.
    pub issuer: String,
}

#[tonic::async_trait]
impl TokenService for TokenApi {
    async fn issue_token(&self, request: Request<IssueTokenRequest>) -> Answer<IssueTokenResponse> {
        let caller = Caller::in_extensions(request.extensions());
        let message = request.into_inner();
        let tenant = if message.tenant.is_empty() { DEFAULT_TENANT } else { &message.tenant };
        self.authorise(caller.as_ref(), &message.bootstrap_secret, tenant)?;
        if !message.subject.is_empty() {
            names::required_text(&message.subject, MAX_NAME_BYTES)
                .map_err(|error| ApiError::invalid_text("subject", error))?;
        }
        let lifetime = match &message.lifetime {
            None => Lifetime::default(),
            Some(asked) => Lifetime::from_parts(asked.seconds, asked.nanos)
                .map_err(|error| ApiError::invalid_field("lifetime", error.to_string()))?,
        };
        self.check_known(&message.role, tenant).await?;
        let grant = Grant { issuer: &self.issuer, subject: &message.subject, tenant, role: &message.role, lifetime };
        let claims = issuing::claims(&grant, self.clock.now(), &self.entropy);
        let token = self.signing_key.sign(&claims)?;
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

    async fn get_jwks(&self, _request: Request<GetJwksRequest>) -> Answer<Jwks> {
        Ok(for_nobody(self.in_force.snapshot().jwks.clone().unwrap_or_default()))
    }
}

impl TokenApi {
    /// Whoever knows the secret may have any token; an administrator, those of its own tenant.
    fn authorise(&self, caller: Option<&Caller>, secret: &str, tenant: &str) -> Result<(), ApiError> {
        if !secret.is_empty() {
            return if is_same(secret, &self.bootstrap_secret) {
                Ok(())
            } else {
                Err(ApiError::unauthenticated("a wrong bootstrap secret"))
            };
        }
        let caller = caller.ok_or_else(|| ApiError::unauthenticated("neither a bootstrap secret nor a token"))?;
        // Before anything is looked up: an administrator learns nothing of other tenants.
        if caller.role_name() == ADMIN && caller.tenant().name == tenant {
            Ok(())
        } else {
            Err(ApiError::method_denied())
        }
    }

    async fn check_known(&self, role: &str, tenant: &str) -> Result<(), ApiError> {
        if !self.knows_tenant(tenant) {
            // Another process may just have made it.
            self.in_force.refresh().await.map_err(in_force_error)?;
        }
        if !self.knows_tenant(tenant) {
            return Err(ApiError::invalid_field("tenant", "is not the id of a tenant"));
        }
        if self.in_force.snapshot().roles.iter().any(|known| known.role == role) {
            Ok(())
        } else {
            Err(ApiError::invalid_field("role", "is not a role of the policy"))
        }
    }

    fn knows_tenant(&self, id: &str) -> bool {
        self.in_force.snapshot().tenants.iter().any(|known| known.name.strip_prefix("tenants/") == Some(id))
    }
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
