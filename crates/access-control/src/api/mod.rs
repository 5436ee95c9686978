//! The RPCs, one file per resource: decode, validate, call, encode.

pub mod policies;
pub mod tenants;
pub mod tokens;

use crate::policy::in_force::InForceError;
use quintile_rpc::ApiError;
use quintile_store::StoreError;

/// What a failure of storage means to a caller.
fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Database(error) => ApiError::unavailable(error.to_string()),
        error @ (StoreError::Fenced | StoreError::Stopped) => ApiError::unavailable(error.to_string()),
        error @ (StoreError::RequestConflict | StoreError::Sealed(_) | StoreError::Configuration(_)) => {
            ApiError::internal(error.to_string())
        }
    }
}

/// What a snapshot that can't be had means to a caller.
fn in_force_error(error: InForceError) -> ApiError {
    match error {
        InForceError::Store(error) => store_error(error),
        InForceError::Policy(error) => ApiError::internal(error.to_string()),
    }
}
