//! The policy in force, and its changes.

use super::policy_versions;
use crate::policy::in_force::InForce;
use quintile_domain::clock::MachineClock;
use quintile_proto::access::policy_service_server::PolicyService;
use quintile_proto::access::{
    AccessExplanation, ExplainAccessRequest, GetPolicyRequest, GetPolicyVersionRequest, ListPolicyVersionsRequest,
    ListPolicyVersionsResponse, PolicyImpact, PolicySnapshot, PolicyVersion, PreviewPolicyRequest,
    PublishPolicyRequest, Tenant, WatchPolicyRequest,
};
use quintile_rpc::policy::DEFAULT_TENANT;
use quintile_rpc::{Answer, AnswerStream, Caller};
use quintile_store::sealing::TokenSealer;
use std::sync::Arc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// Answers with the policy.
pub struct PolicyApi {
    /// The policy.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
    /// Seals page tokens.
    pub sealer: TokenSealer,
}

#[tonic::async_trait]
impl PolicyService for PolicyApi {
    type WatchPolicyStream = AnswerStream<PolicySnapshot>;

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Answer<PolicySnapshot> {
        let caller = Caller::of(&request)?;
        let policy = view_of(&caller, &self.in_force.snapshot());
        Ok(caller.respond(policy))
    }

    async fn watch_policy(
        &self,
        request: Request<WatchPolicyRequest>,
    ) -> Result<Response<Self::WatchPolicyStream>, Status> {
        let caller = Caller::of(&request)?;
        let in_force = self.in_force.clone();
        let mut sent = None;
        // A reader that is slow misses versions and never the last one: each is whole.
        let snapshots = WatchStream::new(self.in_force.pulse()).map(move |()| {
            let snapshot = in_force.snapshot();
            let version = snapshot.version;
            let message = if sent.replace(version) == Some(version) {
                PolicySnapshot { version, unchanged: true, ..PolicySnapshot::default() }
            } else {
                view_of(&caller, &snapshot)
            };
            Ok(caller.mask(message))
        });
        Ok(Response::new(Box::pin(snapshots)))
    }

    async fn preview_policy(&self, request: Request<PreviewPolicyRequest>) -> Answer<PolicyImpact> {
        let caller = Caller::of(&request)?;
        let impact = policy_versions::preview(&self.in_force, &caller, &request.get_ref().roles).await?;
        Ok(caller.respond(impact))
    }

    async fn publish_policy(&self, request: Request<PublishPolicyRequest>) -> Answer<PolicyVersion> {
        let caller = Caller::of(&request)?;
        let version = policy_versions::publish(&self.in_force, &caller, request.into_inner(), &self.clock).await?;
        Ok(caller.respond(version))
    }

    async fn get_policy_version(&self, request: Request<GetPolicyVersionRequest>) -> Answer<PolicyVersion> {
        let caller = Caller::of(&request)?;
        let version = policy_versions::get(&self.in_force, &caller, &request.get_ref().name).await?;
        Ok(caller.respond(version))
    }

    async fn list_policy_versions(
        &self,
        request: Request<ListPolicyVersionsRequest>,
    ) -> Answer<ListPolicyVersionsResponse> {
        let caller = Caller::of(&request)?;
        let page = policy_versions::list(&self.in_force, &caller, &self.sealer, request.get_ref()).await?;
        Ok(caller.respond(page))
    }

    async fn explain_access(&self, request: Request<ExplainAccessRequest>) -> Answer<AccessExplanation> {
        let caller = Caller::of(&request)?;
        let explanation = policy_versions::explain(&self.in_force, &caller, request.get_ref())?;
        Ok(caller.respond(explanation))
    }
}

/// What a caller sees of the policy. All of it is for the suite's services alone, which ask in the name of the first tenant: the role
/// `service` of another tenant is as much within that tenant as its other roles.
fn view_of(caller: &Caller, snapshot: &PolicySnapshot) -> PolicySnapshot {
    let tenant = &caller.tenant().name;
    if caller.suite_service().is_some() && tenant == DEFAULT_TENANT {
        snapshot.clone()
    } else {
        within(&format!("tenants/{tenant}"), snapshot)
    }
}

/// A snapshot within one tenant, without secrets.
fn within(tenant: &str, snapshot: &PolicySnapshot) -> PolicySnapshot {
    let tenants = snapshot.tenants.iter().filter(|known| known.name == tenant);
    PolicySnapshot {
        version: snapshot.version,
        roles: snapshot.roles.clone(),
        tenants: tenants.map(|known| Tenant { pseudonym_key: Vec::new(), ..known.clone() }).collect(),
        jwks: snapshot.jwks.clone(),
        tenant_roles: snapshot.tenant_roles.iter().filter(|roles| roles.tenant == tenant).cloned().collect(),
        issuers: snapshot.issuers.iter().filter(|issuer| issuer.tenant == tenant).cloned().collect(),
        revocations: snapshot.revocations.iter().filter(|revocation| revocation.tenant == tenant).cloned().collect(),
        unchanged: false,
        key_generation: snapshot.key_generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::access::{Issuer, Revocation, RolePolicy, TenantRoles};

    #[test]
    fn within_a_tenant_there_is_nothing_of_another_and_no_secret() {
        let names = || ["tenants/default", "tenants/acme", "tenants/acme-2"].map(str::to_owned);
        let tenant = |name| Tenant { name, pseudonym_key: vec![7; 32], ..Tenant::default() };
        let snapshot = PolicySnapshot {
            version: 7,
            roles: vec![RolePolicy::default()],
            tenants: names().map(tenant).into(),
            tenant_roles: names().map(|tenant| TenantRoles { tenant, ..TenantRoles::default() }).into(),
            issuers: names().map(|tenant| Issuer { tenant, ..Issuer::default() }).into(),
            revocations: names().map(|tenant| Revocation { tenant, ..Revocation::default() }).into(),
            ..PolicySnapshot::default()
        };
        let acme = "tenants/acme".to_owned();
        let expected = PolicySnapshot {
            version: 7,
            roles: vec![RolePolicy::default()],
            tenants: vec![Tenant { name: acme.clone(), ..Tenant::default() }],
            tenant_roles: vec![TenantRoles { tenant: acme.clone(), ..TenantRoles::default() }],
            issuers: vec![Issuer { tenant: acme.clone(), ..Issuer::default() }],
            revocations: vec![Revocation { tenant: acme.clone(), ..Revocation::default() }],
            ..PolicySnapshot::default()
        };
        assert_eq!(within(&acme, &snapshot), expected);
    }
}
