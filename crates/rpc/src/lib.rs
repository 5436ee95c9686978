//! The gRPC chassis: everything between the wire and a handler, the same for every service.
//!
//! It boots and drains servers, verifies tokens, decides from the policy snapshot who may call what, masks, honours deadlines, sheds
//! load, and turns errors into statuses in one place. It knows no business and no database. To add something that every call
//! passes through, add it to [`edge`]; to add a kind of error, add a constructor to [`error::ApiError`].

pub mod audit;
pub mod caller;
mod channel;
pub mod client;
pub mod convert;
pub mod edge;
pub mod error;
pub mod issuer_keys;
pub mod lookups;
pub mod outbound;
pub mod policy;
pub mod policy_follower;
pub mod policy_handle;
pub mod role;
pub mod scope;
pub mod server;
pub mod settings;
pub mod strict_json;
pub mod telemetry;
pub mod token;
pub mod trail;
pub mod trust;

pub use caller::Caller;
pub use error::ApiError;

/// What a handler answers with.
pub type Answer<T> = Result<tonic::Response<quintile_domain::masking::Masked<T>>, tonic::Status>;

/// A stream of masked messages.
pub type AnswerStream<T> =
    std::pin::Pin<Box<dyn futures::Stream<Item = Result<quintile_domain::masking::Masked<T>, tonic::Status>> + Send>>;
