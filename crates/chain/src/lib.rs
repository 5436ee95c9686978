//! The chain of services: how each follows the one before it, adds its part to every customer's record, and publishes to the one behind.
//!
//! Facts become features, features become scores, scores become stages, and segmentation holds them all. A service of the chain
//! is a [`derive::Link`], a pure function from record and instant to what it adds; everything else is here, once: the worker
//! that follows the feed and time, the fence, the watermark, and the `Watch` RPC. To add a service to the chain, write its link.

pub mod context;
pub mod derive;
pub mod erasure;
pub mod feed;
pub mod follow;
pub mod listening;
pub mod operations;
pub mod progress;
pub mod rewrapping;
pub mod vitals;

pub use quintile_audit::page;

use quintile_rpc::ApiError;
use quintile_store::StoreError;

/// What a failure of storage means to a client.
pub fn store_error(error: &StoreError) -> ApiError {
    use quintile_proto::types::ErrorReason;
    match error {
        StoreError::RequestConflict => ApiError::failed_precondition(
            ErrorReason::BodyConflict,
            "the request id came before with another body: take a new one",
        ),
        StoreError::Sealed(problem) => ApiError::internal(format!("sealed data does not open: {problem}")),
        StoreError::Full => ApiError::disk_full(),
        StoreError::Panicked => ApiError::internal(error.to_string()),
        StoreError::Database(_) | StoreError::Fenced | StoreError::Stopped | StoreError::Configuration(_) => {
            ApiError::unavailable(error.to_string())
        }
    }
}
