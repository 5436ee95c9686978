//! External issuers: made once they answer, changed, refreshed, deleted.

use super::{done, full, id_in, in_force_error, knows_role, store_error};
use crate::policy::in_force::InForce;
use crate::refreshing::Refresher;
use crate::store::issuers::{Due, IssuerPatch, MAX_ISSUERS, NewIssuer};
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_proto::access::issuer_service_server::IssuerService;
use quintile_proto::access::{
    CreateIssuerRequest, DeleteIssuerRequest, DeleteIssuerResponse, GetIssuerRequest, Issuer, ListIssuersRequest,
    ListIssuersResponse, PolicySnapshot, RefreshIssuerRequest, RoleMapping, UpdateIssuerRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::outbound::Url;
use quintile_rpc::token::{SERVICE, SUITE};
use quintile_rpc::{Answer, ApiError, Caller};
use std::sync::Arc;
use tonic::Request;

/// The algorithms that an issuer may sign by.
const ALGORITHMS: [&str; 3] = ["ES256", "RS256", "EdDSA"];
/// The most entries of a role mapping.
const MAX_MAPPINGS: usize = 100;

/// Makes and changes issuers.
pub struct IssuerApi {
    /// Fetches keys, and knows the policy.
    pub refresher: Arc<Refresher>,
    /// The issuer of our own tokens, which nobody else is.
    pub own_issuer: String,
}

#[tonic::async_trait]
impl IssuerService for IssuerApi {
    async fn create_issuer(&self, request: Request<CreateIssuerRequest>) -> Answer<Issuer> {
        let caller = Caller::of(&request)?;
        let CreateIssuerRequest { issuer_id: id, issuer } = request.into_inner();
        names::resource_id(&id).map_err(|error| ApiError::invalid_text("issuer_id", error))?;
        if SUITE.strip_suffix(':') == Some(&id) {
            return Err(
                ApiError::invalid_field("issuer_id", "would make its subjects those of the suite's services").into()
            );
        }
        caller.is_about(format!("issuers/{id}"));
        let issuer = issuer.unwrap_or_default();
        self.check_new(&caller, &issuer).map_err(|error| error.within("issuer"))?;
        let asked = self.refresher.clock.now();
        let keys = self.refresher.fetcher.keys(&issuer.issuer).await;
        let keys =
            keys.map_err(|error| ApiError::failed_precondition(ErrorReason::FailedPrecondition, error.to_string()))?;
        let tenant = caller.tenant();
        let made = self.in_force().store().create_issuer(tenant.id, &tenant.name, &id, &issuer, keys, asked).await;
        match made.map_err(store_error)? {
            NewIssuer::Created(issuer) => {
                self.in_force().refresh().await.map_err(in_force_error)?;
                tracing::info!(name = issuer.name, tenant = tenant.name, "issuer created");
                Ok(caller.respond(*issuer))
            }
            NewIssuer::Taken => Err(ApiError::already_exists("the issuer").into()),
            NewIssuer::IdentifierTaken => Err(ApiError::already_exists("an issuer of this identifier").into()),
            NewIssuer::Full => Err(full("issuers", MAX_ISSUERS).into()),
        }
    }

    async fn get_issuer(&self, request: Request<GetIssuerRequest>) -> Answer<Issuer> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", "issuers", &request.get_ref().name)?;
        let issuer = self.get(&caller, id).await?;
        Ok(caller.respond(issuer))
    }

    async fn list_issuers(&self, request: Request<ListIssuersRequest>) -> Answer<ListIssuersResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let issuers = self.in_force().store().issuers(tenant.id, &tenant.name).await.map_err(store_error)?;
        Ok(caller.respond(ListIssuersResponse { issuers }))
    }

    async fn update_issuer(&self, request: Request<UpdateIssuerRequest>) -> Answer<Issuer> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let given = request.issuer.unwrap_or_default();
        let id = id_in("issuer.name", "issuers", &given.name)?;
        caller.is_about(given.name.as_str());
        let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let patch = patch(&given, &paths)?;
        check(&patch, &self.in_force().snapshot(), &caller.tenant().name).map_err(|error| error.within("issuer"))?;
        let tenant = caller.tenant();
        let changed = self.in_force().store().update_issuer(tenant.id, &tenant.name, id, &given.etag, patch).await;
        let issuer = done(changed.map_err(store_error)?)?;
        self.in_force().refresh().await.map_err(in_force_error)?;
        Ok(caller.respond(issuer))
    }

    async fn delete_issuer(&self, request: Request<DeleteIssuerRequest>) -> Answer<DeleteIssuerResponse> {
        let caller = Caller::of(&request)?;
        let DeleteIssuerRequest { name, etag } = request.get_ref();
        let id = id_in("name", "issuers", name)?;
        caller.is_about(name.as_str());
        let deleted = self.in_force().store().delete_issuer(caller.tenant().id, id, etag).await;
        done(deleted.map_err(store_error)?)?;
        self.in_force().refresh().await.map_err(in_force_error)?;
        Ok(caller.respond(DeleteIssuerResponse {}))
    }

    async fn refresh_issuer(&self, request: Request<RefreshIssuerRequest>) -> Answer<Issuer> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", "issuers", &request.get_ref().name)?;
        caller.is_about(request.get_ref().name.as_str());
        let issuer = self.get(&caller, id).await?;
        let due = Due { tenant: caller.tenant().id, id: id.to_owned(), issuer: issuer.issuer };
        self.refresher.refresh(&due).await.map_err(in_force_error)?;
        let issuer = self.get(&caller, id).await?;
        Ok(caller.respond(issuer))
    }
}

impl IssuerApi {
    fn in_force(&self) -> &InForce {
        &self.refresher.in_force
    }

    async fn get(&self, caller: &Caller, id: &str) -> Result<Issuer, ApiError> {
        let tenant = caller.tenant();
        let found = self.in_force().store().issuer(tenant.id, &tenant.name, id).await.map_err(store_error)?;
        found.ok_or_else(ApiError::not_found)
    }

    fn check_new(&self, caller: &Caller, issuer: &Issuer) -> Result<(), ApiError> {
        Url::parse(&issuer.issuer).map_err(|error| ApiError::invalid_field("issuer", error.to_string()))?;
        if issuer.issuer == self.own_issuer {
            return Err(ApiError::invalid_field("issuer", "is the issuer of the suite's own tokens"));
        }
        let paths = ["audience", "algorithms", "role_claim", "roles"].map(str::to_owned);
        check(&patch(issuer, &paths)?, &self.in_force().snapshot(), &caller.tenant().name)
    }
}

fn patch(given: &Issuer, paths: &[String]) -> Result<IssuerPatch, ApiError> {
    if paths.is_empty() {
        return Err(ApiError::invalid_field("update_mask", "must name the fields to change"));
    }
    let mut patch = IssuerPatch::default();
    for path in paths {
        match path.as_str() {
            "audience" => patch.audience = Some(given.audience.clone()),
            "algorithms" => patch.algorithms = Some(given.algorithms.clone()),
            "role_claim" => patch.role_claim = Some(given.role_claim.clone()),
            "roles" => patch.roles = Some(given.roles.clone()),
            _ => {
                return Err(ApiError::invalid_field(
                    "update_mask",
                    "names a field that is not there or does not change",
                ));
            }
        }
    }
    Ok(patch)
}

fn check(patch: &IssuerPatch, snapshot: &PolicySnapshot, tenant: &str) -> Result<(), ApiError> {
    for (field, text) in [("audience", &patch.audience), ("role_claim", &patch.role_claim)] {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            names::required_text(text, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text(field, error))?;
        }
    }
    if let Some(algorithms) = &patch.algorithms {
        let known = algorithms.iter().all(|algorithm| ALGORITHMS.contains(&algorithm.as_str()));
        if algorithms.is_empty() || algorithms.len() > ALGORITHMS.len() || !known {
            return Err(ApiError::invalid_field("algorithms", "must be one or more of ES256, RS256 and EdDSA"));
        }
    }
    if let Some(roles) = &patch.roles {
        if roles.is_empty() || roles.len() > MAX_MAPPINGS {
            return Err(ApiError::invalid_field("roles", "must have 1 to 100 entries"));
        }
        for (index, mapping) in roles.iter().enumerate() {
            check_mapping(mapping, snapshot, tenant).map_err(|error| error.within(&format!("roles[{index}]")))?;
        }
    }
    Ok(())
}

fn check_mapping(mapping: &RoleMapping, snapshot: &PolicySnapshot, tenant: &str) -> Result<(), ApiError> {
    names::required_text(&mapping.value, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("value", error))?;
    if mapping.role == SERVICE || !knows_role(snapshot, tenant, &mapping.role) {
        return Err(ApiError::invalid_field("role", "is not a role that the tenant knows, or is `service`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::access::{RolePolicy, TenantRoles};

    fn snapshot() -> PolicySnapshot {
        let role = |name: &str| RolePolicy { role: name.to_owned(), ..RolePolicy::default() };
        let of = |tenant: &str, name: &str| TenantRoles { tenant: tenant.to_owned(), roles: vec![role(name)] };
        PolicySnapshot {
            roles: vec![role("admin"), role("service"), role("support")],
            tenant_roles: vec![of("tenants/acme", "night-shift"), of("tenants/other", "day-shift")],
            ..PolicySnapshot::default()
        }
    }

    #[test]
    fn what_is_wrong_with_an_issuer_is_told_by_field() {
        let text = |text: &str| Some(text.to_owned());
        let algorithms = |names: &[&str]| IssuerPatch {
            algorithms: Some(names.iter().map(|&name| name.to_owned()).collect()),
            ..IssuerPatch::default()
        };
        let roles = |roles: &[(&str, &str)]| IssuerPatch {
            roles: Some(
                roles
                    .iter()
                    .map(|(value, role)| RoleMapping { value: (*value).to_owned(), role: (*role).to_owned() })
                    .collect(),
            ),
            ..IssuerPatch::default()
        };
        for (patch, field) in [
            (IssuerPatch::default(), None),
            (IssuerPatch { audience: text(""), role_claim: text(""), ..IssuerPatch::default() }, None),
            (IssuerPatch { audience: text(" "), ..IssuerPatch::default() }, Some("audience")),
            (IssuerPatch { role_claim: text("a\0"), ..IssuerPatch::default() }, Some("role_claim")),
            (algorithms(&["ES256", "RS256", "EdDSA"]), None),
            (algorithms(&[]), Some("algorithms")),
            (algorithms(&["none"]), Some("algorithms")),
            (algorithms(&["HS256"]), Some("algorithms")),
            (algorithms(&["es256"]), Some("algorithms")),
            (roles(&[("care", "support"), ("night", "night-shift")]), None),
            (roles(&[]), Some("roles")),
            (roles(&[("care", "service")]), Some("roles[0].role")),
            (roles(&[("care", "support"), ("day", "day-shift")]), Some("roles[1].role")),
            (roles(&[("", "support")]), Some("roles[0].value")),
        ] {
            let error = check(&patch, &snapshot(), "acme").err();
            assert_eq!(error.as_ref().and_then(ApiError::field), field, "{patch:?}");
        }
    }

    #[test]
    fn what_does_not_change_is_in_no_mask() {
        for path in ["issuer", "tenant", "keys", "name", "*", ""] {
            assert!(patch(&Issuer::default(), &[path.to_owned()]).is_err(), "{path}");
        }
        assert!(patch(&Issuer::default(), &[]).is_err());
    }
}
