//! The RPCs, one file per resource: decode, validate, call, encode.

pub mod checkpoints;
pub mod issuers;
pub mod master_keys;
pub mod policies;
mod policy_versions;
pub mod principals;
pub mod revocations;
pub mod signing_keys;
pub mod tenants;
pub mod tokens;

use crate::policy::in_force::InForceError;
use crate::store::Changed;
use quintile_domain::names;
use quintile_proto::access::PolicySnapshot;
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::DEFAULT_TENANT;
use quintile_rpc::{ApiError, Caller};
use quintile_store::StoreError;
use tonic::Request;

/// What a failure of storage means to a caller.
pub fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Database(error) => ApiError::unavailable(error.to_string()),
        error @ (StoreError::Fenced | StoreError::Stopped) => ApiError::unavailable(error.to_string()),
        StoreError::Full => ApiError::disk_full(),
        error @ (StoreError::RequestConflict
        | StoreError::Sealed(_)
        | StoreError::Panicked
        | StoreError::Configuration(_)) => ApiError::internal(error.to_string()),
    }
}

/// What a snapshot that can't be had means to a caller.
fn in_force_error(error: InForceError) -> ApiError {
    match error {
        InForceError::Store(error) => store_error(error),
        InForceError::Policy(error) => ApiError::internal(error.to_string()),
    }
}

/// The caller, who must be of the tenant that runs the installation: its keys and its tenants are all tenants' business.
fn operator<T>(request: &Request<T>) -> Result<Caller, ApiError> {
    let caller = Caller::of(request)?;
    if caller.tenant().name == DEFAULT_TENANT { Ok(caller) } else { Err(ApiError::method_denied()) }
}

/// The id in a resource name `{collection}/{id}`.
fn id_in<'a>(field: &str, collection: &str, name: &'a str) -> Result<&'a str, ApiError> {
    let id = name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
    id.filter(|id| names::resource_id(id).is_ok())
        .ok_or_else(|| ApiError::invalid_field(field, format!("must be {collection}/{{id}}")))
}

/// There are as many as there may be.
fn full(what: &str, most: u64) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, format!("there are {most} {what} already"))
}

/// Whether a tenant, by its id, knows a role: one that every tenant has, or one of its own.
fn knows_role(snapshot: &PolicySnapshot, tenant: &str, role: &str) -> bool {
    let own = snapshot.tenant_roles.iter().filter(|own| own.tenant.strip_prefix("tenants/") == Some(tenant));
    snapshot.roles.iter().chain(own.flat_map(|own| &own.roles)).any(|known| known.role == role)
}

/// What a change came to.
fn done<T>(changed: Changed<T>) -> Result<T, ApiError> {
    match changed {
        Changed::Done(done) => Ok(done),
        Changed::Absent => Err(ApiError::not_found()),
        Changed::Stale => Err(ApiError::stale_etag()),
    }
}
