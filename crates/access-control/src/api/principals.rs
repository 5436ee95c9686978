//! Principals, and the secrets of service accounts.

use super::{done, full, id_in, in_force_error, knows_role, store_error};
use crate::policy::in_force::InForce;
use crate::store::principals::{MAX_PRINCIPALS, MAX_SECRETS, NewPrincipal, NewSecret, PrincipalPatch, SecretRow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_domain::time::Instant;
use quintile_proto::access::principal_service_server::PrincipalService;
use quintile_proto::access::{
    CreatePrincipalRequest, CreateSecretRequest, CreateSecretResponse, DeletePrincipalRequest, DeletePrincipalResponse,
    DeleteSecretRequest, DeleteSecretResponse, GetPrincipalRequest, ListPrincipalsRequest, ListPrincipalsResponse,
    Principal, PrincipalKind, UpdatePrincipalRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::sealing::TokenSealer;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tonic::Request;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Bytes of the id of a secret.
const SECRET_ID_BYTES: usize = 8;
/// What page tokens are sealed for.
const LIST: &[u8] = b"ListPrincipals";

/// Makes and changes principals.
pub struct PrincipalApi {
    /// The policy, which knows the roles.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
    /// Where secrets come from.
    pub entropy: Entropy,
    /// Seals page tokens.
    pub sealer: TokenSealer,
}

#[tonic::async_trait]
impl PrincipalService for PrincipalApi {
    async fn create_principal(&self, request: Request<CreatePrincipalRequest>) -> Answer<Principal> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = &request.principal_id;
        names::resource_id(id).map_err(|error| ApiError::invalid_text("principal_id", error))?;
        caller.is_about(format!("principals/{id}"));
        let principal = request.principal.unwrap_or_default();
        self.check_new(&caller, &principal).map_err(|error| error.within("principal"))?;
        let made = self.in_force.store().create_principal(caller.tenant().id, id, &principal, self.clock.now()).await;
        match made.map_err(store_error)? {
            NewPrincipal::Created(principal) => Ok(caller.respond(principal)),
            NewPrincipal::Taken => Err(ApiError::already_exists("the principal").into()),
            NewPrincipal::Full => Err(full("principals", MAX_PRINCIPALS).into()),
        }
    }

    async fn get_principal(&self, request: Request<GetPrincipalRequest>) -> Answer<Principal> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", "principals", &request.get_ref().name)?;
        let found = self.in_force.store().principal(caller.tenant().id, id, self.clock.now()).await;
        Ok(caller.respond(found.map_err(store_error)?.ok_or_else(ApiError::not_found)?))
    }

    async fn list_principals(&self, request: Request<ListPrincipalsRequest>) -> Answer<ListPrincipalsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let after = match request.get_ref().page_token.as_str() {
            "" => String::new(),
            token => {
                let opened = self.sealer.open(tenant, LIST, token).ok();
                let after = opened.and_then(|bytes| String::from_utf8(bytes).ok());
                after.ok_or_else(|| ApiError::invalid_token("page_token"))?
            }
        };
        // One more, to know whether there is a next page.
        let listed = self.in_force.store().principals(tenant, &after, size + 1, self.clock.now()).await;
        let mut principals = listed.map_err(store_error)?;
        let more = principals.len() as u64 > size;
        principals.truncate(size as usize);
        let last = principals.last().and_then(|principal| principal.name.strip_prefix("principals/"));
        let next_page_token = match last {
            Some(id) if more => self.sealer.seal(tenant, LIST, id.as_bytes()),
            _ => String::new(),
        };
        Ok(caller.respond(ListPrincipalsResponse { principals, next_page_token }))
    }

    async fn update_principal(&self, request: Request<UpdatePrincipalRequest>) -> Answer<Principal> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let given = request.principal.unwrap_or_default();
        let id = id_in("principal.name", "principals", &given.name)?;
        caller.is_about(given.name.as_str());
        let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let patch = patch(&given, &paths)?;
        self.check(&caller, patch.role.as_deref(), patch.department.as_deref(), patch.region.as_deref())
            .map_err(|error| error.within("principal"))?;
        let store = self.in_force.store();
        let changed = store.update_principal(caller.tenant().id, id, &given.etag, patch, &self.clock).await;
        let principal = done(changed.map_err(store_error)?)?;
        self.in_force.refresh().await.map_err(in_force_error)?;
        Ok(caller.respond(principal))
    }

    async fn delete_principal(&self, request: Request<DeletePrincipalRequest>) -> Answer<DeletePrincipalResponse> {
        let caller = Caller::of(&request)?;
        let DeletePrincipalRequest { name, etag } = request.get_ref();
        let id = id_in("name", "principals", name)?;
        caller.is_about(name.as_str());
        let deleted = self.in_force.store().delete_principal(caller.tenant().id, id, etag, &self.clock).await;
        done(deleted.map_err(store_error)?)?;
        self.in_force.refresh().await.map_err(in_force_error)?;
        Ok(caller.respond(DeletePrincipalResponse {}))
    }

    async fn create_secret(&self, request: Request<CreateSecretRequest>) -> Answer<CreateSecretResponse> {
        let caller = Caller::of(&request)?;
        let now = self.clock.now();
        let id = id_in("parent", "principals", &request.get_ref().parent)?;
        caller.is_about(request.get_ref().parent.as_str());
        let expires = expiry(request.get_ref().expire_time.as_ref(), now)?;
        let client_secret = URL_SAFE_NO_PAD.encode(self.entropy.bytes::<SECRET_BYTES>());
        let row = SecretRow {
            // An id of resources begins with a letter.
            id: format!("s{:016x}", u64::from_be_bytes(self.entropy.bytes::<SECRET_ID_BYTES>())),
            hash: Sha256::digest(client_secret.as_bytes()).to_vec(),
            expires,
        };
        let made = self.in_force.store().create_secret(caller.tenant().id, id, row, now).await;
        match made.map_err(store_error)? {
            NewSecret::Created(secret) => {
                caller.is_about(secret.name.as_str());
                tracing::info!(name = secret.name, tenant = caller.tenant().name, "secret created");
                Ok(caller.respond(CreateSecretResponse { secret: Some(secret), client_secret }))
            }
            NewSecret::Absent => Err(ApiError::not_found().into()),
            NewSecret::User => Err(ApiError::failed_precondition(
                ErrorReason::FailedPrecondition,
                "the principal is no service account",
            )
            .into()),
            NewSecret::Full => Err(full("secrets", MAX_SECRETS as u64).into()),
        }
    }

    async fn delete_secret(&self, request: Request<DeleteSecretRequest>) -> Answer<DeleteSecretResponse> {
        let caller = Caller::of(&request)?;
        let name = &request.get_ref().name;
        let (parent, secret) = name
            .split_once("/secrets/")
            .filter(|(_, secret)| names::resource_id(secret).is_ok())
            .ok_or_else(|| ApiError::invalid_field("name", "must be principals/{id}/secrets/{secret id}"))?;
        let id = id_in("name", "principals", parent)?;
        caller.is_about(name.as_str());
        let deleted = self.in_force.store().delete_secret(caller.tenant().id, id, secret).await;
        if !deleted.map_err(store_error)? {
            return Err(ApiError::not_found().into());
        }
        Ok(caller.respond(DeleteSecretResponse {}))
    }
}

impl PrincipalApi {
    fn check_new(&self, caller: &Caller, principal: &Principal) -> Result<(), ApiError> {
        if !matches!(principal.kind(), PrincipalKind::User | PrincipalKind::ServiceAccount) {
            return Err(ApiError::invalid_field("kind", "must be USER or SERVICE_ACCOUNT"));
        }
        self.check(caller, Some(&principal.role), Some(&principal.department), Some(&principal.region))
    }

    fn check(
        &self,
        caller: &Caller,
        role: Option<&str>,
        department: Option<&str>,
        region: Option<&str>,
    ) -> Result<(), ApiError> {
        if role.is_some_and(|role| !knows_role(&self.in_force.snapshot(), &caller.tenant().name, role)) {
            return Err(ApiError::invalid_field("role", "is not a role that the tenant knows"));
        }
        for (field, text) in [("department", department), ("region", region)] {
            // A token states it or does not: blank is neither.
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                names::required_text(text, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text(field, error))?;
            }
        }
        Ok(())
    }
}

fn patch(given: &Principal, paths: &[String]) -> Result<PrincipalPatch, ApiError> {
    if paths.is_empty() {
        return Err(ApiError::invalid_field("update_mask", "must name the fields to change"));
    }
    let mut patch = PrincipalPatch::default();
    for path in paths {
        match path.as_str() {
            "role" => patch.role = Some(given.role.clone()),
            "department" => patch.department = Some(given.department.clone()),
            "region" => patch.region = Some(given.region.clone()),
            "disabled" => patch.disabled = Some(given.disabled),
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

fn expiry(asked: Option<&prost_types::Timestamp>, now: Instant) -> Result<Option<Instant>, ApiError> {
    let Some(timestamp) = asked else { return Ok(None) };
    let expires = convert::instant(Some(timestamp)).map_err(|error| ApiError::invalid_time("expire_time", error))?;
    if expires <= now {
        return Err(ApiError::invalid_field("expire_time", "must be in the future"));
    }
    Ok(Some(expires))
}
